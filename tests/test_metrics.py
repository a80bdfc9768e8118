"""Every metric, found by listing the folder, and what must hold of each."""

from __future__ import annotations

import doctest
import importlib
import inspect
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imglish import metrics, world
from imglish.core.errors import UnknownName
from imglish.core.results import Boxes
from imglish.metrics import _interval, ap50, box_accuracy, caption_f1, cer, exact, fields_f1, mask_iou

FILES = sorted(path.stem for path in Path(metrics.__file__).parent.glob("*.py"))
WORDS = st.text("abc é", max_size=8)


@pytest.mark.parametrize("name", FILES)
def test_the_examples_in_every_file_are_true(name: str) -> None:
    module = importlib.import_module("imglish.metrics" if name == "__init__" else f"imglish.metrics.{name}")
    failed, tried = doctest.testmod(module)
    assert tried > 0
    assert failed == 0


@pytest.mark.parametrize("name", metrics.names())
def test_every_metric_has_a_score_with_examples_and_a_source(name: str) -> None:
    score = metrics.get(name)
    parameters = list(inspect.signature(score).parameters.values())
    assert parameters[0].name == "prediction"
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters[2:])
    text = score.__doc__ or ""
    assert text.count(">>>") >= 2
    assert any(str(year) in text for year in range(1950, 2030)), "the docstring names no source"


def test_an_unknown_metric_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UnknownName, match="exact"):
        metrics.get("exakt")


def test_a_file_of_your_own_is_a_metric(tmp_path: Path) -> None:
    (tmp_path / "length.py").write_text("def score(prediction, answers):\n    return float(len(prediction))\n")
    assert metrics.get(str(tmp_path / "length.py"))("abc", "") == 3.0


def slow_distance(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (left != right))
    return row[-1]


@settings(deadline=None, max_examples=200)
@given(st.text("abcd", max_size=70), st.text("abcd", max_size=70))
def test_the_edit_distance_is_that_of_the_table(a: str, b: str) -> None:
    assert cer.distance(a, b) == cer.distance(b, a) == slow_distance(a, b)


@given(st.lists(WORDS, max_size=4), st.lists(WORDS, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_lines_does_not_matter(read: list[str], true: list[str], shuffler: random.Random) -> None:
    before = cer.edits(read, true)
    shuffler.shuffle(read)
    assert cer.edits(read, true)[1] == before[1]
    assert cer.edits(true, true)[0] == 0
    assert cer.edits([], true) == (before[1], before[1])


@given(st.text(max_size=20))
def test_an_answer_equals_itself_however_it_is_dressed(text: str) -> None:
    assert exact.score(f"  {text}. ", text) == 1.0
    assert exact.normalise(exact.normalise(text).upper()) == exact.normalise(text.upper())


BOXES = st.lists(
    st.tuples(*[st.integers(0, 40)] * 2, *[st.integers(1, 20)] * 2).map(
        lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
    ),
    max_size=4,
)


@given(BOXES, BOXES)
def test_box_accuracy_is_symmetric_and_whole_for_the_truth(a: list[tuple[int, ...]], b: list[tuple[int, ...]]) -> None:
    assert box_accuracy.score(a, b) == box_accuracy.score(b, a)
    assert box_accuracy.score(a, a) == 1.0
    assert box_accuracy.score([*b, (900, 900, 990, 990)], b) < 1.0


def test_a_mask_that_is_empty_or_elsewhere_scores_nothing() -> None:
    truth = np.zeros((6, 8), dtype=bool)
    truth[1:4, 2:5] = True
    assert mask_iou.score(np.zeros((0, 6, 8), dtype=bool), truth) == 0.0
    assert mask_iou.score(~truth, truth) == 0.0
    assert mask_iou.score([truth, truth], truth) == 1.0


def test_fields_of_another_document_score_nothing() -> None:
    assert fields_f1.score({"a": {"b": "x"}}, {"a": {"c": "x"}}) == 0.0


def pictures(seed: int, count: int = 30) -> tuple[list[Boxes], list[Boxes]]:
    """Random truths, and predictions of which some are right, some moved, some invented."""
    rng = np.random.default_rng(seed)
    found, true = [], []
    for _ in range(count):
        corner = rng.uniform(0, 80, (int(rng.integers(0, 5)), 2))
        boxes = np.concatenate([corner, corner + rng.uniform(8, 20, corner.shape)], axis=1)
        labels = [str(name) for name in rng.choice(["cat", "dog", "key"], len(boxes))]
        moved = boxes + rng.choice([0.0, 1.0, 30.0], (len(boxes), 1))
        said = [str(rng.choice(["cat", "dog", "sun"])) if rng.random() < 0.2 else name for name in labels]
        true.append(Boxes(xyxy=boxes, labels=labels, size=(128, 128)))
        found.append(Boxes(xyxy=moved, labels=said, confidence=rng.uniform(0, 1, len(boxes)), size=(128, 128)))
    return found, true


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_over_draws_agrees_with_pycocotools(seed: int) -> None:
    found, true = pictures(seed)
    evaluation = ap50._evaluated(found, true)
    rows = [ap50._ranked(evaluation, label) for label in evaluation.params.catIds]
    once = ap50._mean_precision(rows, np.ones((1, len(true))))
    assert once[0] == pytest.approx(ap50.score(found, true), abs=1e-9)
    low, high = ap50.interval(found, true)
    assert low < once[0] < high


def test_average_precision_falls_with_every_kind_of_mistake() -> None:
    _, true = pictures(5)
    perfect = ap50.score(true, true)
    missed = ap50.score([Boxes(size=(128, 128)), *true[1:]], true) if len(true[0]) else perfect
    shifted = [Boxes(xyxy=boxes.xyxy + 40, labels=boxes.labels, size=boxes.size) for boxes in true]
    assert perfect == pytest.approx(1.0)
    assert missed <= perfect
    assert ap50.score(shifted, true) < 0.2


def test_intervals_hold_their_value_and_shrink_with_more() -> None:
    few, many = [0.0, 0.5, 1.0, 0.75] * 5, [0.0, 0.5, 1.0, 0.75] * 100
    wide, narrow = _interval.of_mean(few), _interval.of_mean(many)
    assert wide[0] < narrow[0] < 0.5625 < narrow[1] < wide[1]
    assert _interval.of_mean(many) == narrow  # the seed is fixed


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(7)
    shares = [_interval.wilson(rng.binomial(200, 0.9), 200) for _ in range(400)]
    assert 0.92 < np.mean([low <= 0.9 <= high for low, high in shares]) < 0.98


@pytest.mark.parametrize("language", ["en", "pl", "vi", "ru"])
def test_every_true_caption_of_the_world_names_all_its_things(language: str) -> None:
    for seed in world.seeds("held", 0, 12):
        scene = world.draw("things", seed, difficulty="repeats")
        captions = [
            sample
            for sample in world.samples(scene, language=language)
            if sample.topic == "caption"  # type: ignore[arg-type]
        ]
        assert captions
        for sample in captions:
            assert caption_f1.score(world.mentions(sample.answer, sample.language), sample.extra["objects"]) == 1.0
