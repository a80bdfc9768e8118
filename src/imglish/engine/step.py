"""How a loop drives a decoder: rows come in with a prompt, all that are there take a token at a time, and leave.

Two things do this. The plain one is transformers' own forward, which every family has; the lean one
(`imglish.engine.fast`) takes its place where the decoder is like Llama's or Qwen2's. Their logits agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor


@dataclass(eq=False)
class Slot:
    """The place of one row in a stepper, from `prefill` or `fork` until `drop`."""

    length: int
    """Tokens whose keys and values are there; padding is not counted."""
    position: int
    """Of the next token. Differs from `length` where a picture takes fewer positions than tokens (M-RoPE)."""


class Past(Protocol):
    """Keys and values of the first tokens of a row (for an encoder-decoder, the encoder's output too), to be kept.

    Never written to again, so that many rows can begin with it.
    """

    @property
    def length(self) -> int:
        """Tokens that it has."""

    @property
    def position(self) -> int:
        """Of the token after them."""

    @property
    def nbytes(self) -> int:
        """Bytes that it holds, so that whoever keeps it can bound them."""

    def cut(self, length: int, position: int) -> Past:
        """Its first `length` tokens, without a copy; `position` is that of the token after them."""


class Stepper(Protocol):
    """What a loop needs of a decoder. No method changes the logits of rows that it is not asked about."""

    def prefill(
        self,
        tokens: Tensor,
        *,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        past: Past | None = None,
        **more: Any,
    ) -> tuple[Tensor, list[Slot]]:
        """(logits (rows, vocab) of each row's last token, the slots of the new rows).

        `tokens`: ids (rows, length) or embeddings (rows, length, hidden), padded on the left where `mask` (rows,
        length) is 0. `positions`: (rows, length), or (3, rows, length) for M-RoPE; None counts on from `past`, which
        all new rows begin with. `more` is what the model's forward takes beside them: pixels, features, grids.
        """

    def step(self, tokens: Tensor, slots: Sequence[Slot]) -> Tensor:
        """Logits (rows, vocab) after one more token (rows,) in each of these slots."""

    def extend(self, tokens: Sequence[Sequence[int]], slots: Sequence[Slot]) -> list[Tensor]:
        """Logits (count, vocab) after each of the tokens that a slot gets at once: forced ones, options to be scored.

        Each slot gets at least one; they may differ in how many.
        """

    def fork(self, slot: Slot, count: int = 1) -> list[Slot]:
        """Slots that go on from where this one is: several samples, beams, answer options."""

    def rewind(self, slot: Slot, length: int, position: int) -> None:
        """Forgets what a slot has beyond `length` tokens."""

    def past(self, slot: Slot) -> Past:
        """What a slot has so far, in memory of its own."""

    def drop(self, slots: Sequence[Slot]) -> None:
        """These rows have ended; their memory is free."""
