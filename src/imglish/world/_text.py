"""Lines of text drawn at any angle, with the exact place of the line and of each of its characters.

Masks are made with integer arithmetic from FreeType's own rendering (basic layout), so the bytes are the same on every
machine: upright lines at their true size, turned ones at four times it, sampled to the nearest pixel and averaged.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from imglish.core.errors import MissingExtra
from imglish.core.types import Point
from imglish.world._scene import TextLine

Colour = tuple[int, int, int]
FACES = {
    "sans": "DejaVuSans.ttf",
    "sans bold": "DejaVuSans-Bold.ttf",
    "sans oblique": "DejaVuSans-Oblique.ttf",
    "serif": "DejaVuSerif.ttf",
    "serif bold": "DejaVuSerif-Bold.ttf",
    "serif italic": "DejaVuSerif-Italic.ttf",
    "mono": "DejaVuSansMono.ttf",
    "mono bold": "DejaVuSansMono-Bold.ttf",
}
_STAND_IN = {"mono": "sans", "mono bold": "sans bold", "sans oblique": "sans", "serif italic": "serif"}
_FINE = 4  # a turned line is drawn this many times larger, then averaged


@dataclass(frozen=True, eq=False)
class Laid:
    """A line ready to be stamped: its mask, and its quad and centres in pixels of the mask.

    `axis` runs along the line from end to end, half a capital above the baseline: rows are aligned by it.
    """

    string: str
    mask: Image.Image
    quad: tuple[Point, Point, Point, Point]
    centres: tuple[Point, ...]
    axis: tuple[Point, Point]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the mask."""
        return self.mask.size


@lru_cache(maxsize=1)
def _folder() -> Path:
    found = importlib.util.find_spec("matplotlib")  # located, never imported: it carries the DejaVu fonts
    if found is None or found.origin is None:
        raise MissingExtra("the fonts of matplotlib are not installed", hint="install them with pip install matplotlib")
    return Path(found.origin).parent / "mpl-data" / "fonts" / "ttf"


@lru_cache(maxsize=512)
def font(face: str, px: int) -> ImageFont.FreeTypeFont:
    """One of `FACES` at `px` pixels to the em."""
    return ImageFont.truetype(str(_folder() / FACES[face]), px, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=8192)
def _has(face: str, character: str) -> bool:
    """Whether the face has a glyph of its own for this character."""
    if character == " ":
        return True
    one, none = (font(face, 24).getmask(text) for text in (character, "\uffff"))
    return one.size != none.size or bytes(one) != bytes(none)


def face_for(string: str, face: str) -> str:
    """The face itself, or the one that stands in for it where it lacks a letter of `string`."""
    return face if all(_has(face, character) for character in string) else _STAND_IN.get(face, "sans")


def width(string: str, face: str, px: int) -> float:
    """Advance of an upright line, in pixels."""
    return float(font(face, px).getlength(string))


@lru_cache(maxsize=2048)
def lay(string: str, face: str, px: int, angle: float = 0.0) -> Laid:
    """`string` turned clockwise by `angle` degrees; the quad is the tight box of its ink, turned with it."""
    scale = 1 if angle == 0 else _FINE
    mask, box, stops, level = _upright(string, font(face, px * scale))
    centres = [((a + b) / 2, (box[1] + box[3]) / 2) for a, b in itertools.pairwise(stops)]
    corners: list[Point] = [(box[0], box[1]), (box[2], box[1]), (box[2], box[3]), (box[0], box[3])]
    ends: list[Point] = [(box[0], level), (box[2], level)]
    if scale > 1:
        mask, (corners, centres, ends) = _turned(mask, angle, [corners, centres, ends])
    a, b, c, d = corners
    return Laid(string, mask, (a, b, c, d), tuple(centres), (ends[0], ends[1]))


def stamp(image: Image.Image, laid: Laid, at: tuple[int, int], colour: Colour, index: int = 0) -> TextLine:
    """Draws the line with the upper left corner of its mask at `at`; the truth is in pixels of `image`."""
    ImageDraw.Draw(image).bitmap(at, laid.mask, fill=colour)
    a, b, c, d = ((x + at[0], y + at[1]) for x, y in laid.quad)
    return TextLine(laid.string, (a, b, c, d), tuple((x + at[0], y + at[1]) for x, y in laid.centres), index)


def write(
    image: Image.Image,
    string: str,
    at: Point,
    px: int,
    *,
    face: str = "sans",
    colour: Colour = (0, 0, 0),
    angle: float = 0.0,
    anchor: str = "left",
) -> TextLine:
    """Draws one line; `at` is the middle of its left end, its centre or its right end, after `anchor`."""
    laid = lay(string, face, px, angle)
    share = {"left": 0.0, "centre": 0.5, "right": 1.0}[anchor]
    x, y = (first + (last - first) * share for first, last in zip(*laid.axis, strict=True))
    return stamp(image, laid, (round(at[0] - x), round(at[1] - y)), colour)


def _upright(
    string: str, face: ImageFont.FreeTypeFont
) -> tuple[Image.Image, tuple[int, int, int, int], list[float], float]:
    """The mask, the box of its ink, where each character begins and the last one ends, and the height of the axis."""
    stops = [float(face.getlength(string[:count])) for count in range(len(string) + 1)]
    margin = int(face.size) // 2 + 2
    high = int(face.size * 2) + 2
    mask = Image.new("L", (math.ceil(stops[-1]) + 2 * margin, high))
    draw = ImageDraw.Draw(mask)
    base = int(face.size * 3 // 2)
    draw.text((margin, base), string, font=face, fill=255, anchor="ls")
    ink = mask.getbbox() or (margin, margin, margin + 1, margin + 1)
    mask = mask.crop(ink)
    return (
        mask,
        (0, 0, mask.width, mask.height),
        [stop + margin - ink[0] for stop in stops],
        base - face.size * 0.365 - ink[1],
    )


def _turned(mask: Image.Image, angle: float, points: list[list[Point]]) -> tuple[Image.Image, list[list[Point]]]:
    """A `_FINE` times larger mask turned clockwise and averaged down, with `points` carried along."""
    cos, sin = (round(f(math.radians(angle)) * 65536) / 65536 for f in (math.cos, math.sin))
    wide, high = mask.size
    out_wide = _up(wide * abs(cos) + high * abs(sin))
    out_high = _up(wide * abs(sin) + high * abs(cos))
    middle, to = (wide / 2, high / 2), (out_wide / 2, out_high / 2)
    back = (cos, sin, middle[0] - cos * to[0] - sin * to[1], -sin, cos, middle[1] + sin * to[0] - cos * to[1])
    turned = mask.transform((out_wide, out_high), Image.Transform.AFFINE, back, Image.Resampling.NEAREST)

    def carry(point: Point) -> Point:
        x, y = point[0] - middle[0], point[1] - middle[1]
        return ((cos * x - sin * y + to[0]) / _FINE, (sin * x + cos * y + to[1]) / _FINE)

    return turned.reduce(_FINE), [[carry(point) for point in group] for group in points]


def _up(length: float) -> int:
    return (math.ceil(length) // _FINE + 2) * _FINE


@lru_cache(maxsize=1)
def _noise() -> NDArray[np.int16]:
    """A field of grain, mean 0 and standard deviation near 64, from a generator whose bytes never change."""
    raw = np.frombuffer(Random("grain").randbytes(3 * 512 * 512 * 3), np.uint8).reshape(3, 512, 512, 3)
    total: NDArray[np.int16] = raw.sum(0, dtype=np.int16)
    return (total - np.int16(382)) // np.int16(2)


def grain(image: Image.Image, rng: Random, amount: int, *, grey: bool = False) -> Image.Image:
    """The picture with grain of about `amount` grey levels (standard deviation) added."""
    field, (wide, high) = _noise(), image.size
    rows = np.arange(rng.randrange(512), rng.randrange(512, 1024) + high)[:high] % 512
    columns = (np.arange(wide) + rng.randrange(512)) % 512
    part = field[rows][:, columns, :1] if grey else field[rows][:, columns]
    values: NDArray[np.int16] = np.asarray(image, np.int16) + part * np.int16(amount) // 64
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def blur(image: Image.Image) -> Image.Image:
    """Each pixel the mean of itself and its three neighbours to the left and above: half a pixel of blur."""
    values = np.asarray(image, np.uint16)
    values = (values + np.concatenate([values[:1], values[:-1]])) // 2
    values = (values + np.concatenate([values[:, :1], values[:, :-1]], axis=1)) // 2
    return Image.fromarray(values.astype(np.uint8))
