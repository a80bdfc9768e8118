"""What PaliGemma wrote, as results: `<loc0280><loc0371><loc0380><loc0685> glasses ; ...`, sixteen `<segNNN>` a mask.

Never raises on model text: what cannot be read becomes a problem.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from imglish.core import geometry
from imglish.core.geometry import Floats
from imglish.core.results import RANGE, Boxes, Masks, Result, Text
from imglish.core.types import Polygon, Request, Size
from imglish.families._florence2_reading import Reading, ignore
from imglish.families._locations import Atom, Complain
from imglish.families._paligemma_tasks import BINS, CODEC, CODES, FRAME_TOKENS, IMAGE_TOKEN, MASK_CODES, Asked, asked

NO_DECODER = "no_mask_decoder"  # kind of a problem: the codes of a mask are there, and nothing that could read them
Decode = Callable[[Sequence[int]], Floats]  # sixteen codes -> (64, 64) numbers, above 0 where the thing is
_TOKEN = re.compile(r"<(?:loc(\d{4})|seg(\d{3})|[a-z]{2,5})>")
_MARKS = frozenset((*FRAME_TOKENS, IMAGE_TOKEN))


class Item(NamedTuple):
    """One thing: its label, location numbers y1 x1 y2 x2, mask codes, and span of atoms."""

    label: str
    values: tuple[int, ...]
    codes: tuple[int, ...]
    start: int
    stop: int


def scan(text: str) -> list[Atom]:
    """The text as location tokens, marks (mask codes have their number as value) and words."""
    found: list[Atom] = []
    end = 0
    for match in _TOKEN.finditer(text):
        if match[1] is None and match[2] is None and match[0] not in _MARKS:
            continue
        if match.start() > end:
            found.append(Atom("text", text[end : match.start()]))
        end = match.end()
        kind: Any = "loc" if match[1] is not None else "mark"
        found.append(Atom(kind, match[0], int(match[1] or match[2] or -1)))
    if end < len(text):
        found.append(Atom("text", text[end:]))
    return found


def items(found: Sequence[Atom], *, complain: Complain) -> list[Item]:
    """Four location tokens, sixteen mask codes or none, a label up to the next `;` or location token."""
    done: list[Item] = []
    values: list[int] = []
    codes: list[int] = []
    label, start = "", 0

    def close(stop: int) -> None:
        nonlocal values, codes, label
        text = "".join(atom.text for atom in found[start:stop])
        if values and len(values) < 4:
            complain(f"a region has {len(values)} location tokens, not 4", text)
        elif values and max(values) >= BINS:
            complain(f"a location token is outside 0 to {BINS - 1}", text)
        elif values:
            if codes and (len(codes) != CODES or max(codes) >= MASK_CODES):
                complain(f"{len(codes)} codes are not a mask; it has {CODES} below {MASK_CODES}", text)
                codes = []
            done.append(Item(label.strip(), tuple(values), tuple(codes), start, stop))
        elif label.strip() or codes:
            complain("a label has no region" if not codes else "the codes of a mask have no region", text)
        values, codes, label = [], [], ""

    for index, atom in enumerate(found):
        if atom.kind == "loc":
            if len(values) == 4 or label.strip() or codes:
                close(index)
            start = start if values else index
            values.append(atom.value)
        elif atom.kind == "mark" and atom.text.startswith("<seg"):
            codes.append(atom.value)
        elif atom.kind == "text":
            if 0 < len(values) < 4 and atom.text.strip():
                close(index)
                start = index
            for number, part in enumerate(atom.text.split(";")):
                if number:
                    close(index + 1)
                    start = index + 1
                label += part
    close(len(found))
    return done


def parse(
    request: Request,
    raw: str,
    sizes: Sequence[Size],
    *,
    tokens: Sequence[str] | None,
    logprobs: Sequence[float] | None,
    decode: Decode | None = None,
) -> Result:
    """The result that `raw` says; `decode` reads the codes of masks where the checkpoint has what that takes."""
    reading = Reading(raw, scan, tokens=tokens, logprobs=logprobs, end="<eos>")
    given = asked(request)
    if given.gives == "text":
        return _text(reading)
    size = sizes[0] if sizes else (1, 1)
    found = items(reading.atoms, complain=reading.complain)
    sure = reading.confidences(functools.partial(items, complain=ignore), len(found))
    _check(reading, found, given)
    boxes = reading.boxes([item.values for item in found], CODEC, size)
    labels = tuple(item.label for item in found)
    if given.gives == "boxes":
        return Boxes(xyxy=boxes, labels=labels, confidence=sure, size=size, **reading.done())
    labels = tuple(label or " ; ".join(given.labels) for label in labels)
    if decode is None and found:
        reading.note(NO_DECODER, "the checkpoint has no weights that turn the codes of masks into outlines")
        return Boxes(xyxy=boxes, labels=labels, confidence=sure, size=size, **reading.done())
    return _masks(reading, found, boxes, labels, sure, size, decode)


def _check(reading: Reading, found: Sequence[Item], given: Asked) -> None:
    if given.gives == "boxes":
        for item in found:
            if not item.label:
                reading.complain("a region has no label", str(item.values))
        reading.check_labels([item.label for item in found if item.label], given.labels)
    if not found and not reading.problems and not reading.ended_at_once:
        reading.complain("there is no region", reading.text)


def _masks(
    reading: Reading, found: Sequence[Item], boxes: Floats, labels: Sequence[str], sure: Any, size: Size,
    decode: Decode | None,
) -> Masks:  # fmt: skip
    polygons: list[tuple[Polygon, ...]] = []
    kept: list[int] = []
    for index, item in enumerate(found):
        if not item.codes:
            reading.complain("a region has no mask", str(item.values))
            continue
        pieces = _outlines(decode(item.codes), boxes[index]) if decode is not None else ()
        if pieces:
            kept.append(index)
            polygons.append(pieces)
        else:
            reading.note(RANGE, "a mask is empty; it was left out", str(item.values))
    return Masks(
        polygons=tuple(polygons), labels=tuple(labels[i] for i in kept),
        confidence=sure[kept] if sure is not None else None, size=size, **reading.done(),
    )  # fmt: skip


def _outlines(mask: Floats, box: Floats) -> tuple[Polygon, ...]:
    """The mask stretched over its box, as the reference does it, as outlines in pixels of the image."""
    left, top, right, bottom = (int(value) for value in box)
    if right <= left or bottom <= top:
        return ()
    stretched = Image.fromarray(np.asarray(mask, dtype=np.float32)).resize(
        (right - left, bottom - top), Image.Resampling.BILINEAR
    )
    outlines = geometry.bitmap_to_polygons(np.asarray(stretched) > 0)
    return tuple(tuple((x + left, y + top) for x, y in outline) for outline in outlines)


def _text(reading: Reading) -> Text:
    text = "".join(atom.text for atom in reading.atoms if atom.kind == "text").strip()
    stray = sum(atom.kind != "text" and atom.text not in FRAME_TOKENS for atom in reading.atoms)
    if stray:
        reading.complain(f"{stray} special tokens stood in an answer of words; they were left out", reading.text)
    if not text:
        reading.complain("the answer is empty", reading.text)
    return Text(text=text, confidence=reading.probability(), **reading.done())
