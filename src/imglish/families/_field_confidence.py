"""How sure a model was of each field of a record: the mean probability of the tokens of its value.

A field within another is named by its path, `address.street`; a list has one number for all that stands in it.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from imglish.families import _fields
from imglish.families._locations import LONGEST

Sums = dict[str, list[float]]


def of_lines(
    schema: Mapping[str, Any], tokens: Sequence[str], logprobs: Sequence[float], *, between: str
) -> dict[str, float] | None:
    """Of `name: value` lines with the token `between` after each but the last."""
    paths = {leaf.name: ".".join(leaf.path) for leaf in _fields.leaves(schema)}
    found: Sums = {}
    for start, stop in _lines(tokens, between):
        text = ""
        for place in range(start, stop):
            if text.rstrip().endswith(":") and tokens[place].strip("Ġ▁ "):
                name = " ".join(text.rstrip(" :").replace("_", " ").lower().split())
                if name in paths:
                    found.setdefault(paths[name], []).extend(logprobs[place:stop])
                break
            text += tokens[place].replace("Ġ", " ").replace("▁", " ")
    return _means(found)


def of_json(data: Any, tokens: Sequence[str], logprobs: Sequence[float]) -> dict[str, float] | None:
    """Of one JSON document, which was read as `data`. None where the tokens do not hold the same values."""
    text = "".join(tokens)[: 4 * LONGEST]
    ends = list(accumulate(map(len, tokens)))
    spans, paths = list(_spans(text)), list(_paths(data, ()))
    if len(spans) != len(paths):
        return None
    found: Sums = {}
    for (start, stop), path in zip(spans, paths, strict=True):
        found.setdefault(path, []).extend(logprobs[bisect_right(ends, start) : bisect_left(ends, stop) + 1])
    return _means(found)


def _lines(tokens: Sequence[str], between: str) -> Iterator[tuple[int, int]]:
    start = 0
    for place, token in enumerate(tokens):
        if token == between:
            yield start, place
            start = place + 1
    yield start, len(tokens)


def _means(found: Sums) -> dict[str, float] | None:
    known = {path: [value for value in values if math.isfinite(value)] for path, values in found.items()}
    return {path: math.exp(sum(values) / len(values)) for path, values in known.items() if values} or None


def _paths(value: Any, path: tuple[str, ...], *, inside: bool = False) -> Iterator[str]:
    """The path of each plain value in the order of the text; within a list it is the list's."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _paths(inner, path if inside else (*path, str(key)), inside=inside)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _paths(inner, path, inside=True)
    else:
        yield ".".join(path)


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Where each plain value of a JSON text stands: strings that no colon follows, numbers, true, false, null."""
    place = 0
    while place < len(text):
        start = place
        if text[place] == '"':
            place += 1
            while place < len(text) and text[place] != '"':
                place += 2 if text[place] == "\\" else 1
            place += 1
            if text[place : place + 2].lstrip("ĠĊ▁ ")[:1] != ":":
                yield start, min(place, len(text))
        elif text[place] in "-0123456789tfn":
            while place < len(text) and text[place] not in ',]}"ĠĊ▁ \n':
                place += 1
            yield start, place
        else:
            place += 1
