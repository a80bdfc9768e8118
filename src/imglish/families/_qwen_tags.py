"""The boxes of Qwen2-VL in its own tokens.

`<|object_ref_start|>cat<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|>`: numbers are thousandths of the picture,
in [0, 1000). Reading goes through the text once, whatever stands in it.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from imglish.core.codecs import Codec
from imglish.core.results import PARSE, Problem, Result
from imglish.core.types import Box, Request, Size
from imglish.families import _prompted
from imglish.families._base import Control, Piece, Plain
from imglish.families._locations import LONGEST
from imglish.families._qwen_json import surely

REF, END_REF = "<|object_ref_start|>", "<|object_ref_end|>"
BOX, END_BOX = "<|box_start|>", "<|box_end|>"
NONE = "None"  # what is written where nothing is found

_TOKEN = re.compile(r"(<\|(?:object_ref|box)_(?:start|end)\|>)")
_CORNERS = re.compile(r"\(\s*(\d{1,5})\s*,\s*(\d{1,5})\s*\)\s*,\s*\(\s*(\d{1,5})\s*,\s*(\d{1,5})\s*\)[\s,]*")
_NOTHING = frozenset({"none", "none.", "[]"})


def box_text(box: Box, codec: Codec, size: Size) -> str:
    """One box as the model writes it."""
    x1, y1, x2, y2 = codec.encode([box], size)[0].tolist()
    return f"{BOX}({x1},{y1}),({x2},{y2}){END_BOX}"


def named(label: str) -> list[Piece]:
    """A thing's name between its tokens."""
    return [Control(REF), Plain(label), Control(END_REF)]


def answer(truth: Any, codec: Codec, size: Size, *, labels: bool) -> list[Piece]:
    """Boxes as the model writes them, each after its label where there are several things to tell apart."""
    boxes = np.asarray(truth.xyxy, dtype=np.float64).reshape(-1, 4)
    order = sorted(range(len(boxes)), key=lambda i: (boxes[i, 0] + boxes[i, 1], boxes[i, 1]))
    pieces: list[Piece] = []
    for index in order:
        pieces += named(truth.labels[index]) if labels else []
        pieces.append(Control(box_text(boxes[index], codec, size)))
    return pieces or [Plain(NONE)]


def parse(
    request: Request,
    raw: str,
    codec: Codec,
    size: Size,
    *,
    tokens: Sequence[str] | None = None,
    logprobs: Sequence[float] | None = None,
) -> Result:
    """The boxes that the text says. Never raises on model text."""
    problems: list[Problem] = []
    found = rows(raw, request, problems)
    result = _prompted.parse(request, json.dumps(found), codec, size, logprobs=logprobs)
    result = surely(result, _CORNERS, tokens=tokens, logprobs=logprobs)
    return dataclasses.replace(result, raw=raw, problems=(*problems, *result.problems))


def rows(raw: str, request: Request, problems: list[Problem]) -> list[dict[str, Any]]:
    """Each box with its label, as JSON would have it; what cannot be read becomes a problem."""

    def complain(message: str, about: str) -> None:
        problems.append(Problem(PARSE, message, about[:200]))

    if len(raw) > LONGEST:
        complain(f"only the first {LONGEST} characters were read", raw)
    found: list[dict[str, Any]] = []
    around: list[str] = []
    label, inside, waiting = "", "", False
    for number, piece in enumerate(_TOKEN.split(raw[:LONGEST])):
        if number % 2 == 0:  # text between two tokens
            if inside == REF:
                label, waiting = piece.strip(), True
            elif inside == BOX:
                boxes = _boxes(piece)
                if not boxes:
                    complain("this is not a box: (x1,y1),(x2,y2)", piece)
                name = label or request.text or ", ".join(request.labels)
                found += [{"bbox_2d": box, "label": name} for box in boxes]
                waiting = False
            else:
                around.append(piece)
        elif piece in (REF, BOX):
            if inside:
                complain(f"{inside} is not closed", piece)
            elif piece == REF and waiting:
                complain("a label has no box", label)
            inside = piece
        else:
            if inside != (REF if piece == END_REF else BOX):
                complain(f"{piece} closes nothing", piece)
            inside = ""
    if inside:
        complain(f"{inside} is not closed: the answer breaks off", raw[-200:])
    elif waiting:
        complain("a label has no box", label)
    words = " ".join("".join(around).split())
    if not found and not problems and words.lower() not in _NOTHING:
        complain(f"there is neither a box nor {NONE!r}", raw)
    elif found and words.strip(" ,.;"):
        problems.append(Problem("around", "there are words beside the boxes", words[:200]))
    return found


def _boxes(text: str) -> list[list[int]]:
    """All boxes of one pair of box tokens, or none where anything else stands there."""
    found, end, text = [], 0, text.strip()
    while end < len(text):
        match = _CORNERS.match(text, end)
        if match is None:
            return []
        found.append([int(value) for value in match.groups()])
        end = match.end()
    return found
