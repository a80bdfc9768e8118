"""Where a lean decoder keeps keys and values: rows of one buffer for each layer, which grows by doubling.

Rows that began with the same `Prefix` stand in one `Group` with it and do not copy it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from imglish.engine.step import Slot

SPARE = 64  # tokens that a new buffer has room for beyond those that come at once


@dataclass(frozen=True, eq=False)
class Prefix:
    """Keys and values of the first tokens of rows: for each layer (2, key heads, length, size). Never written to."""

    layers: tuple[Tensor, ...]
    length: int
    position: int

    @property
    def nbytes(self) -> int:
        """Bytes of the memory that stays while this does; what `cut` gave shares it with what it was cut from."""
        storages = [layer.untyped_storage() for layer in self.layers]
        return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())

    @property
    def key(self) -> tuple[int, int]:
        """The same for two prefixes that are the same tokens in the same memory."""
        return self.layers[0].data_ptr(), self.length

    def cut(self, length: int, position: int) -> Prefix:
        """Its first tokens, without a copy."""
        return Prefix(tuple(layer[:, :, :length] for layer in self.layers), length, position)


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

    @property
    def begin(self) -> int:
        """How many tokens the prefix has."""
        return 0 if self.prefix is None else self.prefix.length

    def add(self, count: int, *, length: int, position: int, room: int) -> list[Row]:
        """New rows, with room for so many tokens of their own each."""
        places = range(len(self.rows), len(self.rows) + count)
        new = [Row(length, position, self, index) for index in places]
        self.reserve(len(self.rows) + count, room)
        self.rows += new
        return new

    def reserve(self, count: int, room: int) -> None:
        """Makes the buffers hold so many rows of so many tokens, if they do not."""
        rows, tokens = (self.kv[0].shape[1], self.kv[0].shape[3]) if self.kv else (0, 0)
        if count <= rows and room <= tokens:
            return
        if count > rows:
            rows = max(count, 2 * rows if rows > 1 else count)
        if room > tokens:
            tokens = max(-(-(room + SPARE) // SPARE) * SPARE, 2 * tokens)
        used = max((row.own for row in self.rows), default=0)
        layers, heads, _, size = self.like.shape
        for layer in range(layers):  # one by one: only one layer is there twice
            new = self.like.new_zeros(2, rows, heads, tokens, size)
            if self.kv and used:
                new[:, : len(self.rows), :, :used] = self.kv[layer][:, : len(self.rows), :, :used]
            if len(self.kv) == layers:
                self.kv[layer] = new
            else:
                self.kv.append(new)

    def remove(self, row: Row) -> None:
        """Takes a row out; the last one moves into its place."""
        last = self.rows.pop()
        if last is not row:
            for kv in self.kv:
                kv[:, row.index, :, : last.own] = kv[:, last.index, :, : last.own]
            self.rows[row.index] = last
            last.index = row.index

    def freeze(self, row: Row) -> Prefix:
        """All that a row has, its prefix too; the row itself must not take tokens in this group any more."""
        if self.prefix is None and len(self.rows) == 1:
            return Prefix(tuple(kv[:, 0, :, : row.own] for kv in self.kv), row.length, row.position)
        before = self.prefix.layers if self.prefix is not None else [kv[:, 0, :, :0] for kv in self.kv]
        parts = zip(before, self.kv, strict=True)
        layers = tuple(torch.cat((old, kv[:, row.index, :, : row.own]), dim=2) for old, kv in parts)
        return Prefix(layers, row.length, row.position)


def whole(rows: Sequence[Row]) -> bool:
    """Whether these are the first rows of their group, in order, so that they need not be gathered."""
    return all(row.index == place for place, row in enumerate(rows))
