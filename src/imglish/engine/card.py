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


def prompts(card: Card) -> dict[str, str]:
    """What the model is given for each of these commands: `{image}` marks the picture's place.

    The family itself writes it, so that it is what really happens. Where the card has a prompt of its own, as for what
    cannot be run, that is the only one, under the name "".
    """
    if card.prompt or not card.runs:
        return {"": card.prompt} if card.prompt else {}
    family: Family = FAMILIES.get(card.family)()
    return {skill: _written(family.prompt(_request(skill), [PICTURE, PICTURE])) for skill in commands(card)}


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


def _written(pieces: Sequence[Piece]) -> str:
    words: list[str] = []
    for piece in pieces:
        if isinstance(piece, (Picture, Frames)):
            words += ["{image}"] * (len(piece.indices) if isinstance(piece, Frames) else 1)
        else:
            words.append(piece.text)
    return "".join(words)
