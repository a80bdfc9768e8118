"""Exact match after normalisation."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\s+(?=\S)")


def score(prediction: str, answers: str | Sequence[str]) -> float:
    """1 where the prediction is one of the answers, else 0; case, English articles and final punctuation do not count.

    The normalisation of Rajpurkar et al. 2016 (arXiv:1606.05250, SQuAD), but for punctuation inside the text, which
    stays: 3.5 is not 35.

    >>> score("Red.", "red")
    1.0
    >>> score("a red cat", ["the red cat", "cat"])
    1.0
    >>> score("3.5", "35")
    0.0
    >>> score("", "no")
    0.0
    """
    allowed = [answers] if isinstance(answers, str) else answers
    return float(normalise(prediction) in [normalise(answer) for answer in allowed])


def normalise(text: str) -> str:
    """What is compared.

    >>> normalise("  The  Lynx is an ANIMAL! ")
    'lynx is animal'
    >>> normalise("a")
    'a'
    """
    text = " ".join(unicodedata.normalize("NFC", text).casefold().split()).rstrip(" .,;:!?…。")
    return _ARTICLES.sub("", text)
