"""What answers of PaliGemma look like: four location tokens, sixteen codes of a mask, a name, ` ; `; or nothing."""

from __future__ import annotations

from collections.abc import Sequence

from imglish.core.types import Request, Size
from imglish.families._grammar import Many, Node, Pick, Seq, labels, maybe, placed
from imglish.families._paligemma_tasks import CODEC, CODES, LOCATIONS, SEGMENTS, asked


def grammar(request: Request, sizes: Sequence[Size]) -> Node | None:
    """The grammar of the request's answer; None for one in words."""
    size = (*sizes, (1, 1))[0]
    given = asked(request)
    if given.gives == "text":
        return None
    codes = [Many(Pick(SEGMENTS), CODES, CODES)] if given.gives == "masks" else []
    item = Seq(placed(CODEC, size, LOCATIONS), *codes, " ", labels(given.labels, without="<;"))
    return Many(item, 0, None, Seq(maybe(" "), "; "))
