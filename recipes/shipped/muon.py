"""Muon: momentum whose matrix updates are made orthogonal (https://kellerjordan.github.io/posts/muon).

torch.optim.Muon takes matrices only; convolutions, flattened to matrices, profit as much, so this one takes both.
"""

from __future__ import annotations

import torch
from torch import Tensor

STEPS = ((3.4445, -4.7750, 2.0315),) * 5  # the quintic Newton-Schulz iteration of the reference


def orthogonal(update: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrix to `update`, roughly: singular values end between 0.7 and 1.2."""
    x = update.bfloat16()
    x = x / (x.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    for a, b, c in STEPS:
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if tall else x).to(update.dtype)


class Muon(torch.optim.Optimizer):
    """For weights of two dimensions and more. The step has the root mean square of an AdamW step (`0.2`)."""

    def __init__(self, params: list[Tensor], *, lr: float, momentum: float = 0.95, weight_decay: float = 0.01) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum = state["momentum"].mul_(group["momentum"]).add_(weight.grad)
                update = weight.grad.add(momentum, alpha=group["momentum"])
                matrix = update.flatten(1)
                step = orthogonal(matrix).mul_(0.2 * max(matrix.shape) ** 0.5).view_as(weight)
                weight.mul_(1 - group["lr"] * group["weight_decay"]).add_(step, alpha=-group["lr"])
