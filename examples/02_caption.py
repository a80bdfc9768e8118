"""Describe a picture: three lengths, three tones, four languages."""

import imglish

picture = imglish.world.draw("things", 12).images[0]
vlm = imglish.load()

for detail in ("brief", "normal", "full"):
    print(f"{detail}: {vlm.caption(picture, detail=detail)}")
for tone in ("factual", "positive", "negative"):
    print(f"{tone}: {vlm.caption(picture, tone=tone)}")
for language in ("en", "pl", "vi", "ru"):
    print(f"{language}: {vlm.caption(picture, language=language)}")

receipt = imglish.world.draw("receipt", 3).images[0]
print(vlm.caption(receipt, "What did this person buy?"))
