"""What families that write places among words share: how sure the model was of each place, and what was asked.

A place is found twice by one pattern, in the text and in the text of its tokens, so that it has a span of tokens.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from imglish.core.geometry import Floats
from imglish.core.images import open_image
from imglish.core.results import PARSE, RANGE, Problem
from imglish.core.types import Request, Sample, Size
from imglish.families._locations import LONGEST

USUAL = frozenset({"", "Describe the picture.", "Opisz obrazek.", "Mô tả bức ảnh.", "Опиши картинку."})
_SPACES = str.maketrans({"▁": " ", "Ġ": " "})  # one letter for one, so that places in the text stay


class Reading:
    """One answer on the way to a result: what is read of it, and the problems on the way."""

    def __init__(
        self, raw: str, *, tokens: Sequence[str] | None = None, logprobs: Sequence[float] | None = None
    ) -> None:
        self.raw, self.text = raw, raw[:LONGEST]
        self.tokens, self.logprobs = tokens, logprobs
        self.problems: list[Problem] = []
        if len(raw) > LONGEST:
            self.complain(f"only the first {LONGEST} characters were read", raw[:80])

    def complain(self, message: str, text: str = "", *, kind: str = PARSE) -> None:
        """Records that something could not be read, or is out of range."""
        self.problems.append(Problem(kind, message, text[:200]))

    @property
    def probability(self) -> float | None:
        """exp of the mean log-probability of all tokens."""
        return _probability(self.logprobs or ())

    def sureness(self, mark: re.Pattern[str], count: int) -> list[float | None]:
        """One probability for each of the `count` matches of `mark`; of the whole answer where tokens tell no more."""
        spans = self.spans(mark, count)
        if spans is None:
            return [self.probability] * count
        return [_probability((self.logprobs or ())[start:stop]) for start, stop in spans]

    def spans(self, mark: re.Pattern[str], count: int) -> list[tuple[int, int]] | None:
        """The tokens of each match of `mark`, or None where the tokens do not hold the `count` that the text has."""
        found = _spans(self.tokens, mark) if self.tokens is not None else []
        return found if len(found) == count else None

    def ordered(self, box: Sequence[float]) -> tuple[float, float, float, float]:
        """Two corners as top-left and bottom-right; exchanged ones are recorded."""
        (x1, x2), (y1, y2) = sorted((box[0], box[2])), sorted((box[1], box[3]))
        if (x1, y1, x2, y2) != tuple(box):
            self.complain("a box had its corners exchanged; they were put in order", str(tuple(box)), kind=RANGE)
        return x1, y1, x2, y2

    def done(self, **more: Any) -> dict[str, Any]:
        """The fields that all results have."""
        return {"raw": self.raw, "problems": tuple(self.problems), **more}


def confidences(values: Sequence[float | None]) -> Floats | None:
    """Probabilities as an array, or None where one is not known; an empty list has none to know."""
    return None if not values or None in values else np.array(values, dtype=np.float64)


def own_words(request: Request) -> str:
    """The caption's instruction, where the user gave one."""
    return "" if request.text in USUAL else request.text


def sizes_of(sample: Sample) -> list[Size]:
    """Width and height of each image of a sample."""
    return [image.size if hasattr(image, "convert") else open_image(image).size for image in sample.images]


def _probability(logprobs: Sequence[float]) -> float | None:
    span = [value for value in logprobs if math.isfinite(value)]
    return math.exp(sum(span) / len(span)) if span else None


def _spans(tokens: Sequence[str], mark: re.Pattern[str]) -> list[tuple[int, int]]:
    ends = list(accumulate(map(len, tokens)))
    text = "".join(tokens).translate(_SPACES)[: 4 * LONGEST]
    return [(bisect_right(ends, m.start()), bisect_left(ends, m.end()) + 1) for m in mark.finditer(text)]
