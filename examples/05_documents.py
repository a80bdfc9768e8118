"""Read text with its places, and draw the fields of a document into your own class."""

from pydantic import BaseModel

import imglish

vlm = imglish.load()

sign = imglish.world.draw("text", 8)
lines = vlm.read(sign.images[0])
print(lines.text)
print("truth:", [line.string for line in sign.lines])
lines.draw().save("lines.png")


class Card(BaseModel):
    """An identity card; what is not on it is None."""

    name: str | None = None
    surname: str | None = None
    number: str | None = None
    birth_date: str | None = None
    country: str | None = None


card = imglish.world.draw("card", 5)
record = vlm.extract(card.images[0], Card)
print(record.to_model(Card))
print("truth:", dict(card.fields))

receipt = imglish.world.draw("receipt", 6)
print(vlm.extract(receipt.images[0], ["shop", "date", "total"]).data)
