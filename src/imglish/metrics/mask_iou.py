"""How well an outline covers the true pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def score(prediction: ArrayLike, truth: ArrayLike) -> float:
    """Intersection over union of the pixels, 0 to 1. Bitmaps are (h, w), or (n, h, w) of which the union counts.

    The per-picture IoU whose mean is "gIoU" in Lai et al. 2023 (arXiv:2308.00692). Nothing wanted, nothing given is 1.

    >>> score([[True, True, False]], [[False, True, True]])
    0.3333333333333333
    >>> score([[[True, False]], [[False, True]]], [[True, True]])
    1.0
    >>> score([[False]], [[False]]), score([[True]], [[False]])
    (1.0, 0.0)
    """
    given, wanted = _union(prediction), _union(truth)
    if given.size == 0:
        given = np.zeros_like(wanted)
    union = int((given | wanted).sum())
    return int((given & wanted).sum()) / union if union else 1.0


def _union(bitmaps: ArrayLike) -> NDArray[np.bool_]:
    array = np.asarray(bitmaps, dtype=bool)
    return np.asarray(array.any(axis=0)) if array.ndim == 3 else array
