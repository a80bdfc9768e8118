"""What a note tells of a thing, of a point of an outline, of a letter, and of what stands before it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

OCTAVES = 7  # of the waves that say where something is: 14 numbers for a coordinate
NUMBERS = 12  # how many are told apart
LIKE = 0.8  # cosine of the codes of one name, or of one colour
Floats = NDArray[np.float64]


def waves(places: Floats, like: Tensor) -> Tensor:
    """(..., n) numbers from 0 to 1 as (..., 2 * OCTAVES * n): the sines of all of them, then the cosines."""
    angles = places[..., None] * math.pi * 2.0 ** np.arange(OCTAVES)
    angles = angles.reshape(*places.shape[:-1], places.shape[-1] * OCTAVES)
    return torch.from_numpy(np.concatenate((np.sin(angles), np.cos(angles)), -1)).to(like)


WAVE = 2 * OCTAVES  # numbers for one coordinate


class Things:
    """The notes on the things of one picture, which stand in the order in which answers list them.

    `names` (things, class_size) and `colours` (things, colour_size) are codes, `boxes` (things, 4) x1, y1, x2, y2 from
    0 to 1, `traced` the outline of each, or None.
    """

    def __init__(self, names: Tensor, colours: Tensor, boxes: Floats, traced: Sequence[Floats | None]) -> None:
        self.names, self.colours, self.boxes, self.traced = names, colours, boxes, traced

    @staticmethod
    def size(class_size: int, colour_size: int) -> int:
        """Numbers told of a thing."""
        code = class_size + colour_size
        return 2 * (code + 4 * WAVE) + 2 * WAVE + (code + 1) + (class_size + 1) + (4 * WAVE + 1) + 4 * NUMBERS + 2

    @staticmethod
    def outline_size(class_size: int, colour_size: int) -> int:
        """Numbers told of a point of an outline."""
        return 4 * WAVE + class_size + colour_size + 4 * WAVE + 2

    @property
    def things(self) -> Tensor:
        """(things, size): its name, its colour, its box and where its outline begins; the same of the thing before it;
        the name and colour before it in a list of names and colours, the name before it in a list of names; the box of
        the last one of that name; how many have its name, both, its colour, and how many there are."""
        names, colours, count = self.names, self.colours, len(self.names)
        boxes = waves(self.boxes, names)
        tops = np.array([np.zeros(2) if points is None else points[0] for points in self.traced]).reshape(-1, 2)
        kinds, shades = alike(names), alike(colours)
        pairs = [(kind, shade) for kind, shade in zip(kinds, shades, strict=True)]
        codes = torch.cat((names, colours), 1)
        groups, kind_groups = _chain(_firsts(pairs), count), _chain(_firsts(kinds), count)
        same = [max((j for j in range(i) if kinds[j] == kinds[i]), default=-1) for i in range(count)]
        before = list(range(-1, count - 1))
        tallies: tuple[list[Any], ...] = (kinds, pairs, shades, [0] * count)
        told = [
            codes, boxes, waves(tops, names), _at(codes, before), _at(boxes, before),
            _at(codes, groups), _flags([i in _firsts(pairs) for i in range(count)], names),
            _at(names, kind_groups), _flags([i in _firsts(kinds) for i in range(count)], names),
            _at(boxes, same), _flags([j >= 0 for j in same], names),
            *(_numbers([group.count(item) for item in group], names) for group in tallies),
            _flags([i == 0 for i in range(count)], names), _flags([i == count - 1 for i in range(count)], names),
        ]  # fmt: skip
        return torch.cat(told, 1)

    @property
    def outlines(self) -> Tensor:
        """(points of all outlines, size): where it is and where the one before it is, or the last corner of its box, as
        they are written; name, colour, box of its thing; whether it is the first or the last."""
        made = [torch.zeros(0, self.outline_size(self.names.shape[1], self.colours.shape[1])).to(self.names)]
        for number, points in enumerate(self.traced):
            if points is not None:
                count = len(points)
                own = waves(points, self.names)
                thing = torch.cat((self.names[number], self.colours[number], waves(self.boxes[number], self.names)))
                ends = torch.zeros(count, 2).to(own)
                ends[0, 0] = ends[-1, 1] = 1
                corner = waves(self.boxes[number, 2:], self.names)[None]
                told = (own, torch.cat((corner, own[:-1])), thing.expand(count, -1), ends)
                made.append(torch.cat(told, 1))
        return torch.cat(made)


class Lines:
    """The notes on the letters of one picture, line after line.

    `code` (letters, letter_size), `mark` (letters, mark_size), `places` (letters, 2) x, y from 0 to 1, `begins` 1 where
    a line begins.
    """

    def __init__(self, code: Tensor, mark: Tensor, places: Floats, begins: NDArray[Any]) -> None:
        self.code, self.mark, self.places, self.begins = code, mark, places, begins.astype(bool)

    @staticmethod
    def size(letter_size: int, mark_size: int) -> int:
        """Numbers told of a letter."""
        return 3 * letter_size + mark_size + 3 + 4 * WAVE

    def told(self, is_letter: Tensor) -> Tensor:
        """(letters, size): the letter, the one before it in its line and the one before that; its mark; whether its
        line begins or ends here, and whether it is a letter or what stands behind the last one; where it is, and where
        the line above began."""
        count = len(self.code)
        begins = torch.from_numpy(self.begins).to(self.code.device)[:, None]
        before = F.pad(self.code, (0, 0, 1, 0))[:count] * ~begins
        earlier = F.pad(before, (0, 0, 1, 0))[:count] * ~begins
        ends = np.roll(self.begins, -1) if count else self.begins
        starts = np.flatnonzero(self.begins)
        above = _at(waves(self.places[starts], self.code), list(range(-1, len(starts) - 1)))
        past = torch.zeros(count, above.shape[1]).to(above)
        past[torch.from_numpy(starts).to(past.device)] = above
        flags = torch.cat((begins.to(self.code), _flags(ends.tolist(), self.code), is_letter.to(self.code)), 1)
        told = (self.code, before, earlier, self.mark, flags, waves(self.places, self.code) * is_letter, past)
        return torch.cat(told, 1)


def alike(codes: Tensor) -> list[int]:
    """The number of the first code that each is like."""
    near = F.normalize(codes.detach().float(), dim=-1)
    return ((near @ near.T) > LIKE).int().argmax(1).tolist() if len(codes) else []


def _firsts(groups: Sequence[Any]) -> list[int]:
    """Where each group occurs first."""
    return [i for i, group in enumerate(groups) if group not in groups[:i]]


def _chain(places: Sequence[int], count: int) -> list[int]:
    """For each of `count` items the one of `places` before it, -1 for none and for items not among them."""
    before = dict(zip(places, [-1, *places], strict=False))
    return [before.get(i, -1) for i in range(count)]


def _at(rows: Tensor, places: Sequence[int]) -> Tensor:
    """Those rows; zeros for -1."""
    return F.pad(rows, (0, 0, 1, 0))[torch.tensor(places, dtype=torch.long, device=rows.device) + 1]


def _flags(values: Sequence[bool], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).to(like)[:, None]


def _numbers(values: Sequence[int], like: Tensor) -> Tensor:
    """(n, NUMBERS) a one where the number stands; larger ones as the largest."""
    rows = torch.zeros(len(values), NUMBERS).to(like)
    for row, value in enumerate(values):
        rows[row, min(value, NUMBERS) - 1] = 1
    return rows
