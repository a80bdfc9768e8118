"""How an image of any size becomes what a model sees: squashed, padded, resized, tiled, or as it is.

A frame fits images with whole pixels, and `Fitted` is the affine map that the pixels really took.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from imglish.core.errors import InputError
from imglish.core.geometry import Floats
from imglish.core.types import Point, Size


@dataclass(frozen=True)
class Fitted:
    """One image in one frame: a point p of the original is at p * scale + pad in the frame of `size`."""

    original: Size
    size: Size
    scale_x: float = 1.0
    scale_y: float = 1.0
    pad_x: float = 0.0
    pad_y: float = 0.0
    tiles: int = 1
    grid: tuple[int, int] = (1, 1)

    @property
    def scale(self) -> Point:
        """scale_x and scale_y."""
        return (self.scale_x, self.scale_y)

    @property
    def pad(self) -> Point:
        """pad_x and pad_y: frame pixels left of and above the image."""
        return (self.pad_x, self.pad_y)

    def forward(self, points: ArrayLike) -> Floats:
        """Points (..., 2) of the original in frame pixels."""
        return np.asarray(points, dtype=np.float64) * self.scale + self.pad

    def backward(self, points: ArrayLike) -> Floats:
        """Points (..., 2) of the frame in pixels of the original; those on padding lie outside the image."""
        return (np.asarray(points, dtype=np.float64) - self.pad) / self.scale

    def apply(
        self,
        image: Image.Image,
        *,
        fill: tuple[int, int, int] = (127, 127, 127),
        resample: Image.Resampling = Image.Resampling.BICUBIC,
    ) -> Image.Image:
        """The RGB image as the model sees it, padded with `fill`; the pixels move exactly as `forward` says."""
        if image.size != self.original:
            raise InputError(f"the image is {image.size}, and this fit was made for {self.original}")
        inner = (round(self.original[0] * self.scale_x), round(self.original[1] * self.scale_y))
        fitted = image if inner == image.size else image.resize(inner, resample)
        if inner == self.size:
            return fitted
        frame = Image.new("RGB", self.size, fill)
        frame.paste(fitted, (round(self.pad_x), round(self.pad_y)))
        return frame


class Frame(Protocol):
    """How images are fitted into what the model sees."""

    def fit(self, size: Size) -> Fitted:
        """The fit of an image of `size` (width, height)."""
        ...


@dataclass(frozen=True)
class Identity:
    """The model sees the image as it is."""

    def fit(self, size: Size) -> Fitted:
        """The fit that changes nothing."""
        return Fitted(_checked(size), size)


@dataclass(frozen=True)
class Squash:
    """The image is resized to `size` whatever its shape (CLIP without crop, Florence-2, PaliGemma)."""

    size: Size

    def fit(self, size: Size) -> Fitted:
        """One scale for each axis, no padding."""
        width, height = _checked(size)
        return Fitted(size, self.size, self.size[0] / width, self.size[1] / height)


@dataclass(frozen=True)
class Pad:
    """The image is resized to fit into `size` with its shape kept, and the rest is padding (letterbox)."""

    size: Size
    anchor: Literal["centre", "corner"] = "centre"

    def fit(self, size: Size) -> Fitted:
        """Both scales are equal up to rounding to whole pixels; the image stands in the centre or top-left corner."""
        width, height = _checked(size)
        ratio = min(self.size[0] / width, self.size[1] / height)
        inner = [max(1, min(round(side * ratio), room)) for side, room in zip(size, self.size, strict=True)]
        pad = [0, 0]
        if self.anchor == "centre":
            pad = [(room - side) // 2 for side, room in zip(inner, self.size, strict=True)]
        return Fitted(size, self.size, inner[0] / width, inner[1] / height, pad[0], pad[1])


@dataclass(frozen=True)
class PaddedSquare:
    """Padded to a square first, then resized to `side` (LLaVA 1.5: whole pixels are added before the resize)."""

    side: int

    def fit(self, size: Size) -> Fitted:
        """Raises InputError for an image without pixels."""
        width, height = _checked(size)
        longest = max(width, height)
        scale = self.side / longest
        pad = ((longest - width) // 2 * scale, (longest - height) // 2 * scale)
        return Fitted(size, (self.side, self.side), scale, scale, *pad)


@dataclass(frozen=True)
class Resized:
    """Sides are rounded to a `multiple`, the area is held between two bounds, the shape is nearly kept (Qwen-VL)."""

    min_pixels: int
    max_pixels: int
    multiple: int = 28

    def fit(self, size: Size) -> Fitted:
        """The arithmetic of Qwen2-VL's `smart_resize`."""
        width, height = _checked(size)
        step, pixels = self.multiple, width * height
        new = [round(side / step) * step for side in size]
        if new[0] * new[1] > self.max_pixels:
            shrink = math.sqrt(pixels / self.max_pixels)
            new = [max(step, math.floor(side / shrink / step) * step) for side in size]
        elif new[0] * new[1] < max(self.min_pixels, 1):  # a thin side may have been rounded to nothing
            grow = math.sqrt(max(self.min_pixels, 1) / pixels)
            new = [math.ceil(side * grow / step) * step for side in size]
        return Fitted(size, (new[0], new[1]), new[0] / width, new[1] / height)


@dataclass(frozen=True)
class Tiled:
    """The image is squashed onto the grid of square tiles nearest to its shape, at most `max_tiles` (InternVL).

    With `thumbnail`, more than one tile is followed by one of the whole image, which counts among `Fitted.tiles`.
    """

    tile: int
    max_tiles: int = 12
    min_tiles: int = 1
    thumbnail: bool = True

    def fit(self, size: Size) -> Fitted:
        """The grid (columns, rows) is chosen as InternVL's `find_closest_aspect_ratio` does."""
        width, height = _checked(size)
        bound = range(1, self.max_tiles + 1)
        grids = [(c, r) for c in bound for r in bound if self.min_tiles <= c * r <= self.max_tiles]
        best, nearest = (1, 1), math.inf
        for columns, rows in sorted(grids, key=lambda grid: (grid[0] * grid[1], grid)):
            off = abs(width / height - columns / rows)
            large_enough = width * height > 0.5 * self.tile**2 * columns * rows
            if off < nearest or (off == nearest and large_enough):
                best, nearest = (columns, rows), off
        frame = (best[0] * self.tile, best[1] * self.tile)
        count = best[0] * best[1]
        tiles = count + (1 if self.thumbnail and count > 1 else 0)
        return Fitted(size, frame, frame[0] / width, frame[1] / height, tiles=tiles, grid=best)


def _checked(size: Size) -> Size:
    if size[0] < 1 or size[1] < 1:
        raise InputError(f"an image of size {size[0]} x {size[1]} has no pixels")
    return size
