"""Ask about a picture, in four languages."""

import imglish

scene = imglish.world.draw("things", 7)  # a picture with exact truth; a path, bytes or an array do as well
picture = scene.images[0]
vlm = imglish.load()  # the model in the package

for thing in scene.things:
    answer = vlm.ask(picture, f"What colour is the {thing.name}?")
    print(f"{thing.name}: {answer} (truth: {thing.colour})")

questions = {
    "en": "How many things are there?",
    "pl": "Ile rzeczy jest na obrazku?",
    "vi": "Có bao nhiêu vật trong ảnh?",
    "ru": "Сколько предметов на картинке?",
}
for language, question in questions.items():
    print(f"{question} {vlm.ask(picture, question, language=language)} (truth: {len(scene.things)})")

answer = vlm.ask(picture, "Who painted this?")
print(answer)  # what a picture cannot tell, it does not invent
print(answer.receipt)
