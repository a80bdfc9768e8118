"""Keys and values of several sequences in one buffer. Those that begin alike share one row, and with it what is alike.

Every column of a row is one token. `index` says for each sequence which columns are its own, and which of its tokens
stands there, so that sequences may be of any length, share their first columns, end and make room for others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from imglish.engine.step import Slot

ROOM = 64  # columns that a buffer grows by, at least


@dataclass(eq=False)
class Kept:
    """Keys and values (1, heads, tokens, size) of every layer, never written to again.

    `encoded` is what an encoder-decoder looks at besides: see `Encoded`.
    """

    keys: list[Tensor]
    values: list[Tensor]
    encoded: Any = None

    @property
    def nbytes(self) -> int:
        """Bytes of the memory that stays while this does."""
        tensors = [*self.keys, *self.values]
        return sum(
            size for size in {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values()
        )


@dataclass(frozen=True, eq=False)
class Begun:
    """The first tokens of a row, as `imglish.engine.step.Past` has them."""

    kept: Kept
    length: int
    position: int

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values, and of what an encoder made."""
        return self.kept.nbytes + int(getattr(self.kept.encoded, "nbytes", 0))

    def cut(self, length: int, position: int) -> Begun:
        """The first `length` of these tokens."""
        return Begun(self.kept, min(length, self.length), position)


@dataclass(eq=False)
class Place(Slot):
    """A slot in a buffer. Its first `shared` tokens are those of `root`, whatever the buffer has."""

    root: Kept | None = None
    shared: int = 0
    rows: Rows | None = None
    number: int = -1
    """Which sequence of its buffer it is."""
    encoded: Any = None


@dataclass(eq=False)
class Rows:
    """One buffer. `width` columns are there, of which row r has used `used[r]`."""

    places: list[Place | None]
    row_of: list[int]
    used: list[int]
    width: int
    index: Tensor
    """(sequences, width): the number of the token in its sequence, -1 where the column is not its own."""
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)

    @property
    def alive(self) -> list[Place]:
        """The places that have not been dropped."""
        return [place for place in self.places if place is not None]

    def wasted(self) -> bool:
        """Whether more than a quarter of the rows have nobody left, or most columns are of nobody."""
        lived_in = {self.row_of[place.number] for place in self.alive}
        if 4 * (len(self.used) - len(lived_in)) > len(self.used):
            return True
        if len(self.used) > 1:
            return False
        own = self.index[[place.number for place in self.alive], : self.used[0]] >= 0
        return self.used[0] > 4 * ROOM and 2 * int(own.any(0).sum()) < self.used[0]

    def reserve(self, width: int) -> None:
        """Room for `width` columns."""
        if width <= self.width:
            return
        more = max(width - self.width, ROOM, self.width // 4)
        self.index = torch.nn.functional.pad(self.index, (0, more), value=-1)
        for tensors in (self.keys, self.values):
            tensors[:] = [torch.nn.functional.pad(tensor, (0, 0, 0, more)) for tensor in tensors]
        self.width += more

    def put(self, layer: int, keys: Tensor, values: Tensor, columns: Columns) -> tuple[Tensor, Tensor]:
        """Writes what a layer made of new tokens (rows, heads, new, size); (keys, values) of all tokens so far."""
        if len(self.keys) == layer:  # the first time: nobody has anything yet
            shape = (*keys.shape[:2], self.width, keys.shape[3])
            self.keys.append(keys.new_zeros(shape))
            self.values.append(values.new_zeros((*shape[:3], values.shape[3])))
            self._write(layer, keys, values, columns)
            if columns.fresh:
                return keys, values
        else:
            self._write(layer, keys, values, columns)
        return self.keys[layer][:, :, : columns.most], self.values[layer][:, :, : columns.most]

    def _write(self, layer: int, keys: Tensor, values: Tensor, columns: Columns) -> None:
        if columns.start is not None:
            end = columns.start + keys.shape[2]
            self.keys[layer][:, :, columns.start : end] = keys
            self.values[layer][:, :, columns.start : end] = values
            return
        row, old, new = columns.row, columns.token, columns.column
        self.keys[layer][row, :, new] = keys[row, :, old]
        self.values[layer][row, :, new] = values[row, :, old]

    def own(self, place: Place, first: int) -> Tensor:
        """The columns of a sequence's tokens from `first` on, in the order of the tokens."""
        numbers = self.index[place.number]
        columns = (numbers >= first).nonzero()[:, 0]
        return columns[numbers[columns].argsort()]


@dataclass(frozen=True)
class Columns:
    """Where new tokens go: token `token` of row `row` to column `column`; `most` columns are then in use."""

    row: Tensor
    token: Tensor
    column: Tensor
    most: int
    start: int | None = None
    """The first column where all rows take their new tokens in order from the same column on."""
    fresh: bool = False
    """Whether these are the first tokens of all rows."""


class Ledger(Cache):
    """Rows as transformers' models take them, for one forward."""

    def __init__(self, rows: Rows, columns: Columns) -> None:
        super().__init__(layers=[])
        self.rows, self.columns = rows, columns

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        return self.rows.put(layer_idx, key_states, value_states, self.columns)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.columns.start or 0

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[int, int]:
        return self.columns.most, 0


def gathered(places: Sequence[Place], device: torch.device) -> Rows:
    """A new buffer with what these places have; those with one root share a row."""
    row_of, roots = _rows_of(places)
    used = [
        max((p.shared for p, r in zip(places, row_of, strict=True) if r == row), default=0) for row in range(len(roots))
    ]
    tails: list[Tensor | None] = []
    starts: list[int] = []
    for place, row in zip(places, row_of, strict=True):
        tail = place.rows.own(place, place.shared) if place.rows is not None else None
        tails.append(tail)
        starts.append(used[row])
        used[row] += 0 if tail is None else len(tail)
    width = max(used) + ROOM
    index = torch.full((len(places), width), -1, dtype=torch.long, device=device)
    for number, (place, tail, start) in enumerate(zip(places, tails, starts, strict=True)):
        index[number, : place.shared] = torch.arange(place.shared, device=device)
        if tail is not None:
            index[number, start : start + len(tail)] = torch.arange(
                place.shared, place.shared + len(tail), device=device
            )
    rows = Rows([], row_of, used, width, index)
    layers = next((len(p.rows.keys) for p in places if p.rows is not None), 0) or max(
        (len(r.keys) for r in roots if r), default=0
    )
    for layer in range(layers):
        for name in ("keys", "values"):
            getattr(rows, name).append(_layer(name, layer, places, roots, row_of, tails, starts, width))
    for number, place in enumerate(places):
        leave(place)
        place.rows, place.number = rows, number
        rows.places.append(place)
    return rows


def _rows_of(places: Sequence[Place]) -> tuple[list[int], list[Kept | None]]:
    row_of: list[int] = []
    roots: list[Kept | None] = []
    for place in places:
        known = next((n for n, root in enumerate(roots) if root is not None and root is place.root), None)
        if known is None:
            roots.append(place.root)
            known = len(roots) - 1
        row_of.append(known)
    return row_of, roots


def _layer(
    name: str, layer: int, places: Sequence[Place], roots: Sequence[Kept | None], row_of: Sequence[int],
    tails: Sequence[Tensor | None], starts: Sequence[int], width: int,
) -> Tensor:  # fmt: skip
    sources = [getattr(p.rows, name)[layer] for p in places if p.rows is not None]
    sources += [getattr(root, name)[layer] for root in roots if root is not None]
    like = sources[0]
    made = like.new_zeros((len(roots), like.shape[1], width, like.shape[3]))
    for row, root in enumerate(roots):
        if root is not None:
            most = max(p.shared for p, r in zip(places, row_of, strict=True) if r == row)
            made[row, :, :most] = getattr(root, name)[layer][0, :, :most]
    for place, row, tail, start in zip(places, row_of, tails, starts, strict=True):
        if tail is not None and place.rows is not None and len(tail):
            held = getattr(place.rows, name)[layer][place.rows.row_of[place.number]]
            made[row, :, start : start + len(tail)] = held[:, tail]
    return made


def adopted(rows: Rows, place: Place) -> bool:
    """Gives a place what is free in a buffer: beside its like, or a row that nobody has; False without either."""
    lived_in = {rows.row_of[one.number] for one in rows.alive}
    alike = [one for one in rows.alive if place.root is not None and one.root is place.root]
    most = max(alike, key=lambda one: one.shared, default=None)
    if most is not None and place.shared > most.shared:
        return False  # more of the root than the row has
    row = None if most is None else rows.row_of[most.number]
    tail = place.rows.own(place, place.shared) if place.rows is not None else None
    extra = 0 if tail is None else len(tail)
    if row is None:
        row = next((r for r in range(len(rows.used)) if r not in lived_in), None)
        if row is None or not rows.keys:
            return False
        rows.used[row] = place.shared
        rows.reserve(place.shared + extra)
        for name in ("keys", "values"):
            for layer, made in enumerate(getattr(rows, name)):
                if place.root is not None:
                    made[row, :, : place.shared] = getattr(place.root, name)[layer][0, :, : place.shared]
    start = rows.used[row]
    rows.reserve(start + extra)
    number = next((n for n, one in enumerate(rows.places) if one is None), None)
    if number is None:
        number = len(rows.places)
        rows.places.append(None)
        rows.row_of.append(row)
        rows.index = torch.nn.functional.pad(rows.index, (0, 0, 0, 1), value=-1)
    if most is None:
        rows.index[number] = -1
        rows.index[number, : place.shared] = torch.arange(place.shared, device=rows.index.device)
    else:  # what is alike may stand among tokens of others
        theirs = rows.index[most.number]
        rows.index[number] = theirs.masked_fill(theirs >= place.shared, -1)
    if tail is not None and place.rows is not None:
        rows.index[number, start : start + extra] = torch.arange(place.shared, place.shared + extra, device=tail.device)
        held = place.rows.row_of[place.number]
        for name in ("keys", "values"):
            for layer, made in enumerate(getattr(rows, name)):
                made[row, :, start : start + extra] = getattr(place.rows, name)[layer][held][:, tail]
    rows.used[row] = start + extra
    leave(place)
    rows.places[number], rows.row_of[number] = place, row
    place.rows, place.number = rows, number
    return True


def leave(place: Place) -> None:
    """Takes a place out of its buffer."""
    if place.rows is not None:
        place.rows.places[place.number] = None
        place.rows = None
