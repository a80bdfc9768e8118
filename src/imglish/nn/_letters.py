"""The letters of a picture, out of the slots in which `Sight` reads them: which are written, and in which order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

REACH, STEEP = 8, 1.5  # slots to the next letter at most; what a row up or down counts, in slots
SURE, SURER = 0.75, 0.985  # how surely a slot must be written, and one beside a letter
STOP = -1  # instead of a slot's number, where a line ends
Numbers = NDArray[np.int64]


def letters(written: NDArray[Any], twice: NDArray[Any]) -> tuple[Numbers, Numbers]:
    """Rows and columns of the slots that hold a letter or a space, of those that share one the surest.

    `written` (rows, columns) is how sure a slot is, `twice` (rows, columns - 1) whether it says what the next one says.
    Letters may stand in neighbouring slots of a row, where both are very sure; never in neighbouring rows.
    """
    taken = np.zeros((written.shape[0] + 2, written.shape[1] + 2), bool)
    rows, columns = np.nonzero(written > SURE)
    kept: list[tuple[int, int]] = []
    for place in np.argsort(-written[rows, columns], kind="stable"):
        row, column = int(rows[place]), int(columns[place])
        around = taken[row : row + 3, column : column + 3]
        left, right = bool(around[1, 0]), bool(around[1, 2])
        again = (left and twice[row, column - 1]) or (right and twice[row, column])
        crowded = (left or right) and written[row, column] < SURER
        if not (around[0].any() or around[2].any() or again or crowded):
            taken[row + 1, column + 1] = True
            kept.append((row, column))
    places = np.array(sorted(kept), np.int64).reshape(-1, 2)
    return places[:, 0], places[:, 1]


def lines(rows: Numbers, columns: Numbers, *, width: int = 48) -> tuple[Numbers, Numbers]:
    """(number of the slot of every letter, STOP behind every line; 1 where a line begins), line after line.

    A letter is followed by the nearest one to its right, at most a row up or down, if it is the nearest one to that
    one's left: so lines may slant.
    """
    if not len(rows):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    across, down = columns[None] - columns[:, None], np.abs(rows[None] - rows[:, None])
    cost = np.where((across >= 1) & (across <= REACH) & (down <= 1), across + STEEP * down, np.inf)
    after, before = cost.argmin(1), cost.argmin(0)
    linked = np.isfinite(cost[np.arange(len(rows)), after]) & (before[after] == np.arange(len(rows)))
    following = np.where(linked, after, -1)
    chains: list[list[int]] = []
    for first in np.setdiff1d(np.arange(len(rows)), following[linked]):
        chain = [int(first)]
        while following[chain[-1]] >= 0:
            chain.append(int(following[chain[-1]]))
        chains.append(chain)
    chains.sort(key=lambda chain: (float(rows[chain].mean()), int(columns[chain[0]])))
    slots: list[int] = []
    begins: list[int] = []
    for chain in chains:
        slots += [*(rows[chain] * width + columns[chain]).tolist(), STOP]
        begins += [1, *([0] * len(chain))]
    return np.array(slots), np.array(begins)
