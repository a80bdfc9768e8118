"""The truth of a sample as Florence-2 would write it: `<s>car<loc_52><loc_332><loc_932><loc_774>`, then `</s>`.

Boxes of one label stand together behind it, as in the reference's outputs; nothing found is `<s>` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from imglish.core import geometry
from imglish.core.results import Boxes, Masks, TextRegions
from imglish.core.types import Sample, Size
from imglish.families._base import Control, Piece, Plain
from imglish.families._florence2_tasks import asked, location_tokens
from imglish.families._imglish_text import ordered

POLYGON_POINTS = 40  # of one outline: the context has room for about 500, and a pixel's worth needs no more


def answer_pieces(sample: Sample, size: Size) -> list[Piece]:
    """The answer without its final `</s>`."""
    truth = sample.truth
    start: list[Piece] = [Control("<s>")]
    if isinstance(truth, Boxes):
        task = asked(sample.request()).task
        return start + _boxes(truth, size, labels=task is None or task.gives != "proposals", default=sample.question)
    if isinstance(truth, Masks):
        return start + _masks(truth, size)
    if isinstance(truth, TextRegions):
        return start + _lines(truth, size)
    return [*start, Plain(sample.answer)]


def _boxes(truth: Boxes, size: Size, *, labels: bool, default: str) -> list[Piece]:
    boxes = truth.xyxy
    order = sorted(range(len(boxes)), key=lambda i: (boxes[i, 0] + boxes[i, 1], boxes[i, 1]))
    names = [truth.labels[i] or default for i in range(len(boxes))] if truth.labels else [default] * len(boxes)
    groups: dict[str, list[int]] = {}
    for index in order:
        groups.setdefault(names[index], []).append(index)
    pieces: list[Piece] = []
    for name, indices in groups.items():
        pieces += [Plain(name)] if labels else []
        pieces.append(Control("".join(location_tokens(boxes[i], size) for i in indices)))
    return pieces


def _masks(truth: Masks, size: Size) -> list[Piece]:
    instances = [[ordered(part) for part in parts if len(part) >= 3] for parts in truth.polygons]
    instances = sorted((parts for parts in instances if parts), key=_corner)
    written = [
        "<sep>".join(location_tokens(geometry.simplify(part, POLYGON_POINTS), size) for part in parts)
        for parts in instances
    ]
    if len(written) < 2:
        return [Control(text) for text in written]
    return [Control("".join(f"<poly>{text}</poly>" for text in written))]


def _corner(parts: Sequence[Any]) -> float:
    points = np.array([point for part in parts for point in part])
    return float(points.min(axis=0).sum())


def _lines(truth: TextRegions, size: Size) -> list[Piece]:
    centres = truth.quads.mean(axis=1) if len(truth) else np.zeros((0, 2))
    order = sorted(range(len(truth)), key=lambda i: (centres[i, 1], centres[i, 0]))
    return [p for i in order for p in (Plain(truth.texts[i]), Control(location_tokens(truth.quads[i], size)))]
