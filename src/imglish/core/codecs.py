"""From pixels of the original image to the numbers a model reads and writes for places, and back.

A codec is a frame (how the image is fitted into what the model sees, `frames.py`) and a quantum (how a coordinate of
that frame is written down). Frames are exact, so nothing but the quantum is lost:
`decode(encode(boxes, size), size)` is within `quantum(size)` of `boxes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imglish.core.errors import InputError
from imglish.core.frames import Fitted, Frame, Identity, Pad, Resized, Squash, Tiled
from imglish.core.geometry import Floats, clip_points
from imglish.core.types import Point, Size

__all__ = [
    "Bins", "Codec", "Fitted", "Frame", "Identity", "Normalised", "Order", "Pad", "Pixels", "Quantum", "Resized",
    "Squash", "Tiled",
]  # fmt: skip

Order = Literal["xyxy", "yxyx", "xywh", "yxhw"]


class Quantum(Protocol):
    """How one coordinate of a frame is written: as a number made from its pixel and the frame's extent."""

    def write(self, pixels: Floats, extent: Floats) -> NDArray[Any]:
        """The numbers of frame pixels."""
        ...

    def read(self, values: Floats, extent: Floats) -> Floats:
        """The frame pixels of numbers."""
        ...

    def error(self, extent: Floats) -> Floats:
        """The most frame pixels that `read(write(...))` is off, inside the frame."""
        ...


@dataclass(frozen=True)
class Bins:
    """Whole numbers 0..n-1, one for each of n equal bins; read as the bin's centre (or its lower edge)."""

    n: int
    centre: bool = True

    def write(self, pixels: Floats, extent: Floats) -> NDArray[Any]:
        """The bin that each pixel coordinate falls into."""
        return np.clip(np.floor(np.round(pixels / extent * self.n, 9)), 0, self.n - 1).astype(np.int64)

    def read(self, values: Floats, extent: Floats) -> Floats:
        """The centre or lower edge of each bin."""
        return (values + (0.5 if self.centre else 0.0)) / self.n * extent

    def error(self, extent: Floats) -> Floats:
        """Half a bin, or a bin when read at its edge."""
        return (0.5 if self.centre else 1.0) / self.n * extent


@dataclass(frozen=True)
class Normalised:
    """The share of the frame's extent times `scale`, with `decimals`: 0.00..1.00, or 0..1000 in whole numbers."""

    scale: float = 1.0
    decimals: int = 2

    def write(self, pixels: Floats, extent: Floats) -> NDArray[Any]:
        """Rounded shares; whole numbers where there are no decimals."""
        values = np.round(np.clip(pixels / extent, 0.0, 1.0) * self.scale, self.decimals)
        return values.astype(np.int64) if self.decimals <= 0 else values

    def read(self, values: Floats, extent: Floats) -> Floats:
        """The pixel of each share."""
        return values / self.scale * extent

    def error(self, extent: Floats) -> Floats:
        """Half of the last decimal."""
        return 0.5 * 10.0**-self.decimals / self.scale * extent


@dataclass(frozen=True)
class Pixels:
    """Pixels of the frame itself, rounded to so many `decimals`."""

    decimals: int = 0

    def write(self, pixels: Floats, extent: Floats) -> NDArray[Any]:
        """Rounded pixels; whole numbers where there are no decimals."""
        values = np.round(np.clip(pixels, 0.0, extent), self.decimals)
        return values.astype(np.int64) if self.decimals <= 0 else values

    def read(self, values: Floats, extent: Floats) -> Floats:
        """The numbers as they are."""
        return values

    def error(self, extent: Floats) -> Floats:
        """Half of the last decimal."""
        return np.full_like(extent, 0.5 * 10.0**-self.decimals)


@dataclass(frozen=True)
class Codec:
    """A frame, a way to write numbers, and the order they are written in.

    Arrays end in 2 (points) or 4 (boxes). Points follow the order's first axis: `yxyx` writes points y first. With
    `xywh` and `yxhw` the last two numbers of a box are the differences of what its corners are written as.
    """

    frame: Frame
    quanta: Quantum
    order: Order = "xyxy"

    def __post_init__(self) -> None:
        if self.order not in get_args(Order):
            raise InputError(f"no order {self.order!r}; allowed are {', '.join(get_args(Order))}")

    def encode(self, places: ArrayLike, size: Size) -> NDArray[Any]:
        """What the model writes for points or boxes of an image of `size`; places outside the image are moved in."""
        points, shape = _pairs(places)
        fitted = self.frame.fit(size)
        written = self.quanta.write(fitted.forward(clip_points(points, size)), np.array(fitted.size, dtype=np.float64))
        if self._is_sized and shape[-1] == 4:
            written[..., 1, :] -= written[..., 0, :]
            if np.issubdtype(written.dtype, np.floating):
                written = np.round(written, 12)  # 0.3 - 0.1 is 0.2 again
        return (written[..., ::-1] if self._is_y_first else written).reshape(shape)

    def decode(self, values: ArrayLike, size: Size) -> Floats:
        """Points or boxes of an image of `size` from what the model wrote, moved into the image."""
        points, shape = self._read(values, size)
        return clip_points(points, size).reshape(shape)

    def in_range(self, values: ArrayLike, size: Size) -> NDArray[np.bool_]:
        """Whether each written place lies in the image, up to the quantum: `decode` moves the others in."""
        points, shape = self._read(values, size)
        off = np.abs(points - clip_points(points, size))
        inside = off <= np.array(self.quantum(size)) * (1 + 1e-9)
        return np.asarray(inside.reshape(shape).all(axis=-1))

    def quantum(self, size: Size) -> Point:
        """The most pixels of the original, along x and along y, that `decode(encode(...))` is off."""
        fitted = self.frame.fit(size)
        x, y = self.quanta.error(np.array(fitted.size, dtype=np.float64)) / fitted.scale
        return (float(x), float(y))

    @property
    def _is_sized(self) -> bool:
        return self.order in ("xywh", "yxhw")

    @property
    def _is_y_first(self) -> bool:
        return self.order.startswith("y")

    def _read(self, values: ArrayLike, size: Size) -> tuple[Floats, tuple[int, ...]]:
        pairs, shape = _pairs(values)
        if self._is_y_first:
            pairs = pairs[..., ::-1]
        if self._is_sized and shape[-1] == 4:
            pairs = np.cumsum(pairs, axis=-2)
        fitted = self.frame.fit(size)
        return fitted.backward(self.quanta.read(pairs, np.array(fitted.size, dtype=np.float64))), shape


def _pairs(values: ArrayLike) -> tuple[Floats, tuple[int, ...]]:
    """Numbers as x, y pairs (..., 1 or 2, 2), and their own shape."""
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        return array.reshape(0, 1, 2), array.shape if array.shape[-1:] in ((2,), (4,)) else (0, 4)
    if array.shape[-1:] not in ((2,), (4,)) or np.isnan(array).any():
        raise InputError(f"places have shape {array.shape}; arrays of numbers that end in 2 or 4 are allowed")
    return array.reshape(*array.shape[:-1], -1, 2), array.shape
