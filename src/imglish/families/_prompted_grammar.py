"""What JSON lists of regions look like, as `_prompted` and the Qwen families ask for them and read them."""

from __future__ import annotations

from imglish.core.codecs import Codec
from imglish.core.types import Request, Size
from imglish.families._grammar import (
    Chars,
    Digits,
    Fresh,
    Json,
    Line,
    Many,
    Node,
    Or,
    Seq,
    boxed,
    decimals,
    extent,
    json_text,
    labels,
    maybe,
    whole,
)

_MOST = 9999
_POINTS = 64
_STRING = Many(Or(Chars(without='"\\'), '\\"', "\\\\"), 1)


def grammar(request: Request, codec: Codec, size: Size, *, text_key: str = "text") -> Node | None:
    """The grammar of the request's answer; None for one in words."""
    if request.skill == "count":
        return Seq(maybe(" "), whole(0, _MOST))
    if request.skill == "extract":
        return Json(request.schema or {})
    box = Seq('{"bbox_2d": [', boxed(codec, size, between=", "), "], ")
    if request.skill in ("detect", "ground"):
        named = [json_text(label) for label in request.labels] if request.skill == "detect" else []
        name = labels(named) if named else Line(without='"\\')
        return _list(Seq(box, '"label": "', name, '"}'))
    if request.skill == "read":
        return _list(Seq(box, f'"{text_key}": "', _STRING, '"}'))
    if request.skill == "segment":
        return _list(Seq('{"polygon": [', _outline(codec, size), '], "label": "', Line(without='"\\'), '"}'))
    return None


def _list(item: Node) -> Node:
    """A list in one line, as it is asked for, or fenced and in lines, as many models were trained to write it."""
    fenced = Seq("```json\n[\n\t", Many(item, 1, None, Seq(",\n\t")), "\n]\n```")
    return Or(Seq("[", Many(item, 0, None, Seq(", ")), "]"), fenced)


def _outline(codec: Codec, size: Size) -> Node:
    (low_x, low_y), (high_x, high_y) = extent(codec, size)
    x, y = (Digits(lambda _: (low_x, high_x), decimals(codec)), Digits(lambda _: (low_y, high_y), decimals(codec)))
    return Many(Seq(Fresh(), "[", x, ", ", y, "]", Fresh()), 3, _POINTS, Seq(", "))
