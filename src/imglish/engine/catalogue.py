"""The published checkpoints that are known: collected from the families' files, chosen by what they can and need.

Nothing here imports torch: a family's file is imported for its cards, and imports torch only when it loads a model.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from imglish.core.errors import InputError, UnknownName
from imglish.engine.load import FAMILIES
from imglish.families import _others
from imglish.families._card import Card
from imglish.families._memory import PRECISIONS, Precision, memory

SKILLS = ("ask", "caption", "chat", "count", "detect", "extract", "ground", "identify", "read", "segment", "watch")
IMAGES = "images"  # more than one picture in a conversation
SAID = {  # words that people use for skills, and what each is here: any one of these will do
    "grounding": ("ground", "detect"),
    "detection": ("detect",),
    "segmentation": ("segment",),
    "ocr": ("read",),
    "vqa": ("ask",),
    "captioning": ("caption",),
    "video": ("watch",),
    "several": (IMAGES,),
    "images": (IMAGES,),
}
SORTS: dict[str, Callable[[Card, Precision], Any]] = {
    "memory": lambda card, precision: memory(card, precision).total,
    "parameters": lambda card, precision: card.parameters,
    "context": lambda card, precision: -card.context,
    "year": lambda card, precision: -card.year,
    "licence": lambda card, precision: card.licence,
    "license": lambda card, precision: card.licence,
    "name": lambda card, precision: short(card).casefold(),
    "family": lambda card, precision: (card.family, card.parameters),
}
_UNITS = {"k": 10**3, "m": 10**6, "": 10**9, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30}


def cards() -> list[Card]:
    """Every checkpoint, by family and size; what this version runs comes first."""
    found: dict[str, Card] = {}
    for name in FAMILIES.names():
        family = FAMILIES.get(name)
        for card in getattr(family, "checkpoints", ()):
            found.setdefault(card.name, _completed(card, family))
    for card in _others.CARDS:
        found.setdefault(card.name, card)
    return sorted(found.values(), key=lambda card: (not card.runs, card.family, card.parameters, card.name))


def short(card: Card) -> str:
    """The name without its owner."""
    return card.name.rpartition("/")[2]


def find(name: str) -> list[Card]:
    """The checkpoint of that id or short name, or all of a family, or all whose name begins so.

    Raises UnknownName naming the nearest one.
    """
    every, wanted = cards(), name.strip().casefold()
    for spelled in (lambda card: card.name, short, lambda card: card.family):
        found = [card for card in every if spelled(card).casefold() == wanted]
        if found:
            return found
    found = [card for card in every if wanted and short(card).casefold().startswith(wanted)]
    if found:
        return found
    known = {text.casefold(): text for card in every for text in (card.name, short(card), card.family)}
    near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.5)
    error = UnknownName("model", name, [])
    if near:
        error.message += f". Did you mean {known[near[0]]!r}?"
    error.hint = "imglish models lists all that are known"
    raise error


def choose(
    every: Sequence[Card],
    *,
    fits: int | None = None,
    precision: Precision = "bf16",
    can: Collection[str] = (),
    prompted: bool = False,
    licences: Collection[str] = (),
    commercial: bool = False,
    languages: Collection[str] = (),
    runs: bool = False,
) -> list[Card]:
    """Those that satisfy every wish.

    `fits` is in bytes, for one picture in that precision. `can` are skills, words of `SAID` among them; `prompted`
    counts those by instruction, too. A licence is given by its beginning, and one of several will do.
    """
    skills = [_skills(word) for word in can]
    beginnings = tuple(_licence(word, every) for word in licences)
    spoken = {_language(word, every) for word in languages}
    return [
        card
        for card in every
        if (fits is None or memory(card, precision).total <= fits)
        and all(_has(card, any_of, prompted=prompted) for any_of in skills)
        and (not beginnings or card.licence.startswith(beginnings))
        and spoken <= set(card.languages)
        and (card.commercial or not commercial)
        and (card.runs or not runs)
    ]


def arrange(some: Iterable[Card], by: str, *, precision: Precision = "bf16") -> list[Card]:
    """Smallest, newest, or first in the alphabet first."""
    if by not in SORTS:
        raise UnknownName("order", by, SORTS)
    return sorted(some, key=lambda card: (SORTS[by](card, precision), card.name))


def parse_bytes(text: str) -> int:
    """`8GB` is 8 * 10^9 bytes and `8GiB` 8 * 2^30; without a unit it is gigabytes."""
    given = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(t|[kmg]i?|)b?", text.strip().casefold())
    if given is None or float(given[1]) == 0:
        raise InputError(f"{text!r} is not an amount of memory", hint="for example 8GB, 7.5GB, 500MB or 8GiB")
    return int(float(given[1]) * _UNITS[given[2]])


def parse_precision(text: str) -> Precision:
    """One of bf16, int8, int4, fp32."""
    spelled = {"bfloat16": "bf16", "float32": "fp32", "8bit": "int8", "4bit": "int4"}.get(text, text)
    for precision in PRECISIONS:
        if precision == spelled:
            return precision
    raise UnknownName("precision", text, PRECISIONS)


def _completed(card: Card, family: Any) -> Card:
    """A card with what its family says of all its checkpoints."""
    prompted = card.prompted | getattr(family, "prompted", frozenset())
    return dataclasses.replace(
        card,
        skills=(card.skills or family.skills) - prompted,
        prompted=prompted & family.skills,
        languages=card.languages or family.languages,
        images=max(card.images, family.max_images),
        pitfalls=(*getattr(family, "pitfalls", ()), *card.pitfalls),
    )


def _skills(word: str) -> tuple[str, ...]:
    said = word.strip().casefold()
    if said not in SKILLS and said not in SAID:
        raise UnknownName("skill", word, (*SKILLS, *SAID))
    return SAID.get(said, (said,))


def _has(card: Card, any_of: Sequence[str], *, prompted: bool) -> bool:
    if IMAGES in any_of:
        return card.images > 1
    return any(skill in card.skills or (prompted and skill in card.prompted) for skill in any_of)


def _licence(word: str, every: Iterable[Card]) -> str:
    known = {card.licence for card in every}
    if not word.strip() or not any(licence.startswith(word.strip().casefold()) for licence in known):
        raise UnknownName("licence", word, known)
    return word.strip().casefold()


def _language(word: str, every: Iterable[Card]) -> str:
    known = {language for card in every for language in card.languages}
    if word.strip().casefold() not in known:
        raise UnknownName("language", word, known)
    return word.strip().casefold()
