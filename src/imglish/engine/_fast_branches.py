"""The attention of a tree of tokens after one prefix: all of them over it together, and each over its own text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from imglish.engine._branches import Branches
from imglish.engine._fast_choice import Attention, softmax
from imglish.engine._fast_rows import Prefix
from imglish.engine._fast_weights import Layer

WASTE = 2  # rows of unequal length are attended over together while at most so many times what they need is computed
SCORES = 1 << 24  # scores that are written down at once, where no kernel does without


@dataclass(frozen=True, eq=False)
class Block:
    """Rows that are attended over together, padded."""

    queries: Tensor
    """(rows, most queries): which of the tokens that ask, counted from 0."""
    keys: Tensor
    """(rows, most keys): numbers of tokens."""
    mask: Tensor
    """(rows, 1, most queries x queries of a key head, most keys): what is added to the scores."""
    real: Tensor
    """Which of the rows x most queries are no padding."""


@dataclass(frozen=True, eq=False)
class Tree:
    """What has to be done for a tree: as `imglish.engine._fast_layers.Work`, but nothing of it is kept."""

    branches: Branches
    prefix: Prefix
    blocks: tuple[Block, ...]
    ends: Tensor
    """Tokens after which the logits are wanted."""
    order: Tensor
    """Where each of the asked tokens is among them."""
    queries: int
    kind: torch.dtype
    kept: Tensor | None = None
    """Keys and values of all tokens, where only some of them ask."""

    @classmethod
    def of(cls, branches: Branches, prefix: Prefix, *, queries: int, like: Tensor) -> Tree:
        """`queries`: heads that share a key head; `like`: a tensor of the precision and device of keys and values."""
        ends = sorted(branches.asked)
        order = torch.tensor([ends.index(node) for node in branches.asked], device=like.device)
        every = list(range(len(branches.tokens)))
        blocks = _blocks(branches, every, queries, like)
        return cls(branches, prefix, blocks, torch.tensor(ends, device=like.device), order, queries, like.dtype)

    @property
    def size(self) -> int:
        """Tokens that come."""
        return len(self.ends) if self.kept is not None else len(self.branches.tokens)

    @property
    def narrows(self) -> bool:
        """Whether the last layer has less to do."""
        return len(self.ends) < len(self.branches.tokens)

    def narrowed(self, number: int, kv: Tensor) -> tuple[Tree, Sequence[int]]:
        """(the work of the asked tokens alone, which these are); `kv` (tokens, 2 key heads, size) are of all."""
        ends = self.ends.tolist()
        return replace(self, blocks=_blocks(self.branches, ends, self.queries, kv), kept=kv), ends

    def attended(self, number: int, layer: Layer, qkv: Tensor, how: Attention, heads: int) -> Tensor:
        """(tokens, heads x size) for (tokens, heads + 2 key heads, size)."""
        kv = qkv[:, heads:] if self.kept is None else self.kept
        count, size, key_heads = len(qkv), qkv.shape[-1], kv.shape[1] // 2
        q = qkv[:, :heads].view(count, key_heads, self.queries, size)
        together = q.transpose(0, 1).reshape(1, key_heads, -1, size)
        found, weight = self._own(q, kv, key_heads)
        for part in self.prefix.layer(number):
            values, total = over(together, part[:1], part[1:], None)
            before = total.view(key_heads, count, -1).transpose(0, 1)
            values = values.view(key_heads, count, -1, size).transpose(0, 1)
            found, weight = together_with(found, weight, values, before)
        return found.reshape(count, -1)

    def _own(self, q: Tensor, kv: Tensor, key_heads: int) -> tuple[Tensor, Tensor]:
        """(values (tokens, key heads, queries, size), logarithms of their weight) over the tokens of the tree."""
        found, size = [], q.shape[-1]
        for block in self.blocks:
            rows, longest = block.queries.shape
            some = q.index_select(0, block.queries.flatten()).view(rows, longest, key_heads, -1, size)
            some = some.transpose(1, 2).reshape(rows, key_heads, -1, size)
            seen = kv.index_select(0, block.keys.flatten()).view(rows, -1, 2, key_heads, size)
            k, v = seen.permute(2, 0, 3, 1, 4)
            values, total = over(some, k, v, block.mask)
            values = values.view(rows, key_heads, longest, -1, size).transpose(1, 2).reshape(-1, *q.shape[1:])
            total = total.view(rows, key_heads, longest, -1).transpose(1, 2).reshape(-1, *q.shape[1:3])
            found.append((values.index_select(0, block.real), total.index_select(0, block.real)))
        values, total = found[0] if len(found) == 1 else map(torch.cat, zip(*found, strict=True))
        return values, total


def over(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """(values, logarithms of the sums of exp(scores)) for q, scaled already, over k and v (rows, heads, keys, size)."""
    if q.device.type == "cpu" and _flash is not None:
        values, total = _flash(q, k, v, attn_mask=mask, scale=1.0)
        return values, total
    step = max(1, SCORES // (q.shape[0] * q.shape[1] * k.shape[2]))
    found = []
    for at in range(0, q.shape[2], step):
        scores = q[:, :, at : at + step] @ k.mT
        if mask is not None:
            scores = scores + mask[:, :, at : at + step]
        found.append((softmax(scores) @ v, scores.float().logsumexp(-1)))
    values, total = (torch.cat(parts, dim=2) for parts in zip(*found, strict=True))
    return values, total


def together_with(found: Tensor, weight: Tensor, values: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
    """What `over` gives for two sets of keys, as it gives it for both (Milakov and Gimelshein 2018)."""
    both = torch.lerp(values, found, torch.sigmoid(weight - total)[..., None].to(found.dtype))
    return both, torch.logaddexp(weight, total)


_flash: Any = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)


def _blocks(branches: Branches, asking: Sequence[int], queries: int, like: Tensor) -> tuple[Block, ...]:
    """The tokens that ask, in their order, row by row; each row sees all texts that its tokens are part of."""
    ends = [*branches.rows[1:], len(branches.tokens)]
    rows: list[tuple[list[int], list[int]]] = []
    waiting = iter([*asking, len(branches.tokens)])
    token = next(waiting)
    for end in ends:
        own: list[int] = []
        while token < end:
            own.append(token)
            token = next(waiting)
        if own:
            rows.append((own, sorted({node for one in own for node in branches.paths[one]})))
    blocks: list[Block] = []
    some: list[tuple[list[int], list[int]]] = []
    for row in rows:
        if some and _padded([*some, row]) > WASTE * sum(len(own) * len(keys) for own, keys in [*some, row]):
            blocks.append(_block(branches, some, queries, like))
            some = []
        some.append(row)
    blocks.append(_block(branches, some, queries, like))
    asked = 0
    placed = []
    for block in blocks:
        placed.append(replace(block, queries=block.queries + asked))
        asked += len(block.real)
    return tuple(placed)


def _padded(rows: Sequence[tuple[list[int], list[int]]]) -> int:
    return len(rows) * max(len(own) for own, _ in rows) * max(len(keys) for _, keys in rows)


def _block(branches: Branches, rows: Sequence[tuple[list[int], list[int]]], queries: int, like: Tensor) -> Block:
    longest, most = max(len(own) for own, _ in rows), max(len(keys) for _, keys in rows)
    deepest = max(len(branches.paths[token]) for own, _ in rows for token in own)
    none = [-1] * deepest
    paths = [[(branches.paths[t] + none)[:deepest] for t in own] + [none] * (longest - len(own)) for own, _ in rows]
    depths = [[len(branches.paths[t]) - 1 for t in keys] + [0] * (most - len(keys)) for _, keys in rows]
    keys = torch.tensor([[*keys, *[0] * (most - len(keys))] for _, keys in rows])
    there = torch.tensor([[True] * len(keys) + [False] * (most - len(keys)) for _, keys in rows])
    # a token sees a key where that is what its text has at the key's depth
    at_depth = torch.tensor(paths).gather(2, torch.tensor(depths)[:, None].expand(-1, longest, -1))
    seen = ((at_depth == keys[:, None]) & there[:, None]).repeat_interleave(queries, 1)[:, None]
    mask = torch.zeros(seen.shape, dtype=like.dtype).masked_fill_(~seen, torch.finfo(like.dtype).min)
    asks = torch.tensor([[True] * len(own) + [False] * (longest - len(own)) for own, _ in rows])
    real = asks.flatten().nonzero()[:, 0]
    numbers = torch.zeros(asks.numel(), dtype=torch.long).index_copy_(0, real, torch.arange(len(real)))
    return Block(*(one.to(like.device) for one in (numbers.view_as(asks), keys, mask, real)))
