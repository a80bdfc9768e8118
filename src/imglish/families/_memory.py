"""How much memory a checkpoint needs for one picture: a formula over its card, measured in `benchmarks/memory.py`.

    together = weights + key/value cache of prompt and answer + the larger of looking at the picture and reading it

Counted is what torch holds at the worst moment. The interpreter, and on a GPU its driver, come on top: about half a
gigabyte, whatever the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from imglish.core.types import Size
from imglish.families._card import Card

Precision = Literal["bf16", "int8", "int4", "fp32"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

PICTURE: Size = (1920, 1080)  # the picture that the catalogue counts with
PROMPT, ANSWER = 64, 256  # tokens of the question and of the answer, beside those of the picture

# Bytes of one weight of a quantised linear layer, its scales included: one fp32 scale a row in int8 (LLM.int8,
# arXiv:2208.07339), one a block of 64 in int4 (NF4, arXiv:2305.14314). Embeddings and the head stay as they are.
LINEAR = {"fp32": 4.0, "bf16": 2.0, "int8": 1.0, "int4": 0.5 + 4 / 64}


@dataclass(frozen=True)
class Memory:
    """Bytes."""

    weights: int
    cache: int
    activations: int

    @property
    def total(self) -> int:
        """All of it, at the worst moment."""
        return self.weights + self.cache + self.activations


def memory(
    card: Card, precision: Precision = "bf16", *, size: Size = PICTURE, prompt: int = PROMPT, answer: int = ANSWER
) -> Memory:
    """What one question about one picture of that (width, height) takes; the answer has `answer` tokens."""
    return Memory(
        weights=weight_bytes(card, precision),
        cache=cache_bytes(card, precision, size=size, prompt=prompt, answer=answer),
        activations=activation_bytes(card, precision, size=size, prompt=prompt),
    )


def weight_bytes(card: Card, precision: Precision) -> int:
    """Of all weights. What is quantised are the linear layers."""
    sizes = card.config
    embeddings = sizes.get("vocab", 0) * sizes.get("hidden", 0) * (1 if sizes.get("tied") else 2)
    return int((card.parameters - embeddings) * LINEAR[precision] + embeddings * _width(precision))


def cache_bytes(card: Card, precision: Precision, *, size: Size, prompt: int, answer: int) -> int:
    """Of keys and values of every token, in every layer of the decoder."""
    sizes = card.config
    if not sizes:
        return 0
    seen = card.tokens_of(size) + prompt
    heads = sizes.get("kv_heads", sizes["heads"])
    token = 2 * sizes["layers"] * heads * _head(card) * _width(precision)
    return token * (seen + answer) * sizes.get("beams", 1)


def activation_bytes(card: Card, precision: Precision, *, size: Size, prompt: int) -> int:
    """Of what lives while a layer works: the wider of the encoder's and the decoder's."""
    sizes = card.config
    if not sizes:
        return 0
    return max(_looking(card, precision, size), _reading(card, precision, size, prompt))


def _looking(card: Card, precision: Precision, size: Size) -> int:
    sizes, width = card.config, _width(precision)
    hidden = sizes.get("vision_hidden", 0)
    inner = sizes.get("vision_ffn", 4 * hidden)
    patches = sizes.get("vision_tokens", 0) * card.views_of(size)
    kept = sizes.get("vision_kept", 1)
    pixels = patches * sizes.get("patch_values", 588) * (4 + width)
    return int(pixels + patches * width * (3 * inner + (3 + kept) * hidden) + _unpacked(precision, hidden * inner))


def _reading(card: Card, precision: Precision, size: Size, prompt: int) -> int:
    sizes, width = card.config, _width(precision)
    tokens = card.tokens_of(size) + prompt
    hidden, inner = sizes["hidden"], sizes["ffn"]
    return int(tokens * width * (3 * inner + 4 * hidden) + _unpacked(precision, hidden * inner))


def _unpacked(precision: Precision, weights: int) -> int:
    """Of the largest matrix in the precision of the activations, while it multiplies."""
    return 0 if precision in ("bf16", "fp32") else 2 * weights


def _head(card: Card) -> int:
    return card.config.get("head_dim", card.config["hidden"] // card.config["heads"])


def _width(precision: Precision) -> int:
    """Bytes of an activation."""
    return 4 if precision == "fp32" else 2
