"""The most bytes that tensors held at once, counted from the outside: every storage from when it is made until it dies.

What a kernel needs inside itself is not seen. The count is the same on every run, which resident memory is not.
"""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class Peak(TorchDispatchMode):
    """`with Peak(model) as peak: ...`, then `peak.most`: bytes of tensors at the worst moment, without the model's."""

    def __init__(self, model: Any = None) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known: dict[int, weakref.ref[Any]] = {}
        weights = () if model is None else (*model.parameters(), *model.buffers())
        self._weights = {one.untyped_storage()._cdata for one in weights}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_iter((args, kwargs, made)):  # what came from numpy is first seen when it is used
            if isinstance(tensor, Tensor):
                self._count(tensor)
        return made

    def _count(self, tensor: Tensor) -> None:
        held: Any
        if tensor.is_mkldnn:  # laid out as a library has it: no storage that one could look at
            key, held, size = id(tensor), tensor, tensor.numel() * tensor.element_size()
        else:
            held = tensor.untyped_storage()
            key, size = held._cdata, held.nbytes()
        if key in self._known or key in self._weights:
            return

        def died(_: Any) -> None:
            if self._known.pop(key, None) is not None:
                self.now -= size

        self._known[key] = weakref.ref(held, died)
        self.now += size
        self.most = max(self.most, self.now)
