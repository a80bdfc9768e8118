"""Rotary positions: queries and keys are turned by where they stand, a few tokens at once, a prompt block by block.

A prompt's queries, keys and values are megabytes. Taken through four operations one after the other, each into memory
of its own that is new at every layer, they were a third of a prompt's time: the system hands such memory out page by
page. In blocks that the cache holds, into one place for all layers, it is a fortieth.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from imglish.engine._fast_weights import Decoder

BLOCK = 128  # tokens that are turned at once where there are more


class Turn:
    """Turns the queries and keys of the tokens of one forward pass, layer by layer."""

    def __init__(self, angles: Tensor, heads: int, key_heads: int, part: Tensor) -> None:
        """`angles` (tokens, 2, 3, size): cosines and sines for a query, a key, a value; `part`: which a head takes."""
        self.kind, self.heads, self.turned = angles.dtype, heads, heads + key_heads
        self._few = len(angles) <= BLOCK or angles.device.type != "cpu"
        if self._few:
            self._cos, self._sin = (angles[:, number].index_select(1, part) for number in (0, 1))
            return
        self._angles = angles
        self._made = angles.new_empty(len(angles), len(part), angles.shape[-1])

    def __call__(self, qkv: Tensor) -> Tensor:
        """(tokens, heads + 2 key heads, size), turned; of many tokens it holds until the next call."""
        half = qkv.shape[-1] // 2
        if self._few:
            qkv = qkv.to(self.kind)
            return torch.addcmul(qkv * self._cos, qkv.roll(half, -1), self._sin)
        for at in range(0, len(qkv), BLOCK):
            some, made = qkv[at : at + BLOCK], self._made[at : at + BLOCK]
            turned = some[:, : self.turned].to(self.kind)
            rolled = turned.roll(half, -1)
            for number, heads in enumerate((slice(self.heads), slice(self.heads, self.turned))):
                cos, sin = self._angles[at : at + BLOCK, :, number, None].unbind(1)
                torch.mul(turned[:, heads], cos, out=made[:, heads])
                made[:, heads].addcmul_(rolled[:, heads], sin)
            made[:, self.turned :] = some[:, self.turned :]
        return self._made


@dataclass(eq=False)
class Angles:
    """Cosines and sines of positions, as the model's own rotary module gives them. The table grows by doubling."""

    decoder: Decoder
    kind: torch.dtype
    """Of queries and keys in the attention."""

    def __post_init__(self) -> None:
        heads, key_heads = self.decoder.heads, self.decoder.key_heads
        part = [0] * heads + [1] * key_heads + [2] * key_heads  # a scaled query, a key, a value as it is
        self._part = torch.tensor(part, device=self.decoder.device)
        self._table = self._part.new_empty(0)

    def at(self, positions: Tensor) -> Turn:
        """How tokens at these positions, (tokens,) or (3, tokens), are turned."""
        return Turn(self.rows(positions), self.decoder.heads, self.decoder.key_heads, self._part)

    def rows(self, positions: Tensor) -> Tensor:
        """(tokens, 2, 3, size) for positions (tokens,) or (3, tokens)."""
        return self._made(positions[:, None]) if positions.dim() == 2 else self.of(positions)

    def of(self, positions: Tensor) -> Tensor:
        """(tokens, 2, 3, size) for positions (tokens,): cosines and sines, for a query, a key, a value."""
        most, table = int(positions.max()) + 1, self._table
        if len(table) < most:
            every = torch.arange(max(most + 64, 2 * len(table)), device=self.decoder.device)[None]
            self._table = table = self._made(every.expand(3, 1, -1) if self._is_wide else every)
        return table[most - 1 : most] if len(positions) == 1 else table[positions]

    @property
    def _is_wide(self) -> bool:
        return bool(self.decoder.body.config.rope_parameters.get("mrope_section"))

    def _made(self, positions: Tensor) -> Tensor:
        """(tokens, 2, 3, size): cosine and sine, each as it turns a query, a key, a value."""
        half, scale = self.decoder.size // 2, self.decoder.scale
        like = torch.empty(0, dtype=self.kind, device=self.decoder.device)
        cos, sin = (part[0, 0] if part.dim() == 4 else part[0] for part in self.decoder.rotary(like, positions))
        sin = torch.cat((-sin[:, :half], sin[:, half:]), dim=-1)
        one, none = torch.ones_like(cos), torch.zeros_like(sin)
        return torch.stack((torch.stack((cos * scale, cos, one), 1), torch.stack((sin * scale, sin, none), 1)), 1)
