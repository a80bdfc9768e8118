"""Several pictures in one question: what changed, and what moved."""

import imglish

vlm = imglish.load()

pair = imglish.world.draw("pair", 8)
print(vlm.ask(list(pair.images), "What changed?"))
print("truth:", next(one.answer for one in imglish.world.samples(pair) if "what" in one.tags))

clip = imglish.world.draw("clip", 9)
print(f"{len(clip.images)} frames:", vlm.watch(list(clip.images), "What happens?"))
print("truth:", next(one.answer for one in imglish.world.samples(clip) if "happens" in one.tags))

part = imglish.world.draw("part", 12)
print("defect:", vlm.ask(part.images[0], "Is there a defect?"), vlm.detect(part.images[0], "defect").xyxy.tolist())
print("truth:", next(one.answer for one in imglish.world.samples(part) if one.topic == "defect"))
