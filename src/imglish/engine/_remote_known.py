"""Which family a model on a server is of, by its name; and what is said to it for each skill.

A server writes its model's chat template itself, so that only the words of the last turn are ours: those that the
family's own prompt has where the question stands.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

from imglish.core.codecs import Codec
from imglish.core.errors import InputError
from imglish.core.frames import Frame, Resized
from imglish.core.types import ImagePart, Message, Request, Size, TextPart
from imglish.engine._remote_images import MOST_PIXELS, Bounded
from imglish.engine.card import words
from imglish.engine.load import FAMILIES
from imglish.families._base import Control, Family, Frames, Picture, Piece, Plain

TALK = frozenset({"ask", "chat", "watch"})  # skills whose messages are the prompt
_BY_NAME = ("qwen3_vl", "qwen2_5_vl", "qwen2_vl", "florence2", "paligemma", "smolvlm")  # the name of the family tells
_SQUARES = frozenset({"llava"})  # families whose pictures are padded to a square before they are resized
_SPECIAL = frozenset({"florence2", "paligemma", "qwen2_vl"})  # families that write places in tokens of their own
_OURS = "imglish"  # it is not spoken to through a chat template
_MARK = "{question}"
_SOME = ImagePart("picture.png")  # it is never opened: only its place in the prompt matters
_BARE = frozenset({"paligemma"})  # families without a template: the prompt is the words


def family_called(name: str) -> Family:
    """A family by its own name. Raises UnknownName."""
    family: Family = FAMILIES.get(name)()
    return family


def family_of_model(*names: str) -> Family | None:
    """The family of a model that is served under any of these names or paths; None where it cannot be told."""
    from imglish.engine.catalogue import cards, short

    known = [(_plain(short(card)), card.family) for card in cards() if card.runs and card.family != _OURS]
    known.sort(key=lambda pair: -len(pair[0]))
    known += [(_plain(family), family) for family in _BY_NAME]
    for name in names:
        spelled = _plain(name)
        for part, family in known:
            if part in spelled:
                return family_called(family)
    return None


def bounded(family: Family | None, least: int | None, most: int | None) -> tuple[Family | None, Frame]:
    """The family with its codec counting in what is sent, and the frame that pictures are sent in."""
    if family is not None and isinstance(family.codec.frame, Resized):
        own = family.codec.frame
        frame = Resized(least or own.min_pixels, most or own.max_pixels, own.multiple)
        if frame.min_pixels > frame.max_pixels:
            raise InputError(
                f"min_pixels is {frame.min_pixels} and max_pixels {frame.max_pixels}",
                hint="allowed are whole numbers with min_pixels <= max_pixels",
            )
        family = copy.copy(family)
        vars(family)["codec"] = Codec(frame, family.codec.quanta, family.codec.order)
        return family, frame
    if least is not None:
        raise InputError("pictures are not made larger for this model", hint="leave min_pixels out")
    if most is not None and most < 1:
        raise InputError(f"max_pixels is {most}; allowed are whole numbers from 1")
    return family, Bounded(most or MOST_PIXELS, square=family is not None and family.name in _SQUARES)


def said_by(family: Family, request: Request, sizes: Sequence[Size]) -> str:
    """The words of the last turn as the family's own prompt has them; empty where it is of another form."""
    if request.skill in TALK and family.name not in _BARE:
        return request.messages[-1].text if request.messages else request.text
    asked = Request("ask", (Message("user", (_SOME, TextPart(_MARK))),), text=_MARK)
    last = Request(
        request.skill, (Message("user", (_SOME, TextPart(request.text))),), text=request.text,
        labels=request.labels, region=request.region, schema=request.schema, detail=request.detail,
        language=request.language,
    )  # fmt: skip
    prompt = _written(family.prompt(last, sizes[:1]))
    if family.name in _BARE:
        return prompt.removeprefix("<bos>").strip()
    return words(prompt, _written(family.prompt(asked, sizes[:1])))


def needs_special(family: Family | None) -> bool:
    """Whether the family's answers lose their meaning where a server leaves special tokens out."""
    return family is not None and family.name in _SPECIAL


def _written(pieces: Sequence[Piece]) -> str:
    return "".join(
        "" if isinstance(piece, (Picture, Frames)) else piece.text
        for piece in pieces
        if isinstance(piece, (Picture, Frames, Control, Plain))
    )


def _plain(name: Any) -> str:
    return re.sub(r"[^a-z0-9]", "", str(name).lower())
