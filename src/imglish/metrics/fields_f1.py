"""How many fields of a document are right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

ABSENT = ("", "N/A")


def score(prediction: Mapping[str, Any], truth: Mapping[str, Any]) -> float:
    """F1 of the pairs of field and value, 0 to 1; only white space may differ.

    The field-level F1 of Kim et al. 2022 (Donut, arXiv:2111.15664). A missing field ("N/A", "" or None) is no pair:
    a value invented for it costs precision. Nested fields count by their path, rows of a list in any order.

    >>> score({"name": "Ada", "year": 1815}, {"name": "Ada", "year": "1815"})
    1.0
    >>> score({"name": "Ada", "year": "1816"}, {"name": "Ada", "year": "1815"})
    0.5
    >>> round(score({"name": "Ada", "year": "1815"}, {"name": "Ada", "year": "N/A"}), 3)
    0.667
    >>> score({"items": ["tea", "milk"]}, {"items": ["milk", "tea"]})
    1.0
    >>> score({}, {"name": "N/A"})
    1.0
    """
    given, wanted = Counter(_pairs(prediction, ())), Counter(_pairs(truth, ()))
    total = given.total() + wanted.total()
    return 2 * (given & wanted).total() / total if total else 1.0


def _pairs(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _pairs(item, (*path, str(name)))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _pairs(item, path)
    elif value is not None and (text := " ".join(str(value).split())) not in ABSENT:
        yield path, text
