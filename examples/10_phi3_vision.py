"""Phi-3.5-vision: a chart, a chat about two pictures, a film. Phi-3-vision: a chart, a cover, two pictures."""

import imglish

vlm = imglish.load("microsoft/Phi-3.5-vision-instruct")  # downloaded once: 8 GB

chart = imglish.world.draw("chart", 126).images[0]
question = "Which conclusion can be extracted from the following chart?"
print(vlm.ask(chart, question, max_tokens=1000, temperature=0.3, top_p=0.9, seed=0))  # sampled; without: greedy

first, second = (imglish.world.draw("card", seed).images[0] for seed in (5, 32))
chat = vlm.chat(max_tokens=300, temperature=0.7, seed=0)
print(chat.say("Describe this image in detail.", image=first))
print(chat.say("Could this person be a politician?"))
print(chat.say("Now, describe this new image and compare it to the previous one.", image=second))
answer = chat.say("Hypothetically, if both were running for president, which one should be chosen and why?")
print(answer)
print(len(chat.messages), "messages; tiles of the two pictures:", [seen.tiles for seen in answer.receipt.images])

film = imglish.world.draw("clip", 3)
answer = vlm.watch(list(film.images), "What happens in these frames?")
print(f"{len(film.images)} frames in {answer.receipt.prompt_tokens} tokens: {answer}")

del vlm, chat  # two models of 8 GB need not be there at once
vlm = imglish.load("microsoft/Phi-3-vision-128k-instruct")

print(vlm.ask(chart, "Could you please introduce this stock to me?"))

cover = imglish.world.draw("text", 50).images[0]
print(vlm.ask(cover, "Help me get the title and author information of this book?"))

pair = imglish.world.draw("pair", 8)
print(vlm.ask(list(pair.images), "What is difference in this two images?"))
