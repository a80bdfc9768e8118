"""Qwen2-VL: a question as it is, after examples, and step by step; and boxes in its own tokens."""

import imglish

vlm = imglish.load("Qwen/Qwen2-VL-2B-Instruct")
scene = imglish.world.draw("things", 9)
picture = scene.images[0]

question = "How many mushrooms are in the image?"
print("zero-shot:", vlm.ask(picture, question, max_tokens=128))


def turn(image, text):
    """A turn of the user, in the form that other tools use."""
    return {"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": text}]}


rule = "Count the things in the image, in the format: Answer: <answer>"
examples = []
for seed in (4, 6, 11):  # pictures of examples are earlier turns, each with the answer that it should have had
    example = imglish.world.draw("things", seed)
    answer = {"role": "assistant", "content": f"Answer: {len(example.things)}"}
    examples += [turn(example.images[0], rule), answer]
print("few-shot:", vlm.stream([*examples, turn(picture, rule)], max_tokens=128).result, "truth:", len(scene.things))

steps = "Please think step by step and answer the following question based on the image: which mushroom is taller?"
print("step by step:", vlm.ask(picture, steps, max_tokens=512, temperature=0.7, seed=0))

boxes = vlm.detect(picture, "mushroom")
print(boxes.labels, boxes.xyxy)  # thousandths in its answer, pixels of the picture here
boxes.draw().save("mushrooms.png")
