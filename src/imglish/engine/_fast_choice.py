"""What a lean step is best computed with on this processor: measured once in a process or for a model, quickly.

On one CPU, attention over bfloat16 keys takes several times as long as over float32 ones where heads are small. That
does not hold everywhere, so it is not assumed. What matrices are multiplied with: `imglish.engine._fast_layout`.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional

TOKENS, ROUNDS = 512, 4  # keys that the attention is measured over; times that each way is tried, in turns
MOST_READ = 96 << 20  # bytes that are read to choose how: more than caches hold
CLEARLY = 1.1  # times quicker: less is not worth another layout
MUCH = 1.5  # times quicker: less is not worth keys and values of fewer bits
T = TypeVar("T")
Attention = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]

_lock = threading.Lock()
_running = 0
_before = True


def plain_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Values of q (rows, key heads, queries, size), scaled already, over k and v (rows, key heads, keys, size).

    `mask` (rows, 1, queries, keys) is added.
    """
    scores = q @ k.mT
    if mask is not None:
        scores = scores + mask
    return softmax(scores) @ v


def softmax(scores: Tensor) -> Tensor:
    """In float32 whatever the precision of the scores, as transformers does it."""
    return scores.softmax(-1) if scores.dtype == torch.float32 else scores.softmax(-1, torch.float32).to(scores.dtype)


def fused_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """The same by torch's fused kernel."""
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1.0)


@functools.cache
def attention_of(
    device: str, dtype: torch.dtype, key_heads: int, queries: int, size: int, layers: int
) -> tuple[torch.dtype, Attention]:
    """(the precision that keys and values are kept in, the function) that is the quickest for one token of one row.

    Measured over the keys and values of many layers: those of one would stay in the cache. On a CPU fewer bits have to
    be much quicker: over a prefix that rows share the scores are written down, and torch copies keys of few bits then.
    """
    layers = min(layers, -(-MOST_READ // (2 * key_heads * TOKENS * size * torch.float32.itemsize)))
    kinds = {dtype, torch.float32} if device == "cpu" else {dtype}
    ways = [(kind, how) for kind in sorted(kinds, key=str) for how in (plain_attention, fused_attention)]
    with torch.inference_mode():
        inputs = {
            kind: (
                torch.ones(1, key_heads, queries, size, device=device, dtype=kind),
                torch.ones(layers, 2, 1, key_heads, TOKENS, size, device=device, dtype=kind),
            )
            for kind in kinds
        }
        best = timed({(kind, how): functools.partial(_attend, how, *inputs[kind]) for kind, how in ways}, device)
    quick = min(best, key=best.__getitem__)
    whole = min((way for way in ways if way[0] == torch.float32), key=best.__getitem__, default=quick)
    return quick if best[quick] * MUCH < best[whole] else whole


def _attend(how: Attention, q: Tensor, kv: Tensor) -> None:
    for k, v in kv:
        how(q, k, v, None)


def timed(ways: dict[T, Callable[[], object]], device: str) -> dict[T, float]:
    """Seconds of each way in the best of its rounds; they take turns, so that what else runs hits all."""
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(ROUNDS):
        for way, run in ways.items():
            began = time.perf_counter()
            run()
            if device.startswith("cuda"):
                torch.cuda.synchronize(device)
            best[way] = min(best[way], time.perf_counter() - began)
    return best


@contextmanager
def own_loop(wanted: bool) -> Iterator[None]:
    """Without oneDNN while it lasts. The switch is the whole process's; the last one out turns it back."""
    global _running, _before
    if not wanted:
        yield
        return
    with _lock:
        if _running == 0:
            _before = torch._C._get_mkldnn_enabled()
            torch._C._set_mkldnn_enabled(False)
        _running += 1
    try:
        yield
    finally:
        with _lock:
            _running -= 1
            if _running == 0:
                torch._C._set_mkldnn_enabled(_before)
