"""Whether a picture is like the drawn world: a linear rule over how the encoder, and a ruler, see it.

Densities alone do not tell: an encoder that was trained on drawings forgets what makes a photograph one. So the rule is
fitted between pictures of the world and pictures made to be unlike it, and its threshold is set on the world alone.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from imglish.core.errors import CheckpointError

FILE = "familiarity.safetensors"
_lock = threading.Lock()
_SHARES = (0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95)


@torch.inference_mode()
def traits(pixel_values: Tensor, tokens: Tensor, dense: Tensor) -> Tensor:
    """(pictures, D): mean and deviation of what `Sight.see` gives, and the pictures' contrasts."""
    seen = [statistic.float() for part in (tokens, dense) for statistic in (part.mean(1), part.std(1))]
    return torch.cat((*seen, contrasts(pixel_values)), 1)


@contextmanager
def watched(vision: Any) -> Iterator[list[Tensor]]:
    """Keeps the tokens and the map (as `Sight.see` gives them) of the one picture batch that is encoded meanwhile.

    One thread at a time: each would keep what the others see.
    """
    with _lock:
        yield from _watched(vision)


def _watched(vision: Any) -> Iterator[list[Tensor]]:
    seen: list[Tensor] = []
    handles = [
        vision.norm.register_forward_hook(lambda _module, _inputs, output: seen.append(output)),
        vision.fuse.register_forward_hook(lambda _module, _inputs, output: seen.append(output.flatten(2).mT)),
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def contrasts(pixel_values: Tensor) -> Tensor:
    """(pictures, 91): quantiles of local contrast in lightness and colour at four scales, and of lightness."""
    shares = torch.tensor(_SHARES, device=pixel_values.device)
    picture = pixel_values.float()
    rows = [picture.mean(1).flatten(1)]
    for _ in range(4):
        colour = picture - picture.mean(1, keepdim=True)
        spreads = (_variance(picture), colour.square(), _variance(colour))
        rows += [(spread.mean(1) + 1e-5).log().flatten(1) / 2 for spread in spreads]
        picture = F.avg_pool2d(picture, 2)
    return torch.cat([row.quantile(shares, dim=1).T for row in rows], 1)


def _variance(picture: Tensor) -> Tensor:
    return (F.avg_pool2d(picture.square(), 4, 2) - F.avg_pool2d(picture, 4, 2).square()).clamp(min=0)


@dataclass(frozen=True, eq=False)
class Familiarity:
    """`weight` (D,), `bias`: a picture whose traits give more than 0 is unlike the world."""

    weight: Tensor
    bias: float

    @classmethod
    def fit(cls, world: Tensor, unlike: Tensor, *, false_alarms: float = 0.02, decay: float = 0.01) -> Familiarity:
        """From traits of pictures of the world and of others, both (pictures, D).

        A logistic regression on two thirds of the world; the threshold lets `false_alarms` of the other third be
        called unlike it.
        """
        world, unlike = world.double().cpu(), unlike.double().cpu()  # copies: made without gradients
        held = torch.arange(len(world)) % 3 == 0
        known = world[~held]
        mean, scale = known.mean(0), known.std(0) + 1e-3 * known.std() + 1e-9
        rows = (torch.cat((known, unlike)) - mean) / scale
        is_unlike = torch.cat((torch.zeros(len(known)), torch.ones(len(unlike)))).double()
        balance = torch.tensor(len(known) / len(unlike)).double()
        weight = torch.zeros(rows.shape[1] + 1, dtype=torch.double, requires_grad=True)
        optimizer = torch.optim.LBFGS([weight], max_iter=200, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            guess = rows @ weight[:-1] + weight[-1]
            wrong = F.binary_cross_entropy_with_logits(guess, is_unlike, pos_weight=balance)
            total: Tensor = wrong + decay * weight[:-1].square().sum()
            total.backward()
            return total

        optimizer.step(loss)
        found = weight.detach()[:-1] / scale
        highest = ((world[held] - mean) @ found).quantile(1 - false_alarms)
        return cls(found.float(), float(-mean @ found - highest))

    @classmethod
    def read(cls, folder: Path, device: str) -> Familiarity | None:
        """What `save` wrote, None where nothing was."""
        if not (folder / FILE).is_file():
            return None
        try:
            tensors = load_file(folder / FILE, device=device)
            return cls(tensors["weight"].float(), float(tensors["bias"]))
        except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
            raise CheckpointError(f"cannot read {folder / FILE}: {error}") from error

    def save(self, folder: Path) -> None:
        """Writes `familiarity.safetensors` beside the weights."""
        save_file({"weight": self.weight.contiguous(), "bias": torch.tensor(self.bias)}, folder / FILE)

    @cached_property
    def digest(self) -> str:
        """A name of the rule by what it is: equal rules say the same of equal pictures."""
        rule = self.weight.detach().float().cpu().numpy().tobytes() + repr(self.bias).encode()
        return hashlib.blake2b(rule, digest_size=8).hexdigest()

    def familiarity(self, seen: Tensor) -> Tensor:
        """(pictures,) of traits: from 0 (unlike anything drawn) over 1 (the threshold) to 2."""
        return 2 * torch.sigmoid(-(seen.float() @ self.weight + self.bias))
