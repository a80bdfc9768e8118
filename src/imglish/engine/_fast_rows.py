"""Where a lean decoder keeps keys and values: rows of one buffer for each layer, which grows by doubling.

Rows that began with the same `Prefix` stand in one `Group` with it and do not copy it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from imglish.engine import _pages
from imglish.engine.step import Slot

SPARE = 64  # tokens that a new buffer has room for beyond those that come at once
FEW = 8  # the same where rows go on from a prefix: many of them write a few tokens only
TOGETHER = 16 << 20  # bytes of layers that are one piece of memory
PARTED = 4  # a part of a prefix stays apart where the one before it is so many times as long


@dataclass(frozen=True, eq=False)
class Prefix:
    """Keys and values of the first tokens of rows, in parts that follow one another. Never written to.

    A part has for each layer (2, key heads, length, size). A prefix that goes on from another has its parts too, not
    copies of them: many questions about one picture keep the picture once.
    """

    parts: tuple[tuple[Tensor, ...], ...]
    length: int
    position: int

    @property
    def storages(self) -> dict[int, int]:
        """Bytes of each piece of memory that stays while this does; prefixes with common parts have some in common."""
        found = (layer.untyped_storage() for part in self.parts for layer in part)
        return {storage.data_ptr(): storage.nbytes() for storage in found}

    @property
    def nbytes(self) -> int:
        """Bytes of all that memory."""
        return sum(self.storages.values())

    @property
    def key(self) -> tuple[int, ...]:
        """The same for two prefixes that are the same tokens in the same memory."""
        return *(part[0].data_ptr() for part in self.parts), self.length

    def layer(self, number: int) -> list[Tensor]:
        """The parts of one layer."""
        return [part[number] for part in self.parts]

    def cut(self, length: int, position: int) -> Prefix:
        """Its first tokens, without a copy."""
        kept: list[tuple[Tensor, ...]] = []
        left = length
        for part in self.parts:
            if left > 0:
                kept.append(tuple(layer[:, :, :left] for layer in part))
            left -= part[0].shape[2]
        return Prefix(tuple(kept), length, position)

    def then(self, part: tuple[Tensor, ...], position: int) -> Prefix:
        """With a copy of a part more; parts at the end not much longer than what follows become one with it."""
        stay, length = len(self.parts), part[0].shape[2]
        total = length
        while stay and PARTED * total > self.parts[stay - 1][0].shape[2]:
            stay -= 1
            total += self.parts[stay][0].shape[2]
        joined = zip(*self.parts[stay:], part, strict=True)
        last = tuple(torch.cat(layer, dim=2) if len(layer) > 1 else layer[0].clone() for layer in joined)
        return Prefix((*self.parts[:stay], last), self.length + length, position)


@dataclass(eq=False)
class Row(Slot):
    """A slot of the lean stepper: row number `index` of a group."""

    group: Group
    index: int

    @property
    def own(self) -> int:
        """Tokens beyond those of the prefix."""
        return self.length - self.group.begin


@dataclass(eq=False)
class Group:
    """Rows with one prefix, or with none. `kv` has for each layer (2, room for rows, key heads, room, size)."""

    prefix: Prefix | None
    like: Tensor
    """(layers, key heads, 0, size): what a buffer is made of, of its precision and device."""
    rows: list[Row] = field(default_factory=list)
    kv: list[Tensor] = field(default_factory=list)
    kept: Prefix | None = None
    """What somebody keeps of the only row of a group without a prefix: the row goes on behind it in the same memory."""
    pointers: Any = None
    """Where all of it is, for compiled code; None after the buffers have moved."""

    @property
    def begin(self) -> int:
        """How many tokens the prefix has."""
        return 0 if self.prefix is None else self.prefix.length

    @property
    def key(self) -> tuple[int, ...] | None:
        """What rows join it by; None is that of rows that begin with nothing. None join one that is kept."""
        if self.prefix is not None:
            return self.prefix.key
        return None if self.kept is None else (id(self), -1)

    def add(self, count: int, *, length: int, position: int) -> list[Row]:
        """New rows, for which there is room."""
        places = range(len(self.rows), len(self.rows) + count)
        new = [Row(length, position, self, index) for index in places]
        self.rows += new
        return new

    def reserve(self, count: int, room: int) -> None:
        """Makes the buffers hold so many rows of so many tokens, if they do not. Tried again where memory ended."""
        made = len(self.kv) == len(self.like)
        rows, tokens = (min(kv.shape[axis] for kv in self.kv) if made else 0 for axis in (1, 3))
        if count <= rows and room <= tokens:
            return
        if count > rows:
            rows = max(count, 2 * rows if rows > 1 else count)
        if room > tokens:
            spare = SPARE if self.prefix is None else FEW
            tokens = max(-(-(room + spare) // spare) * spare, 2 * tokens)
        self.pointers = None
        used = max((row.own for row in self.rows), default=0)
        layers, heads, _, size = self.like.shape
        each = 2 * rows * heads * tokens * size * self.like.itemsize
        together = max(TOGETHER // each, 1)
        for first in range(0, layers, together):  # few by few: only so much is there twice
            some = min(together, layers - first)
            shape = (some, 2, rows, heads, tokens, size)
            clean = rows > 1  # where the shorter ones have nothing is read, too, and counts nothing
            for layer, new in enumerate(_pages.room(shape, self.like, clean=clean), first):
                if self.kv and used:
                    new[:, : len(self.rows), :, :used] = self.kv[layer][:, : len(self.rows), :, :used]
                self.kv[layer : layer + 1] = [new]

    def remove(self, row: Row) -> None:
        """Takes a row out; the last one moves into its place."""
        last = self.rows.pop()
        if last is not row:
            for kv in self.kv:
                kv[:, row.index, :, : last.own] = kv[:, last.index, :, : last.own]
            self.rows[row.index] = last
            last.index = row.index

    def freeze(self, row: Row) -> Prefix:
        """All that a row has, its prefix too; without a copy where the row began with none and was always alone."""
        if self.prefix is None and len(self.rows) == 1 and self.kv[0].shape[1] == 1:
            if self.kept is None or self.kept.length != row.length:
                self.kept = Prefix((tuple(kv[:, 0, :, : row.own] for kv in self.kv),), row.length, row.position)
            return self.kept
        before = Prefix((), 0, 0) if self.prefix is None else self.prefix
        return before.then(tuple(kv[:, row.index, :, : row.own] for kv in self.kv), row.position)


def whole(rows: Sequence[Row]) -> bool:
    """Whether these are the first rows of their group, in order, so that they need not be gathered."""
    return all(row.index == place for place, row in enumerate(rows))
