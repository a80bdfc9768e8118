"""What the shipped family wrote, as results. Never raises on model text: what cannot be read becomes a problem."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from imglish.core.geometry import Floats
from imglish.core.results import PARSE, RANGE, Boxes, Masks, Problem, Record, Result, Text, TextRegions
from imglish.core.types import Request, Size
from imglish.families import _field_confidence, _fields
from imglish.families._imglish_text import BINS, CODEC, SPECIAL_TOKENS, asked_names, named
from imglish.families._locations import LONGEST, Atom, atoms, labelled, outlines, token_atoms

MARKS = frozenset(token for token in SPECIAL_TOKENS if not token.startswith("<loc_"))
MISSING, UNASKED = "missing", "unasked"  # kinds of problems: a field that was not written, a label nobody asked for
SYSTEM = "system"  # a kind of problem: a system message that was left out


class Answer:
    """One text of the model on the way to a result: its atoms, its tokens' probabilities, its problems."""

    def __init__(self, raw: str, tokens: Sequence[str] | None, logprobs: Sequence[float] | None) -> None:
        self.raw = raw
        self.text = raw[:LONGEST].split("<eos>", 1)[0]
        self.problems: list[Problem] = []
        if len(raw) > LONGEST:
            self.complain(f"only the first {LONGEST} characters were read", raw[:80])
        self.atoms = atoms(self.text, MARKS)
        self.tokens = token_atoms(tokens, MARKS) if tokens is not None and logprobs is not None else None
        self.told = tokens if logprobs is not None else None
        self.logprobs = list(logprobs or ())

    def complain(self, message: str, text: str = "") -> None:
        """Records that something could not be read."""
        self.problems.append(Problem(PARSE, message, text))

    @property
    def says_none(self) -> bool:
        """Whether the model wrote, in so many words, that there is nothing."""
        return any(atom.text == "<none>" for atom in self.atoms)

    def probability(self, start: int = 0, stop: int | None = None) -> float | None:
        """exp of the mean log-probability of tokens start to stop."""
        span = [value for value in self.logprobs[start:stop] if math.isfinite(value)]
        return math.exp(sum(span) / len(span)) if span and self.tokens is not None else None

    def confidences(self, spans: list[tuple[int, int]] | None, count: int) -> Floats | None:
        """One probability per item, or None where the tokens do not tell the same items as the text."""
        if spans is None or len(spans) != count:
            return None
        values = [self.probability(start, stop) for start, stop in spans]
        return None if None in values else np.array(values, dtype=np.float64)

    def check_found(self, count: int) -> None:
        """A list of regions is either `<none>` or has at least one."""
        if count and self.says_none:
            self.complain("there is both <none> and a region", self.text[:200])
        if not count and not self.says_none and not self.problems:
            self.complain("there is neither a region nor <none>", self.text[:200])

    def done(self, **more: Any) -> dict[str, Any]:
        """The fields that all results have."""
        return {"raw": self.raw, "problems": tuple(self.problems), **more}


def parse(
    request: Request, raw: str, sizes: Sequence[Size], *, tokens: Sequence[str] | None, logprobs: Sequence[float] | None
) -> Result:
    """The result of the request's skill that `raw` says."""
    answer = Answer(raw, tokens, logprobs)
    if any(message.role == "system" and message.text.strip() for message in request.messages):
        told = "the family 'imglish' takes no system message: it was left out of the prompt"
        answer.problems.append(Problem(SYSTEM, told))
    size = sizes[0] if sizes else (1, 1)
    if request.skill in ("detect", "ground"):
        return _boxes(request, answer, size)
    if request.skill == "segment":
        return _masks(request, answer, size)
    if request.skill == "read":
        return _regions(answer, size)
    if request.skill == "extract":
        return _record(request, answer)
    return _text(answer)


def _boxes(request: Request, answer: Answer, size: Size) -> Boxes:
    items = labelled(answer.atoms, 4, bins=BINS, complain=answer.complain)
    again = labelled(answer.tokens, 4, bins=BINS, complain=_ignore) if answer.tokens is not None else None
    sure = answer.confidences([(item.start, item.stop) for item in again] if again is not None else None, len(items))
    boxes, inside = _decode_boxes(answer, [item.values for item in items], size)
    asked = asked_names(request)
    labels = [request.text if request.skill == "ground" else item.label for item in items]
    for index, item in enumerate(items):
        if request.skill == "detect" and not item.label:
            answer.complain("a region has no label", str(item.values))
        elif request.skill == "detect" and asked:
            known = asked.get(named(item.label, request.language))
            labels[index] = known or item.label
            if known is None:
                told = f"{item.label!r} is not one of {', '.join(asked.values())}"
                answer.problems.append(Problem(UNASKED, told, item.label))
    answer.check_found(len(items))
    return Boxes(
        xyxy=boxes[inside],
        labels=tuple(label for label, keep in zip(labels, inside, strict=True) if keep),
        confidence=sure[inside] if sure is not None else None,
        size=size,
        **answer.done(),
    )


def _decode_boxes(answer: Answer, values: list[tuple[int, ...]], size: Size) -> tuple[Any, Any]:
    """(boxes (n, 4), which of them are in the image (n,)); a box given by its other corners is turned round."""
    if not values:
        return np.zeros((0, 4)), np.zeros(0, dtype=bool)
    bins = np.asarray(values)
    for row in bins[(bins[:, 0] > bins[:, 2]) | (bins[:, 1] > bins[:, 3])]:
        answer.problems.append(Problem(RANGE, "a box had its corners exchanged; they were put in order", str(row)))
    bins = np.concatenate((np.minimum(bins[:, :2], bins[:, 2:]), np.maximum(bins[:, :2], bins[:, 2:])), axis=1)
    boxes = np.asarray(CODEC.decode(bins, size), dtype=np.float64)
    thin = (bins[:, :2] == bins[:, 2:]).any(axis=1)
    inside = thin | ((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
    for row in bins[~inside]:
        answer.problems.append(Problem(RANGE, "a box lies outside the image; it was left out", str(row)))
    return boxes, inside


def _masks(request: Request, answer: Answer, size: Size) -> Masks:
    read = functools.partial(outlines, begin="<poly>", part="<sep>", bins=BINS, lead=4)
    found = read(answer.atoms, complain=answer.complain)
    again = read(answer.tokens, complain=_ignore) if answer.tokens is not None else None
    sure = answer.confidences([(start, stop) for _, start, stop in again] if again is not None else None, len(found))
    polygons = tuple(
        tuple(
            tuple((float(x), float(y)) for x, y in CODEC.decode(np.asarray(part).reshape(-1, 2), size))
            for part in parts
        )
        for parts, _, _ in found
    )
    answer.check_found(len(found))
    labels = (request.text,) * len(polygons)
    return Masks(polygons=polygons, labels=labels, confidence=sure, size=size, **answer.done())


def _regions(answer: Answer, size: Size) -> TextRegions:
    items = labelled(answer.atoms, 8, bins=BINS, complain=answer.complain)
    again = labelled(answer.tokens, 8, bins=BINS, complain=_ignore) if answer.tokens is not None else None
    sure = answer.confidences([(item.start, item.stop) for item in again] if again is not None else None, len(items))
    points = np.asarray([item.values for item in items]).reshape(-1, 2)
    quads = np.asarray(CODEC.decode(points, size)).reshape(-1, 4, 2) if items else np.zeros((0, 4, 2))
    for item in items:
        if not item.label:
            answer.complain("a line has no text", str(item.values))
    answer.check_found(len(items))
    texts = tuple(item.label for item in items)
    return TextRegions(texts=texts, quads=quads, confidence=sure, size=size, **answer.done())


def _record(request: Request, answer: Answer) -> Record:
    schema = dict(request.schema or {})
    lines = [line.strip() for line in _plain(answer.atoms, separator="<sep>").split("<sep>") if line.strip()]
    data, problems, understood = _fields.read(schema, lines)
    for message, text in problems:
        kind = PARSE if text and message.startswith("this is not") else MISSING
        answer.problems.append(Problem(kind, message, text))
    if not understood:
        answer.complain("no field could be read", answer.text[:200])
    sure = None
    if answer.told is not None:
        sure = _field_confidence.of_lines(schema, answer.told, answer.logprobs, between="<sep>")
    return Record(data=data, schema=schema, confidence=sure, **answer.done())


def _text(answer: Answer) -> Text:
    text = _plain(answer.atoms).strip()
    if not text:
        answer.complain("the answer is empty", answer.text[:200])
    stray = sum(atom.kind != "text" for atom in answer.atoms)
    if stray:
        answer.complain(f"{stray} special tokens stood in an answer of words; they were left out", answer.text[:200])
    return Text(text=text, confidence=answer.probability(), **answer.done())


def _plain(found: Sequence[Atom], *, separator: str = "") -> str:
    return "".join(atom.text for atom in found if atom.kind == "text" or (separator and atom.text == separator))


def _ignore(message: str, text: str) -> None:
    """The text has been complained about already; its tokens are the same."""
