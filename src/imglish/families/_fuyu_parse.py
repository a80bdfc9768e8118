"""What Fuyu wrote, as results. Boxes are y1, x1, y2, x2 between two tokens, in halved pixels of the resized picture.

transformers' own reading of it never ends on a malformed box, so it is not called. In the text the four numbers may run
together, 194213202244, because each is one token: then they are read from the tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from imglish.core.codecs import Codec
from imglish.core.results import RANGE, Boxes, Result, Text
from imglish.core.types import Request, Size
from imglish.families._fuyu_text import CODEC, NOTHING, POINTS
from imglish.families._region_answers import Reading, confidences

_INSIDE = r"([^<>\x00-\x03]{0,120})"
_OPEN, _CLOSE = r"(?:<box>|<0x00>|\x00)", r"(?:</box>|<0x01>|\x01)"
_POINT_OPEN, _POINT_CLOSE = r"(?:<point>|<0x02>|\x02)", r"(?:</point>|<0x03>|\x03)"
BOX, POINT = re.compile(_OPEN + _INSIDE + _CLOSE), re.compile(_POINT_OPEN + _INSIDE + _POINT_CLOSE)
_STRAY = re.compile("|".join((_OPEN, _CLOSE, _POINT_OPEN, _POINT_CLOSE)))
_SEPARATED = re.compile(r"\s*\d{1,6}(?:\.\d{1,6})?(?:(?:\s*,\s*|\s+)\d{1,6}(?:\.\d{1,6})?){1,3}\s*")


class Found(NamedTuple):
    """One box or point: its numbers as written, the text before it, and how many of its kind stood before it."""

    numbers: tuple[float, ...]
    label: str
    place: int


def parse(
    request: Request,
    raw: str,
    sizes: Sequence[Size],
    *,
    tokens: Sequence[str] | None = None,
    logprobs: Sequence[float] | None = None,
) -> Result:
    """The result of the request's skill that `raw` says."""
    reading, size = Reading(raw, tokens=tokens, logprobs=logprobs), sizes[0] if sizes else (1, 1)
    if request.skill in ("detect", "ground"):
        return _boxes(request, reading, size)
    text = _in_pixels(reading, BOX, CODEC, size=size, form="[{}]")
    text = _in_pixels(reading, POINT, POINTS, size=size, form="({})", text=text)
    if _STRAY.search(text):
        reading.complain("a box or point breaks off, or cannot be read", text)
    text = text.strip()
    if not text:
        reading.complain("the answer is empty", reading.raw)
    return Text(text=text, confidence=reading.probability, **reading.done())


def _boxes(request: Request, reading: Reading, size: Size) -> Boxes:
    items, count = scan(reading)
    if POINT.search(reading.text):
        reading.complain("there is a point where a box is read", reading.text)
    items = [item for item in items if _is_inside(item, reading, size)]
    only = request.text if request.skill == "ground" else request.labels[0] if len(request.labels) == 1 else ""
    labels = [only if request.skill == "ground" else item.label or only for item in items]
    for item, label in zip(items, labels, strict=True):
        if not label:
            reading.complain("a box has no label", str(item.numbers))
    if not items and not reading.problems and reading.text.strip().strip(".").casefold() != NOTHING:
        reading.complain(f"there is neither a box nor {NOTHING!r}", reading.text)
    rows = [reading.ordered(item.numbers) for item in items]
    boxes = CODEC.decode(np.asarray(rows, np.float64), size) if rows else np.zeros((0, 4))
    sure = reading.sureness(BOX, count)
    confidence = confidences([sure[item.place] for item in items])
    return Boxes(xyxy=boxes, labels=tuple(labels), confidence=confidence, size=size, **reading.done())


def scan(reading: Reading) -> tuple[list[Found], int]:
    """The boxes of a text that can be read, and how many there are with the others."""
    items: list[Found] = []
    matches = list(BOX.finditer(reading.text))
    end = 0
    for place, match in enumerate(matches):
        between = reading.text[end : match.start()]
        numbers = _numbers(reading, BOX, match[1], place=place, count=len(matches), arity=4)
        if numbers is None:
            reading.complain("a box is not four numbers that can be told apart", match[0])
        else:
            items.append(Found(numbers, _STRAY.sub("", between).strip(" ,;:\n"), place))
        _check_stray(reading, between)
        end = match.end()
    _check_stray(reading, reading.text[end:])
    return items, len(matches)


def _check_stray(reading: Reading, text: str) -> None:
    stray = _STRAY.search(POINT.sub("", text))
    if stray:
        reading.complain("a box or point breaks off", text[max(0, stray.start() - 40) : stray.end() + 80])


def _numbers(
    reading: Reading, mark: re.Pattern[str], text: str, *, place: int, count: int, arity: int
) -> tuple[float, ...] | None:
    """The numbers of one box or point, from its text or, where they run together, from its tokens."""
    if _SEPARATED.fullmatch(text):
        numbers = tuple(float(number) for number in re.findall(r"\d+(?:\.\d+)?", text))
        return numbers if len(numbers) == arity else None
    spans = reading.spans(mark, count)
    if spans is None or reading.tokens is None:
        return None
    start, stop = spans[place]
    inner = [token.strip("▁Ġ ,") for token in reading.tokens[start + 1 : stop - 1]]
    numerals = [token for token in inner if token]
    if len(numerals) != arity or not all(re.fullmatch(r"[0-9]{1,6}", token) for token in numerals):
        return None
    return tuple(float(token) for token in numerals)


def _is_inside(item: Found, reading: Reading, size: Size) -> bool:
    inside = bool(CODEC.in_range(np.array(item.numbers), size))
    if not inside:
        reading.complain("a box lies outside the image; it was left out", str(item.numbers), kind=RANGE)
    return inside


def _in_pixels(
    reading: Reading, mark: re.Pattern[str], codec: Codec, *, size: Size, form: str, text: str | None = None
) -> str:
    """The text with boxes or points in pixels of the original image; what cannot be read stays as it is."""
    given = reading.text if text is None else text
    count, place = len(mark.findall(given)), -1

    def told(match: re.Match[str]) -> str:
        nonlocal place
        place += 1
        arity = 4 if mark is BOX else 2
        numbers = _numbers(reading, mark, match[1], place=place, count=count, arity=arity)
        if numbers is None:
            return match[0]
        return form.format(", ".join(str(round(value)) for value in codec.decode(np.array(numbers), size).tolist()))

    return mark.sub(told, given)
