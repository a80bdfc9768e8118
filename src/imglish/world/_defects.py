"""Five things that can be wrong with a surface: each draws itself in place and returns the pixels it touched."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

from imglish.core.types import Size
from imglish.world._surface import Alpha, blend, cover

Pixels = NDArray[np.int32]
Bitmap = NDArray[np.bool_]
Path = list[tuple[int, int]]  # in sixteenths of a pixel

# cosines and sines of the 24 multiples of 15 degrees, times 1024: no floating point library in the way
_COS = (1024, 989, 887, 724, 512, 265, 0, -265, -512, -724, -887, -989)
COSINES = tuple(_COS) + tuple(-value for value in _COS)
STEPS = len(COSINES)

STAINS = ((74, 46, 24), (34, 32, 30), (120, 58, 24), (58, 66, 40))


def _toward(x: int, y: int, step: int, length: int) -> tuple[int, int]:
    return x + length * COSINES[step % STEPS] // 1024, y + length * COSINES[(step - 6) % STEPS] // 1024


def _polyline(size: Size, path: Path, width: int) -> Alpha:
    """`width` in thirds of a pixel, at least two pixels."""

    def strokes(pen: ImageDraw.ImageDraw, fine: int) -> None:
        pen.line([(x * fine // 16, y * fine // 16) for x, y in path], fill=255, width=max(width, 6), joint="curve")

    return cover(size, strokes)


def _blob(rng: Random, size: Size, radius: Size, wobble: int) -> Alpha:
    """A closed shape of radii `radius`, each of its corners up to `wobble` percent nearer to the middle."""
    x, y = _place(rng, size, max(radius) + 2)
    raw = [100 - rng.randint(0, wobble) for _ in range(STEPS)]
    smooth = [(raw[i - 1] + 2 * raw[i] + raw[(i + 1) % STEPS]) // 4 for i in range(STEPS)]

    def strokes(pen: ImageDraw.ImageDraw, fine: int) -> None:
        corners = [
            (
                x * fine + radius[0] * fine * smooth[i] * COSINES[i] // 102400,
                y * fine + radius[1] * fine * smooth[i] * COSINES[(i - 6) % STEPS] // 102400,
            )
            for i in range(STEPS)
        ]
        pen.polygon(corners, fill=255)

    return cover(size, strokes)


def _place(rng: Random, size: Size, margin: int) -> tuple[int, int]:
    return tuple(rng.randint(min(margin, side // 2), max(side - margin - 1, side // 2)) for side in size)  # type: ignore[return-value]


def _scratch(pixels: Pixels, rng: Random, size: Size, unit: int) -> Bitmap:
    x, y = (16 * value for value in _place(rng, size, min(size) // 4))
    heading, turn, path = rng.randrange(STEPS), rng.choice((-1, 0, 0, 1)), [(x, y)]
    for bit in range(rng.randint(5, 9)):
        path.append(_toward(*path[-1], heading + (turn if bit > 2 else 0), unit * rng.randint(9, 16)))
    alpha = _polyline(size, path, rng.randint(6, 9) * unit // 16)
    shadow = np.roll(alpha, (1, 1), (0, 1)) * 3 // 5
    blend(pixels, shadow, pixels * 9 // 20)
    blend(pixels, alpha, np.minimum(pixels + rng.randint(70, 100), 252))
    return alpha >= 90


def _crack(pixels: Pixels, rng: Random, size: Size, unit: int) -> Bitmap:
    x, y = (16 * value for value in _place(rng, size, min(size) // 4))
    heading, trunk = rng.randrange(STEPS), [(x, y)]
    for _ in range(rng.randint(6, 9)):
        trunk.append(_toward(*trunk[-1], heading + rng.choice((-3, -2, 2, 3)), unit * rng.randint(7, 12)))
    alpha = _polyline(size, trunk, rng.randint(7, 9) * unit // 16)
    for at in rng.sample(range(2, len(trunk) - 1), rng.randint(2, 3)):
        side, branch = rng.choice((-4, 4)), [trunk[at]]
        for _ in range(rng.randint(2, 3)):
            branch.append(_toward(*branch[-1], heading + side + rng.choice((-2, 2)), unit * rng.randint(5, 9)))
        alpha = np.maximum(alpha, _polyline(size, branch, 6 * unit // 16))
    blend(pixels, alpha * 9 // 10, np.full_like(pixels, rng.randint(14, 34)))
    return alpha >= 90


def _hole(pixels: Pixels, rng: Random, size: Size, unit: int) -> Bitmap:
    radius = rng.randint(unit * 9 // 20, unit)
    alpha = _blob(rng, size, (radius, radius * rng.randint(75, 100) // 100), 24)
    blend(pixels, np.roll(alpha, (1, 1), (0, 1)), np.minimum(pixels + 60, 250))
    blend(pixels, alpha, np.full_like(pixels, rng.randint(8, 26)))
    blend(pixels, np.minimum(alpha, np.roll(alpha, (4, 3), (0, 1))), np.full_like(pixels, rng.randint(30, 46)))
    return alpha >= 128


def _stain(pixels: Pixels, rng: Random, size: Size, unit: int) -> Bitmap:
    radius = (rng.randint(unit, unit * 2), rng.randint(unit, unit * 2))
    alpha = _blob(rng, size, radius, 48)
    colour = np.array(rng.choice(STAINS), np.int32)
    inner = np.minimum.reduce([np.roll(alpha, shift, axis) for axis in (0, 1) for shift in (-2, 2)])
    blend(pixels, (alpha - inner) * 3 // 4 + inner * rng.randint(45, 60) // 100, np.broadcast_to(colour, pixels.shape))
    return alpha >= 128


def _dent(pixels: Pixels, rng: Random, size: Size, unit: int) -> Bitmap:
    radius = (rng.randint(unit, unit * 8 // 5), rng.randint(unit, unit * 8 // 5))
    alpha = _blob(rng, size, radius, 8)
    rows, columns = np.nonzero(alpha >= 128)
    x, y = int(columns.min() + columns.max()) // 2, int(rows.min() + rows.max()) // 2
    light = rng.choice((16, 17, 18, 19, 20))  # the lamp is above: the near wall of a dent lies in shadow
    across = (np.arange(size[0], dtype=np.int32) - x) * COSINES[light % STEPS] // max(radius[0], 1)
    down = (np.arange(size[1], dtype=np.int32)[:, None] - y) * COSINES[(light - 6) % STEPS] // max(radius[1], 1)
    depth = np.clip((across + down) * rng.randint(72, 92) // 1024, -110, 110)
    blend(pixels, alpha, np.clip(pixels - depth[:, :, None] - 6, 0, 255))
    return alpha >= 128


_MARKS: dict[str, Callable[[Pixels, Random, Size, int], Bitmap]] = {
    "scratch": _scratch,
    "hole": _hole,
    "stain": _stain,
    "crack": _crack,
    "dent": _dent,
}


def spoil(pixels: Pixels, rng: Random, defect: str) -> Bitmap:
    """Draw one `defect` into `pixels` (height, width, 3) in place; its own pixels as (height, width) bitmap."""
    size = (pixels.shape[1], pixels.shape[0])
    return _MARKS[defect](pixels, rng, size, max(8, min(size) * 16 // 192))
