"""What answers of the shipped family look like: regions in location tokens, fields as `name: value` lines."""

from __future__ import annotations

from collections.abc import Sequence

from imglish.core.types import Request, Size
from imglish.families import _lines_grammar
from imglish.families._grammar import Line, Many, Mark, Node, Or, Seq, labels, placed, points, whole
from imglish.families._imglish_text import CODEC, LOCATIONS, POLYGON_POINTS, asked_names

_MOST = 9999
_TEXT = Line(without="<")


def grammar(request: Request, sizes: Sequence[Size]) -> Node | None:
    """The grammar of the request's answer; None for one in words."""
    size = sizes[0] if sizes else (1, 1)
    box = placed(CODEC, size, LOCATIONS)
    if request.skill == "detect":
        return _some(Seq(labels(asked_names(request), without="<"), box))
    if request.skill == "ground":
        return _some(box)
    if request.skill == "segment":
        outline = points(CODEC, size, LOCATIONS, least=3, most=POLYGON_POINTS)
        return _some(Seq(Mark("<poly>"), box, Many(outline, 1, None, Mark("<sep>"))))
    if request.skill == "read":
        return _some(Seq(_TEXT, points(CODEC, size, LOCATIONS, least=4, most=4)))
    if request.skill == "extract":
        return _lines_grammar.lines(request.schema or {}, Mark("<sep>"), without="<")
    return whole(0, _MOST) if request.skill == "count" else None


def _some(item: Node) -> Node:
    return Or(Many(item, 1), Mark("<none>"))
