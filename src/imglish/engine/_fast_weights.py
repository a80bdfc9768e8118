"""Reading a decoder of transformers as plain matrices: which decoders qualify, and their weights side by side.

The weights of q, k and v become rows of one matrix, those of gate and up of another. The model's own parameters are
views of it from then on, so that nothing is kept twice and the model itself goes on working, in training too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from imglish.engine import _pages
from imglish.engine._fast_layout import Laid, Layout, layout_of, packed
from imglish.engine._flat import flat, is_listened_to, parameters
from imglish.engine._quantized_plain import joined

KNOWN = frozenset(
    f"{name}DecoderLayer"
    for name in ("Gemma", "Llama", "Mistral", "Phi3", "Qwen2", "Qwen2VL", "Qwen2_5_VL", "Qwen3", "Qwen3VLText")
)
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "SiLUActivation": functional.silu,
    "SiLU": functional.silu,
    "GELUTanh": partial(functional.gelu, approximate="tanh"),
}
FORGOTTEN = (-1,)  # the stamp of what has to be read again
ROPES = frozenset({"default", "linear", "llama3", "yarn"})  # whose angles depend on the position alone
Matrix = Callable[[Tensor], Tensor]


class NotLean(Exception):
    """Why a decoder is left to transformers' own forward. Never leaves this package."""


@dataclass(frozen=True)
class Norm:
    """The weight (size,) of a root mean square norm as it multiplies, its epsilon, the weight in float32 at least."""

    weight: Tensor
    epsilon: float
    exact: Tensor

    @cached_property
    def zero(self) -> Tensor:
        """(1,)."""
        return self.exact.new_zeros(1)

    def __call__(self, x: Tensor) -> Tensor:
        if len(x) == 1 and x.device.type == "cpu":  # a token's length is one number: few operations, each has its price
            given = x[0].to(self.exact.dtype)
            scale = 1 / math.sqrt(float(given.dot(given)) / x.shape[1] + self.epsilon)
            return torch.addcmul(self.zero, given, self.exact, value=scale).to(x.dtype)[None]
        if x.dtype == self.weight.dtype:
            return functional.rms_norm(x, self.weight.shape, self.weight, self.epsilon)
        return functional.rms_norm(x.to(self.weight.dtype), self.weight.shape, self.weight, self.epsilon).to(x.dtype)


@dataclass(frozen=True)
class Few:
    """Layers whose weights have few bits, their outputs side by side."""

    modules: tuple[Any, ...]

    def __call__(self, x: Tensor) -> Tensor:
        found = [module.forward(x) for module in self.modules]
        return found[0] if len(found) == 1 else torch.cat(found, dim=-1)

    @cached_property
    def whole(self) -> tuple[Tensor, Tensor | None, Tensor | None] | None:
        """(weights, bias, scales) of all of them as compiled code has them; None where they lie in another way."""
        return joined(self.modules)


@dataclass(frozen=True)
class Layer:
    """One layer. `qkv` gives (tokens, heads + 2 key heads, size) flattened, `up` gives gate and up side by side."""

    before_attention: Norm
    qkv: Matrix
    between: tuple[Tensor, float] | None
    """What q and k are multiplied by after a norm of their own (heads + key heads, size), and its epsilon (Qwen3)."""
    out: Matrix
    before_mlp: Norm
    up: Matrix
    down: Matrix
    window: int | None
    """How many tokens, itself included, a token sees; None is all."""


@dataclass(frozen=True)
class Decoder:
    """All that a step needs, and the stamp of the parameters it was read from."""

    layers: tuple[Layer, ...]
    norm: Norm
    head: Matrix
    embed: nn.Module
    rotary: nn.Module
    activation: Callable[[Tensor], Tensor]
    heads: int
    key_heads: int
    size: int
    scale: float
    dtype: torch.dtype
    """Of what flows from layer to layer."""
    device: torch.device
    body: Any
    """The module of transformers that all this was read from, without the output layer."""
    stamp: tuple[int, ...]
    copied: int = 0
    """Bytes of weights that are kept a second time, laid out anew."""
    layout: Layout = field(default_factory=Layout)
    angles: dict[torch.dtype, Any] = field(default_factory=dict, compare=False, repr=False)
    """Those of positions by the precision they are in: every stepper of this decoder has the same."""
    steps: dict[torch.dtype, Any] = field(default_factory=dict, compare=False, repr=False)
    """What compiled code steps with, by the precision of keys and values; None where it does not."""


def read(model: Any, known: Decoder | None = None) -> Decoder:
    """The decoder of a model. Raises NotLean where it is of another kind, or somebody listens to its modules.

    What was measured for a decoder that was `known` before holds where its weights are of the same kind.
    """
    body, head = find(model)
    first = body.layers[0]
    attention = first.self_attn
    config = attention.config
    heads = config.num_attention_heads
    kept = next(iter(first.input_layernorm.parameters())).dtype
    quantised = any(hasattr(module, "quantised") for module in body.modules())
    flow = torch.float32 if quantised and kept is not torch.float32 and _on_cpu(body) else kept
    dense = _dense(body, head)
    if known is not None and is_alike(known, head, quantised=quantised):
        layout = known.layout
    else:
        layout = layout_of(dense) if _on_cpu(body) else Layout()
    layers = tuple(_layer(layer, heads, config.num_key_value_heads, flow, layout) for layer in body.layers)
    return Decoder(
        layers, _norm(body.norm, flow), matrix_of([head], layout), body.embed_tokens, body.rotary_emb,
        ACTIVATIONS[_activation(first.mlp)], heads, config.num_key_value_heads, attention.head_dim,
        float(attention.scaling), flow, body.norm.weight.device, body, stamp(model),
        sum(weight.nbytes for weight in dense) if layout.one or layout.some else 0, layout,
    )  # fmt: skip


def is_alike(known: Any, head: Any, *, quantised: bool) -> bool:
    """Whether a decoder that was known has weights of the same precision at the same place."""
    was = known.head
    if not isinstance(was, Laid) or isinstance(known.layers[0].qkv, Few) != quantised:
        return False
    return bool(was.weight.dtype == head.weight.dtype and was.weight.device == head.weight.device)


def went_away(model: Any, known: Any) -> bool:
    """Whether a model's weights are at another place, or of another precision, than the decoder's that was known."""
    was, now = getattr(known, "head", None), next(model.get_output_embeddings().parameters(), None)
    if not isinstance(was, Laid) or now is None:
        return False
    return bool(was.weight.device != now.device or was.weight.dtype != now.dtype)


def find(model: Any) -> tuple[Any, Any]:
    """(the module with the layers, the output layer) of a model that qualifies; else NotLean says why not."""
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    bodies = [
        module
        for module in model.modules()
        if isinstance(getattr(module, "layers", None), nn.ModuleList)
        and getattr(module, "embed_tokens", None) is embeddings
    ]
    if model.training or model.config.is_encoder_decoder or len(bodies) != 1 or head is None:
        raise NotLean("the model is in training, or is not one decoder with embeddings and an output layer")
    body = bodies[0]
    kinds = {type(layer) for layer in body.layers}
    names = sorted(kind.__name__ for kind in kinds)
    if len(kinds) != 1 or names[0] not in KNOWN or not all(k.__module__.startswith("transformers.") for k in kinds):
        raise NotLean(f"its layers are of the kind {', '.join(names)}")
    if not hasattr(body, "rotary_emb") or getattr(body.rotary_emb, "rope_type", "") not in ROPES:
        raise NotLean("its angles of positions depend on the length of the text")
    size = body.layers[0].self_attn.head_dim
    if 2 * body.rotary_emb.inv_freq.numel() != size:
        raise NotLean("only a part of each head is turned by its position")
    if getattr(model.config.get_text_config(), "final_logit_softcapping", None):
        raise NotLean("its logits are bounded")
    if _activation(body.layers[0].mlp) not in ACTIVATIONS:
        raise NotLean(f"its activation is {_activation(body.layers[0].mlp)}")
    for module in (*body.modules(), head):
        if is_listened_to(module):
            raise NotLean(f"somebody listens to a module of the kind {type(module).__name__}")
    _check_modules(body, head)
    return body, head


def _check_modules(body: Any, head: Any) -> None:
    for layer in body.layers:
        for name, module in layer.named_modules():
            if name.endswith("_proj") and not is_linear(module):
                raise NotLean(f"{name} is a {type(module).__name__}, which is not a plain matrix")
    if not is_linear(head):
        raise NotLean(f"its output layer is a {type(head).__name__}")
    tensors = [*body.parameters(), *head.parameters()]
    places = {tensor.device for tensor in tensors}
    if len(places) != 1 or next(iter(places)).type == "meta":
        raise NotLean("its weights lie in several places")
    if len({tensor.dtype for tensor in tensors if tensor.is_floating_point()}) != 1:
        raise NotLean("its weights are of several precisions")
    if any(tensor.is_inference() for tensor in tensors):
        raise NotLean("its weights were made in inference mode")


def stamp(model: Any) -> tuple[int, ...]:
    """Changes whenever a parameter of the decoder, or what turns its tokens, is replaced, moved or written to."""
    tree = flat(model)
    known: tuple[Any, Any] | None = tree.known
    if known is None or model.training or any(map(is_listened_to, (*known, *flat(known[0]).modules))):
        known = tree.known = find(model)
    body, head = known
    tensors = (*parameters(body), *body.rotary_emb.buffers())
    numbers = [number for tensor in tensors for number in (tensor.data_ptr(), tensor._version)]
    return (tree.number, id(body), id(head), *numbers, *(weight._version for weight in head.parameters()))


def _layer(layer: Any, heads: int, key_heads: int, flow: torch.dtype, layout: Layout) -> Layer:
    attention, mlp = layer.self_attn, layer.mlp
    qkv = [attention.qkv_proj] if hasattr(attention, "qkv_proj") else [attention.q_proj, attention.k_proj]
    qkv += [] if len(qkv) == 1 else [attention.v_proj]
    up = [mlp.gate_up_proj] if hasattr(mlp, "gate_up_proj") else [mlp.gate_proj, mlp.up_proj]
    between = None
    if hasattr(attention, "q_norm"):
        q, k = _norm(attention.q_norm, flow), _norm(attention.k_norm, flow)
        rows = (q.weight.expand(heads, -1), k.weight.expand(key_heads, -1))
        between = torch.cat(rows), q.epsilon
    matrix = partial(matrix_of, layout=layout)
    return Layer(
        _norm(layer.input_layernorm, flow), matrix(qkv), between, matrix([attention.o_proj]),
        _norm(layer.post_attention_layernorm, flow), matrix(up), matrix([mlp.down_proj]), _window(attention),
    )  # fmt: skip


def _window(attention: Any) -> int | None:
    if hasattr(attention, "sliding_window"):
        window: int | None = attention.sliding_window
        return window
    kinds = getattr(attention.config, "layer_types", None)
    if kinds is not None and kinds[attention.layer_idx] != "sliding_attention":
        return None
    return getattr(attention.config, "sliding_window", None)


def _norm(module: Any, flow: torch.dtype) -> Norm:
    epsilon = getattr(module, "variance_epsilon", None)
    if epsilon is None:  # Gemma's, which multiplies by one more than its weight, in float32
        weight = 1.0 + module.weight.detach().float()
        return Norm(weight, float(module.eps), weight)
    weight = module.weight.detach().to(flow)
    return Norm(weight, float(epsilon), weight.to(torch.promote_types(flow, torch.float32)))


def _activation(mlp: Any) -> str:
    return type(getattr(mlp, "act_fn", None) or mlp.activation_fn).__name__


def is_linear(module: Any) -> bool:
    return type(module) is nn.Linear or hasattr(module, "quantised")


def _on_cpu(module: nn.Module) -> bool:
    return next(module.parameters()).device.type == "cpu"


def matrix_of(modules: Sequence[Any], layout: Layout) -> Matrix:
    """What multiplies what flows by all of them, their outputs side by side."""
    if any(hasattr(module, "quantised") for module in modules):
        return Few(tuple(modules))
    weights = [module.weight for module in modules]
    weight = fused(weights, large=layout.native > 0)
    bias = None
    if any(module.bias is not None for module in modules):
        for module in modules:
            if module.bias is None:
                raise NotLean("some of its matrices have a bias, and others beside them have none")
        bias = fused([module.bias for module in modules])
    return Laid(weight, packed(weight) if layout.one or layout.some else None, bias, layout)


def _dense(body: Any, head: Any) -> list[Tensor]:
    """Matrices that are not quantised, the output layer first."""
    return [module.weight for module in (head, *body.layers.modules()) if type(module) is nn.Linear]


@torch.inference_mode(False)  # or parameters that are views of it could not be trained any more
@torch.no_grad()
def fused(weights: Sequence[nn.Parameter], *, large: bool = False) -> Tensor:
    """All of them as one tensor, along the first dimension; each becomes a view of it. `large`: in large pages."""
    if not _lie_together(weights) or (large and not _pages.is_large(weights[0])):
        first, length = weights[0].detach(), sum(len(weight) for weight in weights)
        shape = (length, *first.shape[1:])
        whole = _pages.mapped(shape, first) if large else first.new_empty(shape)
        parts = whole.split([len(weight) for weight in weights])
        for weight, part in zip(weights, parts, strict=True):
            weight.data = part.copy_(weight.detach())
    if len(weights) == 1:
        return weights[0].detach()
    first = weights[0].detach()
    length = sum(len(weight) for weight in weights)
    return first.as_strided((length, *first.shape[1:]), first.stride(), first.storage_offset())


def _lie_together(weights: Sequence[Tensor]) -> bool:
    if len(weights) == 1:
        return True
    if len({weight.untyped_storage().data_ptr() for weight in weights}) > 1:
        return False
    return all(weight.is_contiguous() for weight in weights) and all(
        after.storage_offset() == before.storage_offset() + before.numel()
        for before, after in itertools.pairwise(weights)
    )
