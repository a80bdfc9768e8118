"""A chat about a picture: turns are remembered, answers can be streamed."""

import imglish

scene = imglish.world.draw("things", 44)
vlm = imglish.load()

chat = vlm.chat()
print(chat.say("Describe this.", image=scene.images[0]))
print(chat.say("How many things are there?"))
for piece in chat.stream(f"What colour is the {scene.things[0].name}?"):
    print(piece, end="", flush=True)
print()
print(len(chat.messages), "messages so far")

# the form that other tools use is understood as it is
content = [{"type": "image", "image": scene.images[0]}, {"type": "text", "text": "Is there a cat?"}]
print(vlm.stream([{"role": "user", "content": content}]).result)
