"""Boxes, points, polygons, quads and bitmaps in float pixels of the original image.

Pixel (x, y) covers the square from (x, y) to (x + 1, y + 1), so an image of width w spans 0..w and a box's width is
x2 - x1. A pixel belongs to a polygon when its centre lies inside. Pure numpy.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imglish.core.types import Box, Point, Polygon, Size

Floats = NDArray[np.float64]
Bitmap = NDArray[np.bool_]
_LONG = 100  # points from which numpy is quicker than a loop


def as_boxes(boxes: ArrayLike) -> Floats:
    """Boxes as an (n, 4) float array; an empty list gives (0, 4)."""
    array = np.asarray(boxes, dtype=np.float64)
    return array.reshape(-1, 4)


def area(boxes: ArrayLike) -> Floats:
    """Area of each box, (n,); a box turned inside out has none."""
    array = as_boxes(boxes)
    return np.asarray(np.prod(np.maximum(array[:, 2:] - array[:, :2], 0.0), axis=1))


def iou(a: ArrayLike, b: ArrayLike) -> Floats:
    """Intersection over union of every box of `a` with every box of `b`, (n, m); 0 where both are empty.

    >>> iou([[0, 0, 2, 2]], [[1, 0, 3, 2]]).round(3).tolist()
    [[0.333]]
    """
    first, second = as_boxes(a), as_boxes(b)
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=2)
    union = area(first)[:, None] + area(second)[None, :] - shared
    return _ratio(shared, union)


def _ratio(shared: Floats, union: Floats) -> Floats:
    ratio: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return ratio


def clip(boxes: ArrayLike, size: Size) -> Floats:
    """Boxes with every coordinate moved into the image of `size` (width, height), (n, 4)."""
    return np.clip(as_boxes(boxes), 0.0, np.array([*size, *size], dtype=np.float64))


def clip_points(points: ArrayLike, size: Size) -> Floats:
    """Points (..., 2) moved into the image of `size` (width, height)."""
    return np.clip(np.asarray(points, dtype=np.float64), 0.0, np.array(size, dtype=np.float64))


def box_of(polygon: Iterable[Point]) -> Box:
    """The smallest box around a polygon (or any points, a quad among them)."""
    points = list(polygon)
    xs, ys = [float(point[0]) for point in points], [float(point[1]) for point in points]
    return (min(xs), min(ys), max(xs), max(ys))


def box_of_bitmap(bitmap: Bitmap) -> Box | None:
    """The smallest box around the set pixels, or None when there are none."""
    found = _extent(np.asarray(bitmap, dtype=bool))
    if found is None:
        return None
    top, bottom, left, right = found
    return (float(left), float(top), float(right), float(bottom))


def quad_to_box(quads: ArrayLike) -> Floats:
    """Boxes around quads: (n, 4, 2) to (n, 4)."""
    array = np.asarray(quads, dtype=np.float64).reshape(-1, 4, 2)
    return np.concatenate([array.min(axis=1), array.max(axis=1)], axis=1)


def box_to_quad(boxes: ArrayLike) -> Floats:
    """Quads of boxes, clockwise from the top-left corner: (n, 4) to (n, 4, 2)."""
    return as_boxes(boxes)[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)


def polygon_area(polygon: Sequence[Point]) -> float:
    """Area inside a polygon that does not cross itself, whichever way round it is written."""
    return abs(_signed_area(polygon))


def _signed_area(polygon: Sequence[Point]) -> float:
    total = 0.0
    x0, y0 = polygon[-1] if len(polygon) else (0.0, 0.0)
    for x, y in polygon:
        total += x0 * y - x * y0
        x0, y0 = x, y
    return total / 2


def mask_iou(a: Bitmap, b: Bitmap) -> Floats:
    """Intersection over union of bitmaps (n, h, w) with bitmaps (m, h, w), as (n, m); 0 where both are empty."""
    first, second = (np.asarray(bitmaps, dtype=bool) for bitmaps in (a, b))
    first = first.reshape(len(first), -1).astype(np.float32)
    second = second.reshape(len(second), -1).astype(np.float32)
    shared = (first @ second.T).astype(np.float64)
    union = first.sum(axis=1, dtype=np.float64)[:, None] + second.sum(axis=1, dtype=np.float64)[None, :] - shared
    return _ratio(shared, union)


def polygon_to_bitmap(polygons: Sequence[Any], size: Size) -> Bitmap:
    """The pixels whose centre lies in any of `polygons` (or in the one polygon given), as (height, width).

    Inside one polygon the even-odd rule holds; several polygons are united. Parts outside the image are cut off.
    """
    width, height = size
    bitmap = np.zeros((height, width), dtype=bool)
    one = len(polygons) > 0 and np.ndim(polygons[0]) == 1
    for polygon in [polygons] if one else polygons:
        _fill(bitmap, np.asarray(polygon, dtype=np.float64).reshape(-1, 2))
    return bitmap


def _fill(bitmap: Bitmap, points: Floats) -> None:
    """Set the pixels inside one polygon: count, from the left, where edges cross each row of centres."""
    height, width = bitmap.shape
    if len(points) < 3 or not np.isfinite(points).all():
        return
    (west, north), (east, south) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    first, last = min(max(math.ceil(north - 0.5), 0), height), min(max(math.ceil(south - 0.5), 0), height)
    left, right = min(max(math.floor(west), 0), width), min(max(math.ceil(east), 0), width)
    if first >= last or left >= right:
        return
    x, y = points[:, 0], points[:, 1]
    order = np.arange(-1, len(points) - 1)
    x0, y0 = x[order], y[order]
    row0, row1 = np.minimum(np.maximum(np.ceil([y0 - 0.5, y - 0.5]), first), last).astype(np.int64)
    begin, count = np.minimum(row0, row1), np.abs(row1 - row0)
    edge = np.repeat(order + 1, count)
    row = np.arange(len(edge)) - (np.cumsum(count) - count - begin)[edge]
    level = np.where(count > 0, y - y0, 1.0)
    crossing = x0[edge] + (row + 0.5 - y0[edge]) * ((x - x0) / level)[edge]
    column = np.minimum(np.maximum(np.ceil(crossing - 0.5), left), right).astype(np.int64) - left
    span = right - left + 1
    toggles = np.bincount((row - first) * span + column, minlength=(last - first) * span)
    inside = np.add.accumulate(toggles.reshape(-1, span), axis=1)[:, :-1] & 1
    bitmap[first:last, left:right] |= inside.astype(bool)


def bitmap_to_polygons(bitmap: Bitmap, tolerance: float = 0.0, *, min_area: float = 0.0) -> list[Polygon]:
    """The outer contours of the set pixels, largest first. Holes are ignored: a ring becomes a disc.

    Contours run along pixel edges, so with `tolerance` 0 a bitmap without holes comes back exactly from
    `polygon_to_bitmap`; otherwise corners that stand less than `tolerance` pixels off are dropped. Pixels that touch
    at a corner belong together. Parts of less than `min_area` pixels are left out.
    """
    full = np.asarray(bitmap, dtype=bool)
    found = _extent(full)
    if found is None:
        return []
    top, bottom, left, right = found
    padded = np.zeros((bottom - top + 2, right - left + 2), dtype=bool)
    padded[1:-1, 1:-1] = full[top:bottom, left:right]
    contours = [(polygon_area(contour), contour) for contour in _trace(padded, left, top)]
    contours.sort(key=lambda pair: -pair[0])
    kept = [contour for size, contour in contours if size >= min_area]
    if tolerance > 0:
        kept = [_reduce(contour, len(contour), tolerance) for contour in kept]
    return [tuple(contour) for contour in kept]


def _extent(bitmap: Bitmap) -> tuple[int, int, int, int] | None:
    rows = np.flatnonzero(bitmap.any(axis=1))
    if not len(rows):
        return None
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(bitmap[top:bottom].any(axis=0))
    return top, bottom, int(columns[0]), int(columns[-1]) + 1


def _trace(padded: Bitmap, left: int, top: int) -> list[list[Point]]:
    """Corner points of the outer contours of a bitmap with an empty margin of one pixel; `left`, `top` lie inside it.

    A contour turns where one or three of the four pixels around a grid point are set, and twice where the two set ones
    are diagonal. Along each grid row the turns, in order, are the two ends of horizontal edges; along each column, of
    vertical ones. Following the two in turn walks around the contour.
    """
    nw, ne, sw, se = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    west, east = nw ^ sw, ne ^ se
    crossing = west & east & (nw ^ ne)
    turns = np.flatnonzero((west ^ east) | crossing)
    columns = padded.shape[1] - 1
    ys, xs = np.divmod(turns, columns)
    key = xs * padded.shape[0] + ys
    if (twice := crossing.reshape(-1)[turns]).any():
        index = np.repeat(np.arange(len(turns)), 1 + twice)
        second = np.zeros(len(index), dtype=bool)
        second[1:] = index[1:] == index[:-1]
        falling = (crossing & nw).reshape(-1)[turns][index]  # joins diagonal pixels of either direction
        ys, xs, turns, key = ys[index], xs[index], turns[index], key[index] * 2 + (second ^ falling)
    order = key.argsort()
    partner = np.empty_like(order)
    partner[order[0::2]], partner[order[1::2]] = order[1::2], order[0::2]
    outer, down = se[ys, xs].tolist(), partner.tolist()
    corners = list(zip((xs + float(left)).tolist(), (ys + float(top)).tolist(), strict=True))
    seen = bytearray(len(down))
    contours = []
    for start in range(0, len(down), 2):
        if seen[start]:
            continue
        walk: list[Point] = []
        at = start
        while not seen[at]:
            across = at ^ 1
            seen[at] = seen[across] = 1
            walk.append(corners[at])
            walk.append(corners[across])
            at = down[across]
        if outer[start]:
            contours.append(walk)
    return contours


def simplify(polygon: Sequence[Point], points: int = 16, *, tolerance: float = 0.0) -> Polygon:
    """The polygon in at most `points` of its own points, those that stand out most (greedy Douglas-Peucker).

    Stops earlier when no other point stands more than `tolerance` pixels off.
    """
    return tuple(_reduce([(float(x), float(y)) for x, y in polygon], max(points, 3), tolerance))


def resample(polygon: Sequence[Point], points: int) -> Polygon:
    """`points` points, evenly spaced along the outline from its first point on.

    Unlike `simplify` it cuts corners, but a point follows from the one before it: a model learns it far more easily.
    """
    ring = np.array([*polygon, polygon[0]], dtype=np.float64)
    along = np.concatenate(([0.0], np.hypot(*np.diff(ring, axis=0).T).cumsum()))
    places = np.arange(points) / points * along[-1]
    columns = (np.interp(places, along, ring[:, axis]) for axis in (0, 1))
    return tuple((float(x), float(y)) for x, y in zip(*columns, strict=True))


def _reduce(polygon: list[Point], limit: int, tolerance: float) -> list[Point]:
    if len(polygon) <= 3 or (len(polygon) <= limit and tolerance <= 0):
        return polygon
    x0, y0 = polygon[0]
    off = [(x - x0) * (x - x0) + (y - y0) * (y - y0) for x, y in polygon]
    far = off.index(max(off))
    closed = [*polygon, polygon[0]]
    array = np.array(closed) if len(closed) > _LONG else None
    kept = [0, far]
    spans = [_farthest(closed, array, 0, far), _farthest(closed, array, far, len(polygon))]
    heapq.heapify(spans)
    floor = tolerance * tolerance
    while len(kept) < limit:
        distance, start, middle, end = spans[0]
        if -distance <= floor and (len(kept) >= 3 or distance >= 0):
            break
        kept.append(middle)
        heapq.heapreplace(spans, _farthest(closed, array, start, middle))
        heapq.heappush(spans, _farthest(closed, array, middle, end))
    return [polygon[i] for i in sorted(kept)]


def _farthest(points: list[Point], array: Floats | None, start: int, end: int) -> tuple[float, int, int, int]:
    """The point farthest from the line through points[start] and points[end]: minus its squared distance, its index."""
    x0, y0 = points[start]
    dx, dy = points[end][0] - x0, points[end][1] - y0
    if dx == 0 and dy == 0:
        off = [(x - x0) ** 2 + (y - y0) ** 2 for x, y in points[start + 1 : end]]
    elif array is not None and end - start > _LONG:
        far = np.abs(dx * array[start + 1 : end, 1] - dy * array[start + 1 : end, 0] + (dy * x0 - dx * y0))
        middle = int(far.argmax())
        return -(float(far[middle]) ** 2) / (dx * dx + dy * dy), start, middle + start + 1, end
    else:
        off = [abs(dx * (y - y0) - dy * (x - x0)) for x, y in points[start + 1 : end]]
    if not off:
        return 1.0, start, start, end
    best = max(off)
    middle = start + 1 + off.index(best)
    return -best if dx == 0 and dy == 0 else -best * best / (dx * dx + dy * dy), start, middle, end
