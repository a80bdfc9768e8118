"""Point at what a phrase means: its box, its outline, and what is in a box."""

import imglish
from imglish.metrics import mask_iou

scene = imglish.world.draw("things", 35)
picture, thing = scene.images[0], scene.things[0]
phrase = f"the {thing.colour} {thing.name}"
vlm = imglish.load()

box = vlm.ground(picture, phrase)
print(phrase, "is at", box.xyxy.round().tolist(), "- truly at", thing.box)

masks = vlm.segment(picture, phrase)
masks.draw().save("outline.png")
print("outline covers it to", round(mask_iou.score(masks.mask, thing.bitmap), 2))

print("in that box is:", vlm.identify(picture, thing.box))
