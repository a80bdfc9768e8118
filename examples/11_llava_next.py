"""LLaVA-NeXT: a question about a picture that is looked at in tiles, streamed, and boxes asked for in words."""

import imglish

vlm = imglish.load("llava-hf/llava-v1.6-mistral-7b-hf")  # the chat template of its decoder is chosen for you
picture = imglish.world.draw("chart", 4).images[0]

answer = vlm.ask(picture, "What is shown in this image?", max_tokens=100)
print(answer)
seen = answer.receipt.images[0]
print(f"seen as {seen.tiles} tiles in {seen.image_tokens} tokens")

chat = vlm.chat(max_tokens=100)
for piece in chat.stream("Which of these is the largest?", image=picture):
    print(piece, end="", flush=True)
print()

boxes = vlm.detect(imglish.world.draw("things", 9).images[0], "mushroom")
print(boxes.xyxy, "prompted:", boxes.receipt.prompted)  # it was not trained to: asked for JSON, and read strictly
print(boxes.problems)
