"""The things of a picture, made out of what `Sight` reads in its cells: which cells are one thing, and its outline."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from imglish.core import geometry

FAINT, ENOUGH = 0.05, 0.5  # what a middle is at least, and what the middles of one thing add up to at least
OVERLAP, ALIKE = 0.45, 0.6  # of boxes, and cosine of names, of cells that are one thing
FINE = 4  # pixels of a bitmap along each side of a cell
Floats = NDArray[np.float64]
Bits = NDArray[np.bool_]


class Found(NamedTuple):
    """One thing: how much each cell says about it (cells,), and its box, x1 y1 x2 y2 from 0 to 1."""

    shares: Floats
    box: Floats


def things(middle: NDArray[Any], present: NDArray[Any], names: NDArray[Any], boxes: NDArray[Any]) -> list[Found]:
    """The things, in the order in which answers list them: by the sum of their left and top, then by their top.

    `middle` and `present` (cells,), `names` (cells, size) of length 1 or 0, `boxes` (cells, 4). Cells are one thing if
    they read nearly the same box and a like name; their middles have to add up to something.
    """
    left = middle.astype(np.float64)
    boxes = boxes.astype(np.float64)
    found: list[Found] = []
    while (best := int(left.argmax())) >= 0 and left[best] > FAINT:
        alike = names @ names[best] > ALIKE
        one = (geometry.iou(boxes[best][None], boxes)[0] > OVERLAP) & alike & (present > 0.5)
        one[best] = True
        if left[one].sum() > ENOUGH:
            near = left * one
            found.append(Found(present * one, (near @ boxes) / near.sum()))
        left[one] = 0
    return sorted(found, key=lambda thing: (thing.box[0] + thing.box[1], thing.box[1]))


def bitmap(shares: NDArray[Any], masks: NDArray[Any]) -> Bits:
    """(side * FINE, side * FINE) the pixels of a thing; `masks` (cells, FINE * FINE) say what of a cell is filled."""
    side = round(len(shares) ** 0.5)
    filled = (masks > 0.5) & (shares > 0.5)[:, None]
    return filled.reshape(side, side, FINE, FINE).swapaxes(1, 2).reshape(side * FINE, side * FINE)


def outline(bits: Bits, points: int) -> Floats | None:
    """(points, 2) x, y from 0 to 1, evenly along the largest contour, clockwise from its topmost point; None: none."""
    found = geometry.bitmap_to_polygons(bits)
    if not found:
        return None
    ring = np.asarray(found[0])
    first = int(np.lexsort((ring[:, 0], ring[:, 1]))[0])
    return np.asarray(geometry.resample(np.roll(ring, -first, 0).tolist(), points)) / bits.shape
