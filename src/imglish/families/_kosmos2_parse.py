"""What KOSMOS-2 wrote, as results: `<phrase> a dog</phrase><object>` pairs of cells `</object>`, read in one pass.

transformers' own reading drops what does not fit its pattern without a word; here it is a problem with a name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from imglish.core.results import Boxes, Result, Text
from imglish.core.types import Request, Size
from imglish.families._kosmos2_text import BETWEEN, CODEC, GRID, TAGS
from imglish.families._region_answers import Reading, confidences

UNASKED = "unasked"  # the kind of problem: a phrase that nobody asked for
CELL = re.compile(r"<patch_index_(\d{1,9})>")
_MARK = re.compile("|".join([CELL.pattern, *map(re.escape, TAGS)]))


class Found(NamedTuple):
    """One box: its phrase, (column, row) of both cells, and how many cells stood before it."""

    phrase: str
    cells: tuple[int, int, int, int]
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
    text = _MARK.sub("", reading.text).strip()
    if not text:
        reading.complain("the answer is empty", reading.raw)
    return Text(text=text, confidence=reading.probability, **reading.done())


def _boxes(request: Request, reading: Reading, size: Size) -> Boxes:
    scan = Scan(reading)
    scan.run()
    only = request.text if request.skill == "ground" else request.labels[0] if len(request.labels) == 1 else ""
    items = [item for item in scan.items if not only or _is_asked(item.phrase, only, reading)]
    labels = [only if request.skill == "ground" else item.phrase or only for item in items]
    for item, label in zip(items, labels, strict=True):
        if not label:
            reading.complain("a region has no phrase", str(item.cells))
    if not scan.items and not scan.says_none and not reading.problems:
        reading.complain("there is neither a region nor <object></object>", reading.text)
    sure = reading.sureness(CELL, scan.count)
    rows = [reading.ordered(item.cells) for item in items]
    boxes = CODEC.decode(np.asarray(rows, np.float64), size) if rows else np.zeros((0, 4))
    pairs = [_mean(sure[item.place], sure[item.place + 1]) for item in items]
    return Boxes(xyxy=boxes, labels=tuple(labels), confidence=confidences(pairs), size=size, **reading.done())


def _is_asked(phrase: str, only: str, reading: Reading) -> bool:
    """One phrase was asked for: what goes on with others is left out, and said so."""
    if not phrase or only.casefold() in phrase.casefold():
        return True
    reading.complain(f"{phrase!r} was not asked for; its region was left out", phrase, kind=UNASKED)
    return False


def _mean(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else float((first * second) ** 0.5)


class Scan:
    """The regions of one text, tag by tag."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.items: list[Found] = []
        self.count = 0  # cells so far
        self.says_none = False
        self._phrase, self._opened = "", -1
        self._pair: list[int] | None = None  # the cells of the object being read
        self._empty = True  # nothing stands in that object yet

    def run(self) -> None:
        """Reads everything."""
        end = 0
        for match in _MARK.finditer(self.reading.text):
            between = self.reading.text[end : match.start()]
            if self._pair is not None and between.strip():
                self._complain("there is text among the cells of an object", between)
            end = match.end()
            if match[1] is not None:
                self._cell(int(match[1]), match[0])
            else:
                self._tag(match)
        if self._opened >= 0:
            self._complain("a phrase breaks off", self.reading.text[self._opened :])
        if self._pair is not None:
            self._complain("an object breaks off", self.reading.text[-80:])

    def _complain(self, message: str, text: str) -> None:
        self.reading.complain(message, text)

    def _cell(self, number: int, text: str) -> None:
        if self._pair is None:
            self._complain("a cell stands outside an object", text)
        else:
            self._empty = False
            self._pair.append(number)
            if len(self._pair) > 2:
                self._complain("a region has more than two cells", text)
                self._pair = []
            elif len(self._pair) == 2:
                self._add(self._pair)
        self.count += 1

    def _add(self, pair: list[int]) -> None:
        if max(pair) >= GRID * GRID:
            self._complain(f"a cell is outside 0 to {GRID * GRID - 1}", str(pair))
            return
        (y1, x1), (y2, x2) = divmod(pair[0], GRID), divmod(pair[1], GRID)
        self.items.append(Found(self._phrase, (x1, y1, x2, y2), self.count - 1))

    def _tag(self, match: re.Match[str]) -> None:
        tag = match[0]
        if tag == "<phrase>":
            self._phrase, self._opened = "", match.end()
        elif tag == "</phrase>" and self._opened >= 0:
            self._phrase, self._opened = self.reading.text[self._opened : match.start()].strip(), -1
        elif tag == "<object>":
            if self._pair is not None:
                self._complain("an object begins within another", self.reading.text[: match.end()][-80:])
            self._pair, self._empty = [], True
        elif tag in (BETWEEN, "</object>"):
            self._end_pair(tag)

    def _end_pair(self, tag: str) -> None:
        """The end of a pair: it has two cells, which have been read, or it is a problem."""
        if self._pair is None:
            self._complain("an object ends that has not begun", tag)
            return
        none = self._empty and tag == "</object>"
        self.says_none |= none
        if len(self._pair) != 2 and not none:
            self._complain(f"a region has {len(self._pair)} cells, not 2", str(self._pair))
        self._pair, self._empty = ([], False) if tag == BETWEEN else (None, True)
        self._phrase = self._phrase if tag == BETWEEN else ""
