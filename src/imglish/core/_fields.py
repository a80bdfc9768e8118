"""What the fields of results are made of: checked and turned into plain, comparable, unchangeable values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from imglish.core.errors import InputError
from imglish.core.geometry import Floats
from imglish.core.types import Polygon, Size


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and np.array_equal(a, b)
    return bool(a == b)


def plain(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def take(values: Any, chosen: Sequence[int]) -> Any:
    if isinstance(values, np.ndarray):
        return values[np.array(chosen, dtype=np.int64)]
    return None if values is None else tuple(values[i] for i in chosen)


def numbers(values: Any, name: str, shape: tuple[int, ...]) -> Floats:
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is not made of numbers in rows of equal length: {error}") from error
    if array.size == 0:
        array = array.reshape(0, *shape)
    if array.shape[1:] != shape or not np.isfinite(array).all():
        expected = ", ".join(map(str, shape))
        raise InputError(f"{name} has shape {array.shape}; finite numbers of shape (n, {expected}) are allowed")
    array.flags.writeable = False
    return array


def as_confidence(values: Any, count: int) -> Floats | None:
    if values is None:
        return None
    array = numbers(values, "confidence", ())
    if len(array) != count:
        raise InputError(f"there are {count} items and {len(array)} confidences")
    return array


def as_strings(values: Any, name: str) -> tuple[str, ...]:
    if isinstance(values, str):
        raise InputError(f"{name} is the string {values!r}; a sequence of strings is allowed")
    return tuple(str(value) for value in values)


def as_labels(values: Any, count: int) -> tuple[str, ...]:
    labels = as_strings(values, "labels") or ("",) * count
    if len(labels) != count:
        raise InputError(f"there are {count} items and {len(labels)} labels")
    return labels


def as_size(values: Any) -> Size:
    width, height = values
    return int(width), int(height)


def as_polygon(points: Any) -> Polygon:
    return tuple((float(x), float(y)) for x, y in points)
