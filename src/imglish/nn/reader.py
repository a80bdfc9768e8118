"""An adapter that spells: besides the tokens of the grid, the letters that the encoder read, one token each, in order.

A decoder that is handed letters inside the tokens of a grid has to find out by itself where a line goes on. Here the
slots in which `Sight` read a letter are chained into lines, and every letter becomes a token that also says which
letters stood before it: to read on is then to look for the token whose past is what was just written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imglish.nn._adapter import Adapter, mlp

SUBCELLS = 2  # cells along each side of a token, and slots for letters in a cell, as `Sight` has them
REACH, STEEP = 8, 4  # slots to the next letter at most; what a row up or down counts, in slots
WIDE = 1.7  # a gap so many times the usual one is a space
SURE, SAME = 0.9, 0.7  # how surely a slot must be written; how alike the codes of one letter are that is read twice
NOTHING, SPACE = -2, -1  # instead of a slot's number
WAVES = 5
Numbers = NDArray[np.int64]


class Reader(Adapter):
    """`hidden` units for the tokens of the grid; at `most` that many letters follow them.

    `cells_at` is where a token's four cells begin in its features, `letters_at` where in a cell its letter codes begin;
    the mark codes follow them, and the last two numbers of a cell say how surely its slots are written.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        grid: Sequence[int],
        hidden: int,
        most: int,
        cells_at: int,
        letters_at: int,
        letter_size: int,
        mark_size: int,
    ) -> None:
        super().__init__(in_dim, out_dim, grid=grid, out_grid=grid)
        self.most, self.cells_at, self.letters_at = most, cells_at, letters_at
        self.letter_size, self.mark_size = letter_size, mark_size
        self.project = mlp(in_dim, hidden, out_dim)
        self.spell = nn.Linear(3 * letter_size + mark_size + 2 + 4 * WAVES, out_dim)
        self.space = nn.Parameter(torch.randn(letter_size))
        self.nothing = nn.Parameter(torch.zeros(out_dim))

    @property
    def tokens(self) -> int:
        """Those of the grid and the letters."""
        return super().tokens + self.most

    def adapt(self, features: Tensor) -> Any:
        return torch.cat((self.project(features), self.spelled(features)), 1)

    def spelled(self, features: Tensor) -> Tensor:
        """(B, most, out_dim) the letters of each picture, line after line; `nothing` where there are no more."""
        codes, marks, written = self._slots(features)
        width = written.shape[2]
        beside = torch.nn.functional.cosine_similarity(codes[:, :, 1:].float(), codes[:, :, :-1].float(), dim=-1)
        pages = zip(written.detach().float().cpu().numpy(), (beside > SAME).cpu().numpy(), strict=True)
        found = [lines(*letters(page, twice), width=width) for page, twice in pages]
        slots, begins = (torch.full((len(features), self.most), fill) for fill in (NOTHING, 1))
        for number, (order, starts) in enumerate(found):
            count = min(len(order), self.most)
            slots[number, :count] = torch.from_numpy(order[:count])
            begins[number, :count] = torch.from_numpy(starts[:count])
        slots, begins = slots.to(features.device), begins.to(features.device).bool()[..., None]
        chosen = slots.clamp(min=0)[..., None]
        code = codes.flatten(1, 2).gather(1, chosen.expand(-1, -1, self.letter_size))
        mark = marks.flatten(1, 2).gather(1, chosen.expand(-1, -1, self.mark_size))
        is_letter = (slots >= 0)[..., None]
        code, mark = torch.where(is_letter, code, self.space.to(code)), mark * is_letter
        before = _before(code, begins)
        places = torch.stack((slots.clamp(min=0) % width / width, slots.clamp(min=0) // width / written.shape[1]), -1)
        angles = (places.unsqueeze(-1) * torch.pi * 2.0 ** torch.arange(WAVES, device=places.device)).flatten(-2)
        waves = torch.cat((angles.sin(), angles.cos()), -1).to(code) * is_letter
        told = (code, before, _before(before, begins), mark, begins.to(code), is_letter.to(code), waves)
        tokens = self.spell(torch.cat(told, -1))
        return torch.where((slots == NOTHING)[..., None], self.nothing.to(tokens), tokens)

    def _slots(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Letter codes, mark codes (B, rows, columns, size) and sureness (B, rows, columns) of every slot."""
        rows, columns = self.grid
        cells = features[..., self.cells_at :].unflatten(-1, (SUBCELLS**2, -1))
        cells = (
            cells.view(len(cells), rows, columns, SUBCELLS, SUBCELLS, -1).transpose(2, 3).flatten(3, 4).flatten(1, 2)
        )
        end = self.letters_at + SUBCELLS * self.letter_size
        codes = cells[..., self.letters_at : end].unflatten(-1, (SUBCELLS, -1)).flatten(2, 3)
        marks = cells[..., end : end + SUBCELLS * self.mark_size].unflatten(-1, (SUBCELLS, -1)).flatten(2, 3)
        return codes, marks, cells[..., -SUBCELLS:].flatten(2, 3)


def _before(code: Tensor, begins: Tensor) -> Tensor:
    """What stands one place earlier in the line, zeros where it begins."""
    return torch.nn.functional.pad(code[:, :-1], (0, 0, 1, 0)) * ~begins


def letters(written: NDArray[Any], twice: NDArray[Any]) -> tuple[Numbers, Numbers]:
    """Rows and columns of the slots that hold a letter, of those that share one the surest.

    `written` (rows, columns) is how sure a slot is, `twice` (rows, columns - 1) whether it says what the next one says.
    Letters may stand in neighbouring slots of a row, never in neighbouring rows.
    """
    taken = np.zeros((written.shape[0] + 2, written.shape[1] + 2), bool)
    rows, columns = np.nonzero(written > SURE)
    kept: list[tuple[int, int]] = []
    for place in np.argsort(-written[rows, columns], kind="stable"):
        row, column = int(rows[place]), int(columns[place])
        around = taken[row : row + 3, column : column + 3]
        left = around[1, 0] and twice[row, column - 1]
        right = around[1, 2] and twice[row, column]
        if not (around[0].any() or around[2].any() or left or right):
            taken[row + 1, column + 1] = True
            kept.append((row, column))
    places = np.array(sorted(kept), np.int64).reshape(-1, 2)
    return places[:, 0], places[:, 1]


def lines(rows: Numbers, columns: Numbers, *, width: int = 48) -> tuple[Numbers, Numbers]:
    """(number of the slot of every letter and SPACE for every gap, 1 where a line begins), line after line.

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
        gaps = np.diff(columns[chain])
        usual = float(np.median(gaps)) if len(gaps) else 0.0
        for number, letter in enumerate(chain):
            if number and gaps[number - 1] > max(WIDE * usual, 2):
                slots.append(SPACE)
                begins.append(0)
            slots.append(int(rows[letter]) * width + int(columns[letter]))
            begins.append(int(number == 0))
    return np.array(slots), np.array(begins)
