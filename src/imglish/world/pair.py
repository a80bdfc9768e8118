"""Two pictures of the same things that differ in one change, or in none: spot the difference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from imglish.core.errors import UnknownName
from imglish.core.types import Sample, Size
from imglish.world._changes import PICTURES, TABLE, appear, gone, moved, nothing, recoloured, start
from imglish.world._draw import colours_on, ground
from imglish.world._forms import Maker
from imglish.world._scene import Language, Scene, Wording
from imglish.world._stage import DIRECTIONS, PLAIN, Actor, apart, cast, inside, other_colours, render
from imglish.world._words import NOUNS, article, noun, phrase

VERSION = 1
DIFFICULTIES = ("easy", "ordinary", "crowded", "repeats")
SIZE: Size = (192, 192)
COUNTS = {"easy": (1, 3), "ordinary": (2, 5), "crowded": (6, 10), "repeats": (3, 7)}
CHANGES = ("removed", "added", "moved", "recoloured", "nothing")


def draw(seed: int, size: Size = SIZE, difficulty: str = "ordinary") -> Scene:
    """Two pictures; outside the changed thing they are equal to the pixel.

    `facts`: `change` (one of CHANGES) and, unless nothing changed, `name`, `colour`, and `direction` or `became`.
    """
    if difficulty not in DIFFICULTIES:
        raise UnknownName("difficulty", difficulty, DIFFICULTIES)
    rng = Random(f"pair/{VERSION}/{seed}/{size}/{difficulty}")
    backdrop, grounds = ground(rng, size, plain=difficulty == "easy")
    colours = colours_on(*grounds)
    actors = cast(rng, size, _wanted(rng, difficulty, colours))
    index = rng.randrange(len(actors))
    for change in _order(rng):
        other = _changed(rng, actors, index, change, size, colours)
        if other is not None:
            break
    before, after = (list(other[0]), other[1]) if other else (actors, actors)
    facts: dict[str, Any] = {"change": change} | (other[2] if other else {})
    pictures, things = zip(*(render(backdrop, side, image=i) for i, side in enumerate((before, after))), strict=True)
    return Scene("pair", seed, size, difficulty, pictures, (*things[0], *things[1]), facts=facts)


def _wanted(rng: Random, difficulty: str, colours: Sequence[str]) -> list[tuple[str, str]]:
    count = rng.randint(*COUNTS[difficulty])
    if difficulty == "repeats":
        name = rng.choice(PLAIN)
        alike = rng.randint(2, count)
        others = rng.sample([other for other in PLAIN if other != name], count - alike)
        wanted = [(one, rng.choice(colours)) for one in [name] * alike + others]
        rng.shuffle(wanted)
        return wanted
    return [(name, rng.choice(colours)) for name in rng.sample(PLAIN, count)]


def _order(rng: Random) -> list[str]:
    """The changes to try: a random one first; `nothing` is always possible."""
    first = rng.choice(CHANGES)
    return [first, *(["recoloured", "removed"] if first != "nothing" else [])]


def _changed(
    rng: Random, actors: list[Actor], index: int, change: str, size: Size, colours: Sequence[str]
) -> tuple[list[Actor], list[Actor], dict[str, Any]] | None:
    """Actors before and after, and the facts; None where this change is not possible."""
    actor, rest = actors[index], actors[:index] + actors[index + 1 :]
    facts = {"name": actor.name, "colour": actor.colour}
    if change == "nothing":
        return actors, actors, {}
    if change == "removed":
        return actors, rest, facts
    if change == "added":
        return rest, actors, facts
    if change == "recoloured":
        choices = other_colours(actor.colour, colours)
        if not choices:
            return None
        new = actor.painted(rng, rng.choice(choices))
        return actors, [*actors[:index], new, *actors[index + 1 :]], facts | {"became": new.colour}
    for direction in rng.sample(list(DIRECTIONS), 4):
        for _ in range(6):
            new = actor.moved(direction, rng.randint(max(size) * 14 // 100, max(size) * 55 // 100))
            if inside(new.frame, size) and all(apart(new.frame, other.frame, 2) for other in rest):
                return actors, [*actors[:index], new, *actors[index + 1 :]], facts | {"direction": direction}
    return None


def samples(scene: Scene, language: Language = "en", wording: Wording = "train") -> Iterator[Sample]:
    """What changed; in which picture something is; which picture has more of something, or is fuller."""
    maker, change = Maker(scene, TABLE, language, wording), scene.facts["change"]

    def ask(topic: str, answer: str, **slots: str) -> Sample:
        question = start(maker.question(topic, **slots))
        return maker.ask("change", question, answer, tags=(topic,), extra={"change": change})

    yield ask("what", answer(scene, language))
    where = _where(maker.rng, scene)
    if where:
        name, colour, picture = where
        thing = phrase(name, colour=colour, language=language)
        yield ask("which", PICTURES[language][picture], thing=article(thing) if language == "en" else thing)
    if change in ("removed", "added"):
        fuller = PICTURES[language][change == "added"]
        if maker.rng.random() < 0.5:
            yield ask("fuller", fuller)
        else:
            name = scene.facts["name"]
            yield ask("more", fuller, things=NOUNS[name].plural if language == "en" else noun(name, language))


def answer(scene: Scene, language: Language) -> str:
    """The change as one short sentence."""
    facts = scene.facts
    if facts["change"] == "nothing":
        return nothing(language)
    if facts["change"] == "recoloured":
        return recoloured(facts["name"], facts["colour"], facts["became"], language)
    if facts["change"] == "moved":
        return moved(facts["name"], facts["colour"], facts["direction"], language)
    return (gone if facts["change"] == "removed" else appear)(facts["name"], facts["colour"], language)


def _where(rng: Random, scene: Scene) -> tuple[str, str, int] | None:
    """A name, a colour and where such a thing is: 0 first picture, 1 second, 2 both, 3 neither."""
    there = [{(thing.name, thing.colour) for thing in scene.things if thing.image == image} for image in (0, 1)]
    found = [sorted(there[0] - there[1]), sorted(there[1] - there[0]), sorted(there[0] & there[1])]
    changed = [(pair, image) for image in (0, 1) for pair in found[image]]
    if changed and rng.random() < 0.7:
        (name, colour), picture = rng.choice(changed)
        return name, colour, picture
    if found[2] and rng.random() < 0.5:
        return (*rng.choice(found[2]), 2)
    name, colour = rng.choice(PLAIN), rng.choice(sorted({thing.colour for thing in scene.things} or {"red"}))
    return None if any((name, colour) in side for side in there) else (name, colour, 3)
