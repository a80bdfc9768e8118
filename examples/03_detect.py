"""Find things: boxes in pixels of your picture, drawn on it, and as COCO."""

import json
from pathlib import Path

import imglish

scene = imglish.world.draw("things", 21, size=(320, 240))
picture = scene.images[0]
vlm = imglish.load()

boxes = vlm.detect(picture)  # everything
for item in boxes:
    x1, y1, x2, y2 = item.box
    print(f"{item.label}: {x1:.0f} {y1:.0f} {x2:.0f} {y2:.0f}, sure to {item.confidence:.2f}")
boxes.draw().save("boxes.png")
Path("boxes.json").write_text(json.dumps(boxes.to_coco(file_name="scene.png")), encoding="utf-8")

wanted = [scene.things[0].name, "banana"]
for label in wanted:
    found = vlm.detect(picture, label)
    if not found.parsed:
        print(f"{label}: the answer could not be read:", found.problems)
    else:
        print(f"{label}: {len(found)} found")  # none is an answer too
