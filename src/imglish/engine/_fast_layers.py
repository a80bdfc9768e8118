"""The layers of a lean decoder as plain functions: several tokens for several rows, over what their groups keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from imglish.engine._fast_branches import Tree, over, together_with
from imglish.engine._fast_choice import Attention, plain_attention, softmax
from imglish.engine._fast_prompt import LONG, fused_is_quick, read_prompt, room_for
from imglish.engine._fast_rows import Group, Row, whole
from imglish.engine._fast_turn import Turn
from imglish.engine._fast_weights import Decoder, Layer

FAR = 4  # times as much as what comes: so much before it is not copied to stand beside it
BLOCK = 64  # queries whose scores over a prefix are written down at once


@dataclass(eq=False)
class Work:
    """What one group has to do: its rows that take tokens, `count` each (shorter ones are padded on the right)."""

    group: Group
    rows: Sequence[Row]
    count: int
    windows: frozenset[int | None]
    queries: int
    """Heads that share a key head."""
    reading: torch.dtype
    """Precision in which prompts are attended over."""
    two_way: bool = False
    """Whether new tokens without a past see those after them."""
    after: int = 0
    """Tokens of each row that come before these, and are written elsewhere."""

    def __post_init__(self) -> None:
        device = self.group.like.device
        self.starts = [row.own + self.after for row in self.rows]
        self.keys = max(self.starts) + self.count
        self.even = min(self.starts) == max(self.starts)
        self.whole = whole(self.rows)
        self.places: tuple[Tensor, Tensor] | None = None
        self._room: Tensor | None = None
        self.lone = self.count == len(self.group.rows) == 1 and self.group.prefix is None
        if not (self.even and self.whole):
            index = torch.tensor([row.index for row in self.rows], device=device)
            begin = torch.tensor(self.starts, device=device)
            self.places = index[:, None], begin[:, None] + torch.arange(self.count, device=device)
        self.fresh = self.count > 1 and max(self.starts) == 0 and self.group.prefix is None
        nears = {window for window in self.windows if window is not None and self.group.begin + self.keys > window}
        self.fresh = self.fresh and not nears
        few = max(self.starts) + self.group.begin <= FAR * self.count
        self.long = few and self.count >= LONG and not nears and not self.two_way and device.type == "cpu"
        if not (self.fresh or self.long):
            self.masks = {window: self._masks(window, device) for window in self.windows}

    def _masks(self, window: int | None, device: torch.device) -> tuple[Tensor | None, Tensor | None]:
        """What is added to the scores (rows, 1, queries x count, keys) over the prefix and over the rows' own keys."""
        begin, count = self.group.begin, self.count
        near = window is not None and begin + self.keys > window
        if self.even and count == 1 and not near:
            return None, None
        at = torch.tensor(self.starts, device=device)[:, None] + torch.arange(count, device=device)
        at = (begin + at).repeat(1, self.queries)[:, None, :, None]  # where in its row each query stands
        own = begin + torch.arange(self.keys, device=device)
        if not near or window is None:
            return None, self._added(own <= at)
        before = torch.arange(begin, device=device)
        return self._added(before > at - window), self._added((own <= at) & (own > at - window))

    def _added(self, seen: Tensor) -> Tensor:
        kind = self.group.like.dtype
        return torch.zeros(seen.shape, dtype=kind, device=seen.device).masked_fill_(~seen, torch.finfo(kind).min)

    @property
    def size(self) -> int:
        """Tokens that come."""
        return len(self.rows) * self.count

    @property
    def narrows(self) -> bool:
        """Whether the last layer has less to do."""
        return self.count > 1

    def narrowed(self, number: int, kv: Tensor) -> tuple[Work, Sequence[int]]:
        """(the work of the last token of each row alone, which these are); all keys and values are written."""
        self.write(number, kv.view(len(self.rows), self.count, 2, kv.shape[1] // 2, -1))
        ends = range(self.count - 1, self.size, self.count)
        return replace(self, count=1, after=self.after + self.count - 1), ends

    @cached_property
    def picked(self) -> Tensor:
        """Numbers of the rows that take part, where they are not the first ones."""
        return torch.tensor([row.index for row in self.rows], device=self.group.like.device)

    def write(self, number: int, kv: Tensor) -> None:
        """Puts the new keys and values (rows, count, 2, key heads, size) of a layer where they belong."""
        buffer = self.group.kv[number]
        if self.places is None:
            end = self.starts[0] + self.count
            buffer[:, : len(self.rows), :, self.starts[0] : end] = kv.permute(2, 0, 3, 1, 4)
        else:
            buffer.permute(1, 3, 0, 2, 4)[self.places] = kv.to(buffer.dtype)

    def attended(self, number: int, layer: Layer, qkv: Tensor, how: Attention, heads: int) -> Tensor:
        """(tokens, heads x size) for (tokens, heads + 2 key heads, size)."""
        rows, count, size = len(self.rows), self.count, qkv.shape[-1]
        key_heads = (qkv.shape[1] - heads) // 2
        if self.lone and how is plain_attention:
            return self.attended_alone(number, layer, qkv[0], heads)
        self.write(number, qkv[:, heads:].view(rows, count, 2, key_heads, size))
        q = qkv[:, :heads]
        if self.long:
            return self.read(number, qkv, heads)
        if self.fresh:
            return _read_at_once(self, qkv, heads, key_heads)
        if count == 1:
            q = q.view(rows, key_heads, -1, size)
            return self.attend(number, layer, q, how).reshape(rows, -1)
        q = q.view(rows, count, key_heads, -1, size).permute(0, 2, 3, 1, 4).reshape(rows, key_heads, -1, size)
        seen = self.attend(number, layer, q, how)
        return seen.view(rows, key_heads, -1, count, size).permute(0, 3, 1, 2, 4).reshape(rows * count, -1)

    def attended_alone(self, number: int, layer: Layer, qkv: Tensor, heads: int) -> Tensor:
        """The same for the one token of the only row, (heads + 2 key heads, size): each operation has its price."""
        size, at = qkv.shape[-1], self.starts[0]
        buffer = self.group.kv[number][:, 0]
        buffer[:, :, at] = qkv[heads:].view(2, -1, size)
        k, v = buffer[:, :, : at + 1]
        scores = torch.bmm(qkv[:heads].view(len(k), -1, size), k.mT)
        own = self.masks[layer.window][1]
        if own is not None:
            scores = scores + own[0]
        return torch.bmm(softmax(scores), v).view(1, -1)

    def read(self, number: int, qkv: Tensor, heads: int) -> Tensor:
        """(tokens, heads x size): each row's tokens over the prefix, over what it has of its own, and over themselves.

        Keys and values of the row itself stand in the buffer before those that come now.
        """
        before = [] if self.group.prefix is None else self.group.prefix.layer(number)
        if self._room is None:
            self._room = room_for(qkv, heads, self.group.begin + self.keys, self.reading)
        key_heads = (qkv.shape[1] - heads) // 2
        fused = not before and fused_is_quick(self.reading, heads, key_heads, qkv.shape[-1])
        found = []
        for row, start, some in zip(self.rows, self.starts, qkv.split(self.count), strict=True):
            own = [self.group.kv[number][:, row.index, :, :start]] if start else []
            found.append(read_prompt(some, heads, [*before, *own], self._room, fused=fused))
        return found[0] if len(found) == 1 else torch.cat(found)

    def attend(self, number: int, layer: Layer, q: Tensor, how: Attention) -> Tensor:
        """Values (rows, key heads, queries x count, size) for q of that shape, over all that was written so far."""
        buffer = self.group.kv[number]
        seen = buffer[:, : len(self.rows)] if self.whole else buffer.index_select(1, self.picked)
        k, v = seen[0, :, :, : self.keys], seen[1, :, :, : self.keys]
        before, own = self.masks[layer.window]
        if self.group.prefix is None:
            return how(q, k, v, own)
        prefix = self.group.prefix.layer(number)
        on_cpu = q.device.type == "cpu" and before is None and q.shape[2] >= LONG
        if on_cpu and fused_is_quick(q.dtype, q.shape[1] * self.queries, q.shape[1], q.shape[-1]):
            return merged(q, prefix, k, v, own)
        return after_prefix(q, prefix, k, v, before, own, count=self.count)


def after_prefix(
    q: Tensor, prefix: Sequence[Tensor], k: Tensor, v: Tensor, before: Tensor | None, own: Tensor | None, *, count: int
) -> Tensor:
    """Attention over the parts of a prefix (2, key heads, length, size) of all rows, and over each row's k and v.

    The last `count` of the keys are of the tokens that come now; queries are those of `count` tokens, head by head.
    """
    rows, heads, queries, size = q.shape
    if queries > BLOCK:  # scores are written down: of a long prompt a part at a time, or they outgrow everything else
        done = []
        for at in range(0, queries, BLOCK):
            last = at % count + BLOCK  # no query of one head sees tokens from there on
            end = k.shape[2] - max(count - last, 0)
            rest = None if own is None else own[:, :, at : at + BLOCK, :end]
            first = None if before is None else before[:, :, at : at + BLOCK]
            block, some = q[:, :, at : at + BLOCK], (k[:, :, :end], v[:, :, :end])
            done.append(after_prefix(block, prefix, *some, first, rest, count=count))
        return torch.cat(done, dim=2)
    alone = rows == 1
    together = q if alone else q.transpose(0, 1).reshape(1, heads, rows * queries, size)
    over = [together @ part[0].mT for part in prefix]
    if not alone:
        over = [one.view(heads, rows, queries, -1).transpose(0, 1) for one in over]
    scores = q @ k.mT
    if own is not None:
        scores = scores + own
    lengths = [part.shape[2] for part in prefix]
    scores = torch.cat((*over, scores), dim=-1)
    if before is not None:
        scores[..., : sum(lengths)] += before
    *over, rest = softmax(scores).split([*lengths, k.shape[2]], dim=-1)
    found = rest @ v
    for weights, part in zip(over, prefix, strict=True):
        if alone:
            found = found + weights @ part[1]
        else:
            seen = weights.transpose(0, 1).reshape(heads, rows * queries, -1) @ part[1]
            found = found + seen.view(heads, rows, queries, size).transpose(0, 1)
    return found


def merged(q: Tensor, prefix: Sequence[Tensor], k: Tensor, v: Tensor, own: Tensor | None) -> Tensor:
    """The same by torch's fused kernel: over each part of the prefix and over the rows' own keys, then together."""
    rows, heads, queries, size = q.shape
    found, weight = over(q, k, v, own)
    together = q.transpose(0, 1).reshape(1, heads, rows * queries, size)
    for part in prefix:
        seen, total = over(together, part[:1], part[1:], None)
        seen = seen.view(heads, rows, queries, size).transpose(0, 1)
        total = total.view(heads, rows, queries).transpose(0, 1)
        found, weight = together_with(found, weight, seen, total)
    return found


def run(decoder: Decoder, works: Sequence[Work | Tree], x: Tensor, turn: Turn, how: Attention, *, last: bool) -> Tensor:
    """What the last layer gives (tokens, hidden), before its norm, for x (tokens, hidden), a row's tokens together.

    `last`: of the last token of each row, and of the asked ones of a tree, alone: the last layer computes no others.
    """
    heads, key_heads, size = decoder.heads, decoder.key_heads, decoder.size
    turned = heads + key_heads
    exact = x.dtype == torch.float32
    sizes = [work.size for work in works]
    for number, layer in enumerate(decoder.layers):
        qkv = layer.qkv(layer.before_attention(x)).view(-1, turned + key_heads, size)
        if layer.between is not None:
            weight, epsilon = layer.between
            some = qkv[:, :turned] if exact else qkv[:, :turned].to(turn.kind)
            normed = functional.rms_norm(some, (size,), None, epsilon) * weight
            qkv = torch.cat((normed.to(some.dtype), qkv[:, turned:].to(some.dtype)), dim=1)
        qkv = turn(qkv)
        if last and number == len(decoder.layers) - 1 and any(work.narrows for work in works):
            works, x, qkv = _narrowed(works, number, x, qkv, heads)
            sizes = [work.size for work in works]
        if len(works) == 1:
            seen = works[0].attended(number, layer, qkv, how, heads)
        else:
            parts = zip(works, qkv.split(sizes), strict=True)
            seen = torch.cat([work.attended(number, layer, part, how, heads) for work, part in parts])
        x = x + layer.out(seen if exact else seen.to(x.dtype))
        gate, up = layer.up(layer.before_mlp(x)).chunk(2, -1)
        x = x + layer.down(decoder.activation(gate).mul_(up))
    return x


def _narrowed(
    works: Sequence[Work | Tree], number: int, x: Tensor, qkv: Tensor, heads: int
) -> tuple[list[Work | Tree], Tensor, Tensor]:
    """All keys and values of a layer known, and what is left where only the asked tokens of each work go on."""
    places: list[int] = []
    left: list[Work | Tree] = []
    begin = 0
    for work in works:
        less, kept = work.narrowed(number, qkv[begin : begin + work.size, heads:])
        left.append(less)
        places += [begin + place for place in kept]
        begin += work.size
    index = torch.tensor(places, device=x.device)
    return left, x[index], qkv[index]


def _read_at_once(work: Work, qkv: Tensor, heads: int, key_heads: int) -> Tensor:
    """Attention of prompts that have nothing before them: each over itself."""
    qkv = qkv.to(work.reading).view(len(work.rows), work.count, -1, qkv.shape[-1]).transpose(1, 2)
    q, k, v = qkv.split((heads, key_heads, key_heads), dim=1)
    seen = functional.scaled_dot_product_attention(
        q, k, v, is_causal=not work.two_way, scale=1.0, enable_gqa=heads != key_heads
    )
    return seen.transpose(1, 2).reshape(len(work.rows) * work.count, -1).to(work.group.like.dtype)
