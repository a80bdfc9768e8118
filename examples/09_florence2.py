"""Florence-2: boxes, a long caption, an outline and the text of a picture, drawn. Each skill is one of its tasks."""

import imglish

vlm = imglish.load("microsoft/Florence-2-base")  # downloaded once: half a gigabyte

scene = imglish.world.draw("things", 9, size=(480, 360))
picture, thing = scene.images[0], scene.things[0]

boxes = vlm.detect(picture)  # <OD>
for item in boxes:
    print(f"{item.label}: {item.box}")  # in pixels of the picture
boxes.draw().save("boxes.png")

print(vlm.caption(picture, detail="full"))  # <MORE_DETAILED_CAPTION>

outlines = vlm.segment(picture, f"the {thing.colour} {thing.name}")  # <REFERRING_EXPRESSION_SEGMENTATION>
print(len(outlines), "outlined;", outlines.mask.sum(), "pixels")
outlines.draw().save("outlines.png")

print(vlm.identify(picture, thing.box))  # <REGION_TO_CATEGORY>

sign = imglish.world.draw("text", 50).images[0]
print(vlm.ask(sign, "<OCR>"))  # a question that begins with a task's token is that task
lines = vlm.read(sign)  # <OCR_WITH_REGION>
for text, quad in zip(lines.texts, lines.quads.round().tolist(), strict=True):
    print(f"{text}: {quad}")
lines.draw().save("lines.png")

for result in (boxes, outlines, lines):
    print(result.parsed, result.problems)  # what could not be read from an answer is said, not left out
