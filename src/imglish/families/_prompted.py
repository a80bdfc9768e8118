"""Region skills by instruction, for families that were trained to chat only: asked in words, answered as JSON.

What comes back is read strictly: JSON in the form that was asked for, or a problem that names what is wrong. Where an
answer was cut, the items before the cut are kept and the cut is recorded.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from imglish.core import geometry
from imglish.core.codecs import Codec, Normalised
from imglish.core.results import PARSE, RANGE, Boxes, Masks, Problem, Record, Result, Text, TextRegions
from imglish.core.types import Request, Sample, Size
from imglish.families import _documents, _field_confidence
from imglish.families._locations import LONGEST

REGIONS = frozenset({"detect", "ground", "segment", "read"})
MOST_ITEMS = 1000
_DETAILS = {"brief": "in one short sentence", "normal": "in one or two sentences", "full": "in detail"}
_LANGUAGES = {"pl": "Polish", "vi": "Vietnamese", "ru": "Russian"}


def instruction(request: Request, codec: Codec, size: Size) -> str:
    """What is said to the model instead of a task token."""
    text, places = request.text, _places(codec, size)
    box = '{"bbox_2d": [x1, y1, x2, y2], "label": "name"}'
    only = f"Answer with a JSON list only, [] if there is none; {places}."
    said = {
        "detect": f"Detect {'all of: ' + ', '.join(request.labels) if request.labels else 'every object'}. "
        f"Write each as {box}. {only}",
        "ground": f"Locate: {text}. Write each region as {box}. {only}",
        "segment": f'Outline: {text}. Write each as {{"polygon": [[x, y], [x, y], ...], "label": "name"}}. {only}',
        "read": 'Read all text, line by line, from top to bottom. Write each line as {"bbox_2d": [x1, y1, x2, y2], '
        f'"text": "..."}}. {only}',
        "count": f"How many are there of: {text}? Answer with a number only.",
        "caption": text or f"Describe the image {_DETAILS.get(request.detail, 'in one or two sentences')}.",
        "extract": "Read these fields and answer with one JSON object that satisfies the schema; write N/A where a "
        f"field is not in the image. Schema: {json.dumps(dict(request.schema or {}), ensure_ascii=False)}",
    }
    if request.skill == "identify" and request.region is not None:
        numbers = _written(codec.encode([request.region], size)[0])
        return f"What is in the box {json.dumps(numbers)}? Answer with its name only; {places}."
    words = said.get(request.skill, text)
    told = request.language != "en" and request.skill in ("caption", "identify") and not text
    return f"{words} Answer in {_LANGUAGES.get(request.language, request.language)}." if told else words


def written(sample: Sample, codec: Codec, size: Size) -> str:
    """The truth of a sample as such an answer."""
    truth, skill = sample.truth, sample.skill
    if skill in ("detect", "ground"):
        order = sorted(range(len(truth)), key=lambda i: (truth.xyxy[i, 0] + truth.xyxy[i, 1], truth.xyxy[i, 1]))
        rows: Any = codec.encode(truth.xyxy, size) if len(truth) else []
        labels = truth.labels or (sample.question,) * len(truth)
        return _json([{"bbox_2d": _written(rows[i]), "label": labels[i]} for i in order])
    if skill == "segment":
        outlines = [(max(parts, key=geometry.polygon_area), label) for parts, label in _labelled(truth, sample)]
        return _json(
            [
                {"polygon": [_written(point) for point in codec.encode(part, size)], "label": label}
                for part, label in outlines
            ]
        )
    if skill == "read":
        boxes = geometry.quad_to_box(truth.quads)
        centres = truth.quads.mean(axis=1) if len(truth) else []
        order = sorted(range(len(boxes)), key=lambda i: (centres[i][1], centres[i][0]))
        rows = codec.encode(boxes, size) if len(boxes) else []
        return _json([{"bbox_2d": _written(rows[i]), "text": truth.texts[i]} for i in order])
    return json.dumps(truth.data, ensure_ascii=False) if skill == "extract" else sample.answer


def parse(
    request: Request,
    raw: str,
    codec: Codec,
    size: Size,
    *,
    tokens: Sequence[str] | None = None,
    logprobs: Sequence[float] | None = None,
) -> Result:
    """The result that such an answer says. Never raises on model text."""
    problems: list[Problem] = []
    sure = _probability(logprobs)
    if len(raw) > LONGEST:
        problems.append(Problem(PARSE, f"only the first {LONGEST} characters were read", raw[:80]))
    if request.skill == "extract":
        record = _record(request, raw, problems)
        if tokens is None or logprobs is None:
            return record
        try:
            said = json.loads(raw)
        except (ValueError, RecursionError):
            return record
        return dataclasses.replace(record, confidence=_field_confidence.of_json(said, tokens, logprobs))
    if request.skill not in REGIONS:
        text = raw[:LONGEST].strip()
        if not text:
            problems.append(Problem(PARSE, "the answer is empty", raw[:200]))
        return Text(text=text, confidence=sure, raw=raw, problems=tuple(problems))
    found = items(raw, problems)
    kept: list[tuple[Any, str]] = []
    for item in found:
        place = _place(item, codec, size, polygon=request.skill == "segment", problems=problems)
        if place is not None:
            kept.append((place, _name(item, request)))
    confidence = None if sure is None else np.full(len(kept), sure)
    done: dict[str, Any] = {"confidence": confidence, "size": size, "raw": raw, "problems": tuple(problems)}
    names = tuple(name for _, name in kept)
    if request.skill == "segment":
        return Masks(polygons=tuple((place,) for place, _ in kept), labels=names, **done)
    boxes = np.array([place for place, _ in kept]).reshape(-1, 4)
    if request.skill == "read":
        return TextRegions(texts=names, quads=geometry.box_to_quad(boxes), **done)
    return Boxes(xyxy=boxes, labels=names, **done)


def items(raw: str, problems: list[Problem]) -> list[Any]:
    """The objects of a JSON list; a lone object or a lone box is a list of one."""
    text = raw[:LONGEST].strip()
    fence = None if text[:1] in ("{", "[") else re.search(r"```(?:json)?\s*(.*?)(?:```|\Z)", text, re.DOTALL)
    text = fence[1].strip() if fence else text
    start = min((place for place in (text.find("["), text.find("{")) if place >= 0), default=-1)
    if start < 0:
        problems.append(Problem(PARSE, "the answer holds no JSON list", raw[:200]))
        return []
    try:
        value, end = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        problems.append(Problem(PARSE, "the JSON of the answer breaks off or is not valid", raw[:200]))
        return _before_the_break(text)
    if text[end:].strip() or text[:start].strip():
        problems.append(Problem("around", "there is text around the JSON of the answer", raw[:200]))
    lone = isinstance(value, dict) or (isinstance(value, list) and len(value) == 4 and all(map(_is_number, value)))
    found = [value] if lone else value
    if len(found) > MOST_ITEMS:
        problems.append(Problem(PARSE, f"only the first {MOST_ITEMS} of {len(found)} items were read"))
    return list(found[:MOST_ITEMS])


def _before_the_break(text: str) -> list[Any]:
    found: list[Any] = []
    decoder, place = json.JSONDecoder(), text.find("{")
    while place >= 0 and len(found) < MOST_ITEMS:
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            return found
        found.append(value)
        place = text.find("{", place)
    return found


def _place(item: Any, codec: Codec, size: Size, *, polygon: bool, problems: list[Problem]) -> Any:
    """The box or outline of an item in pixels of the original, or None with a problem."""
    form = "polygon" if polygon else "bbox_2d"
    given = item.get(form) if isinstance(item, dict) else None if polygon else item
    rows = given if polygon else [given]
    width = 2 if polygon else 4
    right = (
        isinstance(rows, list)
        and len(rows) >= (3 if polygon else 1)
        and all(isinstance(row, list) and len(row) == width and all(map(_is_number, row)) for row in rows)
    )
    if not right:
        problems.append(Problem(PARSE, f"an item has no {form}", str(item)[:200]))
        return None
    values = np.asarray(rows, dtype=np.float64)
    if not codec.in_range(values, size).all():
        problems.append(Problem(RANGE, "a region lies outside the image; it was left out", str(item)[:200]))
        return None
    if polygon:
        return tuple((float(x), float(y)) for x, y in codec.decode(values, size))
    if values[0, 0] > values[0, 2] or values[0, 1] > values[0, 3]:
        problems.append(Problem(RANGE, "a box had its corners exchanged; they were put in order", str(item)[:200]))
        values = np.concatenate((np.minimum(values[:, :2], values[:, 2:]), np.maximum(values[:, :2], values[:, 2:])), 1)
    return codec.decode(values, size)[0]


def _record(request: Request, raw: str, problems: list[Problem]) -> Record:
    schema = dict(request.schema or {})
    found = items(raw, problems)
    given = found[0] if found and isinstance(found[0], dict) else None
    if (given is None or len(found) > 1) and all(problem.kind != PARSE for problem in problems):
        problems.append(Problem(PARSE, "the answer is not one JSON object", raw[:200]))
    data, told = _documents.fill(schema, given)
    return Record(data=data, schema=schema, raw=raw, problems=(*problems, *told))


def _labelled(truth: Masks, sample: Sample) -> list[tuple[Any, str]]:
    labels = truth.labels or (sample.question,) * len(truth.polygons)
    return list(zip(truth.polygons, labels, strict=True))


def _name(item: Any, request: Request) -> str:
    key = "text" if request.skill == "read" else "label"
    label = item.get(key) if isinstance(item, dict) else None
    return label if isinstance(label, str) else request.text or ", ".join(request.labels)


def _places(codec: Codec, size: Size) -> str:
    if isinstance(codec.quanta, Normalised):
        return f"coordinates are from 0 to {codec.quanta.scale:g}, where {codec.quanta.scale:g} is the whole side"
    width, height = codec.frame.fit(size).size
    return f"coordinates are pixels of the image, which is {width} wide and {height} high"


def _written(values: Any) -> list[Any]:
    found: list[Any] = values.tolist()
    return found


def _json(rows: Sequence[Any]) -> str:
    return json.dumps(list(rows), ensure_ascii=False)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e7


def _probability(logprobs: Sequence[float] | None) -> float | None:
    span = [value for value in logprobs or () if math.isfinite(value)]
    return math.exp(sum(span) / len(span)) if span else None
