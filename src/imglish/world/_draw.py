"""Drawing: grounds, and stamps of things.

Everything is done by integer steps of Pillow (nearest rotation of a large master, then an average), so that the same
seed gives the same bytes on every machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, cached_property
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imglish.core import geometry
from imglish.core.types import Size
from imglish.world import _shapes
from imglish.world._words import COLOURS, RGB

Rgb = tuple[int, int, int]
FINE = 3  # a stamp is turned at this many times its size, then averaged
_STYLES = ("plain", "gradient", "gradient", "grain", "stripes", "checks", "blotches")
CONTRAST = 150.0  # least distance between a thing's colour and its ground
_SOLID = [0] + [255] * 255
_DETAILS = [0] * 100 + [255] * 100 + [0] * 56
_GROUNDS = (  # light, middle and dark: none of them is one of the colours of things
    *((244, 242, 238), (226, 232, 240), (236, 226, 214), (218, 234, 220), (240, 224, 230), (214, 214, 218)),
    *((176, 182, 190), (190, 180, 166), (168, 186, 172), (150, 154, 162), (196, 186, 204)),
    *((64, 68, 78), (52, 60, 72), (76, 70, 66), (58, 74, 70), (44, 44, 52)),
)


def distance(a: Rgb, b: Rgb) -> float:
    """How far two colours look apart, 0 to about 765 ("redmean": a weighted distance that is cheap and good enough)."""
    mean = (a[0] + b[0]) / 2
    red, green, blue = a[0] - b[0], a[1] - b[1], a[2] - b[2]
    return math.sqrt((2 + mean / 256) * red * red + 4 * green * green + (2 + (255 - mean) / 256) * blue * blue)


def colours_on(*grounds: Rgb, contrast: float = CONTRAST) -> list[str]:
    """The colours of things that stand out from all of these grounds."""
    return [name for name in COLOURS if all(distance(RGB[name], ground) >= contrast for ground in grounds)]


def jitter(rng: Random, colour: Rgb, amount: int = 12) -> Rgb:
    """A shade near a colour."""
    red, green, blue = (min(255, max(0, value + rng.randint(-amount, amount))) for value in colour)
    return red, green, blue


def ground(rng: Random, size: Size, *, plain: bool = False) -> tuple[Image.Image, tuple[Rgb, ...]]:
    """A plain, gradient or textured ground, and the colours it is made of (things must stand out from each)."""
    base = jitter(rng, rng.choice(_GROUNDS), 8)
    style = "plain" if plain else rng.choice(_STYLES)
    if style == "plain":
        return Image.new("RGB", size, base), (base,)
    other = _near(rng, base, 44 if style == "gradient" else 26)
    if style == "gradient":
        corners = Image.new("RGB", (2, 2), base)
        for at in rng.sample(((0, 0), (1, 0), (0, 1), (1, 1)), 2):
            corners.putpixel(at, other)
        return corners.resize(size, Image.Resampling.BILINEAR, box=(0.5, 0.5, 1.5, 1.5)), (base, other)
    picture = Image.new("RGB", size, base)
    picture.paste(other, (0, 0), _texture(rng, size, style))
    return picture, (base, other)


def _near(rng: Random, colour: Rgb, reach: int) -> Rgb:
    lighter = sum(colour) < 300 or (sum(colour) < 600 and rng.random() < 0.5)
    shift = rng.randint(reach // 2, reach) * (1 if lighter else -1)
    red, green, blue = (min(255, max(0, value + shift + rng.randint(-6, 6))) for value in colour)
    return red, green, blue


def _texture(rng: Random, size: Size, style: str) -> Image.Image:
    width, height = size
    if style == "grain":
        return Image.frombytes("L", size, rng.randbytes(width * height))
    if style == "blotches":
        cell = rng.randint(8, 32)
        small = (max(2, width // cell), max(2, height // cell))
        return Image.frombytes("L", small, rng.randbytes(small[0] * small[1])).resize(size, Image.Resampling.BILINEAR)
    step = rng.randint(6, 24)
    tile = Image.new("L", (2 * step, 2 * step), 0)
    tile.paste(255, (0, 0, step, step if style == "checks" else 2 * step))
    if style == "checks":
        tile.paste(255, (step, step, 2 * step, 2 * step))
    elif rng.random() < 0.5:
        tile = tile.transpose(Image.Transpose.ROTATE_90)
    row = Image.new("L", (width, 2 * step))
    for x in range(0, width, 2 * step):
        row.paste(tile, (x, 0))
    mask = Image.new("L", size)
    for y in range(0, height, 2 * step):
        mask.paste(row, (0, y))
    return mask


@dataclass(frozen=True, eq=False)
class Stamp:
    """A thing ready to be put down: how much of each pixel it covers, its details, and its outline in stamp pixels."""

    solid: Image.Image
    details: Image.Image
    bitmap: NDArray[np.bool_]
    outline: geometry.Floats  # (n, 2)
    dark: bool  # whether details are darker than the thing's colour, not lighter

    @property
    def size(self) -> Size:
        """Width and height in pixels."""
        return self.solid.size

    @cached_property
    def area(self) -> int:
        """Pixels that it covers."""
        return int(np.count_nonzero(self.bitmap))

    def paint(self, picture: Image.Image, at: tuple[int, int], colour: Rgb) -> None:
        """Put the thing down with its top left corner `at`."""
        picture.paste(colour, at, self.solid)
        picture.paste(shade(colour, dark=self.dark), at, self.details)


def shade(colour: Rgb, *, dark: bool) -> Rgb:
    """The colour of details: a much darker or lighter one, the other way round where there is no room."""
    light = sum(colour)
    if dark and light > 150:
        return colour[0] * 3 // 10, colour[1] * 3 // 10, colour[2] * 3 // 10
    if not dark and light > 690:
        return 150, 150, 156
    share = 0.6 if dark else 0.8
    red, green, blue = (round(value + (255 - value) * share) for value in colour)
    return red, green, blue


@cache
def outline(name: str) -> geometry.Floats:
    """The outer contour of a master as (n, 2), around the master's centre, in shares of MASTER."""
    picture = _shapes.master(name)
    contour = geometry.bitmap_to_polygons(np.asarray(picture) > 0)[0]
    points = np.array(geometry.simplify(contour, 48, tolerance=1.0))
    return (points - (picture.width / 2, picture.height / 2)) / _shapes.MASTER


def stamp(name: str, side: float, rotation: float = 0.0, stretch: float = 1.0) -> Stamp:
    """A thing whose longer side is `side` pixels, `stretch` times as wide, turned clockwise by `rotation` degrees."""
    picture = _shapes.master(name)
    cosine, sine = math.cos(math.radians(rotation)), math.sin(math.radians(rotation))
    scale = side / _shapes.MASTER
    wide, high = picture.width * scale * stretch, picture.height * scale
    width = math.ceil(abs(wide * cosine) + abs(high * sine)) + 2
    height = math.ceil(abs(wide * sine) + abs(high * cosine)) + 2
    back = 1.0 / (FINE * scale)
    a, b, d, e = cosine * back / stretch, sine * back / stretch, -sine * back, cosine * back
    c = picture.width / 2 - a * width * FINE / 2 - b * height * FINE / 2
    f = picture.height / 2 - d * width * FINE / 2 - e * height * FINE / 2
    fine = picture.transform(
        (width * FINE, height * FINE), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.NEAREST
    )
    solid, details = fine.point(_SOLID).reduce(FINE), fine.point(_DETAILS).reduce(FINE)
    turn = np.array([[stretch * cosine, stretch * sine], [-sine, cosine]])
    contour = outline(name) @ turn * side + (width / 2, height / 2)
    return Stamp(solid, details, np.asarray(solid) >= 128, contour, _shapes.is_dark(name))
