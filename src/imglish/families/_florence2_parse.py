"""What Florence-2 wrote, as results. Never raises on model text: what cannot be read becomes a problem.

Unlike the reference's post-processor it keeps labels in any script and labels that hold `<`, drops no text before a
newline, gives float pixels, and says what it left out of an answer that was cut.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from imglish.core.results import Boxes, Masks, Result, Text, TextRegions
from imglish.core.types import Polygon, Request, Size
from imglish.families._florence2_reading import UNASKED, Reading, ignore
from imglish.families._florence2_tasks import BINS, CODEC, MARKS, Asked, asked
from imglish.families._locations import Atom, Complain, Item, labelled

_TOKEN = re.compile(r"<(?:loc_(\d{1,6})|/?[a-z_]{1,24})>")
_PRONOUNS = """it I me mine you your yours he him his she her hers they them their theirs one oneself we us our ours its
myself yourself himself herself itself ourselves yourselves themselves this that these those who whom whose which what
all another any anybody anyone anything each everybody everyone everything few many nobody none several some somebody
someone something image images the a an lots"""
BANNED_PHRASES = frozenset(
    {*_PRONOUNS.split(), "each other", "one another", "the image", "a group", "other objects", "a set"}
)
"""Phrases of a caption that the reference never gives a place (`_create_black_list_of_phrase_grounding`)."""


def scan(text: str) -> list[Atom]:
    """The text as location tokens, marks and words; what looks like a token but is none stays text."""
    found: list[Atom] = []
    end = 0
    for match in _TOKEN.finditer(text):
        if match[1] is None and match[0] not in MARKS:
            continue
        if match.start() > end:
            found.append(Atom("text", text[end : match.start()]))
        end = match.end()
        found.append(Atom("mark", match[0]) if match[1] is None else Atom("loc", match[0], int(match[1])))
    if end < len(text):
        found.append(Atom("text", text[end:]))
    return found


class Shape(NamedTuple):
    """One instance with its outlines, as location numbers x, y, x, y ..., and its span of atoms."""

    label: str
    parts: tuple[tuple[int, ...], ...]
    start: int
    stop: int


def shapes(found: Sequence[Atom], *, complain: Complain) -> list[Shape]:
    """`label<poly><loc_1>...<sep><loc_5>...</poly><poly>...`: `<sep>` divides the outlines of one instance."""
    instances: list[Shape] = []
    parts: list[tuple[int, ...]] = []
    values: list[int] = []
    label, used, start = "", True, 0

    def end_outline(stop: int) -> None:
        nonlocal values
        if len(values) % 2:
            complain("an outline has an odd number of location tokens; the last was left out", _text(found[start:stop]))
        pairs = values[: len(values) // 2 * 2]
        if values and len(pairs) < 6:
            complain(f"{len(values)} location tokens are not an outline", _text(found[start:stop]))
        elif pairs and max(pairs) >= BINS:
            complain(f"a location token is outside 0 to {BINS - 1}", _text(found[start:stop]))
        elif pairs:
            parts.append(tuple(pairs))
        values = []

    def end_instance(stop: int) -> None:
        nonlocal parts, start, used
        end_outline(stop)
        if parts:
            instances.append(Shape(label.strip(), tuple(parts), start, stop))
            used = True
        parts, start = [], stop

    for index, atom in enumerate(found):
        if atom.kind == "loc":
            values.append(atom.value)
        elif atom.kind == "mark" and atom.text == "<sep>":
            end_outline(index)
        elif atom.kind == "mark" and atom.text in ("<poly>", "</poly>"):
            end_instance(index)
        elif atom.kind == "text" and (atom.text.strip() or not (values or parts)):
            end_instance(index)
            label, used = (atom.text if used else label + atom.text), False
    end_instance(len(found))
    if not used and label.strip():
        complain("a label has no outline", label.strip())
    return instances


def parse(
    request: Request, raw: str, sizes: Sequence[Size], *, tokens: Sequence[str] | None, logprobs: Sequence[float] | None
) -> Result:
    """The result of the request's task that `raw` says."""
    reading = Reading(raw, scan, tokens=tokens, logprobs=logprobs, end="</s>")
    size = sizes[0] if sizes else (1, 1)
    given = asked(request)
    gives = given.task.gives if given.task is not None else "text"
    if gives == "text":
        return _text_result(given, reading)
    if gives == "lines":
        return _lines(reading, size)
    outlined = gives == "outlines" or any(atom.text == "<poly>" for atom in reading.atoms if atom.kind == "mark")
    if gives in ("outlines", "named shapes") and outlined:
        masks = _masks(given, reading, size)
        return _around(masks, reading) if request.skill in ("detect", "ground") else masks
    return _boxes(given, reading, size)


def _boxes(given: Asked, reading: Reading, size: Size) -> Boxes:
    task = given.task
    gives = task.gives if task is not None else "boxes"
    read = functools.partial(_items, named=gives != "proposals", banned=gives == "phrases")
    items = read(reading.atoms, complain=reading.complain, note=reading.note)
    sure = reading.confidences(functools.partial(read, complain=ignore), len(items))
    _check_found(reading, len(items))
    if gives == "named shapes":
        reading.check_labels([item.label for item in items], given.inputs)
    boxes = reading.boxes([item.values for item in items], CODEC, size)
    labels = tuple(item.label for item in items)
    return Boxes(xyxy=boxes, labels=labels, confidence=sure, size=size, **reading.done())


def _items(
    found: Sequence[Atom],
    *,
    complain: Complain,
    named: bool,
    banned: bool,
    note: Callable[[str, str, str], None] | None = None,
) -> list[Item]:
    """Boxes with their labels; what a caption says of nothing in particular (`it`, `the image`) has no place."""
    items = labelled(found, 4, bins=BINS, complain=complain)
    for item in items:
        if named and not item.label:
            complain("a region has no label", str(item.values))
        elif banned and item.label in BANNED_PHRASES and note is not None:
            note(UNASKED, f"{item.label!r} names nothing; its region was left out", item.label)
    return [item for item in items if not (banned and item.label in BANNED_PHRASES)]


def _masks(given: Asked, reading: Reading, size: Size) -> Masks:
    found = shapes(reading.atoms, complain=reading.complain)
    sure = reading.confidences(functools.partial(shapes, complain=ignore), len(found))
    _check_found(reading, len(found))
    default = " ".join(given.inputs)
    return Masks(
        polygons=tuple(tuple(_polygon(part, size) for part in shape.parts) for shape in found),
        labels=tuple(shape.label or default for shape in found),
        confidence=sure,
        size=size,
        **reading.done(),
    )


def _around(masks: Masks, reading: Reading) -> Boxes:
    """Boxes around outlines that came where boxes were asked for."""
    reading.note(UNASKED, "outlines came instead of boxes; the boxes are those around them")
    return Boxes(xyxy=masks.xyxy, labels=masks.labels, confidence=masks.confidence, size=masks.size, **reading.done())


def _lines(reading: Reading, size: Size) -> TextRegions:
    read = functools.partial(labelled, arity=8, bins=BINS)
    items = read(reading.atoms, complain=reading.complain)
    sure = reading.confidences(functools.partial(read, complain=ignore), len(items))
    for item in items:
        if not item.label:
            reading.complain("a line has no text", str(item.values))
    _check_found(reading, len(items))
    points = np.asarray([item.values for item in items], dtype=np.float64).reshape(-1, 4, 2)
    quads = CODEC.decode(points, size) if items else points
    texts = tuple(item.label for item in items)
    return TextRegions(texts=texts, quads=quads, confidence=sure, size=size, **reading.done())


def _text_result(given: Asked, reading: Reading) -> Text:
    text = "".join(atom.text for atom in reading.atoms if atom.kind == "text").strip()
    stray = sum(atom.kind != "text" and atom.text not in ("<s>", "</s>", "<pad>") for atom in reading.atoms)
    if stray:
        reading.complain(f"{stray} special tokens stood in an answer of words; they were left out", reading.text)
    read_nothing = given.task is not None and given.task.name in ("OCR", "REGION_TO_OCR") and _was_written(reading)
    if not text and not read_nothing:
        reading.complain("the answer is empty", reading.text)
    return Text(text=text, confidence=reading.probability(), **reading.done())


def _check_found(reading: Reading, count: int) -> None:
    """Nothing between `<s>` and `</s>` says that there is nothing; no `<s>` at all is no answer of this family."""
    if not count and not reading.problems and not _was_written(reading):
        reading.complain("there is no region", reading.text)


def _was_written(reading: Reading) -> bool:
    return reading.ended_at_once or any(atom.text == "<s>" for atom in reading.atoms)


def _polygon(values: Sequence[int], size: Size) -> Polygon:
    points = CODEC.decode(np.asarray(values).reshape(-1, 2), size)
    return tuple((float(x), float(y)) for x, y in points)


def _text(found: Sequence[Atom]) -> str:
    return "".join(atom.text for atom in found)[:200]
