"""Average precision of detection at IoU 0.5, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imglish.core.errors import InputError
from imglish.core.extras import require
from imglish.core.results import Boxes
from imglish.metrics import _interval

RECALLS = np.linspace(0, 1, 101)


def score(prediction: Sequence[Boxes], truth: Sequence[Boxes]) -> float:
    """COCO's AP50 over many pictures, 0 to 1: the mean over the labels that occur in the truth.

    Lin et al. 2014 (arXiv:1405.0312): `COCOeval` at the one threshold 0.5, all sizes, 100 boxes a picture. Boxes
    without confidence count as sure. Without any true box the score is 1 where nothing was predicted either, else 0.

    >>> cat = Boxes(xyxy=[[0, 0, 10, 10]], labels=["cat"], size=(20, 20))
    >>> dog = Boxes(xyxy=[[0, 0, 10, 9]], labels=["dog"], size=(20, 20))
    >>> round(score([cat, dog], [cat, dog]), 6)
    1.0
    >>> round(score([cat, cat], [cat, dog]), 6)  # the dog was taken for a cat
    0.5
    >>> score([Boxes(size=(20, 20))], [Boxes(size=(20, 20))])
    1.0
    """
    if not any(len(boxes) for boxes in truth):
        return float(not any(len(boxes) for boxes in prediction))
    evaluation = _evaluated(prediction, truth)
    precision = evaluation.eval["precision"][0, :, :, 0, -1]  # recall, label
    seen = precision[:, precision.max(axis=0) > -1]
    return float(seen.mean())


def interval(prediction: Sequence[Boxes], truth: Sequence[Boxes]) -> tuple[float, float]:
    """The 95 % interval of `score`: pictures are drawn again; matches are those that pycocotools made.

    >>> cat = Boxes(xyxy=[[0, 0, 10, 10]], labels=["cat"], size=(20, 20))
    >>> interval([cat, Boxes()] * 20, [cat, cat] * 20)[0] < 0.5
    True
    """
    if not any(len(boxes) for boxes in truth):
        return _interval.wilson(0, 0)
    evaluation = _evaluated(prediction, truth)
    rows = [_ranked(evaluation, label) for label in evaluation.params.catIds]
    low, high = _interval.bootstrap(lambda weights: _mean_precision(rows, weights), len(truth))
    value = score(prediction, truth)
    if low == high and value in (0.0, 1.0):  # see _interval.of_mean
        return _interval.wilson(value * len(truth), len(truth))
    return min(low, value), max(high, value)


def _evaluated(prediction: Sequence[Boxes], truth: Sequence[Boxes]) -> Any:
    """A COCOeval with its matches made and accumulated."""
    if len(prediction) != len(truth):
        raise InputError(
            f"there are {len(prediction)} predictions and {len(truth)} truths; each picture has one of each"
        )
    coco, cocoeval = (require(f"pycocotools.{name}", extra="evaluate") for name in ("coco", "cocoeval"))
    names = sorted({label for boxes in (*truth, *prediction) for label in boxes.labels})
    ids = {name: number for number, name in enumerate(names, 1)}
    with contextlib.redirect_stdout(io.StringIO()):  # it prints as it goes
        true = coco.COCO()
        true.dataset = {
            "images": [{"id": number} for number in range(len(truth))],
            "categories": [{"id": number, "name": name} for name, number in ids.items()],
            "annotations": _annotations(truth, ids),
        }
        true.createIndex()
        found = coco.COCO()
        found.dataset = {**true.dataset, "annotations": _annotations(prediction, ids)}
        found.createIndex()
        evaluation = cocoeval.COCOeval(true, found, "bbox")
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def _annotations(pictures: Sequence[Boxes], ids: dict[str, int]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number, boxes in enumerate(pictures):
        sure = boxes.confidence if boxes.confidence is not None else np.ones(len(boxes))
        for label, (x1, y1, x2, y2), confidence in zip(boxes.labels, boxes.xyxy.tolist(), sure.tolist(), strict=True):
            row: dict[str, Any] = {"id": len(rows) + 1, "image_id": number, "category_id": ids[label], "iscrowd": 0}
            row |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "score": confidence}
            rows.append(row)
    return rows


Ranked = tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]


def _ranked(evaluation: Any, label: int) -> Ranked:
    """(picture of each detection, whether it is matched), surest first, and the true boxes of each picture."""
    pictures, scores, hits = [], [], []
    true = np.zeros(len(evaluation.params.imgIds), np.int64)
    first = evaluation.params.catIds.index(label) * len(true)
    for picture, found in enumerate(evaluation.evalImgs[first : first + len(true)]):
        if found is None:
            continue
        true[picture] = len(found["gtIds"])
        pictures += [picture] * len(found["dtScores"])
        scores += found["dtScores"]
        hits += (found["dtMatches"][0] > 0).tolist()
    order = np.argsort(-np.asarray(scores, np.float64), kind="mergesort")
    return np.asarray(pictures, np.int64)[order], np.asarray(hits, bool)[order], true


def _mean_precision(rows: Sequence[Ranked], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """AP50 for each row of weights: as `COCOeval.accumulate`, for pictures that count several times or not at all."""
    total, labels = np.zeros(len(weights)), np.zeros(len(weights))
    for pictures, hits, true in rows:
        wanted = weights @ true
        labels += wanted > 0
        if not hits.any():
            continue
        drawn = weights[:, pictures]
        right = np.cumsum(drawn * hits, axis=1)
        precision = right / np.maximum(np.cumsum(drawn, axis=1), 1e-9)
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recall = right / np.maximum(wanted, 1e-9)[:, None]
        for index in np.flatnonzero(wanted):
            at = np.searchsorted(recall[index], RECALLS - 1e-12, side="left")
            total[index] += precision[index][at[at < len(pictures)]].sum() / len(RECALLS)
    return total / np.maximum(labels, 1)
