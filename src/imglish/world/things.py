"""Things: shapes and pictographs with a colour, a size and a place, on a plain, gradient or textured ground.

easy: one to three, apart, on a plain ground. ordinary: one to eight, mostly different, at most lightly covered.
crowded: six to fourteen, covering one another. repeats: two to eight of which several are alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from imglish.core import geometry
from imglish.core.errors import UnknownName
from imglish.core.types import Sample, Size
from imglish.world import _inquiries
from imglish.world._draw import Rgb, Stamp, colours_on, ground, jitter, stamp
from imglish.world._scene import Language, Scene, Thing, Wording
from imglish.world._shapes import master
from imglish.world._words import RGB, THINGS

VERSION = 1
DIFFICULTIES = ("easy", "ordinary", "crowded", "repeats")
SIZE: Size = (192, 192)
SIDES = {"small": (24, 38), "medium": (42, 56), "large": (62, 88)}  # pixels in a frame whose longer side is 192
COUNTS = {"easy": (1, 3), "ordinary": (1, 8), "crowded": (6, 14), "repeats": (2, 8)}
VISIBLE = {"easy": 1.0, "ordinary": 0.85, "crowded": 0.5, "repeats": 0.85}
TRIES = 24


@dataclass
class _Placed:
    name: str
    colour: str
    shade: Rgb
    size: Literal["small", "medium", "large"]
    rotation: float
    stamp: Stamp
    at: tuple[int, int]
    left: int  # pixels that nothing covers


def draw(seed: int, size: Size = SIZE, difficulty: str = "ordinary") -> Scene:
    """A scene of things. The same arguments give the same bytes."""
    if difficulty not in DIFFICULTIES:
        raise UnknownName("difficulty", difficulty, DIFFICULTIES)
    rng = Random(f"things/{VERSION}/{seed}/{size}/{difficulty}")
    picture, grounds = ground(rng, size, plain=difficulty == "easy")
    colours = colours_on(*grounds)
    placed: list[_Placed] = []
    owner = np.full((size[1], size[0]), -1, np.int8)
    for name, colour in _choose(rng, difficulty, colours):
        _place(rng, owner, placed, difficulty, name, colour)
    for item in placed:
        item.stamp.paint(picture, item.at, item.shade)
    things = tuple(_thing(item, index, owner) for index, item in enumerate(placed))
    return Scene("things", seed, size, difficulty, (picture,), things, relations=relations(things))


def samples(scene: Scene, language: Language = "en", wording: Wording = "train") -> Iterator[Sample]:
    """Captions, colour, presence, count, detect, refer, segment, relation, identify, and what nobody can know."""
    return _inquiries.samples(scene, language, wording)


def _choose(rng: Random, difficulty: str, colours: Sequence[str]) -> list[tuple[str, str]]:
    """What is in the scene: pairs of name and colour."""
    count = rng.randint(*COUNTS[difficulty])
    if difficulty == "repeats":
        repeated = rng.randint(2, count)
        name, colour = rng.choice(THINGS), rng.choice(colours)
        same = rng.random() < 0.5  # all alike in colour too
        chosen = [(name, colour if same else rng.choice(colours)) for _ in range(repeated)]
        others = rng.sample(THINGS, rng.randint(1, 2))
        chosen += [(rng.choice(others), rng.choice(colours)) for _ in range(count - repeated)]
        rng.shuffle(chosen)
        return chosen
    names = rng.sample(THINGS, count)
    for index in range(1, count):
        if rng.random() < (0.0 if difficulty == "easy" else 0.2):
            names[index] = names[rng.randrange(index)]
    return [(name, rng.choice(colours)) for name in names]


def _place(
    rng: Random, owner: NDArray[np.int8], placed: list[_Placed], difficulty: str, name: str, colour: str
) -> None:
    """Put one thing where it covers the others no more than the difficulty allows; without such a place, leave it out.

    It shrinks with every few failures, so that the first thing is always placed and the eighth nearly always.
    """
    height, width = owner.shape
    unit, least = max(width, height) / 192, VISIBLE[difficulty]
    kind: Literal["small", "medium", "large"] = rng.choice(("small", "medium", "medium", "large"))
    turn = 10 if difficulty == "easy" else 25
    rotation, stretch = round(rng.uniform(-turn, turn), 1), rng.uniform(0.92, 1.08)
    for attempt in range(TRIES):
        if attempt % 6 == 0:
            if attempt:
                kind = "small" if kind == "small" or attempt > 6 else "medium"
            side = _side(name, rng.randint(*SIDES[kind])) * unit
            mark = stamp(name, side, rotation, stretch)
        if mark.size[0] > width or mark.size[1] > height:
            continue
        at = rng.randint(0, width - mark.size[0]), rng.randint(0, height - mark.size[1])
        patch = owner[at[1] : at[1] + mark.size[1], at[0] : at[0] + mark.size[0]]
        lost = np.bincount(patch[mark.bitmap] + 1, minlength=len(placed) + 1)[1:]
        covered = [(placed[index], int(lost[index])) for index in np.flatnonzero(lost)]
        if any(item.colour == colour or item.left - gone < least * item.stamp.area for item, gone in covered):
            continue
        for item, gone in covered:
            item.left -= gone
        patch[mark.bitmap] = len(placed)
        shade = jitter(rng, RGB[colour])
        placed.append(_Placed(name, colour, shade, kind, rotation, mark, at, mark.area))
        return


def _side(name: str, side: float) -> float:
    """A long thing gets a longer side than a square one of the same size."""
    wide, high = master(name).size
    return side * min(1.3, math.pow(max(wide, high) / min(wide, high), 0.35))


def _thing(item: _Placed, index: int, owner: NDArray[np.int8]) -> Thing:
    (x, y), (wide, high) = item.at, item.stamp.size
    seen = owner[y : y + high, x : x + wide] == index
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    box = float(x + columns[0]), float(y + rows[0]), float(x + columns[-1] + 1), float(y + rows[-1] + 1)
    bitmap = np.zeros(owner.shape, bool)
    bitmap[y : y + high, x : x + wide] = seen
    covered = item.left < item.stamp.area
    contour = item.stamp.outline
    if covered:
        contour = np.array(geometry.simplify(geometry.bitmap_to_polygons(seen)[0], 48, tolerance=0.6))
    corners = np.clip(contour + item.at, 0, (owner.shape[1], owner.shape[0])).round(2).tolist()
    polygon = tuple((px, py) for px, py in corners)
    visible = item.left / item.stamp.area
    return Thing(item.name, item.colour, box, polygon, bitmap, item.size, item.rotation, visible)


def relations(things: Sequence[Thing]) -> tuple[tuple[int, str, int], ...]:
    """Who is clearly left of, right of, above or below whom: by the centres of boxes; one direction must dominate."""
    centres = [((thing.box[0] + thing.box[2]) / 2, (thing.box[1] + thing.box[3]) / 2) for thing in things]
    found = []
    for i, a in enumerate(centres):
        for j, b in enumerate(centres):
            x, y = b[0] - a[0], b[1] - a[1]
            if i == j or max(abs(x), abs(y)) < 24 or min(abs(x), abs(y)) * 1.5 > max(abs(x), abs(y)):
                continue
            if abs(x) > abs(y):
                found.append((i, "left of" if x > 0 else "right of", j))
            else:
                found.append((i, "above" if y > 0 else "below", j))
    return tuple(found)
