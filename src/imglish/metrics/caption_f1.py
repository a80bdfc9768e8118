"""Whether a caption names what is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def score(prediction: Sequence[str], truth: Sequence[str]) -> float:
    """F1 of the things named, each as often as the caption says that there are of it, 0 to 1.

    Both are names, once per thing: `imglish.world.mentions("2 cats and a key")` is cat, cat, key. A thing that is not
    there costs precision, one that is left out costs recall: precision is 1 - CHAIR_i of Rohrbach et al. 2018
    (arXiv:1809.02156), but that numbers count here.

    >>> score(["cat", "cat", "key"], ["key", "cat", "cat"])
    1.0
    >>> score(["cat"], ["cat", "cat", "cat"])
    0.5
    >>> score(["dog"], ["cat"]), score([], ["cat"])
    (0.0, 0.0)
    >>> score([], [])
    1.0
    """
    said, there = Counter(prediction), Counter(truth)
    total = said.total() + there.total()
    return 2 * (said & there).total() / total if total else 1.0
