"""A stage: things with places that can change from picture to picture, while all else stays the same to the pixel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

import numpy as np
from PIL import Image

from imglish.core import geometry
from imglish.core.types import Size
from imglish.world._draw import Rgb, Stamp, distance, jitter, stamp
from imglish.world._scene import Thing
from imglish.world._words import RGB, THINGS

SIDES: dict[str, tuple[int, int]] = {"small": (26, 36), "medium": (40, 54), "large": (58, 76)}  # in a frame of 192
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
TRIES = 36
PLAIN = tuple(name for name in THINGS if name not in ("scissors", "scales"))  # what English counts one by one
Frame = tuple[int, int, int, int]
Scale = Literal["small", "medium", "large"]


@dataclass(frozen=True, eq=False)
class Actor:
    """A thing that is ready to be put down, and where."""

    name: str
    colour: str
    shade: Rgb
    size: Scale
    rotation: float
    stamp: Stamp
    at: tuple[int, int]
    key: int = 0  # tells it from the others, in whatever picture

    @property
    def frame(self) -> Frame:
        """The corners of its stamp: a pixel or so more than its box."""
        return (*self.at, self.at[0] + self.stamp.size[0], self.at[1] + self.stamp.size[1])

    def moved(self, direction: str, pixels: int) -> Actor:
        """The same thing so many pixels to the left, right, up or down."""
        x, y = DIRECTIONS[direction]
        return replace(self, at=(self.at[0] + x * pixels, self.at[1] + y * pixels))

    def painted(self, rng: Random, colour: str) -> Actor:
        """The same thing in another colour."""
        return replace(self, colour=colour, shade=jitter(rng, RGB[colour]))


def several(rng: Random, count: int, colours: Sequence[str], *, alike: int = 1) -> list[tuple[str, str]]:
    """Names and colours for a cast, no pair twice: `alike` things share a name, the others have names of their own."""
    names = rng.sample(PLAIN, count - alike + 1)
    shared = rng.sample(list(colours), min(alike, len(colours)))
    wanted = [(names[0], colour) for colour in shared] + [(name, rng.choice(colours)) for name in names[1:]]
    rng.shuffle(wanted)
    return wanted


def apart(a: Frame, b: Frame, gap: int) -> bool:
    """Whether at least `gap` pixels lie between two frames."""
    return a[0] - b[2] >= gap or b[0] - a[2] >= gap or a[1] - b[3] >= gap or b[1] - a[3] >= gap


def inside(frame: Frame, size: Size) -> bool:
    """Whether a frame lies in the picture."""
    return frame[0] >= 0 and frame[1] >= 0 and frame[2] <= size[0] and frame[3] <= size[1]


def swept(start: Frame, end: Frame) -> Frame:
    """What a thing passes over on its way from one frame to another."""
    return min(start[0], end[0]), min(start[1], end[1]), max(start[2], end[2]), max(start[3], end[3])


def cast(
    rng: Random,
    size: Size,
    wanted: Sequence[tuple[str, str]],
    *,
    kinds: Sequence[Scale] = ("small", "medium", "medium", "large"),
    gap: int = 3,
    sides: tuple[int, int] | None = None,
) -> list[Actor]:
    """A place for every (name, colour), none touching another; what finds no place, even small, is left out.

    `kinds` are the sizes to choose from, or `sides` the pixels of the longer side in a frame of 192.
    """
    unit, actors = max(size) / 192, list[Actor]()
    for name, colour in wanted:
        kind, turn = rng.choice(kinds), round(rng.uniform(-15, 15), 1)
        for attempt in range(TRIES):
            if attempt % 12 == 0:
                kind = kind if attempt == 0 else "small"
                mark = stamp(name, rng.randint(*(sides or SIDES[kind])) * unit, turn)
            room = size[0] - mark.size[0], size[1] - mark.size[1]
            if min(room) < 0:
                continue
            shade = jitter(rng, RGB[colour])
            at = rng.randint(0, room[0]), rng.randint(0, room[1])
            actor = Actor(name, colour, shade, kind, turn, mark, at, len(actors))
            if all(apart(actor.frame, other.frame, gap) for other in actors):
                actors.append(actor)
                break
    return actors


def other_colours(colour: str, allowed: Iterable[str]) -> list[str]:
    """Those of the allowed colours that nobody would take for this one."""
    return [name for name in allowed if name != colour and distance(RGB[name], RGB[colour]) >= 150]


def render(ground: Image.Image, actors: Sequence[Actor], *, image: int = 0) -> tuple[Image.Image, tuple[Thing, ...]]:
    """A picture of the actors on a copy of the ground, later ones in front, and what can be seen of each."""
    picture = ground.copy()
    owner = np.full((picture.height, picture.width), -1, np.int8)
    for index, actor in enumerate(actors):
        actor.stamp.paint(picture, actor.at, actor.shade)
        x1, y1, x2, y2 = actor.frame
        owner[y1:y2, x1:x2][actor.stamp.bitmap] = index
    seen = (_seen(actor, owner == index, image) for index, actor in enumerate(actors))
    return picture, tuple(thing for thing in seen if thing is not None)


def _seen(actor: Actor, bitmap: geometry.Bitmap, image: int) -> Thing | None:
    x, y = actor.at
    part = bitmap[y : actor.frame[3], x : actor.frame[2]]
    rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
    if not len(rows):
        return None
    left = int(np.count_nonzero(part))
    whole = left == actor.stamp.area
    contour = actor.stamp.outline if whole else geometry.bitmap_to_polygons(part, tolerance=0.75)[0]
    width, height = bitmap.shape[1], bitmap.shape[0]
    polygon = tuple((min(max(px + x, 0.0), width), min(max(py + y, 0.0), height)) for px, py in contour)
    box = float(x + columns[0]), float(y + rows[0]), float(x + columns[-1] + 1), float(y + rows[-1] + 1)
    share, known = left / actor.stamp.area, {"actor": actor.key}
    return Thing(actor.name, actor.colour, box, polygon, bitmap, actor.size, actor.rotation, share, image, known)
