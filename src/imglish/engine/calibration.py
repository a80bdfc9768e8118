"""What a confidence is worth: how often boxes of a confidence are right, and a temperature that makes the two agree.

A model's own probabilities order its boxes well, and say too much or too little of how many are right. Two numbers,
fitted on pictures it was not trained on, set that straight (Platt 1999; Guo et al. 2017, arXiv:1706.04599). They change
no order, so no precision-recall curve changes.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imglish.core.errors import CheckpointError, InputError
from imglish.core.geometry import Floats, iou
from imglish.core.results import Boxes, Result

FILE = "calibration.json"  # in a checkpoint's folder
_EDGE = 1e-6


@dataclass(frozen=True)
class Calibration:
    """Confidence c becomes sigmoid(logit(c) / temperature + shift)."""

    temperature: float = 1.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0 and math.isfinite(self.shift)):
            raise InputError(f"a temperature of {self.temperature!r} with a shift of {self.shift!r} is no calibration")

    def apply(self, confidence: Any) -> Floats:
        """Probabilities (n,) as they are right; the order stays.

        >>> Calibration().apply([0.25, 0.5]).round(6).tolist()
        [0.25, 0.5]
        >>> Calibration(temperature=2.0).apply([0.9]).round(3).tolist()  # it was too sure
        [0.75]
        """
        return _sigmoid(_logit(confidence) / self.temperature + self.shift)

    def of(self, result: Result) -> Result:
        """The result with its boxes' confidences set right; other results as they are."""
        if not isinstance(result, Boxes) or result.confidence is None:
            return result
        return dataclasses.replace(result, confidence=self.apply(result.confidence))

    def save(self, folder: str | Path) -> Path:
        """Writes calibration.json into a checkpoint's folder."""
        path = Path(folder) / FILE
        path.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n", encoding="utf-8")
        return path


def read_calibration(folder: str | Path) -> Calibration | None:
    """The calibration that stands with a checkpoint; None where there is none. Raises CheckpointError for a bad one."""
    path = Path(folder) / FILE
    if not path.is_file():
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return Calibration(float(told["temperature"]), float(told["shift"]))
    except (ValueError, KeyError, TypeError, InputError) as error:
        raise CheckpointError(f"cannot read {path}: {error}", hint="fit it again, or delete the file") from error


class Row(NamedTuple):
    """Boxes of like confidence: its mean, the share that is right, how many there are."""

    confidence: float
    right: float
    boxes: int


def matches(found: Boxes, truth: Boxes, *, least: float = 0.5) -> list[bool]:
    """Which boxes are right: the surest first, each true box once, of its label and with an IoU of at least `least`."""
    order = list(range(len(found)))
    if found.confidence is not None:
        order = np.argsort(-found.confidence, kind="stable").tolist()
    overlaps = iou(found.xyxy, truth.xyxy) if len(found) and len(truth) else np.zeros((len(found), len(truth)))
    taken: set[int] = set()
    right = [False] * len(found)
    for place in order:
        free = [n for n in range(len(truth)) if n not in taken and truth.labels[n] == found.labels[place]]
        best = max(free, key=lambda n: overlaps[place, n], default=None)
        if best is not None and overlaps[place, best] >= least:
            right[place] = True
            taken.add(best)
    return right


def fit(confidence: Sequence[float], right: Sequence[bool]) -> Calibration:
    """The calibration under which what was right is most probable. Raises InputError for fewer than ten boxes.

    Newton's method on the two numbers, with targets a little inside 0 and 1, as Platt has them.
    """
    values, hits = _logit(confidence), np.asarray(right, dtype=np.float64)
    if len(values) < 10 or values.std() < _EDGE:
        raise InputError(f"{len(values)} boxes are too few, or too alike, to fit a calibration; take more pictures")
    positive = hits.sum()
    target = np.where(hits > 0, (positive + 1) / (positive + 2), 1 / (len(hits) - positive + 2))
    slope, shift = 1.0, 0.0
    for _ in range(100):
        chance = _sigmoid(slope * values + shift)
        off, weight = chance - target, chance * (1 - chance) + 1e-9
        gradient = np.array([(off * values).mean() + 1e-4 * (slope - 1), off.mean()])
        curve = np.array([[(weight * values**2).mean() + 1e-4, (weight * values).mean()],
                          [(weight * values).mean(), weight.mean()]])  # fmt: skip
        step = np.clip(np.linalg.solve(curve, gradient), -1, 1)
        slope, shift = max(slope - step[0], 1e-2), shift - step[1]
        if np.abs(step).max() < 1e-9:
            break
    return Calibration(float(1 / slope), float(shift))


def reliability(confidence: Sequence[float], right: Sequence[bool], *, bins: int = 10) -> list[Row]:
    """Rows of a reliability diagram: boxes in `bins` equal ranges of confidence; empty ranges are left out."""
    values, hits = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    places = np.minimum((values * bins).astype(int), bins - 1)
    rows = []
    for place in range(bins):
        chosen = places == place
        if chosen.any():
            rows.append(Row(float(values[chosen].mean()), float(hits[chosen].mean()), int(chosen.sum())))
    return rows


def calibration_error(rows: Sequence[Row]) -> float:
    """The mean distance of confidence from the share that is right (ECE), weighted by boxes.

    >>> calibration_error([Row(0.9, 0.5, 1), Row(0.2, 0.2, 3)])
    0.1
    """
    count = sum(row.boxes for row in rows)
    return sum(abs(row.confidence - row.right) * row.boxes for row in rows) / count if count else 0.0


def _logit(confidence: Any) -> Floats:
    values = np.clip(np.asarray(confidence, dtype=np.float64), _EDGE, 1 - _EDGE)
    found: Floats = np.log(values) - np.log1p(-values)
    return found


def _sigmoid(values: Floats) -> Floats:
    found: Floats = 1 / (1 + np.exp(-np.clip(values, -500, 500)))
    return found
