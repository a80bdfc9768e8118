"""Phrases that fit exactly one thing of a scene: its name, colour, size, or where it is among others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imglish.world._scene import Language, Scene, Thing
from imglish.world._words import EXTREMES, RELATIONS, THING, adjective, noun, phrase

MARGIN = 14.0  # pixels by which one must be farther to a side than the next, in a frame whose longer side is 192
LARGER = 1.4  # times the area that makes one larger than another


@dataclass(frozen=True)
class Phrase:
    """Words for thing number `index`; `by` is name, colour, size, side, relation or thing (a colour alone)."""

    index: int
    by: str
    text: str


def simple(scene: Scene, language: Language) -> dict[int, str]:
    """For each thing that can be told by its name, or else by colour and name: that phrase."""
    names = [thing.name for thing in scene.things]
    pairs = [(thing.name, thing.colour) for thing in scene.things]
    found = {}
    for index, (name, colour) in enumerate(pairs):
        if names.count(name) == 1:
            found[index] = noun(name, language)
        elif pairs.count((name, colour)) == 1:
            found[index] = phrase(name, colour=colour, language=language)
    return found


def phrases(scene: Scene, language: Language) -> list[Phrase]:
    """All phrases of all kinds that fit exactly one thing."""
    return [*_plain(scene, language), *_among_like(scene, language), *_by_relation(scene, language)]


def _plain(scene: Scene, language: Language) -> Iterator[Phrase]:
    names = [thing.name for thing in scene.things]
    colours = [thing.colour for thing in scene.things]
    pairs = list(zip(names, colours, strict=True))
    for index, (name, colour) in enumerate(pairs):
        if names.count(name) == 1:
            yield Phrase(index, "name", noun(name, language))
        if pairs.count((name, colour)) == 1:
            yield Phrase(index, "colour", phrase(name, colour=colour, language=language))
        if colours.count(colour) == 1 and len(names) > 1:
            yield Phrase(index, "thing", _coloured_thing(colour, language))


def _coloured_thing(colour: str, language: Language) -> str:
    words = (adjective(colour, language), THING[language])
    return " ".join(reversed(words) if language == "vi" else words)


def _among_like(scene: Scene, language: Language) -> Iterator[Phrase]:
    """The largest, smallest, leftmost ... of those with one name."""
    margin = MARGIN * max(scene.size) / 192
    for name in dict.fromkeys(thing.name for thing in scene.things):
        same = [(index, thing) for index, thing in enumerate(scene.things) if thing.name == name]
        if len(same) < 2:
            continue
        if all(thing.visible > 0.8 for _, thing in same):
            areas = sorted((int(thing.bitmap.sum()) / thing.visible, index) for index, thing in same)
            if areas[-1][0] > LARGER * areas[-2][0]:
                yield Phrase(areas[-1][1], "size", phrase(name, size="largest", language=language))
            if areas[0][0] * LARGER < areas[1][0]:
                yield Phrase(areas[0][1], "size", phrase(name, size="smallest", language=language))
        for axis, low, high in ((0, "left", "right"), (1, "top", "bottom")):
            ends = sorted((_centre(thing)[axis], index) for index, thing in same)
            for side, first, second in ((low, ends[0], ends[1]), (high, ends[-1], ends[-2])):
                if abs(first[0] - second[0]) > margin:
                    text = EXTREMES[side][language].replace("{x}", noun(name, language))
                    yield Phrase(first[1], "side", text)


def _by_relation(scene: Scene, language: Language) -> Iterator[Phrase]:
    """The cat left of the star, where there is one star, and other cats are not left of it."""
    known, names = simple(scene, language), [thing.name for thing in scene.things]
    for index, relation, other in scene.relations:
        name = names[index]
        if other not in known or names[other] == name:
            continue
        like = [thing for at, thing in enumerate(scene.things) if thing.name == name and at != index]
        if any(_beyond(_centre(thing), relation, _centre(scene.things[other])) for thing in like):
            continue
        text = f"{noun(name, language)} {RELATIONS[relation][language]} "
        yield Phrase(index, "relation", text + (f"the {known[other]}" if language == "en" else known[other]))


def _beyond(point: tuple[float, float], relation: str, other: tuple[float, float]) -> bool:
    axis = 0 if relation in ("left of", "right of") else 1
    before = point[axis] < other[axis] + 2
    after = point[axis] > other[axis] - 2
    return before if relation in ("left of", "above") else after


def _centre(thing: Thing) -> tuple[float, float]:
    return (thing.box[0] + thing.box[2]) / 2, (thing.box[1] + thing.box[3]) / 2
