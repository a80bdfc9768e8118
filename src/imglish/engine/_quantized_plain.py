"""Linear layers of int8 whose weights lie as they are: for compiled code, and prompts are multiplied by torch."""

from __future__ import annotations

import functools
from typing import ClassVar

import torch
from torch import Tensor, nn

from imglish.engine import _fast_choice as choice
from imglish.engine import _native, _pages
from imglish.engine._native_products import MOST_ROWS, WHOLE, matrix, product
from imglish.engine._quantized import Int8Linear

SIZE, PROMPT = 1024, 64  # of the matrix that is tried, (4 SIZE, SIZE); tokens read at once
WORTH = 1.2  # times fbgemm's time for products alone; a compiled step saves more than that beside them


class PlainInt8Linear(nn.Module):
    """Weights (outputs, inputs) in int8 and a scale for each output. A few tokens are multiplied as they are.

    Many tokens are in int8 themselves, with a scale for each, so that no token changes another.
    """

    quantised: ClassVar[str] = "int8"

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        self.scale = (weight.abs().amax(1) / 127).clamp(min=1e-12)
        self.weight = (weight / self.scale[:, None]).round().to(torch.int8)
        self.bias = None if linear.bias is None else linear.bias.detach().float()
        self.nbytes = self.weight.nbytes + self.scale.nbytes
        self.in_features, self.out_features = linear.in_features, linear.out_features

    @staticmethod
    def fits(linear: nn.Linear) -> bool:
        """Whether a layer has the sizes that compiled code takes."""
        return linear.in_features % WHOLE[torch.int8] == 0

    def forward(self, x: Tensor) -> Tensor:
        given = x.reshape(-1, self.in_features).float()
        if len(given) <= MOST_ROWS:
            found = product(given, matrix(self.weight, self.bias, self.scale), torch.get_num_threads())
        else:
            largest = given.abs().amax(-1, keepdim=True).clamp(min=1e-12)
            few = (given * (127 / largest)).round().to(torch.int8)
            found = torch._int_mm(few, self.weight.t()) * (largest / 127) * self.scale
            found = found if self.bias is None else found + self.bias
        return found.view(*x.shape[:-1], self.out_features).to(x.dtype)


def joined(layers: tuple[nn.Module, ...]) -> tuple[Tensor, Tensor | None, Tensor] | None:
    """(weights, bias, scales) of layers as those of one, their outputs side by side; each goes on as a view of it.

    None where one is of another kind, or some have a bias and others none.
    """
    some = [layer for layer in layers if isinstance(layer, PlainInt8Linear)]
    biases = [layer.bias for layer in some if layer.bias is not None]
    if len(some) < len(layers) or len(biases) not in (0, len(layers)):
        return None
    rows = [layer.out_features for layer in some]
    whole = _pages.mapped((sum(rows), some[0].in_features), some[0].weight)
    for layer, part in zip(some, whole.split(rows), strict=True):
        layer.weight = part.copy_(layer.weight)
    return whole, torch.cat(biases) if biases else None, torch.cat([layer.scale for layer in some])


@functools.cache
def is_quick() -> bool:
    """Whether such layers are quick on this processor, for a token and for a prompt: measured beside fbgemm's."""
    has = torch.cpu.get_capabilities()
    if _native.library() is None or not (has.get("avx512_vnni", False) or has.get("amx_int8", False)):
        return False  # without such instructions sums of two products could saturate
    with torch.inference_mode():
        linear = nn.Linear(SIZE, 4 * SIZE, bias=False)
        ways = {"fbgemm": Int8Linear(linear), "plain": PlainInt8Linear(linear)}
        for tokens in (1, PROMPT):
            x = torch.randn(tokens, SIZE)
            best = choice.timed({name: functools.partial(layer, x) for name, layer in ways.items()}, "cpu")
            if best["plain"] > WORTH * best["fbgemm"]:
                return False
    return True
