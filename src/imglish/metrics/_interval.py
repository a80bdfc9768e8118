"""95 % intervals: Wilson's for shares, the bootstrap for everything else. The same numbers give the same interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Z = 1.959963984540054  # the normal distribution has 95 % within so many standard deviations
ROUNDS = 2000
Weights = NDArray[np.float64]  # (rounds, items): how often each item was drawn


def wilson(hits: float, total: int) -> tuple[float, float]:
    """The interval of a share, `hits` of `total` (Wilson 1927, doi:10.1080/01621459.1927.10502953).

    >>> low, high = wilson(490, 500)
    >>> round(low, 4), round(high, 4)
    (0.9636, 0.9891)
    >>> wilson(0, 0)
    (0.0, 1.0)
    """
    if total == 0:
        return 0.0, 1.0
    share, spread = hits / total, Z * Z / total
    centre = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * math.sqrt(share * (1 - share) / total + spread / (4 * total))
    return (0.0 if hits <= 0 else max(0.0, centre - half)), (1.0 if hits >= total else min(1.0, centre + half))


def bootstrap(statistic: Callable[[Weights], ArrayLike], count: int, *, seed: int = 0) -> tuple[float, float]:
    """The middle 95 % of a statistic of `count` items drawn again with replacement (Efron 1979, percentile).

    `statistic` takes weights (rounds, items) and gives (rounds,).

    >>> values = np.array([0.0, 1.0] * 50)
    >>> low, high = bootstrap(lambda weights: weights @ values / weights.sum(1), len(values))
    >>> 0.38 < low < 0.43 and 0.57 < high < 0.62
    True
    """
    if count == 0:
        return 0.0, 1.0
    drawn = np.random.default_rng(seed).integers(0, count, (ROUNDS, count))
    rows = np.arange(ROUNDS)[:, None] * count
    weights = np.bincount((drawn + rows).ravel(), minlength=ROUNDS * count).reshape(ROUNDS, count).astype(np.float64)
    results = np.asarray(statistic(weights), dtype=np.float64)
    results = results[np.isfinite(results)]
    if not len(results):
        return 0.0, 1.0
    low, high = np.quantile(results, (0.025, 0.975))
    return float(low), float(high)


def of_mean(values: Sequence[float]) -> tuple[float, float]:
    """The interval of a mean of scores between 0 and 1.

    Where all are 0 or all are 1, a bootstrap would say that nothing is uncertain: then it is that of a share.

    >>> of_mean([1.0] * 500) == wilson(500, 500)
    True
    """
    array = np.asarray(values, dtype=np.float64)
    if len(array) == 0 or bool(np.isin(array, (0.0, 1.0)).all()):
        return wilson(float(array.sum()), len(array))
    return bootstrap(lambda weights: weights @ array / weights.sum(1), len(array))


def of_ratio(parts: Sequence[float], wholes: Sequence[float]) -> tuple[float, float]:
    """The interval of sum(parts) / sum(wholes), such as of edits and characters.

    >>> low, high = of_ratio([1, 0, 2, 0], [10, 10, 10, 10])
    >>> 0.0 <= low < 0.075 < high <= 0.2
    True
    """
    above, below = np.asarray(parts, dtype=np.float64), np.asarray(wholes, dtype=np.float64)
    if not above.any():  # as in of_mean: no draw could say anything else
        return wilson(0, len(above))
    return bootstrap(lambda weights: weights @ above / np.maximum(weights @ below, 1e-9), len(above))


def of_balanced(hits: Sequence[float], classes: Sequence[str]) -> tuple[float, float]:
    """The interval of balanced accuracy: of the mean over classes of their share of hits.

    >>> low, high = of_balanced([1, 1, 0, 1] * 50, ["yes", "no"] * 100)
    >>> low < 0.75 < high
    True
    >>> of_balanced([1.0] * 4, ["yes", "no"] * 2) == wilson(4, 4)
    True
    """
    array = np.asarray(hits, dtype=np.float64)
    if len(array) == 0 or array.min() == array.max():
        return wilson(float(array.sum()), len(array))
    members = [np.asarray([name == one for name in classes], dtype=np.float64) for one in sorted(set(classes))]

    def balanced(weights: Weights) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore", divide="ignore"):  # a draw may lack a class; nanmean leaves it out
            shares = [weights @ (array * member) / (weights @ member) for member in members]
        return np.asarray(np.nanmean(np.stack(shares), axis=0))

    return bootstrap(balanced, len(array))
