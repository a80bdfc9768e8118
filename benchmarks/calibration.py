"""What the confidence of boxes is worth: average precision with it and without, a reliability diagram, a temperature.

    python benchmarks/calibration.py --samples 200
    python benchmarks/calibration.py --samples 400 --calibrate FOLDER      # writes FOLDER/calibration.json

Scenes are held-out ones of the world's `things`. With `--calibrate` the two numbers are fitted on the first half of the
scenes and judged on the second, on the model's own probabilities: a calibration that it has is left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from _table import Report, parser, row

import imglish
from imglish.core.results import Boxes
from imglish.engine.calibration import Calibration, Row, calibration_error, fit, matches, reliability
from imglish.metrics import ap50

Pair = tuple[Boxes, Boxes]  # found, true


def pairs(model: str | None, count: int, difficulty: str, *, raw: bool = False) -> list[Pair]:
    """What the model finds on so many scenes, and what is there; `raw`: without the calibration that it comes with."""
    vlm = imglish.load(model)
    if raw:
        vlm.loaded.extra.pop("calibration", None)
    samples = []
    for seed in imglish.world.seeds("held", 0, count):
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
    for one in rows:
        bar = [" "] * 51
        bar[round(one.confidence * 50)] = "|"
        bar[round(one.right * 50)] = "o"
        lines.append(f"      {one.confidence:.2f}   {one.right:.2f}  {one.boxes:6d}  {''.join(bar)}")
    return "\n".join(lines)


def main() -> None:
    """Prints the figures; writes a calibration where a folder is named."""
    options = parser(__doc__ or "")
    options.add_argument("--model", help="a checkpoint; the shipped one by default")
    options.add_argument("--samples", type=int, default=200, help="scenes (default 200)")
    options.add_argument("--difficulty", default="ordinary")
    options.add_argument("--calibrate", type=Path, metavar="FOLDER", help="where calibration.json is written")
    given = options.parse_args()
    settings = {"model": given.model or "shipped", "samples": given.samples, "difficulty": given.difficulty}
    report = Report(given, settings)
    found = pairs(given.model, given.samples, given.difficulty, raw=given.calibrate is not None)
    sure, equal = (precision(found, sure=sure) for sure in (True, False))
    rows = reliability(*judged(found))
    report.add(row("ap50", sure, against=equal, aim=equal, unit="with confidence, against all equal"))
    report.add(row("calibration_error", calibration_error(rows), unit="confidence against share of right boxes"))
    diagrams = [diagram(rows)]
    if given.calibrate:
        half = len(found) // 2
        calibration: Calibration = fit(*judged(found[:half]))
        confidence, right = judged(found[half:])
        after = reliability(calibration.apply(confidence).tolist(), right)
        before = calibration_error(reliability(confidence, right))
        report.add(row("calibrated_error", calibration_error(after), against=before, unit="on the second half"))
        report.add(row("temperature", calibration.temperature))
        given.calibrate.mkdir(parents=True, exist_ok=True)
        diagrams += [diagram(after), str(calibration.save(given.calibrate))]
    report.show()
    print("\n".join(diagrams))


if __name__ == "__main__":
    main()
