"""What vision-language models are known to fail at, in five grades: crossing lines, counting beyond five, tiny digits,
left and right, and being asked for what is not there.

The failures are those of Rahmanzadehgervi et al. 2024 (arXiv:2407.06581) and Tong et al. 2024 (arXiv:2401.06209).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from PIL import Image, ImageDraw

from imglish.core.errors import UnknownName
from imglish.core.types import Sample, Size
from imglish.world._changes import start
from imglish.world._draw import Rgb, colours_on, ground
from imglish.world._forms import Maker
from imglish.world._probing import ABSENT, SIDE, TABLE
from imglish.world._scene import Language, Scene, Wording
from imglish.world._stage import PLAIN, Actor, Scale, apart, cast, inside, other_colours, render, several
from imglish.world._text import lay, stamp
from imglish.world._words import NOUNS, RGB, adjective, noun, phrase

VERSION = 1
DIFFICULTIES = ("easy", "ordinary", "hard")
SIZE: Size = (192, 192)
TOPICS = ("crossings", "count", "digits", "left_right", "absent")
GRADES = {"easy": (1, 2), "ordinary": (1, 5), "hard": (4, 5)}
# by grade, in a frame of 192 pixels
LINES = ((1, 3), (2, 2), (2, 1), (3, 1), (4, 1))  # stretches between bends, width in pixels
MANY = ((6, 7, 24), (8, 9, 22), (10, 12, 20), (13, 15, 17), (16, 20, 14))  # fewest, most, longest side
DIGITS = (17, 14, 11, 9, 7)  # pixels to the em; a digit is three quarters of it high
BESIDE = (92, 64, 44, 30, 20)  # pixels between the middles of two things
CROWD = (1, 2, 3, 4, 6)  # things that are there
Made = tuple[Image.Image, tuple[Any, ...], tuple[Any, ...], dict[str, Any]]  # picture, things, lines, facts


def draw(seed: int, size: Size = SIZE, difficulty: str = "ordinary") -> Scene:
    """`facts`: `topic`, `grade` (1 easy to 5 hard) and what the question is about, `answer` among it."""
    if difficulty not in DIFFICULTIES:
        raise UnknownName("difficulty", difficulty, DIFFICULTIES)
    rng = Random(f"probe/{VERSION}/{seed}/{size}/{difficulty}")
    topic, grade = rng.choice(TOPICS), rng.randint(*GRADES[difficulty])
    picture, things, lines, facts = _MAKERS[topic](rng, size, grade)
    return Scene(
        "probe", seed, size, difficulty, (picture,), things, lines, facts={"topic": topic, "grade": grade} | facts
    )


def _crossings(rng: Random, size: Size, grade: int) -> Made:
    """Two lines of straight stretches whose bends share their x: they cross where one overtakes the other."""
    picture, grounds = ground(rng, size, plain=grade < 4)
    colours = colours_on(*grounds)
    one = rng.choice(colours)
    two = rng.choice(other_colours(one, colours))
    stretches, width = LINES[grade - 1]
    answer = rng.randint(0, stretches)
    turns = [True] * answer + [False] * (stretches - answer)
    rng.shuffle(turns)
    above, knots = rng.random() < 0.5, []
    edge, least = size[1] // 14, size[1] // 9
    for bend in range(stretches + 1):
        above ^= bend > 0 and turns[bend - 1]
        high = rng.randint(edge, size[1] - edge - least)
        pair = high, rng.randint(high + least, size[1] - edge)
        knots.append(pair if above else pair[::-1])
    left, right = size[0] // 14, size[0] - size[0] // 14
    places = [left + (right - left) * bend // stretches for bend in range(stretches + 1)]
    paths = tuple(tuple((x, pair[which]) for x, pair in zip(places, knots, strict=True)) for which in (0, 1))
    for path, colour in zip(paths, (one, two), strict=True):
        ImageDraw.Draw(picture).line(path, fill=RGB[colour], width=width * max(1, max(size) // 192))
    return picture, (), (), {"one": one, "two": two, "paths": paths, "answer": answer}


def _count(rng: Random, size: Size, grade: int) -> Made:
    """Beyond five alike, of one colour up to the third grade, ever smaller."""
    picture, grounds = ground(rng, size, plain=grade < 3)
    colours, name = colours_on(*grounds), rng.choice(PLAIN)
    fewest, most, side = MANY[grade - 1]
    shared = rng.choice(colours)
    wanted = [(name, shared if grade <= 3 else rng.choice(colours)) for _ in range(rng.randint(fewest, most))]
    actors = cast(rng, size, wanted, sides=(side - 3, side), gap=2)
    picture, things = render(picture, actors)
    return picture, things, (), {"name": name, "answer": len(things)}


def _digits(rng: Random, size: Size, grade: int) -> Made:
    """One number somewhere, dark on light or light on dark."""
    picture, grounds = ground(rng, size, plain=grade < 4)
    light = sum(grounds[0]) > 384
    fill: Rgb = (16, 16, 20) if light else (248, 248, 244)
    string = str(rng.randint(100, 99999))
    px = max(6, DIGITS[grade - 1] * max(size) // 192)
    laid = lay(string, "sans", px)
    room = size[0] - laid.size[0], size[1] - laid.size[1]
    line = stamp(picture, laid, (rng.randint(0, max(room[0], 0)), rng.randint(0, max(room[1], 0))), fill)
    return picture, (), (line,), {"answer": string}


def _left_right(rng: Random, size: Size, grade: int) -> Made:
    """Two things; with every grade their middles lie nearer to each other from left to right."""
    picture, grounds = ground(rng, size, plain=grade < 3)
    kinds: tuple[Scale, ...] = ("medium",) if grade < 3 else ("small",)
    distance = BESIDE[grade - 1] * size[0] // 192
    while True:
        actors = cast(rng, size, several(rng, 2, colours_on(*grounds)), kinds=kinds)
        if len(actors) < 2:
            continue
        for _ in range(40):
            first = _at(actors[0], rng.randint(0, size[0]), rng.randint(0, size[1]))
            middle = (first.frame[0] + first.frame[2]) // 2
            second = _at(actors[1], middle + rng.choice((-distance, distance)), rng.randint(0, size[1]))
            frames = first.frame, second.frame
            if all(inside(frame, size) for frame in frames) and apart(*frames, 3):
                picture, things = render(picture, (first, second))
                return picture, things, (), {"answer": SIDES[_middle(things[0]) > _middle(things[1])]}


SIDES = ("left", "right")


def _at(actor: Actor, x: int, y: int) -> Actor:
    """The actor with its middle at a point."""
    return replace(actor, at=(x - actor.stamp.size[0] // 2, y - actor.stamp.size[1] // 2))


def _middle(thing: Any) -> float:
    return float(thing.box[0] + thing.box[2]) / 2


def _absent(rng: Random, size: Size, grade: int) -> Made:
    """Asked for one thing: half of the time it is there, clearly left or right. If not, its like may be, by grade."""
    backdrop, grounds = ground(rng, size, plain=grade < 3)
    colours = colours_on(*grounds)
    while True:
        picture, things = render(backdrop, cast(rng, size, several(rng, CROWD[grade - 1], colours)))
        clear = [thing for thing in things if abs(_middle(thing) - size[0] / 2) > size[0] / 10]
        if clear:
            break
    if rng.random() < 0.5:
        thing = rng.choice(clear)
        side = SIDES[_middle(thing) > size[0] / 2]
        return picture, things, (), {"name": thing.name, "colour": thing.colour, "answer": side}
    there = {(thing.name, thing.colour) for thing in things}
    names, worn = sorted({name for name, _ in there}), sorted({colour for _, colour in there})
    other = [name for name in PLAIN if name not in names]
    pools = {  # what the missing thing shares with those that are there
        "nothing": (other, [colour for colour in colours if colour not in worn] or colours),
        "colour": (other, worn),
        "name": (names, [colour for colour in colours if colour not in worn] or colours),
        "both": (names, worn),
    }
    for like in {1: ("nothing",), 2: ("nothing",), 3: ("colour",), 4: ("name",), 5: ("both", "name")}[grade]:
        found = [pair for name in pools[like][0] for colour in pools[like][1] if (pair := (name, colour)) not in there]
        if found:
            break
    name, colour = rng.choice(found)
    return picture, things, (), {"name": name, "colour": colour, "answer": "absent", "like": like}


_MAKERS: Mapping[str, Callable[[Random, Size, int], Made]] = {
    "crossings": _crossings,
    "count": _count,
    "digits": _digits,
    "left_right": _left_right,
    "absent": _absent,
}


def samples(scene: Scene, language: Language = "en", wording: Wording = "train") -> Iterator[Sample]:
    """The one question that the picture was made for."""
    maker, facts = Maker(scene, TABLE, language, wording), scene.facts
    topic, grade = facts["topic"], facts["grade"]
    slots, answer = _asked(scene, language, facts["answer"])
    question = start(maker.question(topic, **slots))
    yield maker.ask(f"probe_{topic}", question, answer, tags=(f"grade {grade}",), extra={"grade": grade})


def _asked(scene: Scene, language: Language, answer: Any) -> tuple[dict[str, str], str]:
    """What fills the question's slots, and the answer."""
    facts = scene.facts
    if facts["topic"] == "crossings":
        return {slot: adjective(facts[slot], language, "f") for slot in ("one", "two")}, str(answer)
    if facts["topic"] == "count":
        return {"x": noun(facts["name"], language), "xs": NOUNS[facts["name"]].plural}, str(answer)
    if facts["topic"] == "digits":
        return {}, str(answer)
    said = ABSENT[language] if answer == "absent" else SIDE[language][SIDES.index(answer)]
    if facts["topic"] == "absent":
        return {"x": phrase(facts["name"], colour=facts["colour"], language=language)}, said
    named: Sequence[str] = [phrase(thing.name, colour=thing.colour, language=language) for thing in scene.things]
    return {"x": named[0], "y": named[1]}, said
