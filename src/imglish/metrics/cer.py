"""Character error rate of text that was read from a picture."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def score(prediction: str | Sequence[str], truth: str | Sequence[str]) -> float:
    """Edits per true character: 0 is perfect, 1 is what an empty prediction has, and invented text can exceed 1.

    Several lines may be read in any order: the pair of lines with the fewest edits is matched first. A line that was
    not read is all deletions, an invented one all insertions. Levenshtein 1966; over many pictures, divide the sum of
    the edits by the sum of the characters (`edits`).

    >>> score("lynx", "lynx")
    0.0
    >>> score("link", "lynx")
    0.5
    >>> score(["market", "north"], ["north", "market"])
    0.0
    >>> score([], ["north"])
    1.0
    >>> score("x", "")
    1.0
    """
    wrong, characters = edits(prediction, truth)
    return wrong / max(characters, 1)


def edits(prediction: str | Sequence[str], truth: str | Sequence[str]) -> tuple[int, int]:
    """(edits, characters of the truth); white space at the ends of lines, and how much of it within, do not count.

    >>> edits(["north ", "marked"], ["market", "north"])
    (1, 11)
    """
    read, true = _lines(prediction), _lines(truth)
    pairs = sorted(
        (distance(a, b) / max(len(a), len(b), 1), i, j) for i, a in enumerate(read) for j, b in enumerate(true)
    )
    left, missed, wrong = dict(enumerate(read)), dict(enumerate(true)), 0
    for _, i, j in pairs:
        if i in left and j in missed:
            wrong += distance(left.pop(i), missed.pop(j))
    wrong += sum(map(len, left.values())) + sum(map(len, missed.values()))
    return wrong, sum(map(len, true))


def distance(a: str, b: str) -> int:
    """The fewest insertions, deletions and substitutions that make `a` into `b`.

    All rows of the table at once, one bit each: Myers 1999 (doi:10.1145/316542.316550), as Hyyrö 2003 words it.

    >>> distance("kitten", "sitting")
    3
    """
    if a == b or not a or not b:
        return 0 if a == b else len(a) + len(b)
    where: dict[str, int] = {}
    for index, letter in enumerate(a):
        where[letter] = where.get(letter, 0) | 1 << index
    whole, last = (1 << len(a)) - 1, 1 << (len(a) - 1)
    up, down, result = whole, 0, len(a)
    for letter in b:
        match = where.get(letter, 0)
        diagonal = (((match & up) + up) ^ up) | match | down
        right, left = down | ~(diagonal | up) & whole, up & diagonal
        result += bool(right & last) - bool(left & last)
        right, left = right << 1 | 1, left << 1
        up, down = (left | ~(diagonal | right)) & whole, right & diagonal & whole
    return result


def _lines(text: str | Sequence[str]) -> list[str]:
    lines = text.splitlines() if isinstance(text, str) else text
    clean = (" ".join(unicodedata.normalize("NFC", line).split()) for line in lines)
    return [line for line in clean if line]
