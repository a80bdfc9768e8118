"""Whether what was asked for was found where it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from imglish.core import geometry


def score(prediction: ArrayLike, truth: ArrayLike, *, threshold: float = 0.5) -> float:
    """Of one box, whether it is right: IoU with the true one at least `threshold`; of several, their F1.

    Boxes are (n, 4) xyxy. Accuracy at IoU 0.5 is that of referring expressions (Yu et al. 2016, arXiv:1608.00272),
    which looks at one box only; here a second, wrong box costs. Boxes are matched one to one, best IoU first. Nothing
    to find and nothing found is 1.

    >>> score([[0, 0, 10, 10]], [[0, 0, 10, 8]])
    1.0
    >>> score([[0, 0, 10, 10]], [[0, 0, 10, 4]])
    0.0
    >>> round(score([[0, 0, 10, 10], [50, 50, 60, 60]], [[0, 0, 10, 10]]), 3)
    0.667
    >>> score([], []), score([], [[0, 0, 1, 1]])
    (1.0, 0.0)
    """
    found, wanted = geometry.as_boxes(prediction), geometry.as_boxes(truth)
    if not len(found) or not len(wanted):
        return float(len(found) == len(wanted))
    overlap = geometry.iou(found, wanted)
    matched = 0
    while overlap.size:
        i, j = np.unravel_index(int(overlap.argmax()), overlap.shape)
        if overlap[i, j] < threshold:
            break
        matched += 1
        overlap = np.delete(np.delete(overlap, i, axis=0), j, axis=1)
    return 2 * matched / (len(found) + len(wanted))
