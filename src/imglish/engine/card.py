"""What the card of a checkpoint says beyond its facts: a command for each skill, and what the model is then given."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from imglish.core.types import ImagePart, Message, Request, Size, TextPart, VideoPart
from imglish.engine.load import FAMILIES, SHIPPED
from imglish.families._base import Family, Frames, Picture, Piece
from imglish.families._card import Card
from imglish.families._memory import PICTURE, PRECISIONS, memory

SIZES: tuple[Size, Size] = ((640, 480), (1920, 1080))  # pictures whose tokens a card tells

_ARGUMENTS = {
    "ask": 'picture.png "How many cats?"',
    "caption": "picture.png",
    "chat": "picture.png",
    "count": "picture.png cats",
    "detect": "picture.png cat dog",
    "extract": "receipt.png --schema shop,total",
    "ground": 'picture.png "the cat on the left"',
    "identify": "picture.png --box 40,30,120,90",
    "read": "plate.png",
    "segment": 'picture.png "the cat on the left"',
    "watch": 'frames/*.png "What moved?"',
}
_TEXTS = {
    "ask": "How many cats?",
    "caption": "Describe the picture.",
    "chat": "What is this?",
    "count": "cats",
    "ground": "the cat on the left",
    "segment": "the cat on the left",
    "watch": "What moved?",
}
_SCHEMA = {"type": "object", "properties": {"shop": {"type": "string"}, "total": {"type": "string"}}}


def commands(card: Card) -> dict[str, str]:
    """One command for each skill, by the skill's name; those by instruction come last."""
    model = "" if card.name == SHIPPED else f" --model {card.name}"
    skills = [*sorted(card.skills), *sorted(card.prompted)]
    return {skill: f"imglish {skill} {_ARGUMENTS[skill]}{model}" for skill in skills}


def template(card: Card) -> str:
    """The prompt of a plain question, with `{image}` and `{question}` where these go; empty where it takes none."""
    if not card.runs or "{question}" in card.prompt:
        return card.prompt
    family: Family = FAMILIES.get(card.family)()
    return _plain(family) if "ask" in card.skills | card.prompted else ""


def prompts(card: Card) -> dict[str, str]:
    """What the model is given for each of these commands; none where this version does not run it.

    The family itself writes it, so that it is what really happens. Checkpoints of one family may differ in how a turn
    begins and ends: then the card's own prompt says so.
    """
    if not card.runs:
        return {}
    family: Family = FAMILIES.get(card.family)()
    made = {skill: _written(family.prompt(_request(skill), [PICTURE, PICTURE])) for skill in commands(card)}
    if "{question}" not in card.prompt or "ask" not in made:
        return made
    asked = _plain(family)
    return {skill: _swapped(text, asked, card.prompt) for skill, text in made.items()}


def words(prompt: str, form: str) -> str:
    """What stands in a prompt where its template has `{question}`; empty where it is not of that template."""
    before, found, after = form.partition("{question}")
    fits = found and prompt.startswith(before) and prompt.endswith(after)
    return prompt[len(before) : len(prompt) - len(after)] if fits else ""


def to_json(card: Card) -> dict[str, Any]:
    """All that is known, with the bytes of memory for one picture and the tokens of two."""
    facts = {field.name: getattr(card, field.name) for field in dataclasses.fields(card)}
    for name in ("skills", "prompted"):
        facts[name] = sorted(facts[name])
    del facts["views"], facts["config"]
    facts["image_tokens"] = {f"{width}x{height}": card.tokens_of((width, height)) for width, height in SIZES}
    facts["memory"] = {precision: memory(card, precision).total for precision in PRECISIONS}
    return facts


def _request(skill: str) -> Request:
    """What the command of `commands` asks."""
    text = _TEXTS.get(skill, "")
    picture = VideoPart(("0.png", "1.png")) if skill == "watch" else ImagePart("picture.png")
    return Request(
        skill,
        (Message("user", (picture, TextPart(text))),),
        text=text,
        labels=("cat", "dog") if skill == "detect" else (),
        region=(40.0, 30.0, 120.0, 90.0) if skill == "identify" else None,
        schema=_SCHEMA if skill == "extract" else None,
    )


def _swapped(prompt: str, old: str, new: str) -> str:
    """A prompt of one template in another; as it is where it is of neither."""
    said = words(prompt, old)
    return new.replace("{question}", said) if said else prompt


def _plain(family: Family) -> str:
    """The family's prompt of the question `{question}`."""
    message = Message("user", (ImagePart("picture.png"), TextPart("{question}")))
    return _written(family.prompt(Request("ask", (message,), text="{question}"), [PICTURE]))


def _written(pieces: Sequence[Piece]) -> str:
    words: list[str] = []
    for piece in pieces:
        if isinstance(piece, (Picture, Frames)):
            words += ["{image}"] * (len(piece.indices) if isinstance(piece, Frames) else 1)
        else:
            words.append(piece.text)
    return "".join(words)
