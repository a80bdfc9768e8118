"""An adapter that takes notes: behind the tokens of the grid, one token each for the things, letters and outlines seen.

A decoder that is handed only a grid has to find out by itself which cells are one thing, how many things there are and
where a line goes on, and to remember what it has listed. Here every thing, every letter and every point of an outline
becomes a token that also says what stands before it in the order in which answers are written: to list, to read and to
trace is then to look for the token whose past is what was just written, and to count is to read a number off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from imglish.nn import _letters, _things
from imglish.nn._adapter import Adapter, mlp
from imglish.nn._notes import Lines, Things

SUBCELLS = 2  # cells along each side of a token, and slots for letters in a cell, as `Sight` has them
SAME = 0.7  # how alike the codes of one letter are that is read twice


class Reader(Adapter):
    """`hidden` units for the tokens of the grid; at `most` that many notes follow them.

    `cells_at` is where a token's four cells begin in its features; the sizes of their codes are those of `Sight`, whose
    `describe` makes the cells. `things` at most are noted, with `points` points for the outline of each as far as
    there is room.
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
        class_size: int,
        colour_size: int,
        octaves: int,
        letter_size: int,
        mark_size: int,
        things: int = 14,
        points: int = 12,
    ) -> None:
        super().__init__(in_dim, out_dim, grid=grid, out_grid=grid)
        self.most, self.things, self.points, self.cells_at = most, things, points, cells_at
        self.sizes: tuple[int, ...] = (1, class_size, colour_size, 4 + 8 * octaves, _things.FINE**2)
        self.sizes += (SUBCELLS * letter_size, SUBCELLS * mark_size, 1, class_size, SUBCELLS)
        self.project = mlp(in_dim, hidden, out_dim)
        self.tell = nn.Linear(Things.size(class_size, colour_size), out_dim)
        self.trace = nn.Linear(Things.outline_size(class_size, colour_size), out_dim)
        self.spell = nn.Linear(Lines.size(letter_size, mark_size), out_dim)
        self.stop = nn.Parameter(torch.randn(letter_size))
        self.nothing = nn.Parameter(torch.zeros(out_dim))

    @property
    def tokens(self) -> int:
        """Those of the grid and the notes."""
        return super().tokens + self.most

    def adapt(self, features: Tensor) -> Any:
        return torch.cat((self.project(features), self.notes(features)), 1)

    def notes(self, features: Tensor) -> Tensor:
        """(B, most, out_dim) things, letters, outlines of each picture; `nothing` where there are no more."""
        made = []
        for picture in features:
            told, read = self.told(picture), self._read(picture)
            kept = torch.cat((self.tell(told.things), self.spell(read), self.trace(told.outlines)))[: self.most]
            made.append(torch.cat((kept, self.nothing.to(kept).expand(self.most - len(kept), -1))))
        return torch.stack(made)

    def told(self, picture: Tensor) -> Things:
        """What is told of the things of one picture, given its features (tokens, in_dim)."""
        present, names, colours, geometry, masks, _, _, middle, _, _ = self._cells(picture)
        return self._things((present[:, 0], names, colours), geometry=geometry, masks=masks, middle=middle[:, 0])

    def _read(self, picture: Tensor) -> Tensor:
        """What is told of its letters."""
        *_, letters, marks, _, _, written = self._cells(picture)
        return self._letters(letters, marks, written)

    def _cells(self, picture: Tensor) -> tuple[Tensor, ...]:
        """The readings of a picture, (cells, numbers) each, row by row over the whole picture."""
        rows, columns = self.grid
        cells = picture[:, self.cells_at :].reshape(rows, columns, SUBCELLS, SUBCELLS, -1).transpose(1, 2)
        return cells.flatten(0, 3).split(self.sizes, -1)

    def _things(
        self, codes: tuple[Tensor, Tensor, Tensor], *, geometry: Tensor, masks: Tensor, middle: Tensor
    ) -> Things:
        """What is told of the things of one picture."""
        present, names, colours = codes
        read = [part.detach().float().cpu().numpy() for part in (middle, present, names, geometry[:, :4], masks)]
        seen = np.maximum(read[1], 1e-3)
        length = np.maximum(np.linalg.norm(read[2], axis=1, keepdims=True), 1e-6)
        found = _things.things(read[0], read[1], read[2] / length, read[3] / seen[:, None])[: self.things]
        shares = np.array([thing.shares for thing in found]).reshape(len(found), len(present))
        traced = [_things.outline(_things.bitmap(thing.shares, read[4]), self.points) for thing in found]
        weights = torch.from_numpy(shares / shares.sum(1, keepdims=True).clip(1e-6)).to(names)
        boxes = np.array([thing.box for thing in found]).reshape(-1, 4)
        return Things(weights @ names, weights @ colours, boxes, traced)

    def _letters(self, letters: Tensor, marks: Tensor, written: Tensor) -> Tensor:
        """(letters, size) what is told of every letter and every end of a line of one picture, line after line."""
        rows, columns = (SUBCELLS * side for side in self.grid)
        codes = letters.unflatten(-1, (SUBCELLS, -1)).flatten(0, 1)
        page = written.detach().float().cpu().numpy().reshape(rows, columns * SUBCELLS)
        table = codes.detach().view(rows, columns * SUBCELLS, -1).float()
        twice = torch.nn.functional.cosine_similarity(table[:, 1:], table[:, :-1], dim=-1) > SAME
        slots, begins = _letters.lines(*_letters.letters(page, twice.cpu().numpy()), width=page.shape[1])
        slots, begins = slots[: self.most], begins[: self.most]
        chosen = torch.from_numpy(slots).to(codes.device)
        is_letter = (chosen >= 0)[:, None]
        code = torch.where(is_letter, codes[chosen.clamp(min=0)], self.stop.to(codes))
        mark = marks.unflatten(-1, (SUBCELLS, -1)).flatten(0, 1)[chosen.clamp(min=0)] * is_letter
        places = np.stack((slots % page.shape[1] / page.shape[1], slots // page.shape[1] / rows), -1)
        places[slots < 0] = 0
        return Lines(code, mark, places, begins).told(is_letter)
