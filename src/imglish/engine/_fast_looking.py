"""Layers of CLIP's and SigLIP's encoders in compiled code, while pictures are looked at; the model stays as it is.

In bfloat16 on a CPU torch takes some twenty calls a layer, each into memory of its own, and a third of the time goes
to what stands between the products. Each layer's `forward` is another one for as long as `quick_looks` lasts, where
the processor has products of bfloat16 and it is measured to be quicker.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import Structure, byref, c_float, c_int64, c_void_p
from typing import Any

import torch
from torch import Tensor, nn

from imglish.engine import _fast_choice as choice
from imglish.engine import _native, _native_room
from imglish.engine._flat import flat, is_listened_to
from imglish.engine._native_products import MANY, Matrix, fits_many, matrix

KNOWN = ("CLIPEncoderLayer", "SiglipEncoderLayer")
ACTIVATIONS = {"GELUTanh": 1, "QuickGELUActivation": 2, "GELUActivation": 3}  # as in native/products.h
MATRICES = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2")
AT_ONCE = 2048  # places of pictures: more at once take more memory, and no less time
OTHERWISE = ("is_causal", "output_attentions")  # an encoder of text is made of the same layers
CAPTURES = "transformers.utils.output_capturing"  # whose hooks note what is asked for; of inner modules nothing is


class _Coder(Structure):
    _fields_ = (
        *((name, Matrix) for name in ("q", "k", "v", "out", "up", "down")),
        *((name, c_void_p) for name in ("first_weight", "first_bias", "second_weight", "second_bias")),
        *((name, c_int64) for name in ("hidden", "heads", "size", "wide")),
        ("epsilon", c_float), ("scale", c_float), ("activation", c_int64),
    )  # fmt: skip


_read: weakref.WeakKeyDictionary[nn.Module, tuple[list[int], Any, list[Tensor]]] = weakref.WeakKeyDictionary()
_quick: dict[tuple[Any, str], bool] = {}


@contextmanager
def quick_looks(model: nn.Module) -> Iterator[None]:
    """While it lasts, layers that qualify are computed by compiled code."""
    layers = [layer for layer in flat(model).modules if _is_known(layer)] if _native.reads() else []
    for layer in layers:
        layer.forward = functools.partial(_forward, layer)
    try:
        yield
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)  # another thread's may be over, too


def _forward(layer: Any, hidden_states: Tensor, attention_mask: Tensor | None = None, **more: Any) -> Tensor:
    plain: Callable[..., Tensor] = type(layer).forward
    tokens, hidden = hidden_states.shape[-2:]
    fits = hidden_states.dim() == 3 and hidden_states.dtype == torch.bfloat16 and hidden_states.device.type == "cpu"
    is_other = attention_mask is not None or any(more.get(name) for name in OTHERWISE)
    if not fits or is_other or torch.is_grad_enabled():
        return plain(layer, hidden_states, attention_mask, **more)
    if not _is_quick(layer, tokens, hidden):
        return plain(layer, hidden_states, attention_mask, **more)
    return looked(layer, hidden_states)


def forget(model: nn.Module) -> None:
    """What is known of layers' weights is read again: they were written to where nobody sees it."""
    for layer in flat(model).modules:
        _read.pop(layer, None)


def looked(layer: Any, x: Tensor) -> Tensor:
    """What a layer gives, (pictures, tokens, hidden) in bfloat16, for x of that shape and kind."""
    library: Any = _native.library()
    coder, threads = _coder(layer), torch.get_num_threads()
    x = x.contiguous()
    found = torch.empty_like(x)
    tokens = x.shape[1]
    together = max(AT_ONCE // tokens, 1)
    with _native_room.place(library.room_look(byref(coder), min(together, len(x)), tokens, threads)) as scratch:
        for some, to in zip(x.split(together), found.split(together), strict=True):
            library.look_many(
                byref(coder), len(some), tokens, some.data_ptr(), to.data_ptr(), scratch.data_ptr(), threads
            )  # fmt: skip
    return found


def _is_known(layer: Any) -> bool:
    """Whether a module is a layer that compiled code knows, with nothing put into it and nobody listening inside."""
    kind = type(layer)
    if kind.__name__ not in KNOWN or not kind.__module__.startswith("transformers.") or layer.training:
        return False
    if "forward" in vars(layer) or type(layer.mlp.activation_fn).__name__ not in ACTIVATIONS:
        return False
    if any(is_listened_to(module) and not is_captured(module) for module in layer.modules() if module is not layer):
        return False
    linear = [layer.get_submodule(name) for name in MATRICES]
    if not all(type(one) is nn.Linear and fits_many(one.weight) for one in linear):
        return False
    size = linear[0].out_features // layer.self_attn.num_heads
    norms = (layer.layer_norm1, layer.layer_norm2)
    plain = all(type(norm) is nn.LayerNorm and norm.bias is not None for norm in norms)
    return plain and norms[0].eps == norms[1].eps and size % MANY == 0


def is_captured(module: nn.Module) -> bool:
    """Whether all that is put into a module are transformers' own hooks, which note what is asked for."""
    hooks = (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    return "forward" not in vars(module) and all(getattr(hook, "__module__", "") == CAPTURES for hook in hooks)


def _coder(layer: Any) -> Any:
    """A layer as compiled code has it, read anew where its weights are others."""
    weights = list(layer.parameters())
    stamp = [number for weight in weights for number in (weight.data_ptr(), weight._version)]
    known = _read.get(layer)
    if known is not None and known[0] == stamp:
        return known[1]
    held: list[Tensor] = []

    def numbers(values: Tensor) -> Tensor:
        held.append(values.detach().float().contiguous())
        return held[-1]

    linear = [layer.get_submodule(name) for name in MATRICES]
    norms = (layer.layer_norm1, layer.layer_norm2)
    attention = layer.self_attn
    coder = _Coder(
        *(matrix(one.weight, None if one.bias is None else numbers(one.bias)) for one in linear),
        *(numbers(part).data_ptr() for norm in norms for part in (norm.weight, norm.bias)),
        linear[0].in_features, attention.num_heads, attention.head_dim, linear[4].out_features,
        norms[0].eps, attention.scale, ACTIVATIONS[type(layer.mlp.activation_fn).__name__],
    )  # fmt: skip
    _read[layer] = stamp, coder, held
    return coder


def _is_quick(layer: Any, tokens: int, hidden: int) -> bool:
    """Whether compiled code takes less time for a picture of so many tokens; measured once for these sizes."""
    kind, attention = type(layer), layer.self_attn
    about = kind, tokens, hidden, attention.num_heads, layer.mlp.fc1.out_features, torch.get_num_threads()
    if (about, attention.config._attn_implementation) not in _quick:
        x = torch.randn(1, tokens, hidden, dtype=torch.bfloat16)
        plain = functools.partial(kind.forward, layer, x, None)
        best = choice.timed({"compiled": functools.partial(looked, layer, x), "plain": plain}, "cpu")
        _quick[about, attention.config._attn_implementation] = best["compiled"] < best["plain"]
    return _quick[about, attention.config._attn_implementation]
