"""What MiniGPT-v2 wrote, as results: `<p>phrase</p> {<x1><y1><x2><y2>}<delim>{...}`, one pass, never raising.

The demo's own reading takes the first four numbers wherever they stand; here a number above 100, a box of three
numbers and a phrase without a box are problems.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from imglish.core.results import Boxes, Result, Text
from imglish.core.types import Request, Size
from imglish.families._minigpt_text import CODEC, NOTHING
from imglish.families._region_answers import Reading, confidences

_NUMBER = r"\s?<\s?(\d{1,6})\s?>"
BOX = re.compile(r"\{" + _NUMBER * 4 + r"\s?\}")
_MARK = re.compile(rf"(?P<box>{BOX.pattern})|(?P<broken>\{{\s?<[^{{}}]{{0,60}}\}}?)|(?P<tag></?p>|<delim>)")
_PLACES = re.compile(rf"\s?{BOX.pattern}(?:\s?<delim>\s?{BOX.pattern})*")


class Found(NamedTuple):
    """One box: its phrase, the numbers as written, and how many boxes stood before it."""

    phrase: str
    numbers: tuple[int, ...]
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
    return _text(request, reading, size)


def _boxes(request: Request, reading: Reading, size: Size) -> Boxes:
    items, count = scan(reading, phrases=request.skill == "detect")
    sure = reading.sureness(BOX, count)
    only = request.labels[0] if len(request.labels) == 1 else ""
    labels = [request.text if request.skill == "ground" else item.phrase or only for item in items]
    for item, label in zip(items, labels, strict=True):
        if request.skill == "detect" and not label:
            reading.complain("a box has no phrase", str(item.numbers))
    said = reading.text.strip().strip(".").casefold()
    if not items and not reading.problems and said != NOTHING:
        reading.complain(f"there is neither a box nor {NOTHING!r}", reading.text)
    rows = [reading.ordered(item.numbers) for item in items]
    boxes = CODEC.decode(np.asarray(rows, np.float64), size) if rows else np.zeros((0, 4))
    confidence = confidences([sure[item.place] for item in items])
    return Boxes(xyxy=boxes, labels=tuple(labels), confidence=confidence, size=size, **reading.done())


def scan(reading: Reading, *, phrases: bool) -> tuple[list[Found], int]:
    """The boxes of a text that are whole, and how many there are with those out of range."""
    items: list[Found] = []
    phrase, opened, unplaced, count = "", -1, False, 0
    for match in _MARK.finditer(reading.text):
        if match["box"]:
            numbers = tuple(int(value) for value in BOX.fullmatch(match["box"]).groups())  # type: ignore[union-attr]
            if max(numbers) <= 100:
                items.append(Found(phrase, numbers, count))
            else:
                reading.complain("a number of a box is above 100", match["box"])
            unplaced, count = False, count + 1
        elif match["broken"]:
            reading.complain("a box breaks off, or is not four numbers", match["broken"])
            unplaced = False
        elif match["tag"] == "<p>":
            if phrases and (unplaced or opened >= 0):
                reading.complain("a phrase has no box", phrase)
            opened, unplaced = match.end(), False
        elif match["tag"] == "</p>" and opened >= 0:
            phrase, opened, unplaced = reading.text[opened : match.start()].strip(), -1, True
    if phrases and (opened >= 0 or unplaced):
        reading.complain("a phrase has no box", reading.text[opened:] if opened >= 0 else phrase)
    return items, count


def _text(request: Request, reading: Reading, size: Size) -> Text:
    text = reading.text.strip()
    if not text:
        reading.complain("the answer is empty", reading.raw)
    if request.skill != "chat" and _MARK.search(text):
        scan(reading, phrases=False)
        text = BOX.sub(lambda match: _pixels(match, size), text) if request.skill == "ask" else _PLACES.sub("", text)
        text = re.sub(r"</?p>", "", text).replace("<delim>", ", " if request.skill == "ask" else "").strip()
    return Text(text=text, confidence=reading.probability, **reading.done())


def _pixels(match: re.Match[str], size: Size) -> str:
    """A box in words, in pixels of the original image; one out of range stays as it is."""
    numbers = [int(value) for value in match.groups()]
    if max(numbers) > 100:
        return match[0]
    return "[" + ", ".join(str(round(value)) for value in CODEC.decode(np.array(numbers), size).tolist()) + "]"
