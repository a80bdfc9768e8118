"""The lean stepper of encoder-decoders: one token of every row in one call of compiled code, many tokens by torch.

What a prompt begins is that of `imglish.engine.seq2seq`, which does the work where a decoder is of another kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from imglish.engine import _native
from imglish.engine._cross_native import Native, native, pieces
from imglish.engine._cross_weights import Writer, writer
from imglish.engine._fast_rows import Group, Row
from imglish.engine._rows import Begun, Kept
from imglish.engine.seq2seq import Encoded, begun
from imglish.engine.step import Past, Slot


@dataclass(frozen=True, eq=False)
class Heard:
    """Keys and values (2, heads, tokens, size) of what was encoded, for each layer."""

    layers: tuple[Tensor, ...]
    pointers: Any

    @property
    def tokens(self) -> int:
        """How many were encoded."""
        return self.layers[0].shape[2]


@dataclass(eq=False)
class Line(Row):
    """A row with what it looks at."""

    encoded: Encoded
    heard: Heard


def crossed(model: Any) -> CrossedStepper | None:
    """A lean stepper of this model, or None where its decoder does not qualify now, or torch is as quick."""
    found = writer(model) if _native.library() is not None else None
    if found is None:
        return None
    if "native" not in found.known:
        found.known["native"] = native(found)
    compiled: Native | None = found.known["native"]
    return None if compiled is None else CrossedStepper(found, compiled)


class CrossedStepper:
    """Rows of one decoder. The methods are those of `imglish.engine.step.Stepper`, and `encode`."""

    def __init__(self, decoder: Writer, compiled: Native) -> None:
        self.decoder, self.native = decoder, compiled
        self.like = torch.empty(len(decoder.layers), decoder.heads, 0, decoder.size, dtype=decoder.dtype)
        self.group = Group(None, self.like)

    @property
    def device(self) -> torch.device:
        """Where the decoder is."""
        return self.like.device

    @torch.inference_mode()
    def encode(self, embeds: Tensor) -> Begun:
        """What a prompt's embeddings (1, tokens, hidden) begin: no token of the answer yet."""
        return begun(self.decoder.encoder, embeds)

    @torch.inference_mode()
    def prefill(
        self,
        tokens: Tensor,
        *,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        past: Past | None = None,
        **more: Any,
    ) -> tuple[Tensor, list[Slot]]:
        """`tokens` (rows, length) are the first of the answer; `past` has at least what `encode` gave."""
        if not isinstance(past, Begun) or past.kept.encoded is None:
            raise ValueError("an encoder-decoder begins with what it encoded")
        if positions is not None or mask is not None:
            raise ValueError("what an encoder-decoder writes is counted from its beginning")
        lines = self._begun(past, len(tokens), room=past.length + tokens.shape[1])
        try:
            return torch.stack([one[-1] for one in self._more(tokens.tolist(), lines)]), list(lines)
        except BaseException:  # out of memory, or somebody stopped it: nothing of it stays
            self.drop(lines)
            raise

    @torch.inference_mode()
    def step(self, tokens: Tensor, slots: Sequence[Slot]) -> Tensor:
        return self._step(tokens, [_line(slot) for slot in slots])

    @torch.inference_mode()
    def extend(self, tokens: Sequence[Sequence[int]], slots: Sequence[Slot]) -> list[Tensor]:
        return self._more(tokens, [_line(slot) for slot in slots])

    @torch.inference_mode()
    def fork(self, slot: Slot, count: int = 1) -> list[Slot]:
        line = _line(slot)
        self.group.reserve(len(self.group.rows) + count, line.length + 1)
        new = self._added(line.encoded, line.heard, count, line.length)
        for kv in self.group.kv:
            for one in new:
                kv[:, one.index, :, : line.length] = kv[:, line.index, :, : line.length]
        return list(new)

    def rewind(self, slot: Slot, length: int, position: int) -> None:
        """Forgets what a slot has beyond `length` tokens."""
        slot.length, slot.position = length, position

    @torch.inference_mode()
    def past(self, slot: Slot) -> Begun:
        line = _line(slot)
        own = [kv[:, line.index, None, :, : line.length].clone() for kv in self.group.kv]
        kept = Kept([kv[0] for kv in own], [kv[1] for kv in own], encoded=line.encoded)
        return Begun(kept, line.length, line.position)

    @torch.inference_mode()
    def drop(self, slots: Sequence[Slot]) -> None:
        for slot in slots:
            self.group.remove(_line(slot))
        if not self.group.rows:
            self.group = Group(None, self.like)  # its memory is free

    def _begun(self, past: Begun, count: int, *, room: int) -> list[Line]:
        """So many rows that go on from a past."""
        heard = self._heard(past.kept.encoded)
        self.group.reserve(len(self.group.rows) + count, room)
        lines = self._added(past.kept.encoded, heard, count, past.length)
        for kv, keys, values in zip(self.group.kv, past.kept.keys, past.kept.values, strict=past.length > 0):
            for line in lines:
                kv[0, line.index, :, : past.length] = keys[0, :, : past.length]
                kv[1, line.index, :, : past.length] = values[0, :, : past.length]
        return lines

    def _added(self, encoded: Encoded, heard: Heard, count: int, length: int) -> list[Line]:
        first = len(self.group.rows)
        new = [Line(length, length, self.group, first + n, encoded, heard) for n in range(count)]
        self.group.rows += new
        return new

    def _heard(self, encoded: Encoded) -> Heard:
        """Keys and values of what was encoded: made where the first token is decoded, and kept with it."""
        if not isinstance(encoded.heard, Heard):
            kind = self.like.dtype
            if encoded.keys:  # the other stepper made them
                pairs = zip(encoded.keys, encoded.values, strict=True)
                layers = [torch.cat((keys, values)).to(kind) for keys, values in pairs]
            else:
                hidden = encoded.hidden[0].to(kind)
                shape = (len(hidden), 2, self.decoder.heads, self.decoder.size)
                made = (layer.hear(hidden).to(kind).view(shape) for layer in self.decoder.layers)
                layers = [kv.permute(1, 2, 0, 3).contiguous() for kv in made]
            encoded.keys, encoded.values = [kv[:1] for kv in layers], [kv[1:] for kv in layers]
            encoded.heard = Heard(tuple(layers), pieces(layers))
        return encoded.heard

    def _step(self, tokens: Tensor, lines: Sequence[Line]) -> Tensor:
        """Logits (rows, vocab) after one token of each, as many rows at once as compiled code takes."""
        self.group.reserve(len(self.group.rows), 1 + max(line.length for line in lines))
        x = self.decoder.embed(tokens.to(self.device), torch.tensor([line.length for line in lines]))
        found = []
        for first in range(0, len(lines), self.native.rows):
            some = lines[first : first + self.native.rows]
            found.append(self.native.step(x[first : first + len(some)], [(line, line.heard) for line in some]))
        for line in lines:
            line.length = line.position = line.length + 1
        return found[0] if len(found) == 1 else torch.cat(found)

    def _more(self, tokens: Sequence[Sequence[int]], lines: Sequence[Line]) -> list[Tensor]:
        """Logits (count, vocab) after each of the tokens that a row gets."""
        if all(len(one) == 1 for one in tokens):
            return list(self._step(torch.tensor([one[0] for one in tokens]), lines)[:, None])
        counts = [len(one) for one in tokens]
        ends = [line.length + count for line, count in zip(lines, counts, strict=True)]
        self.group.reserve(len(self.group.rows), max(ends))
        places = [n for line, end in zip(lines, ends, strict=True) for n in range(line.length, end)]
        x = self.decoder.embed(torch.tensor([n for one in tokens for n in one]), torch.tensor(places))
        x = x.to(self.like.dtype)
        alike: dict[int, list[int]] = {}  # rows that look at the same, which they do together
        for number, line in enumerate(lines):
            alike.setdefault(id(line.heard), []).append(number)
        for number, layer in enumerate(self.decoder.layers):
            first, second, third = layer.norms
            qkv = layer.qkv(x).to(x.dtype).view(len(x), 3, self.decoder.heads, self.decoder.size).split(counts)
            seen = [self._remembered(number, line, one) for line, one in zip(lines, qkv, strict=True)]
            x = first(x + layer.out(torch.cat(seen)).to(x.dtype))
            asked = layer.ask(x).to(x.dtype).view(len(x), self.decoder.heads, self.decoder.size).split(counts)
            for same in alike.values():
                keys, values = lines[same[0]].heard.layers[number]
                found = _attended(torch.cat([asked[n] for n in same]), keys, values, None)
                for n, one in zip(same, found.split([counts[n] for n in same]), strict=True):
                    seen[n] = one
            x = second(x + layer.told(torch.cat(seen)).to(x.dtype))
            x = third(x + layer.down(functional.gelu(layer.up(x).to(x.dtype))).to(x.dtype))
        for line, end in zip(lines, ends, strict=True):
            line.length = line.position = end
        return list(self.decoder.head(x).split(counts))

    def _remembered(self, number: int, line: Line, qkv: Tensor) -> Tensor:
        """(count, hidden) of new tokens of a row over all before them; their keys and values are kept."""
        q, k, v = qkv.unbind(1)
        end = line.length + len(qkv)
        keys, values = self.group.kv[number][:, line.index]
        keys[:, line.length : end], values[:, line.length : end] = k.transpose(0, 1), v.transpose(0, 1)
        own = torch.arange(end)
        return _attended(q, keys[:, :end], values[:, :end], own[None] <= own[line.length :, None])


def _attended(q: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """(count, hidden) for queries (count, heads, size) over keys and values (heads, all, size)."""
    found = functional.scaled_dot_product_attention(q.transpose(0, 1), keys, values, attn_mask=mask)
    return found.transpose(0, 1).flatten(1)


def _line(slot: Slot) -> Line:
    if not isinstance(slot, Line):
        raise TypeError("this slot is of another stepper")
    return slot
