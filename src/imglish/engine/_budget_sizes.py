"""The sizes of a loaded model that its memory follows from: read from its configuration, and from two grey pictures."""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass
from typing import Any

from PIL import Image

from imglish.core.types import ImagePart, Message, Request, Size, TextPart, VideoPart
from imglish.engine._fast_prompt import BLOCK
from imglish.engine.fast import lean
from imglish.families._base import Family, Loaded
from imglish.families._hub import HubFamily
from imglish.families._imglish_model import TOGETHER

SMALL, LARGE = (64, 64), (900, 700)  # the grey pictures
PLAIN = ("ask", "caption", "chat", "detect", "read")  # skills that need nothing but a picture
UNKNOWN_ENCODER = 4  # activations of an encoder whose configuration says nothing, per byte of pixels


@dataclass(frozen=True)
class Sizes:
    """Bytes and counts of a model, per token of what is looked at, read or written."""

    weights: int
    width: int
    """Bytes of an activation."""
    hidden: int
    layers: int
    vocabulary: int
    cell: int
    """Bytes of the keys and values of one token, in all layers."""
    reading: int
    """Bytes of activations of one token of the prompt."""
    scores: int
    """Bytes for each pair of tokens of a prompt: of attention, all heads, where it is written down, or of masks."""
    encoder_decoder: bool
    overhead: int
    """Tokens of a prompt that nobody wrote: its frame, a system message."""
    seen: tuple[tuple[float, float, float], ...]
    """Of each grey picture: its tokens, bytes of its pixels, bytes of activations of the encoder."""
    together: int = 1
    """Pictures that are encoded at once."""

    def tokens(self, loaded: Loaded, size: Size, frames: int = 0) -> float:
        """Tokens of a picture of that (width, height), or of one of so many frames of a film."""
        family: Any = loaded.family
        if frames and hasattr(family, "frame_tokens"):
            return float(family.frame_tokens(loaded, size, frames))
        if hasattr(family, "image_tokens"):
            return float(family.image_tokens(loaded, size))
        return self.seen[-1][0]

    def pixels(self, tokens: float) -> float:
        """Bytes of the pixels, as numbers of four bytes, of a picture that takes so many tokens."""
        return self._between(tokens, 1)

    def looking(self, tokens: float) -> float:
        """Bytes of the encoder's activations while it looks at a picture that takes so many tokens."""
        return self._between(tokens, 2)

    def _between(self, tokens: float, which: int) -> float:
        """Along the line through the two grey pictures; the larger where they do not make a line that rises."""
        (few, low), (many, high) = ((one[0], one[which]) for one in self.seen)
        if many <= few or high <= low:
            return max(low, high)
        return max(low + (tokens - few) * (high - low) / (many - few), 0.0)


_known: weakref.WeakKeyDictionary[Any, tuple[Any, Sizes]] = weakref.WeakKeyDictionary()


def sizes_of(loaded: Loaded) -> Sizes:
    """The sizes of a model, found once; anew where another family object, with other bounds of pixels, is its own."""
    known = _known.get(loaded.model)
    if known is None or known[0] is not loaded.family or known[1].width != loaded.model.dtype.itemsize:
        known = (loaded.family, _measure(loaded))
        _known[loaded.model] = known
    return known[1]


def _measure(loaded: Loaded) -> Sizes:
    model = loaded.model
    text = model.config.get_text_config()
    width = model.dtype.itemsize
    layers = _first(text, "decoder_layers", "num_hidden_layers", "layers")
    hidden = _first(text, "hidden_size", "d_model", "embed_dim")
    heads = _first(text, "num_attention_heads", "decoder_attention_heads", "attention_heads")
    head = _first(text, "head_dim", default=0) or hidden // heads
    inner = _first(text, "intermediate_size", "decoder_ffn_dim", "ffn_dim", default=4 * hidden)
    pairs = _first(text, "num_key_value_heads", default=0) or heads
    eager = getattr(text, "_attn_implementation", None) == "eager"
    stepper = lean(model, two_way=bool(getattr(loaded.family, "two_way", False)))
    is_lean = stepper is not None  # it writes down the scores of a part of the prompt, and a mask of all of it
    kept = width if stepper is None else stepper.like.itemsize  # keys and values may be kept in more bits
    weights = _weights(model) + (0 if stepper is None else stepper.decoder.copied)
    seen, overhead = [], 0
    for size in (SMALL, LARGE):
        tokens, pixels, patches, overhead = _look(loaded, size)
        seen.append((tokens, pixels, _encoder(model.config, patches, pixels=pixels, width=width)))
    return Sizes(
        weights=weights, width=width, hidden=hidden, layers=layers, vocabulary=text.vocab_size,
        cell=2 * layers * pairs * head * kept,
        reading=width * (3 * inner + 10 * max(hidden, heads * head)) + (8 * heads * BLOCK if is_lean else 0),
        scores=6 * (heads // pairs) if is_lean else heads * (4 + width) if eager else 2 * width,
        encoder_decoder=bool(model.config.is_encoder_decoder), overhead=overhead, seen=tuple(seen),
        together=loaded.family.together if isinstance(loaded.family, HubFamily) else TOGETHER,
    )  # fmt: skip


def _weights(model: Any) -> int:
    """Of all parameters and buffers; those that share their memory count once."""
    tensors = [*model.parameters(), *model.buffers()]
    packed = sum(getattr(module, "nbytes", 0) for module in model.modules() if hasattr(module, "quantised"))
    return packed + sum({one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in tensors}.values())


def _look(loaded: Loaded, size: Size) -> tuple[float, float, list[tuple[int, ...]], int]:
    """(tokens, bytes of pixels as float32, shapes of the tensors of pixels, tokens of an empty prompt's frame)."""
    family: Family = loaded.family
    grey = Image.new("RGB", size, (128, 128, 128))
    skill = next((skill for skill in PLAIN if skill in family.skills), None)
    part: Any = ImagePart(grey)
    if skill is None:
        skill, part = "watch", VideoPart((grey, grey))
    tensors, receipts = family.inputs(loaded, [Request(skill, (Message("user", (part, TextPart("a"))),), "a")])
    shapes = [tuple(tensor.shape) for name, tensor in tensors.items() if "pixel_values" in name]
    (receipt,) = receipts
    tokens = sum(image.image_tokens for image in receipt.images)
    values = sum(math.prod(shape) for shape in shapes)
    return float(tokens), 4.0 * values, shapes, receipt.prompt_tokens - tokens


def _encoder(config: Any, shapes: list[Any], *, pixels: float, width: int) -> float:
    """Bytes of activations while a layer of the encoder works on pixels of these shapes."""
    vision = getattr(config, "vision_config", None)
    hidden = _first(vision, "embed_dim", "hidden_size", default=0)
    patch = _first(vision, "patch_stride", "patch_size", default=0)
    if not hidden or not patch:
        return UNKNOWN_ENCODER * pixels if vision is not None else 0.0
    ratio = _first(vision, "mlp_ratio", default=4)
    inner = _first(vision, "intermediate_size", default=int(hidden * ratio))
    layers = _first(vision, "num_hidden_layers", "depth", default=1)
    kept = layers + 1 if _first(config, "vision_feature_layer", default=None) is not None else 1
    total = 0.0
    for shape in shapes:
        patches = math.prod(shape[:-1]) if len(shape) < 4 else math.prod(shape[:-3]) * math.prod(shape[-2:]) / patch**2
        total += patches * width * (3 * inner + (5 + kept) * hidden)
    return total


def _first(config: Any, *names: str, default: Any = ...) -> Any:
    """The first of these that a configuration has; the first entry of one that has several, as a pyramid does."""
    for name in names:
        value = getattr(config, name, None)
        if value is not None:
            return value[0] if isinstance(value, (list, tuple)) else value
    if default is ...:
        raise AttributeError(f"{type(config).__name__} has none of {', '.join(names)}")
    return default
