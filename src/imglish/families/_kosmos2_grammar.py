"""What answers of KOSMOS-2 look like: phrases, each with an object of one or more pairs of cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from imglish.core.types import Request, Size
from imglish.families._grammar import (
    Chars,
    Fresh,
    Line,
    Many,
    Mark,
    Node,
    Numbers,
    Or,
    Pick,
    Seq,
    labels,
    maybe,
)
from imglish.families._kosmos2_text import BETWEEN, CELLS, GRID


def grammar(request: Request, sizes: Sequence[Size]) -> Node | None:
    """The grammar of the request's answer; None for one in words."""
    if request.skill not in ("detect", "ground"):
        return None
    pair = Seq(Fresh(), Pick(CELLS), Pick(CELLS, _below), Fresh())
    regions = Seq(Mark("<object>"), Many(pair, 1, None, Mark(BETWEEN)), Mark("</object>"))
    nothing = Seq(Mark("<object>"), Mark("</object>"))
    if request.skill == "ground" or len(request.labels) == 1:
        return Or(regions, nothing)  # the phrase stands in the question
    phrase = Seq(Mark("<phrase>"), maybe(" "), labels(request.labels, without="<"), Mark("</phrase>"), regions)
    if request.labels:
        return Or(Many(phrase, 1, None, maybe(Line(without="<"))), nothing)
    words = Many(Chars(without="<"))
    return Or(Many(Seq(words, phrase), 1), nothing)


def _below(numbers: Numbers) -> Iterable[int]:
    """Cells that are neither left of nor above the first."""
    row, column = divmod(numbers[0], GRID)
    return [y * GRID + x for y in range(row, GRID) for x in range(column, GRID)]
