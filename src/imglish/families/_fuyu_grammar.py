"""What answers of Fuyu look like: names, and boxes of four numbers of which each is one token."""

from __future__ import annotations

from collections.abc import Sequence

from imglish.core.types import Request, Size
from imglish.families._fuyu_text import CLOSE, CODEC, NOTHING, OPEN
from imglish.families._grammar import Fresh, Many, Mark, Node, Or, Pick, Seq, corners, extent, labels, maybe, within


def grammar(request: Request, sizes: Sequence[Size]) -> Node | None:
    """The grammar of the request's answer; None for one in words."""
    size = (*sizes, (1, 1))[0]
    if request.skill not in ("detect", "ground"):
        return None
    numbers = [str(number) for number in range(max(extent(CODEC, size)[1]) + 1)]
    box = Seq(Mark(OPEN), Fresh(), *(Pick(numbers, within(bounds)) for bounds in corners(CODEC, size)), Fresh())
    closed = Seq(box, Mark(CLOSE))
    named = Seq(maybe(" "), labels(request.labels, without="<>;:,"), maybe(" "), closed)
    return Or(Many(closed if request.skill == "ground" else named, 1), Seq(maybe(" "), NOTHING))
