"""What every thing looks like: a master picture per name, 255 where it has its colour, 128 for details, 0 outside.

Some are polygons and ellipses of our own on a 100 x 100 sheet, the others are pictographs of the DejaVu font.
A master is solid: holes count as details, so that the outer contour says all about its shape.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from imglish.world._text import font

MASTER = 256  # side of the square that a master fits into, in pixels
MAIN, DETAIL = 255, 128


def _star(points: int, inner: float, turn: float = -90.0) -> tuple[float, ...]:
    angles = [math.radians(turn + 180.0 * i / points) for i in range(2 * points)]
    radii = [50.0 if i % 2 == 0 else 50.0 * inner for i in range(2 * points)]
    return tuple(v for a, r in zip(angles, radii, strict=True) for v in (50 + r * math.cos(a), 50 + r * math.sin(a)))


# One step per row: p polygon, e ellipse, r rectangle, a line with width first; then the numbers. `+` is the thing's
# colour, `-` a detail, `0` cuts away. Numbers are percent of the sheet.
_OWN: dict[str, str] = {
    "circle": "+e 0 0 100 100",
    "square": "+r 0 0 100 100",
    "triangle": "+p 50 0 100 90 0 90",
    "rectangle": "+r 0 25 100 75",
    "heart": "+e 0 8 54 60; +e 46 8 100 60; +p 5 48 95 48 50 98; +p 20 30 80 30 92 52 50 96 8 52",
    "cross": "+r 33 0 67 100; +r 0 33 100 67",
    "ring": "+e 0 0 100 100; -e 27 27 73 73",
    "moon": "+e 0 0 100 100; 0e 32 -8 116 76",
    "hexagon": "+p 25 6 75 6 100 50 75 94 25 94 0 50",
    "diamond": "+p 50 0 82 50 50 100 18 50",
    "arrow": "+p 0 34 52 34 52 8 100 50 52 92 52 66 0 66",
    "house": "+p 50 0 100 46 0 46; +r 10 44 90 98; +r 70 6 82 40; -r 40 62 60 98; -r 18 54 32 70; -r 68 54 82 70",
    "tree": "+p 50 0 82 36 18 36; +p 50 16 92 62 8 62; +p 50 36 100 84 0 84; -r 42 84 58 100",
    "car": "+p 22 22 66 22 82 46 100 50 100 74 0 74 0 48 12 44; -e 12 60 36 86; -e 64 60 88 86;"
    "-p 26 28 44 28 44 44 18 44; -p 50 28 63 28 73 44 50 44",
    "fish": "+e 0 20 76 80; +p 62 50 100 18 90 50 100 82; -e 13 38 24 49; +p 30 26 52 6 58 30",
    "cup": "+p 4 12 72 12 66 92 10 92; +e 54 22 98 70; 0e 64 33 87 59; +p 4 12 72 12 68 66 6 66; -r 6 12 70 22",
    "key": "+e 0 28 46 74; -e 12 40 32 62; +r 40 44 100 58; +r 72 50 80 76; +r 88 50 98 82",
    "flag": "-r 8 0 18 100; +p 18 4 100 4 82 30 100 56 18 56",
    "mushroom": "+e 0 2 100 96; 0r -5 52 105 105; -p 36 52 64 52 70 98 30 98; "
    "-e 22 20 40 38; -e 56 10 70 24; -e 66 32 82 46",
    "apple": "+e 4 24 60 98; +e 40 24 96 98; +e 24 30 76 94; -p 46 34 50 4 58 6 53 34; -p 55 22 66 4 88 4 76 20",
    "boat": "+p 0 68 100 68 82 96 18 96; +p 50 6 94 62 50 62; +p 50 14 50 62 10 62; -r 47 2 53 68",
    "bell": "+e 22 6 78 70; +p 22 38 78 38 84 72 100 84 0 84 16 72; -e 40 78 60 99; -e 43 -2 57 12",
    "bottle": "-r 40 0 60 10; +r 42 8 58 34; +e 28 24 72 60; +r 28 42 72 100; -r 28 54 72 78",
    "hat": "+e 0 62 100 92; +p 26 14 74 14 78 76 22 76; -p 24 56 76 56 78 68 22 68",
    "lightning bolt": "+p 58 0 18 56 46 56 34 100 84 38 54 38 72 0",
    "padlock": "+e 20 0 80 72; 0e 34 15 66 60; 0r -5 40 105 105; +r 8 40 92 98; -e 41 54 59 72; -r 46 66 54 86",
    "pencil": "+r 16 33 76 67; -p 76 33 100 50 76 67; +p 92 44 100 50 92 56; -r 10 33 16 67; +r 0 33 10 67; "
    "-r 16 49 76 52",
    "drop": "+e 18 36 82 100; +p 50 0 78 56 22 56",
}
_CURVED: dict[str, tuple[float, ...]] = {"star": _star(5, 0.42)}

# A pictograph: its character, and whether its ink is the thing's colour ("ink") or what its ink encloses is ("fill");
# "join" is "ink" with the narrow gaps between its pieces closed.
_GLYPHS: dict[str, tuple[str, str]] = {
    "keyboard": ("\u2328", "fill"),
    "sun": ("\u2739", "ink"),
    "cloud": ("\u2601", "ink"),
    "umbrella": ("\u2602", "ink"),
    "telephone": ("\u260e", "join"),
    "clover": ("\u2618", "ink"),
    "hand": ("\u261b", "ink"),
    "skull": ("\u2620", "fill"),
    "smiley": ("\u263a", "fill"),
    "king": ("\u265a", "ink"),
    "queen": ("\u265b", "ink"),
    "rook": ("\u265c", "ink"),
    "knight": ("\u265e", "ink"),
    "pawn": ("\u265f", "ink"),
    "spade": ("\u2660", "ink"),
    "note": ("\u266b", "ink"),
    "dice": ("\u2684", "fill"),
    "anchor": ("\u2693", "ink"),
    "scales": ("\u2696", "ink"),
    "flower": ("\u273f", "ink"),
    "gear": ("\u2699", "ink"),
    "scissors": ("\u2702", "ink"),
    "plane": ("\u2708", "ink"),
    "envelope": ("\u2709", "fill"),
    "snowflake": ("\u2744", "ink"),
    "mouse": ("\U0001f42d", "fill"),
    "cow": ("\U0001f42e", "fill"),
    "cat": ("\U0001f431", "fill"),
    "monkey": ("\U0001f435", "fill"),
    "peace sign": ("\u262e", "ink"),
    "radiation sign": ("\u2622", "ink"),
    "check mark": ("\u2714", "ink"),
    "playing card": ("\U0001f0a1", "fill"),
}


def names() -> list[str]:
    """Every name that has a master."""
    return [*_OWN, *_CURVED, *_GLYPHS]


@cache
def master(name: str) -> Image.Image:
    """The master of a thing: an `L` picture, cropped to what is drawn, its longer side MASTER."""
    sheet = _pictograph(*_GLYPHS[name]) if name in _GLYPHS else _own(name)
    sheet = sheet.crop(sheet.getbbox())
    scale = MASTER / max(sheet.size)
    size = (max(1, round(sheet.width * scale)), max(1, round(sheet.height * scale)))
    return sheet.resize(size, Image.Resampling.NEAREST)


def _own(name: str) -> Image.Image:
    sheet = Image.new("L", (512, 512), 0)
    pen = ImageDraw.Draw(sheet)
    if name in _CURVED:
        pen.polygon([56 + round(v * 4) for v in _CURVED[name]], fill=MAIN)
        return sheet
    for step in _OWN[name].split(";"):
        head, *numbers = step.split()
        at = [56 + round(float(number) * 4) for number in numbers]
        ink = {"+": MAIN, "-": DETAIL, "0": 0}[head[0]]
        if head[1] == "p":
            pen.polygon(at, fill=ink)
        elif head[1] == "e":
            pen.ellipse(at, fill=ink)
        else:
            pen.rectangle(at, fill=ink)
    return sheet


def _pictograph(character: str, style: str) -> Image.Image:
    face = font("sans", 400)
    left, top, right, bottom = face.getbbox(character)
    sheet = Image.new("L", (round(right - left) + 20, round(bottom - top) + 20), 0)
    ImageDraw.Draw(sheet).text((10 - left, 10 - top), character, font=face, fill=255)
    ink = sheet.point([0] * 128 + [255] * 128)
    whole = ink.filter(ImageFilter.MaxFilter(17)).filter(ImageFilter.MinFilter(17)) if style == "join" else ink
    outside = _reached(np.asarray(whole) == 0)
    main, detail = (DETAIL, MAIN) if style == "fill" else (MAIN, DETAIL)
    solid = Image.fromarray(np.where(outside, 0, detail).astype(np.uint8))
    solid.paste(main, (0, 0), ink)
    return solid


def _reached(free: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The free pixels that a path through free neighbours joins to the first one (a flood fill, run by run)."""
    runs = []
    for axis in (1, 0):
        number = np.cumsum(~free, axis=axis)
        lines = np.arange(free.shape[1 - axis]) * (free.shape[axis] + 1)
        runs.append(number + (lines[:, None] if axis == 1 else lines[None, :]))
    reached = np.zeros_like(free)
    reached[0, 0], count = True, 0
    while count != (count := int(reached.sum())):
        for run in runs:
            hit = np.bincount(run[reached], minlength=int(run.max()) + 1) > 0
            reached = hit[run] & free
    return reached


def is_dark(name: str) -> bool:
    """Whether a thing's details are darker than its colour: those that a pictograph's lines drew."""
    return name in _GLYPHS and _GLYPHS[name][1] == "fill"
