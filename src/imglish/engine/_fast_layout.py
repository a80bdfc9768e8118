"""How a CPU multiplies best by a decoder's matrices: as they lie, without oneDNN, or laid out anew as oneDNN has them.

A linear layer brings its weights into oneDNN's layout at each call; kept in it, a few tokens take half the time on one
CPU. Nothing of this holds everywhere, so it is measured on the model's own weights: others would lie in the cache.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from imglish.engine import _budget_room, _native
from imglish.engine._fast_choice import CLEARLY, MOST_READ, own_loop, timed
from imglish.engine._native_products import Matrix, fits, fits_many, matrix, product, product_of_many

MOST_COPIED, SHARE = 1 << 30, 4  # bytes that are kept a second time, and at most one of so many that are free
WHOLE = 32  # rows of a matrix, or fewer: of those that are tried
SOME = 8  # tokens, where there is more than one
MANY = 64  # tokens of a turn or a question after what is known already
LONG = 256  # tokens of a prompt
MOST_MANY = 128  # tokens that are multiplied by compiled code alone
WORTH = 1.2  # times what torch takes for products: so much a compiled step saves beside them


@dataclass(frozen=True)
class Layout:
    """What is quickest. `one` and `some`: whether one token, and several, are multiplied by weights laid out anew."""

    own_loop: bool = False
    """Whether one token is multiplied without oneDNN."""
    one: bool = False
    some: bool = False
    native: int = 0
    """How many tokens at most are multiplied by compiled code."""
    threads: int = 1
    """Of compiled code."""
    many: bool = False
    """Whether many tokens are read by compiled code."""


@dataclass(frozen=True)
class Laid:
    """A linear layer (outputs, inputs) called with (tokens, inputs); `packed` are its weights laid out anew."""

    weight: Tensor
    packed: Tensor | None
    bias: Tensor | None
    layout: Layout

    @cached_property
    def _matrix(self) -> tuple[Matrix, Tensor | None]:
        """(what compiled code takes, the bias that it points to)."""
        bias = None if self.bias is None else self.bias.float().contiguous()
        return matrix(self.weight, bias), bias

    def __call__(self, x: Tensor) -> Tensor:
        x = x.to(self.weight.dtype)
        if len(x) <= self.layout.native and fits(self.weight):
            return product(x, self._matrix[0], self.layout.threads).to(x.dtype)
        if self.layout.many and len(x) <= MOST_MANY and fits_many(self.weight):
            return product_of_many(x, self._matrix[0], torch.get_num_threads())
        alone = len(x) == 1
        if self.packed is not None and (self.layout.one if alone else self.layout.some):
            return multiplied(x, self.packed, self.bias)
        if alone and self.layout.own_loop:
            with own_loop(True):
                return functional.linear(x, self.weight, self.bias)
        return functional.linear(x, self.weight, self.bias)


def packed(weight: Tensor) -> Tensor:
    """A copy in oneDNN's layout. Raises RuntimeError where this torch cannot make one."""
    made: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, SOME)
    return made


def multiplied(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(tokens, outputs) for a weight from `packed`."""
    found: Tensor = _product()(x, weight, bias, "none", [], "")
    return found


@functools.cache
def _product() -> Callable[..., Tensor]:
    product: Callable[..., Tensor] = torch.ops.mkldnn._linear_pointwise.default  # found once: looking takes as long
    return product


def layout_of(weights: Sequence[Tensor]) -> Layout:
    """The layout for matrices of a CPU's model that are multiplied one after the other."""
    kinds = (torch.float32, torch.bfloat16, torch.float16)
    weights = [weight for weight in weights if weight.dtype in kinds]
    if not weights or not torch.backends.mkldnn.is_available():
        return Layout()
    taken: list[Tensor] = []
    left = MOST_READ
    for weight in weights:
        rows = min(len(weight), left // (weight.nbytes // len(weight)))
        rows -= rows % min(WHOLE, rows or 1)
        taken += [weight[:rows]] if rows else []
        left -= rows * (weight.nbytes // len(weight))
    native = _native.library() is not None and all(map(fits, taken))
    with torch.inference_mode():
        copies = _copies(taken) if _fits(sum(weight.nbytes for weight in weights)) else None
        counts = (1, SOME // 2, SOME) if native else (1,)
        took = {tokens: _seconds(taken, copies, tokens, native=native) for tokens in counts}
        rows, threads = _compiled(took)
        one = some = took[1]
        reads = rows > 0 and all(map(fits_many, taken))
        if copies is not None or reads:
            some = _seconds(taken, copies, MANY if reads or rows == SOME else SOME, native=False, many=reads)
        reads = reads and some["many"] < WORTH * min(some["linear"], some.get("packed", float("inf")))
        if reads:  # long prompts are another matter: there the processor's arithmetic counts, not its memory
            long = _seconds(taken[: 1 + len(taken) // 3], None, LONG, native=False, many=True)
            reads = long["many"] < WORTH * long["linear"]
    plain = min(one["linear"], one.get("own", float("inf")))
    packs = not rows and one.get("packed", float("inf")) * CLEARLY < plain
    return Layout(
        not rows and not packs and one.get("own", float("inf")) < one["linear"], packs,
        not reads and some.get("packed", float("inf")) * CLEARLY < some["linear"], rows, threads, reads,
    )  # fmt: skip


def _compiled(took: dict[int, dict[str, float]]) -> tuple[int, int]:
    """(how many tokens at most, by how many threads) compiled code is for; it saves more than what a product takes."""
    rows, threads = 0, 1
    for tokens, seconds in sorted(took.items()):
        mine = {int(way.split()[1]): time for way, time in seconds.items() if way.startswith("native")}
        others = [time for way, time in seconds.items() if not way.startswith("native")]
        if not mine or min(mine.values()) > WORTH * min(others):
            break
        rows = tokens
        threads = min(mine, key=mine.__getitem__) if tokens == 1 else threads
    return rows, threads


def _copies(weights: Sequence[Tensor]) -> list[Tensor] | None:
    """All of them laid out anew; None where this torch, or their precision, has no such product."""
    try:
        made = [packed(weight) for weight in weights]
        multiplied(weights[0].new_ones(1, weights[0].shape[1]), made[0])
    except (RuntimeError, AttributeError, NotImplementedError):
        return None
    return made


def _seconds(
    weights: Sequence[Tensor], copies: Sequence[Tensor] | None, tokens: int, *, native: bool, many: bool = False
) -> dict[str, float]:
    """Seconds of each way for so many tokens."""
    given = [torch.ones(tokens, weight.shape[1], dtype=weight.dtype) for weight in weights]
    ways: dict[str, Callable[[], object]] = {"linear": functools.partial(_linear, given, weights)}
    if weights[0].dtype != torch.float32 and tokens == 1:
        ways["own"] = functools.partial(_linear, given, weights, alone=True)
    if copies is not None:
        ways["packed"] = functools.partial(_by_packed, given, copies)
    for threads in {1, torch.get_num_threads()} if native else ():
        ways[f"native {threads}"] = functools.partial(_by_native, given, [matrix(one) for one in weights], threads)
    if many:
        ways["many"] = functools.partial(_by_many, given, [matrix(one) for one in weights])
    return timed(ways, "cpu")


def _linear(given: Sequence[Tensor], weights: Sequence[Tensor], *, alone: bool = False) -> None:
    with own_loop(alone):
        for x, weight in zip(given, weights, strict=True):
            functional.linear(x, weight)


def _by_packed(given: Sequence[Tensor], weights: Sequence[Tensor]) -> None:
    for x, weight in zip(given, weights, strict=True):
        multiplied(x, weight)


def _by_native(given: Sequence[Tensor], weights: Sequence[Matrix], threads: int) -> None:
    for x, weight in zip(given, weights, strict=True):
        product(x, weight, threads)


def _by_many(given: Sequence[Tensor], weights: Sequence[Matrix]) -> None:
    for x, weight in zip(given, weights, strict=True):
        product_of_many(x, weight, torch.get_num_threads())


def _fits(count: int) -> bool:
    """Whether so many bytes can be kept a second time."""
    free = _budget_room.room("cpu")
    return count <= MOST_COPIED and (free is None or SHARE * count <= free)
