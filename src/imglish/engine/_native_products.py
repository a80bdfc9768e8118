"""A few vectors times a matrix by compiled code, one product alone."""

from __future__ import annotations

from ctypes import Structure, byref, c_int64, c_void_p
from typing import Any

import torch
from torch import Tensor

from imglish.engine import _native, _native_room

KINDS = {torch.float32: 0, torch.bfloat16: 1, torch.int8: 2}  # as in native/model.h
WHOLE = {torch.float32: 16, torch.bfloat16: 32, torch.int8: 16}  # inputs are a multiple of this
MOST_ROWS = 16  # as in native/products.h
MANY = 32  # inputs and outputs of what multiplies many tokens are a multiple of this


class Matrix(Structure):
    """Weights (outputs, inputs), what is added to the outputs, and what those of int8 are multiplied by."""

    _fields_ = (
        ("weight", c_void_p), ("bias", c_void_p), ("scale", c_void_p), ("outputs", c_int64), ("kind", c_int64),
    )  # fmt: skip


def fits(weight: Tensor) -> bool:
    """Whether compiled code multiplies by such weights; that there is any is not asked."""
    on_cpu = weight.device.type == "cpu" and weight.dim() == 2 and weight.is_contiguous()
    return on_cpu and weight.dtype in KINDS and weight.shape[1] % WHOLE[weight.dtype] == 0


def matrix(weight: Tensor, bias: Tensor | None = None, scale: Tensor | None = None) -> Matrix:
    """What compiled code takes; the tensors have to stay. `bias` and `scale` are float32 and lie in order."""
    parts = (None if part is None else part.data_ptr() for part in (bias, scale))
    return Matrix(weight.data_ptr(), *parts, len(weight), KINDS[weight.dtype])


def product(x: Tensor, by: Matrix, threads: int) -> Tensor:
    """float32 (rows, outputs) for x (rows, inputs), at most MOST_ROWS of them."""
    library: Any = _native.library()
    given = x.float().contiguous()
    rows, inputs = given.shape
    found = given.new_empty(rows, by.outputs)
    scratch = torch.empty_like(given)
    library.multiply(byref(by), inputs, given.data_ptr(), rows, found.data_ptr(), scratch.data_ptr(), threads)
    return found


def fits_many(weight: Tensor) -> bool:
    """Whether compiled code multiplies many tokens by such weights on this processor."""
    return weight.dtype == torch.bfloat16 and not len(weight) % MANY and fits(weight) and _native.reads()


def product_of_many(x: Tensor, by: Matrix, threads: int) -> Tensor:
    """(rows, outputs) for x (rows, inputs), both in bfloat16."""
    library: Any = _native.library()
    given = x.contiguous()
    rows, inputs = given.shape
    found = given.new_empty(rows, by.outputs)
    with _native_room.place(-(-rows // 16) * (32 * inputs + 64 * by.outputs)) as scratch:
        library.multiply_many(byref(by), inputs, given.data_ptr(), rows, found.data_ptr(), scratch.data_ptr(), threads)
    return found
