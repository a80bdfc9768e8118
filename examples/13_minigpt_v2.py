"""MiniGPT-v2: its six task identifiers. Each is a skill; a question that begins with one is given as it is."""

import imglish

vlm = imglish.load("minigpt-v2")  # the folder that imglish.families.minigpt_v2.convert makes of the published pieces
scene = imglish.world.draw("things", 9)
picture, thing = scene.images[0], scene.things[0]

print("[vqa]", vlm.ask(picture, "What colour is the keyboard?"))
print("[caption]", vlm.caption(picture))

described = vlm.detect(picture)
print("[grounding]", described.labels, described.xyxy)  # in pixels of the picture
described.draw().save("grounding.png")

place = vlm.ground(picture, f"the {thing.colour} {thing.name}")
print("[refer]", place.xyxy, "truth:", thing.box)
place.draw().save("refer.png")

print("[identify]", vlm.identify(picture, thing.box))

found = vlm.detect(picture, ["mushroom", "scales"])
print("[detection]", found.labels, found.xyxy)
found.draw().save("detection.png")

print(vlm.ask(picture, "[vqa] có bao nhiêu vật trong bức ảnh"))
