"""What answers of Florence-2 look like: after `<s>` labels, location tokens, outlines, lines; nothing is nothing."""

from __future__ import annotations

from collections.abc import Sequence

from imglish.core.types import Request, Size
from imglish.families._florence2_answer import POLYGON_POINTS
from imglish.families._florence2_tasks import CODEC, LOCATIONS, asked
from imglish.families._grammar import Line, Many, Mark, Node, Or, Seq, labels, placed, points


def grammar(request: Request, sizes: Sequence[Size]) -> Node | None:
    """The grammar of the request's task; None for one that is answered in words."""
    size = (*sizes, (1, 1))[0]
    given = asked(request)
    gives = given.task.gives if given.task is not None else "text"
    box = Many(placed(CODEC, size, LOCATIONS), 1)
    outline = Many(points(CODEC, size, LOCATIONS, least=3, most=POLYGON_POINTS), 1, None, Mark("<sep>"))
    outlines = Many(Seq(Mark("<poly>"), outline, Mark("</poly>")), 1)
    found: dict[str, Node] = {
        "boxes": Many(Seq(Line(without="<"), box)),
        "proposals": Many(box, 0, 1),
        "phrases": Many(Seq(Line(without="<"), box)),
        "named shapes": Many(Seq(labels(given.inputs, without="<"), Or(box, outlines))),
        "outlines": Or(outline, outlines, Seq()),
        "lines": Many(Seq(Line(without="<"), points(CODEC, size, LOCATIONS, least=4, most=4))),
    }
    return Seq(Mark("<s>"), found[gives]) if gives in found else None
