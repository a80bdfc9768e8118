"""Textured surfaces and what can be wrong with them: integer arithmetic only, so bytes are the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from imglish.core.types import Size

Plane = NDArray[np.int32]  # (height, width)
Alpha = NDArray[np.int32]  # (height, width), 0 sound to 255 wholly covered

FINE = 3  # marks are drawn this many times larger and averaged down: smooth edges, exact coverage

BASES: dict[str, tuple[tuple[int, int, int], ...]] = {
    "metal": ((150, 154, 160), (128, 134, 142), (176, 150, 96), (178, 128, 102), (112, 120, 132)),
    "fabric": ((150, 134, 108), (96, 118, 152), (142, 92, 88), (104, 132, 104), (164, 160, 150), (122, 104, 138)),
    "wood": ((168, 122, 78), (186, 146, 96), (138, 94, 60), (198, 166, 122)),
    "concrete": ((148, 146, 142), (168, 164, 156), (128, 130, 132)),
}
MATERIALS = tuple(BASES)
DEFECTS = ("scratch", "hole", "stain", "crack", "dent")


@lru_cache(maxsize=64)
def _weights(length: int, cell: int, phase: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    position = (np.arange(length, dtype=np.int32) + phase) * 256 // cell
    return position >> 8, position & 255


def noise(rng: Random, size: Size, cell: Size) -> Plane:
    """Smooth noise of -128..127: random values every `cell` pixels, linear between them."""
    (width, height), (cell_x, cell_y) = size, cell
    column, right = _weights(width, cell_x, rng.randrange(cell_x))
    row, below = _weights(height, cell_y, rng.randrange(cell_y))
    across, down = width // cell_x + 3, height // cell_y + 3
    grid: Plane = np.frombuffer(rng.randbytes(across * down), np.uint8).reshape(down, across).astype(np.int32)
    wide: Plane = grid[:, column] * (256 - right) + grid[:, column + 1] * right
    smooth: Plane = wide[row] * (256 - below[:, None]) + wide[row + 1] * below[:, None]
    return (smooth >> 16) - 128


def _metal(rng: Random, size: Size) -> Plane:
    streaks = noise(rng, size, (rng.randint(20, 48), 1)) * rng.randint(20, 34)
    sheen = noise(rng, size, (max(size) // 2, max(size) // 3)) * rng.randint(24, 44)
    return (streaks + sheen) >> 7


def _fabric(rng: Random, size: Size) -> Plane:
    pitch, twill = rng.choice((4, 5, 6, 8)), rng.randrange(2)
    x, y = np.arange(size[0], dtype=np.int32), np.arange(size[1], dtype=np.int32)[:, None]
    over = ((x // pitch + y // pitch) % 3 == 0) if twill else ((x // pitch + y // pitch) % 2 == 0)
    profile_x, profile_y = abs(2 * (x % pitch) - pitch + 1), abs(2 * (y % pitch) - pitch + 1)
    thread: Plane = np.where(over, 12 - profile_x * 26 // pitch, -4 - profile_y * 26 // pitch)
    return thread + ((noise(rng, size, (2, 2)) * 14 + noise(rng, size, (60, 60)) * 16) >> 7)


def _wood(rng: Random, size: Size) -> Plane:
    bend = noise(rng, size, (size[0] // 2 + 1, size[1] // 5 + 1)) * rng.randint(20, 48)
    period = rng.randint(9, 20) * 256
    y = np.arange(size[1], dtype=np.int32)[:, None] * 256 + bend * 2
    rings = abs((y % period) * 2 - period) * 52 // period - 26
    return rings + ((noise(rng, size, (30, 1)) * 22 + noise(rng, size, (90, 40)) * 16) >> 7)


def _concrete(rng: Random, size: Size) -> Plane:
    clouds, spots, grains = noise(rng, size, (40, 40)), noise(rng, size, (7, 7)), noise(rng, size, (1, 1))
    return (clouds * 24 + spots * 16 + grains * rng.randint(12, 22)) >> 7


_TEXTURES: dict[str, Callable[[Random, Size], Plane]] = {
    "metal": _metal,
    "fabric": _fabric,
    "wood": _wood,
    "concrete": _concrete,
}


def surface(rng: Random, material: str, *, size: Size, rough: bool = False) -> NDArray[np.int32]:
    """(height, width, 3) of a sound surface; `rough` has half as much texture again."""
    turned = material in ("metal", "wood") and rng.random() < 0.4
    shade = _TEXTURES[material](rng, size[::-1] if turned else size)
    shade = shade.T if turned else shade
    light = 128 + rng.randint(-14, 14) + (shade * 3 // 2 if rough else shade)
    base = np.array(rng.choice(BASES[material]), np.int32) + rng.randint(-10, 10)
    return np.asarray(np.clip(light[:, :, None] * base >> 7, 0, 255))


def cover(size: Size, strokes: Callable[[ImageDraw.ImageDraw, int], None]) -> Alpha:
    """How much of each pixel the strokes cover, 0..255; `strokes` draws with 255 at FINE times the scale."""
    canvas = Image.new("L", (size[0] * FINE, size[1] * FINE))
    strokes(ImageDraw.Draw(canvas), FINE)
    return np.asarray(canvas.reduce(FINE), np.int32)


def blend(pixels: NDArray[np.int32], alpha: Alpha, colour: NDArray[np.int32]) -> None:
    """Lay `colour` over `pixels` in place, as strongly as `alpha` says."""
    pixels += (colour - pixels) * alpha[:, :, None] // 255
