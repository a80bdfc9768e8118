"""Metrics: one file each, whose `score` is a pure function. No torch; `names()` and `get(name)` find them.

>>> get("exact")("Two cats.", "two cats")
1.0
"""

from __future__ import annotations

from collections.abc import Callable

from imglish.core.registry import Registry

REGISTRY = Registry("imglish.metrics", what="metric", attribute="score")


def names() -> list[str]:
    """The names of all metrics; none of them is imported."""
    return REGISTRY.names()


def get(name: str) -> Callable[..., float]:
    """The `score` of a metric by its name, or of your own file by its path. Raises UnknownName naming the nearest."""
    score: Callable[..., float] = REGISTRY.get(name)
    return score
