"""What the confidence of boxes is worth: average precision with it and without, a reliability diagram, a temperature.

    python benchmarks/calibration.py --scenes 200
    python benchmarks/calibration.py --scenes 400 --calibrate FOLDER      # writes FOLDER/calibration.json

Scenes are those of the world's `things` from `--first` on, which training never drew. With `--calibrate` the two
numbers are fitted on the first half of the scenes and judged on the second.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import imglish
from imglish.core.results import Boxes
from imglish.engine.calibration import Calibration, Row, calibration_error, fit, matches, reliability
from imglish.metrics import ap50

Pair = tuple[Boxes, Boxes]  # found, true
FIRST = 9_000_000


def pairs(model: str | None, count: int, first: int, difficulty: str) -> list[Pair]:
    """What the model finds on so many scenes, and what is there."""
    vlm = imglish.load(model)
    samples = []
    for seed in range(first, first + count):
        scene = imglish.world.draw("things", seed, difficulty=difficulty)
        samples += [one for one in imglish.world.samples(scene) if one.skill == "detect"][:1]
    found = vlm.run([sample.request() for sample in samples])
    return [(boxes, sample.truth) for boxes, sample in zip(found, samples, strict=True) if isinstance(boxes, Boxes)]


def precision(found: Sequence[Pair], *, sure: bool) -> float:
    """Average precision at IoU 0.5 with the confidences, or with all of them equal."""
    boxes = [a if sure else dataclasses.replace(a, confidence=np.ones(len(a))) for a, _ in found]
    return ap50.score(boxes, [b for _, b in found])


def judged(found: Sequence[Pair]) -> tuple[list[float], list[bool]]:
    """(confidence, whether it is right) of every box."""
    confidence = [float(value) for a, _ in found if a.confidence is not None for value in a.confidence]
    return confidence, [right for a, b in found if a.confidence is not None for right in matches(a, b)]


def diagram(rows: Sequence[Row]) -> str:
    """A reliability diagram in letters: `o` is what is right, `|` is what the confidence promises."""
    lines = ["confidence  right   boxes"]
    for row in rows:
        bar = [" "] * 51
        bar[round(row.confidence * 50)] = "|"
        bar[round(row.right * 50)] = "o"
        lines.append(f"      {row.confidence:.2f}   {row.right:.2f}  {row.boxes:6d}  {''.join(bar)}")
    return "\n".join(lines)


def main() -> None:
    """Prints the figures; writes a calibration where a folder is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a checkpoint; the shipped one by default")
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--first", type=int, default=FIRST, help="seed of the first scene")
    parser.add_argument("--difficulty", default="ordinary")
    parser.add_argument("--calibrate", type=Path, metavar="FOLDER", help="where calibration.json is written")
    given = parser.parse_args()
    found = pairs(given.model, given.scenes, given.first, given.difficulty)
    print(f"{len(found)} scenes, {sum(len(a) for a, _ in found)} boxes found, {sum(len(b) for _, b in found)} true")
    print(f"average precision: {precision(found, sure=True):.4f} with confidence, ", end="")
    print(f"{precision(found, sure=False):.4f} with all equal")
    rows = reliability(*judged(found))
    print(f"calibration error {calibration_error(rows):.4f}\n{diagram(rows)}")
    if given.calibrate:
        half = len(found) // 2
        calibration: Calibration = fit(*judged(found[:half]))
        confidence, right = judged(found[half:])
        after = reliability(calibration.apply(confidence).tolist(), right)
        before = calibration_error(reliability(confidence, right))
        print(f"\ntemperature {calibration.temperature:.3f}, shift {calibration.shift:.3f}")
        print(f"calibration error on the second half: {before:.4f}, then {calibration_error(after):.4f}")
        print(diagram(after))
        print(calibration.save(given.calibrate))


if __name__ == "__main__":
    main()
