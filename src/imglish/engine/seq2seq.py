"""The stepper of encoder-decoders: the prompt is encoded once, and looked at by every token of its answers.

A prompt's start has no tokens of the answer yet; what it keeps is the encoder's output and, once a token was decoded,
the keys and values that each layer makes of it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from imglish.engine._rows import Begun, Kept, Ledger, Rows
from imglish.engine.plain import PlainStepper
from imglish.engine.step import Past, Slot


@dataclass(eq=False)
class Encoded:
    """What an encoder made of one prompt: (1, tokens, hidden), and the keys and values of it in each layer."""

    hidden: Tensor
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    heard: Any = None
    """The same keys and values as `imglish.engine.crossed` has them."""

    @property
    def nbytes(self) -> int:
        """Bytes of all of it."""
        return sum(tensor.nbytes for tensor in (self.hidden, *self.keys, *self.values))


class Seq2SeqStepper(PlainStepper):
    """As PlainStepper, for a decoder that looks at an encoder's output: BART's, as Florence-2 has it."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.encoder, self.text = self.text.encoder, self.text.decoder
        self.embedding = self.text.embed_tokens

    @torch.inference_mode()
    def encode(self, embeds: Tensor) -> Begun:
        """What a prompt's embeddings (1, tokens, hidden) begin: no token of the answer yet."""
        return begun(self.encoder, embeds)

    def prefill(
        self,
        tokens: Tensor,
        *,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        past: Past | None = None,
        **more: Any,
    ) -> tuple[Tensor, list[Slot]]:
        """`tokens` are the first of the answer; `past` has at least what `encode` gave."""
        if past is None:
            raise ValueError("an encoder-decoder begins with what it encoded")
        return super().prefill(tokens, positions=positions, mask=mask, past=past, **more)

    def forward(
        self, buffer: Rows, embeds: Tensor, positions: Tensor, mask: Any, ledger: Ledger, keep: Tensor, **more: Any
    ) -> Tensor:
        by_row: dict[int, Any] = {buffer.row_of[place.number]: place.encoded for place in buffer.alive}
        some = next(iter(by_row.values()))
        seen = [by_row.get(row, some) for row in range(len(buffer.used))]  # a row that nobody has looks at anything
        longest = max(one.hidden.shape[1] for one in seen)
        hidden = torch.cat([_padded(one.hidden, longest, 1) for one in seen])
        shown = torch.tensor([[n < one.hidden.shape[1] for n in range(longest)] for one in seen], device=hidden.device)
        crossed = self._crossed(seen, longest)
        if mask is None:
            mask = self._causal(embeds, ledger)
        with self._place(positions):
            output = self.text(
                inputs_embeds=embeds, attention_mask=mask, encoder_hidden_states=hidden,
                encoder_attention_mask=None if bool(shown.all()) else shown.long(),
                past_key_values=EncoderDecoderCache(ledger, crossed), use_cache=True,
            )  # fmt: skip
        layers = crossed.layers
        for row, one in enumerate(seen):
            if not one.keys:
                length = one.hidden.shape[1]
                one.values = [layer.values[row : row + 1, :, :length].clone() for layer in layers]
                one.keys = [layer.keys[row : row + 1, :, :length].clone() for layer in layers]  # then both are there
        logits: Tensor = self.head(output.last_hidden_state[:, keep])
        bias = getattr(self.model, "final_logits_bias", None)
        return logits if bias is None else logits + bias

    def _crossed(self, seen: list[Any], longest: int) -> DynamicCache:
        """Keys and values of the encoder's output, where all rows have them; else they are made again."""
        if not all(one.keys for one in seen):
            return DynamicCache()
        pairs = []
        for layer in range(len(seen[0].keys)):
            keys = torch.cat([_padded(one.keys[layer], longest, 2) for one in seen])
            pairs.append((keys, torch.cat([_padded(one.values[layer], longest, 2) for one in seen])))
        return DynamicCache(pairs)

    def _causal(self, embeds: Tensor, ledger: Ledger) -> Tensor:
        """(rows, 1, new, all): each new token sees those before it."""
        new, most = embeds.shape[1], ledger.columns.most
        own = torch.arange(most, device=embeds.device)
        later = own[None, :] > torch.arange(most - new, most, device=embeds.device)[:, None]
        least = torch.finfo(embeds.dtype).min
        return embeds.new_zeros(len(embeds), 1, new, most).masked_fill(later, least)

    @contextmanager
    def _place(self, positions: Tensor) -> Iterator[None]:
        """The stock decoder counts positions alike for all rows; while this lasts each row has its own."""
        mine, module = threading.get_ident(), self.text.embed_positions

        def place(_: Any, given: Any, named: dict[str, Any] | None = None) -> Any:
            if named is None or threading.get_ident() != mine:
                return None  # another thread's forward, which may find half of what is put in here or taken out
            return given, {**named, "position_ids": positions}

        def placed(_: Any, __: Any, made: Tensor) -> Tensor | None:
            return made[0] if threading.get_ident() == mine else None  # it is made for one row

        hooks = module.register_forward_pre_hook(place, with_kwargs=True), module.register_forward_hook(placed)
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def begun(encoder: Any, embeds: Tensor) -> Begun:
    """What an encoder makes of a prompt's embeddings (1, tokens, hidden), as a start without a token."""
    return Begun(Kept([], [], encoded=Encoded(encoder(inputs_embeds=embeds, attention_mask=None)[0])), 0, 0)


def _padded(tensor: Tensor, length: int, axis: int) -> Tensor:
    missing = length - tensor.shape[axis]
    if not missing:
        return tensor
    shape = list(tensor.shape)
    shape[axis] = missing
    return torch.cat((tensor, tensor.new_zeros(shape)), dim=axis)
