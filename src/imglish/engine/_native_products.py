"""A few vectors times a matrix by compiled code, one product alone."""

from __future__ import annotations

from ctypes import Structure, byref, c_int64, c_void_p
from typing import Any

import torch
from torch import Tensor

from imglish.engine import _native

KINDS = {torch.float32: 0, torch.bfloat16: 1, torch.int8: 2}  # as in native/model.h
WHOLE = {torch.float32: 16, torch.bfloat16: 32, torch.int8: 16}  # inputs are a multiple of this
MOST_ROWS = 16  # as in native/products.h


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
