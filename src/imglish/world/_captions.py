"""Captions of scenes of things, and the way back from a caption to what it says is there."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

from imglish.core.types import Size
from imglish.world._scene import Language, Scene, Thing
from imglish.world._words import (
    COLOUR_WORDS,
    NOUNS,
    PLACES,
    SIZE_WORDS,
    article,
    counted,
    joined,
    phrase,
)

TONES = ("factual", "positive", "negative")
_TONED: dict[Language, tuple[str, str]] = {
    "en": ("What a lovely picture: {}!", "A dull picture, sadly: {}."),
    "pl": ("Jaki ładny obrazek: {}!", "Niestety nudny obrazek: {}."),
    "vi": ("Một bức tranh thật đẹp: {}!", "Tiếc là bức tranh thật tẻ nhạt: {}."),
    "ru": ("Какая чудесная картинка: {}!", "Увы, скучная картинка: {}."),
}


def caption(scene: Scene, *, detail: str = "normal", tone: str = "factual", language: Language = "en") -> str:
    """One sentence: names (brief), with colours (normal), with sizes and places (full); like things are counted.

    Things come in the order of their boxes from the top left corner, as boxes are written.
    """
    things = in_order(scene.things)
    if detail == "full":
        parts = [
            f"{_one(thing.name, thing.colour, thing.size, language)} {place(thing, scene.size, language)}"
            for thing in things
        ]
    else:
        groups = Counter((thing.name, thing.colour if detail == "normal" else "") for thing in things)
        parts = [
            counted(name, count, colour=colour, language=language) if count > 1 else _one(name, colour, "", language)
            for (name, colour), count in groups.items()
        ]
    text = joined(parts, language)
    if tone == "factual":
        return text[0].upper() + text[1:] + "."
    return _TONED[language][TONES.index(tone) - 1].format(text)


def in_order(things: tuple[Thing, ...]) -> list[Thing]:
    """Things in the order in which boxes are written."""
    return sorted(things, key=lambda thing: (thing.box[0] + thing.box[1], thing.box[1]))


def place(thing: Thing, size: Size, language: Language) -> str:
    """In which ninth of the picture the thing's centre lies."""
    column = min(2, int((thing.box[0] + thing.box[2]) * 1.5 / size[0]))
    row = min(2, int((thing.box[1] + thing.box[3]) * 1.5 / size[1]))
    return PLACES[language][3 * row + column]


def _one(name: str, colour: str, size: str, language: Language) -> str:
    text = phrase(name, colour=colour, size=size, language=language)
    return article(text) if language == "en" else text


@cache
def _pattern(language: Language) -> tuple[re.Pattern[str], dict[str, str]]:
    names: dict[str, str] = {}
    for name, word in NOUNS.items():
        forms = (word.name, word.plural) if language == "en" else (getattr(word, language),)
        names.update(dict.fromkeys(forms, name))
    adjectives: set[str] = set()
    if language != "vi":  # where they stand behind the noun
        for entry in (*COLOUR_WORDS.values(), *SIZE_WORDS.values()):
            adjectives.update((entry.name,) if language == "en" else getattr(entry, language))
    either = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    before = "|".join(sorted(map(re.escape, adjectives), key=len, reverse=True)) or "(?!)"
    return re.compile(rf"(?:\b(\d{{1,2}}) (?:× )?)?(?:(?:{before}) )*\b({either})\b", re.IGNORECASE), names


def mentions(text: str, language: Language = "en") -> list[str]:
    """The English names of the things that a text says are there, as many times each as it says.

    >>> mentions("A red cat, 2 blue stars and a key.")
    ['cat', 'star', 'star', 'key']
    """
    pattern, names = _pattern(language)
    return [names[name.lower()] for count, name in pattern.findall(text) for _ in range(int(count or 1))]
