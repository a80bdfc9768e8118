"""What answers of MiniGPT-v2 look like: `<p>cat</p> {<12><30><45><88>}<delim>{...}`, all of it plain text."""

from __future__ import annotations

from collections.abc import Sequence

from imglish.core.types import Request, Size
from imglish.families._grammar import Many, Node, Or, Seq, boxed, labels, maybe
from imglish.families._minigpt_text import CODEC, NOTHING


def grammar(request: Request, sizes: Sequence[Size]) -> Node | None:
    """The grammar of the request's answer; None for one in words."""
    size = (*sizes, (1, 1))[0]
    if request.skill not in ("detect", "ground"):
        return None
    boxes = Many(Seq("{<", boxed(CODEC, size, between="><"), ">}"), 1, None, Seq("<delim>"))
    item = Seq("<p>", maybe(" "), labels(request.labels, without="<>{}"), "</p>", maybe(" "), boxes)
    found = boxes if request.skill == "ground" else Many(item, 1, None, maybe(" "))
    return Seq(maybe(" "), Or(found, NOTHING))
