"""Attention of a prompt's tokens over what stands before them and over themselves, block by block.

Scores are written down for BLOCK queries at a time, against the keys that they may see and no others. On one CPU this
takes two thirds of the time of torch's fused kernel, on one whose matrix unit knows bfloat16 twice as much and more: so
a prompt with nothing before it is read by what is quicker where it runs. The scores of all of it never stand in memory.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from imglish.engine import _fast_choice as choice

LONG = 32  # tokens of a row from which they are read like this
TOKENS = 384  # of the prompt that is tried
BLOCK, LEAST = 128, 32  # queries at once, of all heads that share a key head; tokens at once, at least


def room_for(like: Tensor, heads: int, length: int, kind: torch.dtype) -> Tensor:
    """(2, key heads, length, size) for keys and values of (tokens, heads + 2 key heads, size); one for all layers."""
    return like.new_empty(2, (like.shape[1] - heads) // 2, length, like.shape[-1], dtype=kind)


@functools.cache
def fused_is_quick(kind: torch.dtype, heads: int, key_heads: int, size: int) -> bool:
    """Whether torch's fused kernel reads a prompt in less time on this CPU; measured once."""
    qkv = torch.randn(TOKENS, heads + 2 * key_heads, size, dtype=kind)
    room = room_for(qkv, heads, TOKENS, kind)
    with torch.inference_mode():
        ways: dict[bool, Callable[[], object]] = {
            way: functools.partial(read_prompt, qkv, heads, [], room, fused=way) for way in (True, False)
        }
        best = choice.timed(ways, "cpu")
    return best[True] * choice.CLEARLY < best[False]


def read_prompt(qkv: Tensor, heads: int, before: Sequence[Tensor], room: Tensor, *, fused: bool = False) -> Tensor:
    """Values (tokens, heads x size) for the tokens of one row, each of which sees `before` and those up to itself.

    `qkv` (tokens, heads + 2 key heads, size): queries, scaled already, keys and values. `before`: keys and values (2,
    key heads, length, size) in parts that follow one another. `room` is overwritten with all keys and values; the
    products have its precision, and rows of scores are summed in float32 in any. `fused`: by torch's kernel, where
    nothing stands before.
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
    if fused and not first:
        q, kv = qkv[:, :heads].to(kind).transpose(0, 1)[None], room[:, None, :, :count]
        every = functional.scaled_dot_product_attention(
            q, kv[0], kv[1], is_causal=True, scale=1.0, enable_gqa=queries > 1
        )
        return every[0].transpose(0, 1).reshape(count, heads * size)
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
