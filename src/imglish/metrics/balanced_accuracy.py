"""Accuracy in which every answer counts alike, however often it is the right one."""

from __future__ import annotations

from collections.abc import Sequence

from imglish.metrics import exact


def score(prediction: Sequence[str], truth: Sequence[str]) -> float:
    """The mean over true answers of the share of them that was found; always saying the same scores 1 / answers.

    Over many questions. Brodersen et al. 2010 (doi:10.1109/ICPR.2010.764). Texts compare as in `exact`; a prediction
    that is none of the answers is wrong.

    >>> score(["yes", "yes", "yes", "No."], ["yes", "yes", "yes", "no"])
    1.0
    >>> score(["yes"] * 4, ["yes", "yes", "yes", "no"])
    0.5
    """
    if len(prediction) != len(truth):
        raise ValueError(f"there are {len(prediction)} predictions and {len(truth)} answers")
    right: dict[str, list[float]] = {}
    for said, true in zip(prediction, truth, strict=True):
        right.setdefault(exact.normalise(true), []).append(exact.score(said, true))
    return sum(sum(hits) / len(hits) for hits in right.values()) / len(right) if right else 0.0
