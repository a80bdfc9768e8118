"""The guide of a request: what its family says an answer looks like, or the form that the user asked for.

guide = guide_for(request, loaded)     # None: any text will do
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from imglish.core.images import open_image
from imglish.core.types import Request, Size
from imglish.engine.forms import as_grammar
from imglish.engine.guide import Guide
from imglish.engine.guides.document import DocumentGuide, compile_schema, schema_size
from imglish.engine.guides.machine import Automaton, MachineGuide, automaton
from imglish.engine.guides.thought import ThoughtGuide
from imglish.engine.guides.vocabulary import vocabulary
from imglish.families._base import Loaded, request_images
from imglish.families._grammar import Json, Node

_KEPT, _MOST_KEPT = "_automata", 64


def guide_for(request: Request, loaded: Loaded) -> Guide | None:
    """A guide for one answer to the request; None where any text is an answer. A model that thinks first may think.

    Raises InputError where no guide can be made: a schema that cannot be followed, a form that is none.
    """
    form = request.form
    sizes = [image_size(image) for image in request_images(request)[0]]
    key = (_told(request), tuple(sizes[:1]))
    kept: OrderedDict[Hashable, Any] = loaded.extra.setdefault(_KEPT, OrderedDict())
    if form is None and key in kept:
        kept.move_to_end(key)
        return _thoughtful(_guide(kept[key], loaded), loaded)
    grammar = as_grammar(form) if form is not None else loaded.family.grammar(request, sizes)
    made = _made(grammar, loaded)
    if form is None:
        kept[key] = made
        while len(kept) > _MOST_KEPT:
            kept.popitem(last=False)
    return _thoughtful(_guide(made, loaded), loaded)


def _thoughtful(guide: Guide | None, loaded: Loaded) -> Guide | None:
    """The guide after a thought, where the family's answers begin with one."""
    end = loaded.family.thought_end
    return guide if guide is None or not end else ThoughtGuide(guide, vocabulary(loaded), end)


def guide_of(grammar: Node, loaded: Loaded) -> Guide:
    """A guide for one answer of a grammar."""
    guide = _guide(_made(grammar, loaded), loaded)
    assert guide is not None
    return guide


def image_size(image: Any) -> Size:
    """Width and height of a picture in any form."""
    size: Size = image.size if hasattr(image, "convert") else open_image(image).size
    return size


def _told(request: Request) -> Hashable:
    """Everything of a request that a grammar depends on, but the sizes of its pictures."""
    schema = json.dumps(request.schema, sort_keys=False, default=str) if request.schema is not None else ""
    return (
        request.skill, request.text, request.labels, request.detail, request.language, request.region is None, schema
    )  # fmt: skip


def _made(grammar: Node | None, loaded: Loaded) -> Automaton | tuple[str, int] | None:
    if grammar is None:
        return None
    if isinstance(grammar, Json):
        return compile_schema(grammar.schema), schema_size(grammar.schema)
    return automaton(grammar, vocabulary(loaded))


def _guide(made: Automaton | tuple[str, int] | None, loaded: Loaded) -> Guide | None:
    if made is None:
        return None
    if isinstance(made, Automaton):
        return MachineGuide(made)
    return DocumentGuide(made[0], vocabulary(loaded), size=made[1])
