"""A text of a model on its way to a result: what is shared by families that write places as tokens of their own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imglish.core.codecs import Codec
from imglish.core.geometry import Floats
from imglish.core.results import PARSE, RANGE, Problem
from imglish.core.types import Size
from imglish.families._locations import LONGEST, Atom

UNASKED = "unasked"  # kind of a problem: a label that nobody asked for
MOST_PROBLEMS = 100
_BYTES = str.maketrans({"Ġ": " ", "▁": " ", "Ċ": "\n"})  # how tokenizers spell spaces and newlines

Scan = Callable[[str], list[Atom]]


class Reading:
    """Atoms of the text and of its tokens, the tokens' probabilities, and what was wrong.

    `scan` cuts a text into atoms. It runs over each token as well, so that spans of atoms are spans of tokens.
    """

    def __init__(
        self, raw: str, scan: Scan, *, tokens: Sequence[str] | None, logprobs: Sequence[float] | None, end: str
    ) -> None:
        self.raw = raw
        self.text = raw[:LONGEST]
        self.text = self.text[: -len(end)] if self.text.endswith(end) else self.text
        self.problems: list[Problem] = []
        if len(raw) > LONGEST:
            self.complain(f"only the first {LONGEST} characters were read", raw[:80])
        self.atoms = scan(self.text)
        known = tokens is not None and logprobs is not None and len(tokens) == len(logprobs)
        self.logprobs = list(logprobs or ()) if known else []
        self.tokens = [_one(scan, token) for token in tokens or ()] if known else None
        self.ended_at_once = tokens is not None and not tokens

    def complain(self, message: str, text: str = "") -> None:
        """Records that something could not be read."""
        self.note(PARSE, message, text)

    def note(self, kind: str, message: str, text: str = "") -> None:
        """Records a problem; of a text that is wrong all over, the first hundred are enough."""
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(kind, message, text[:200]))

    def probability(self, start: int = 0, stop: int | None = None) -> float | None:
        """exp of the mean log-probability of tokens start to stop."""
        span = [value for value in self.logprobs[start:stop] if math.isfinite(value)]
        return math.exp(sum(span) / len(span)) if span else None

    def confidences(self, read: Callable[[Sequence[Atom]], Sequence[Any]], count: int) -> Floats | None:
        """One probability an item, or None where the tokens do not tell the same items as the text."""
        items = read(self.tokens) if self.tokens is not None else []
        values = [self.probability(item.start, item.stop) for item in items]
        return None if len(values) != count or None in values else np.array(values, dtype=np.float64)

    def boxes(self, bins: Sequence[Sequence[int]], codec: Codec, size: Size) -> Floats:
        """Boxes (n, 4) of location numbers; one that is given by its other corners is turned round."""
        values: NDArray[np.int64] = np.asarray(bins, dtype=np.int64).reshape(-1, 4)
        for row in values[(values[:, :2] > values[:, 2:]).any(axis=1)]:
            self.note(RANGE, "a box had its corners exchanged; they were put in order", str(row))
        values = np.concatenate((np.minimum(values[:, :2], values[:, 2:]), np.maximum(values[:, :2], values[:, 2:])), 1)
        return codec.decode(values, size)

    def check_labels(self, labels: Sequence[str], asked: Sequence[str]) -> None:
        """Labels that nobody asked for are told; what was asked for has no case."""
        wanted = {label.casefold() for label in asked}
        for label in labels:
            if wanted and label.casefold() not in wanted:
                self.note(UNASKED, f"{label!r} is not one of {', '.join(asked)}", label)

    def done(self, **more: Any) -> dict[str, Any]:
        """The fields that all results have."""
        return {"raw": self.raw, "problems": tuple(self.problems), **more}


def _one(scan: Scan, token: str) -> Atom:
    found = scan(token)
    return found[0] if len(found) == 1 and found[0].kind != "text" else Atom("text", token.translate(_BYTES))


def ignore(message: str, text: str) -> None:
    """The text has been complained about already; its tokens are the same."""
