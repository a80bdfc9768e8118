"""Reading the decoder of an encoder-decoder as plain matrices: which qualify (BART's), and their weights.

As `imglish.engine._fast_weights` for decoders alone: weights that are multiplied by the same numbers become rows of one
matrix, and the model's own parameters views of it.
"""

from __future__ import annotations

import dataclasses
import weakref
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from imglish.engine._fast_layout import Laid, Layout, layout_of
from imglish.engine._fast_looking import is_captured
from imglish.engine._fast_native import has_size
from imglish.engine._fast_weights import FORGOTTEN, Matrix, NotLean, is_alike, is_linear, matrix_of, went_away
from imglish.engine._flat import flat, is_listened_to, parameters

KNOWN = "BartDecoderLayer"
ACTIVATION = "GELUActivation"


@dataclass(frozen=True)
class Norm:
    """A norm of mean and spread."""

    weight: Tensor
    bias: Tensor
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.epsilon)


@dataclass(frozen=True)
class Storey:
    """One layer. `hear` makes keys and values of what was encoded, side by side; `norms` are in their order."""

    qkv: Matrix
    out: Matrix
    ask: Matrix
    hear: Matrix
    told: Matrix
    up: Matrix
    down: Matrix
    norms: tuple[Norm, Norm, Norm]


@dataclass(frozen=True)
class Writer:
    """All that a step needs, and the stamp of the parameters it was read from."""

    layers: tuple[Storey, ...]
    first: Norm
    """What follows the embeddings."""
    head: Matrix
    heads: int
    size: int
    scale: float
    dtype: torch.dtype
    """Of what flows from layer to layer, of keys and of values."""
    body: Any
    """The module of transformers that all this was read from: the decoder."""
    encoder: Any
    layout: Layout
    stamp: tuple[int, ...]
    known: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """What steps it, once that was asked for."""

    def embed(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """What the first layer gets (count, hidden) of tokens (count,) at these positions."""
        places = self.body.embed_positions
        return self.first(
            self.body.embed_tokens(tokens) + functional.embedding(positions + places.offset, places.weight)
        )


_read: weakref.WeakKeyDictionary[Any, Writer] = weakref.WeakKeyDictionary()


def writer(model: Any) -> Writer | None:
    """The decoder of an encoder-decoder as it is now; None where it does not qualify."""
    try:
        known = _read.get(model)
        now = stamp(model)
        if known is None or known.stamp != now:
            _read[model] = known = read(model, known if known and known.stamp == FORGOTTEN else None)
    except NotLean:
        if went_away(model, _read.get(model)):
            _read.pop(model, None)  # or weights would stay where the model is not any more
        return None
    return known


def forget(model: Any) -> None:
    """What is known of a model's weights is read again: they were written to where nobody sees it."""
    if model in _read:
        _read[model] = dataclasses.replace(_read[model], stamp=FORGOTTEN, known={})


def read(model: Any, known: Writer | None = None) -> Writer:
    """The decoder of a model. Raises NotLean where it is of another kind, or somebody listens to its modules.

    What was measured for a decoder that was `known` before holds where its weights are of the same kind.
    """
    encoder, body, head = find(model)
    dense = [one.weight for one in (head, *body.layers.modules()) if type(one) is nn.Linear]
    kept = body.layernorm_embedding.weight.dtype
    quantised = any(hasattr(module, "quantised") for module in body.modules())
    flow = torch.float32 if quantised else kept
    if known is not None and is_alike(known, head, quantised=quantised):
        layout = known.layout
    else:
        layout = layout_of(dense)
    if not layout.native:  # then none of this is used: nothing is laid out anew
        layout = Layout()
    layers = tuple(_layer(layer, flow, layout) for layer in body.layers)
    attention = body.layers[0].self_attn
    bias = getattr(model, "final_logits_bias", None)
    return Writer(
        layers, _norm(body.layernorm_embedding, kept), _head(head, bias, layout), attention.num_heads,
        attention.head_dim, float(attention.scaling), flow, body, encoder, layout, stamp(model),
    )  # fmt: skip


def find(model: Any) -> tuple[Any, Any, Any]:
    """(encoder, decoder, output layer) of a model that qualifies; else NotLean says why not."""
    text: Any = getattr(getattr(model, "model", None), "language_model", None)
    head, encoder = model.get_output_embeddings(), getattr(text, "encoder", None)
    body: Any = getattr(text, "decoder", None)
    layers = getattr(body, "layers", None)
    if model.training or encoder is None or not isinstance(layers, nn.ModuleList) or not is_linear(head):
        raise NotLean("the model is in training, or is not an encoder and a decoder with an output layer")
    for layer in layers:
        if type(layer).__name__ != KNOWN or not type(layer).__module__.startswith("transformers."):
            raise NotLean(f"its layers are of the kind {type(layer).__name__}")
        if type(layer.activation_fn).__name__ != ACTIVATION:
            raise NotLean(f"its activation is {type(layer.activation_fn).__name__}")
        linear = (*_attention(layer.self_attn), *_attention(layer.encoder_attn), layer.fc1, layer.fc2)
        if not all(is_linear(one) and one.bias is not None for one in linear):
            raise NotLean("some of its matrices are not plain, or have no bias")
        own: Any = layer.self_attn
        if not has_size(own.head_dim):
            raise NotLean(f"its heads have {own.head_dim} numbers")
    for module in (body, *flat(body).modules, head):
        if is_listened_to(module) and not is_captured(module):
            raise NotLean(f"somebody listens to a module of the kind {type(module).__name__}")
    tensors = [*parameters(body), *head.parameters()]
    if any(tensor.device.type != "cpu" or tensor.is_inference() for tensor in tensors):
        raise NotLean("its weights are not on a CPU, or were made in inference mode")
    if len({tensor.dtype for tensor in tensors if tensor.is_floating_point()}) != 1:
        raise NotLean("its weights are of several precisions")
    return encoder, body, head


def stamp(model: Any) -> tuple[int, ...]:
    """Changes whenever a parameter of the decoder is replaced, moved or written to. Raises NotLean as `find` does."""
    _, body, head = find(model)
    bias = getattr(model, "final_logits_bias", None)
    tensors = (*parameters(body), *head.parameters(), *(() if bias is None else (bias,)))
    numbers = [number for tensor in tensors for number in (tensor.data_ptr(), tensor._version)]
    return flat(model).number, *numbers


def _attention(module: Any) -> tuple[Any, ...]:
    return module.q_proj, module.k_proj, module.v_proj, module.out_proj


def _layer(layer: Any, flow: torch.dtype, layout: Layout) -> Storey:
    own, other = layer.self_attn, layer.encoder_attn
    norms = (layer.self_attn_layer_norm, layer.encoder_attn_layer_norm, layer.final_layer_norm)
    first, second, third = (_norm(norm, flow) for norm in norms)
    matrix = partial(matrix_of, layout=layout)
    return Storey(
        matrix([own.q_proj, own.k_proj, own.v_proj]), matrix([own.out_proj]), matrix([other.q_proj]),
        matrix([other.k_proj, other.v_proj]), matrix([other.out_proj]), matrix([layer.fc1]), matrix([layer.fc2]),
        (first, second, third),
    )  # fmt: skip


def _norm(module: Any, flow: torch.dtype) -> Norm:
    return Norm(module.weight.detach().to(flow), module.bias.detach().to(flow), float(module.eps))


def _head(head: Any, bias: Tensor | None, layout: Layout) -> Matrix:
    """The output layer, with what is added to all logits."""
    found = matrix_of([head], layout)
    if bias is None or not bool(bias.any()):
        return found
    if not isinstance(found, Laid):
        raise NotLean("its output layer is quantised")
    whole = bias.detach().flatten().to(found.weight.dtype)
    return dataclasses.replace(found, bias=whole if found.bias is None else found.bias + whole)
