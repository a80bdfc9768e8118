"""A step of an encoder-decoder's decoder in one call of compiled code: what it is given. See `native/cross.h`."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import POINTER, Structure, byref, c_float, c_int32, c_int64, c_void_p
from typing import Any

import torch
from torch import Tensor

from imglish.engine import _native
from imglish.engine._cross_weights import Storey, Writer
from imglish.engine._fast_native import KEPT, Held, Piece, weights_of
from imglish.engine._fast_rows import Group, Row
from imglish.engine._native_products import Matrix, fits

NORMAL = 3  # GELU, as in native/products.h


class _Storey(Structure):
    _fields_ = (
        *((name, Matrix) for name in ("qkv", "out", "ask", "told", "up", "down")),
        ("weight", c_void_p * 3), ("bias", c_void_p * 3), ("epsilon", c_float * 3),
    )  # fmt: skip


class _Writer(Structure):
    _fields_ = (
        *((name, c_int64) for name in ("layers", "hidden", "heads", "size", "wide")),
        ("half_keys", c_int32), ("activation", c_int32), ("scale", c_float),
        ("layer", POINTER(_Storey)), ("head", Matrix),
    )  # fmt: skip


class _Scribe(Structure):
    _fields_ = (
        ("own", POINTER(Piece)), ("index", c_int64), ("length", c_int64), ("seen", POINTER(Piece)),
        ("tokens", c_int64),
    )  # fmt: skip


def native(writer: Writer) -> Native | None:
    """What steps this decoder, where compiled code can and is quick."""
    library, rows = _native.library(), writer.layout.native
    if not rows or library is None or writer.dtype not in KEPT:
        return None
    if any(weights is None or not fits(weights[0]) for weights in map(weights_of, _matrices(writer))):
        return None
    return Native(library, writer)


class Native(Held):
    """A decoder as compiled code has it."""

    def __init__(self, library: Any, writer: Writer) -> None:
        super().__init__()
        self.library, self.rows, self.threads = library, writer.layout.native, writer.layout.threads
        self._layers = (_Storey * len(writer.layers))(*map(self._layer, writer.layers))
        first = self._layers[0]
        self._all = _Writer(
            len(writer.layers), first.out.outputs, writer.heads, writer.size, first.up.outputs,
            writer.dtype == torch.bfloat16, NORMAL, writer.scale, self._layers, self._matrix(writer.head),
        )  # fmt: skip

    def step(self, x: Tensor, rows: Sequence[tuple[Row, Any]]) -> Tensor:
        """Logits (rows, vocab) after one token each, x (rows, hidden); of each row, too, what of a prompt it sees.

        `imglish.engine.crossed.Heard`. The room for their keys is in the buffers.
        """
        x = x.float().clone()
        count = len(rows)
        logits = x.new_empty(count, self._all.head.outputs)
        scratch = x.new_empty(self.library.room_crossed(byref(self._all), count, self.threads))
        given = (_Scribe * count)(
            *(_Scribe(_pointers(row.group), row.index, row.own, heard.pointers, heard.tokens) for row, heard in rows)
        )
        self.library.step_crossed(
            byref(self._all), given, count, x.data_ptr(), logits.data_ptr(), scratch.data_ptr(), self.threads
        )
        return logits

    def _layer(self, layer: Storey) -> _Storey:
        norms = [(self._numbers(norm.weight), self._numbers(norm.bias), norm.epsilon) for norm in layer.norms]
        return _Storey(
            *map(self._matrix, (layer.qkv, layer.out, layer.ask, layer.told, layer.up, layer.down)),
            *zip(*norms, strict=True),
        )


def pieces(layers: Sequence[Tensor]) -> Any:
    """Where keys and values of each layer are, of tensors (2, heads, tokens, size)."""
    return (Piece * len(layers))(*(Piece(kv.data_ptr(), kv.stride(0), 0, kv.stride(1)) for kv in layers))


def _matrices(writer: Writer) -> list[Any]:
    of_layers = [(one.qkv, one.out, one.ask, one.told, one.up, one.down) for one in writer.layers]
    return [*(matrix for layer in of_layers for matrix in layer), writer.head]


def _pointers(group: Group) -> Any:
    """Where a group's keys and values are; the group keeps it until its buffers are others."""
    if group.pointers is None:
        group.pointers = (Piece * len(group.kv))(
            *(Piece(kv.data_ptr(), kv.stride(0), kv.stride(1), kv.stride(2)) for kv in group.kv)
        )
    return group.pointers
