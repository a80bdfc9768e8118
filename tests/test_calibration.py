"""Confidence of boxes: what is right is counted right, and a fitted temperature makes confidence say how often."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imglish.core.errors import CheckpointError, InputError
from imglish.core.results import Boxes, Text
from imglish.engine.calibration import (
    Calibration,
    calibration_error,
    fit,
    matches,
    read_calibration,
    reliability,
)


def drawn(count: int, temperature: float, shift: float, seed: int = 0) -> tuple[list[float], list[bool]]:
    """Confidences, and truths that are as probable as the calibration says."""
    chance = np.random.default_rng(seed)
    confidence = chance.uniform(0.02, 0.98, count)
    right = chance.uniform(size=count) < Calibration(temperature, shift).apply(confidence)
    return confidence.tolist(), right.tolist()


@pytest.mark.parametrize(("temperature", "shift"), [(1.0, 0.0), (3.0, 0.0), (0.5, -1.0), (2.0, 1.5)])
def test_a_fit_finds_the_temperature_that_made_the_boxes(temperature: float, shift: float) -> None:
    found = fit(*drawn(20_000, temperature, shift))
    assert found.temperature == pytest.approx(temperature, rel=0.15)
    assert found.shift == pytest.approx(shift, abs=0.12)


def test_calibrated_confidence_is_nearer_to_what_is_right_on_other_boxes() -> None:
    calibration = fit(*drawn(4000, 3.0, -1.0))
    confidence, right = drawn(4000, 3.0, -1.0, seed=1)
    before = calibration_error(reliability(confidence, right))
    after = calibration_error(reliability(calibration.apply(confidence).tolist(), right))
    assert after < 0.05 < before


def test_calibration_changes_no_order() -> None:
    confidence = np.sort(np.random.default_rng(0).uniform(0, 1, 200))
    assert (np.diff(Calibration(0.3, 2.0).apply(confidence)) >= 0).all()


def test_each_true_box_is_found_once_by_the_surest_box() -> None:
    truth = Boxes(xyxy=[[0, 0, 10, 10]], labels=["cat"], size=(40, 40))
    found = Boxes(
        xyxy=[[0, 0, 9, 10], [0, 0, 10, 10], [20, 20, 30, 30], [0, 0, 10, 10]],
        labels=["cat", "cat", "cat", "dog"], confidence=[0.4, 0.9, 0.8, 0.95], size=(40, 40),
    )  # fmt: skip
    assert matches(found, truth) == [False, True, False, False]
    assert matches(found[:0], truth) == []


def test_a_calibration_stands_with_its_checkpoint(tmp_path: Path) -> None:
    assert read_calibration(tmp_path) is None
    Calibration(2.5, -0.25).save(tmp_path)
    assert read_calibration(tmp_path) == Calibration(2.5, -0.25)
    (tmp_path / "calibration.json").write_text('{"temperature": -1, "shift": 0}')
    with pytest.raises(CheckpointError, match=r"calibration\.json"):
        read_calibration(tmp_path)


def test_only_boxes_that_have_confidence_are_changed() -> None:
    boxes = Boxes(xyxy=[[0, 0, 1, 1]], labels=["a"], confidence=[0.9], size=(2, 2))
    changed = Calibration(temperature=2.0).of(boxes)
    assert isinstance(changed, Boxes) and changed.confidence is not None
    assert changed.confidence.round(2).tolist() == [0.75]
    for other in (Text(text="a"), Boxes(xyxy=[[0, 0, 1, 1]], labels=["a"], size=(2, 2))):
        assert Calibration(2.0).of(other) is other


def test_too_few_boxes_are_no_ground_for_a_calibration() -> None:
    with pytest.raises(InputError, match="too few"):
        fit([0.5, 0.6], [True, False])
