"""What regions of Qwen2-VL look like in its own tokens: `<|object_ref_start|>cat<|object_ref_end|><|box_start|>...`."""

from __future__ import annotations

from imglish.core.codecs import Codec
from imglish.core.types import Request, Size
from imglish.families._grammar import Many, Mark, Node, Or, Seq, boxed_pairs, labels, maybe
from imglish.families._qwen_tags import BOX, END_BOX, END_REF, NONE, REF


def grammar(request: Request, codec: Codec, size: Size) -> Node:
    """The grammar of what `_qwen_tags.parse` reads."""
    box = Seq(Mark(BOX), boxed_pairs(codec, size), Mark(END_BOX))
    names = request.labels if request.skill == "detect" else ()
    name = Seq(Mark(REF), labels(names, without="<"), Mark(END_REF))
    item = Seq(maybe(name) if request.skill == "ground" else name, Many(box, 1))
    return Or(Many(item, 1), NONE)
