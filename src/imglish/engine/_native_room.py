"""Memory that compiled code works in, kept from one call to the next: new memory costs more than its use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from imglish.engine import _pages

MOST_KEPT = 64 << 20  # bytes of a place that is kept
_spare: list[Tensor] = []  # places that nobody works in now; each call takes one, whichever thread it is of


@contextmanager
def place(size: int) -> Iterator[Tensor]:
    """So many bytes at least, with anything in them."""
    try:
        found = _spare.pop()
    except IndexError:
        found = torch.empty(0, dtype=torch.uint8)
    if found.nbytes < size:
        found = _pages.mapped((max(size + size // 4, _pages.PAGE),), torch.empty(0, dtype=torch.uint8))
    yield found
    if found.nbytes <= MOST_KEPT:
        _spare.append(found)
