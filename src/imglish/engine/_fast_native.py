"""A step of a lean decoder in one call of compiled code: what it is given.

One token costs torch some twenty calls a layer, and its products of bfloat16 read memory at two thirds of its speed.
The C in `native/` reads each weight once for all rows that take a token, in the order in which it lies. Rows are those
of `imglish.engine._fast_rows`, in the same buffers: compiled steps and all else take turns as they please.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence
from ctypes import POINTER, Structure, byref, c_float, c_int32, c_int64, c_void_p
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from imglish.engine import _native, _native_room
from imglish.engine._branches import Branches
from imglish.engine._fast_layout import Laid
from imglish.engine._fast_rows import Group, Prefix, Row
from imglish.engine._fast_weights import Decoder, Few, Layer
from imglish.engine._native_products import MANY, Matrix, fits, fits_many, matrix

LANES = 16  # tokens of a block, as in native/tiles.h
WIDEST = 512  # a head's size, as in native/attention.h
KEPT = (torch.float32, torch.bfloat16)  # precisions of keys and values


class _Layer(Structure):
    _fields_ = (
        *((name, Matrix) for name in ("qkv", "out", "up", "down")),
        *((name, c_void_p) for name in ("before_attention", "between", "before_mlp")),
        *((name, c_float) for name in ("epsilon_attention", "epsilon_between", "epsilon_mlp")),
        ("window", c_int64),
    )


class _Decoder(Structure):
    _fields_ = (
        *((name, c_int64) for name in ("layers", "hidden", "heads", "key_heads", "size", "wide")),
        ("half_keys", c_int32), ("activation", c_int32), ("epsilon", c_float), ("norm", c_void_p),
        ("layer", POINTER(_Layer)), ("head", Matrix),
    )  # fmt: skip


class Piece(Structure):
    """Where keys and values of one layer are; distances are in numbers."""

    _fields_ = (("keys", c_void_p), ("values", c_int64), ("row", c_int64), ("head", c_int64))


class _Group(Structure):
    _fields_ = (
        ("parts", c_int64), ("begin", c_int64), ("lengths", POINTER(c_int64)), ("prefix", POINTER(Piece)),
        ("own", POINTER(Piece)),
    )  # fmt: skip


class _Row(Structure):
    _fields_ = (("group", POINTER(_Group)), ("index", c_int64), ("own", c_int64), ("angles", c_void_p))


class _Text(Structure):
    _fields_ = (("row", _Row), ("first", c_int64), ("count", c_int64), ("seen", c_void_p), ("wide", c_int64))


def has_size(size: int) -> bool:
    """Whether compiled code takes heads of this size."""
    return size % 32 == 0 and size <= WIDEST


def native(decoder: Decoder, kept: torch.dtype) -> Native | None:
    """What steps this decoder, where compiled code can and is quick; `kept`: the precision of keys and values."""
    rows, library = decoder.layout.native, _native.library()
    if not rows or library is None or kept not in KEPT or not has_size(decoder.size):
        return None
    all_of = [one for layer in decoder.layers for one in (layer.qkv, layer.out, layer.up, layer.down)]
    found = [weights_of(one) for one in (*all_of, decoder.head)]
    if any(weights is None or not fits(weights[0]) for weights in found):
        return None
    return Native(library, decoder, kept)


class Held:
    """What compiled code is given. Holds on to every tensor that it points to."""

    def __init__(self) -> None:
        self._held: list[Tensor] = []

    def _matrix(self, of: Any) -> Matrix:
        weights = weights_of(of)
        assert weights is not None
        weight, *rest = weights
        self._held.append(weight)
        bias, scale = (None if part is None else self._kept(part) for part in rest)
        return matrix(weight, bias, scale)

    def _numbers(self, values: Tensor) -> int:
        return self._kept(values).data_ptr()

    def _kept(self, values: Tensor) -> Tensor:
        kept = values.float().contiguous()
        self._held.append(kept)
        return kept


class Native(Held):
    """A decoder as compiled code has it."""

    def __init__(self, library: Any, decoder: Decoder, kept: torch.dtype) -> None:
        super().__init__()
        self.library, self.rows, self.threads = library, decoder.layout.native, decoder.layout.threads
        self.reads = decoder.layout.many and kept == torch.bfloat16 and _reads(decoder)
        """Whether many tokens are read by compiled code, too."""
        self._layers = (_Layer * len(decoder.layers))(*map(self._layer, decoder.layers))
        first = self._layers[0]
        self._all = _Decoder(
            len(decoder.layers), first.out.outputs, decoder.heads, decoder.key_heads, decoder.size,
            first.up.outputs // 2, kept == torch.bfloat16, decoder.activation is not functional.silu,
            decoder.norm.epsilon, self._numbers(decoder.norm.exact), self._layers, self._matrix(decoder.head),
        )  # fmt: skip

    def step(self, x: Tensor, rows: Sequence[Row], angles: Tensor) -> Tensor:
        """Logits (rows, vocab) after one token each, x (rows, hidden), whose keys have their room in the buffers.

        `angles` (rows, 2, 3, size): cosines and sines for a query, a key, a value.
        """
        x, angles = x.float().clone(), angles.float().contiguous()
        count = len(rows)
        logits = x.new_empty(count, self._all.head.outputs)
        scratch = x.new_empty(self.library.room(byref(self._all), count, self.threads))
        turns, far = angles.data_ptr(), angles[0].nbytes
        given = (_Row * count)(*(
            _Row(_pointers(row.group), row.index, row.own, turns + place * far) for place, row in enumerate(rows)
        ))  # fmt: skip
        self.library.step(
            byref(self._all), given, count, x.data_ptr(), logits.data_ptr(), scratch.data_ptr(), self.threads
        )
        return logits

    def read(self, x: Tensor, rows: Sequence[tuple[Row, int, int]], angles: Tensor, asked: Sequence[int]) -> Tensor:
        """What the last layer gives (asked, hidden), in float32, for x (tokens, hidden), those of a row together.

        Of each row how many tokens come, and how many of them were written before. `angles` (tokens, 2, 3, size).
        """
        x, angles = x.float().contiguous(), angles.float().contiguous()
        texts, first, far = (_Text * len(rows))(), 0, angles[0].nbytes
        for text, (row, count, done) in zip(texts, rows, strict=True):
            turned = angles.data_ptr() + first * far
            text.row = _Row(_pointers(row.group), row.index, row.own + done, turned)
            text.first, text.count = first, count
            first += count
        return self._read(x, texts, asked)

    def branch(self, x: Tensor, trees: Sequence[tuple[Prefix, Branches]], angles: Tensor) -> Tensor:
        """What the last layer gives (asked, hidden), in float32, for x (tokens, hidden) of trees after their prefixes.

        Nothing is kept of them. `angles` (tokens, 2, 3, size); the asked tokens come tree by tree, in their order.
        """
        x, angles = x.float().contiguous(), angles.float().contiguous()
        texts, first, far = (_Text * len(trees))(), 0, angles[0].nbytes
        asked, held = list[int](), list[Any]()
        for text, (prefix, tree) in zip(texts, trees, strict=True):
            count = len(tree.tokens)
            own = torch.empty(2, 1, self._all.key_heads, count, self._all.size, dtype=torch.bfloat16)
            among = _among(prefix.parts, prefix.length, [own] * self._all.layers)  # of one layer at a time
            seen = seen_by(tree.paths, first)
            held += [own, among, seen]
            text.row = _Row(ctypes.pointer(among), 0, 0, angles.data_ptr() + first * far)
            text.first, text.count, text.seen, text.wide = first, count, seen.ctypes.data, seen.shape[1]
            asked += [first + node for node in tree.asked]
            first += count
        return self._read(x, texts, asked)

    def _read(self, x: Tensor, texts: Any, asked: Sequence[int]) -> Tensor:
        places, found = torch.tensor(asked), x.new_empty(len(asked), x.shape[1])
        threads = torch.get_num_threads()
        given = byref(self._all), texts, len(texts), len(x)
        with _native_room.place(self.library.room_many(*given, threads)) as scratch:
            self.library.read_many(
                *given, x.data_ptr(), places.data_ptr(), len(asked), found.data_ptr(), scratch.data_ptr(), threads
            )
        return found

    def _layer(self, layer: Layer) -> _Layer:
        between, epsilon = (None, 0.0) if layer.between is None else layer.between
        return _Layer(
            *map(self._matrix, (layer.qkv, layer.out, layer.up, layer.down)),
            self._numbers(layer.before_attention.exact), None if between is None else self._numbers(between),
            self._numbers(layer.before_mlp.exact), layer.before_attention.epsilon, epsilon, layer.before_mlp.epsilon,
            layer.window or 0,
        )  # fmt: skip


def _reads(decoder: Decoder) -> bool:
    """Whether all matrices of the layers have the sizes that many tokens are multiplied by."""
    found = [weights_of(one) for layer in decoder.layers for one in (layer.qkv, layer.out, layer.up, layer.down)]
    even = decoder.layers[0].up.weight.shape[0] % (2 * MANY) == 0 if isinstance(decoder.layers[0].up, Laid) else False
    return even and all(weights is not None and fits_many(weights[0]) for weights in found)


def weights_of(of: Any) -> tuple[Tensor, Tensor | None, Tensor | None] | None:
    """(weights, bias, scales) of what multiplies; None where they are not plain."""
    if isinstance(of, Laid):
        return of.weight, of.bias, None
    return of.whole if isinstance(of, Few) else None


def _pointers(group: Group) -> Any:
    """Where a group's keys and values are; the group keeps it until its buffers or its prefix are others."""
    if group.pointers is None:
        parts = () if group.prefix is None else group.prefix.parts
        group.pointers = ctypes.pointer(_among(parts, group.begin, group.kv))
    return group.pointers


def _among(parts: Sequence[Sequence[Tensor]], begin: int, own: Sequence[Tensor]) -> _Group:
    """A prefix in parts, `begin` tokens of it, and rows of their own (2, rows, key heads, tokens, size) by layers."""
    rows = (Piece * len(own))(*(Piece(kv.data_ptr(), kv.stride(0), kv.stride(1), kv.stride(2)) for kv in own))
    before = (Piece * (len(parts) * len(own)))(
        *(Piece(kv.data_ptr(), kv.stride(0), 0, kv.stride(1)) for part in parts for kv in part)
    )
    lengths = (c_int64 * len(parts))(*(part[0].shape[2] for part in parts))
    return _Group(len(parts), begin, lengths, before, rows)


def seen_by(paths: Sequence[Sequence[int]], first: int) -> Any:
    """Which tokens see a key, (blocks, keys) of 16 bits: one for each token of a block that begins at a multiple.

    `paths`: for each token of a tree those that it sees; `first` is the place of its first token among all.
    """
    count, begin = len(paths), first % LANES
    blocks, keys = -(-(begin + count) // LANES), -(-count // MANY) * MANY
    seen = np.zeros((blocks * LANES, keys), dtype=bool)
    lengths = [len(path) for path in paths]
    seen[np.repeat(np.arange(begin, begin + count), lengths), list(itertools.chain.from_iterable(paths))] = True
    bits = np.packbits(seen.reshape(blocks, LANES, keys), axis=1, bitorder="little").astype(np.uint16)
    return np.ascontiguousarray(bits[:, 0] | bits[:, 1] << 8)
