"""Memory in pages of two megabytes, where the system gives them on request.

New memory comes page by page, the first time that each is written to. In pages of four kilobytes the keys and values of
a prompt cost more time to come by than to compute attention over: ten times that of large ones, measured.
"""

from __future__ import annotations

import ctypes
import functools
import math
import mmap
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

PAGE = 2 << 20
ADVICE = getattr(mmap, "MADV_HUGEPAGE", None)  # Linux has it


def room(shape: Sequence[int], like: Tensor, *, clean: bool) -> Tensor:
    """Memory of the precision and on the device of `like`, zeros if `clean`; up to a page more than that is taken."""
    count = math.prod(shape)
    advise = _advise() if like.device.type == "cpu" and count * like.itemsize >= PAGE else None
    if advise is None:
        return like.new_zeros(shape) if clean else like.new_empty(shape)
    taken = like.new_empty(count + PAGE // like.itemsize)
    first = -taken.data_ptr() % PAGE // like.itemsize
    found = taken[first : first + count]
    advise(found.data_ptr(), found.nbytes // PAGE * PAGE, ADVICE)  # refused, it is ordinary memory
    return (found.zero_() if clean else found).view(*shape)


def mapped(shape: Sequence[int], like: Tensor) -> Tensor:
    """Memory from the system that nobody had before, of the precision of `like`: what is freed here keeps its pages."""
    count = math.prod(shape)
    size = count * like.itemsize
    advise = _advise()
    if size < PAGE or advise is None:
        return like.new_empty(shape)
    taken = mmap.mmap(-1, size + PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    first = -torch.frombuffer(taken, dtype=torch.uint8).data_ptr() % PAGE
    found = torch.frombuffer(taken, dtype=like.dtype, count=count, offset=first)
    advise(found.data_ptr(), size // PAGE * PAGE, ADVICE)
    return found.view(*shape)


def is_large(tensor: Tensor) -> bool:
    """Whether nothing is won by moving it into memory from `room`: it lies there, or is too small, or not of a CPU."""
    return tensor.device.type != "cpu" or tensor.nbytes < PAGE or tensor.data_ptr() % PAGE == 0 or _advise() is None


@functools.cache
def _advise() -> Callable[..., int] | None:
    try:
        advise: Callable[..., int] = ctypes.CDLL(None).madvise
    except (OSError, AttributeError, TypeError):
        return None
    advise.argtypes, advise.restype = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int], ctypes.c_int  # type: ignore[attr-defined]
    return advise if ADVICE is not None else None
