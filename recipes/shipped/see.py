"""Stage 1: the vision encoder learns to see. Every cell of every picture says what it holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from loop import Plan, train
from safetensors.torch import load_file
from scenes import SEE, batches, draw, known
from targets import IGNORE, LETTERS, MARKS, targets
from torch import Tensor
from torch.nn import functional as F

from imglish.nn.encoders import Sight, SightConfig
from imglish.world._words import COLOURS, THINGS

EXTRA = ("scratch", "hole", "stain", "crack", "dent", "bar", "slice", "point", "portrait", "panel", "frame", "plate")


def config() -> SightConfig:
    """The encoder's sizes, and everything it can name."""
    names = [*THINGS, *(name for name in EXTRA if name not in THINGS)]
    return SightConfig(classes=("", *names), colours=tuple(COLOURS), letters=LETTERS, marks=MARKS, middles=True)


def normalised(pixels: np.ndarray) -> Tensor:
    """(B, S, S, 3) bytes to (B, 3, S, S), as the processor does it: (x / 255 - 0.5) / 0.25."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float().div_(63.75).sub_(2.0)


def collate(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Rows of `targets` to one batch of tensors."""
    stacked = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
    batch = {key: torch.from_numpy(value) for key, value in stacked.items() if key != "pixels"}
    batch["pixels"] = normalised(stacked["pixels"])
    return batch


def dense_loss(model: Sight, dense: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
    """The loss of all readings, and how many of the objects' cells and letters are right."""
    read = model.readings(dense)
    names, letters = batch["class"].flatten(), batch["letter"].flatten()
    on, written = names > 0, letters > 0
    weight = torch.ones(len(model.config.classes), device=dense.device)
    weight[0] = 0.2
    logits = read["class"].float().flatten(0, 1)
    loss = F.cross_entropy(logits, names, weight)
    slots = read["letter"].float().flatten(0, 2)
    weight = torch.ones(len(model.config.letters), device=dense.device)
    weight[0] = 0.1
    loss = loss + F.cross_entropy(slots, letters, weight, ignore_index=IGNORE)
    figures = {"cells": float((logits[on].argmax(-1) == names[on]).float().mean()) if on.any() else 1.0}
    if written.any():
        loss = loss + 0.6 * F.cross_entropy(
            slots[written], letters[written]
        )  # which letter, whatever the many empty slots say
        marks, wanted = read["mark"].float().flatten(0, 2)[written], batch["mark"].flatten()[written]
        loss = loss + F.cross_entropy(marks, wanted)
        right = (slots[written].argmax(-1) == letters[written]) & (marks.argmax(-1) == wanted)
        figures["letters"] = float(right.float().mean())
    if on.any():
        shade = batch["colour"].flatten()[on]
        if (shade >= 0).any():
            loss = loss + 0.5 * F.cross_entropy(read["colour"].float().flatten(0, 1)[on], shade, ignore_index=IGNORE)
        boxes = model.boxes(read["box"]).flatten(0, 1)[on]
        error = boxes - batch["box"].flatten(0, 1)[on]
        loss = loss + 4 * F.smooth_l1_loss(error * 6, torch.zeros_like(error), beta=0.05)
        bits = read["mask"].float().flatten(0, 1)[on]
        loss = loss + 0.5 * F.binary_cross_entropy_with_logits(bits, batch["mask"].flatten(0, 1)[on].float())
        figures["pixels"] = float(error.detach().abs().mean()) * model.config.image_size
    return loss, figures


def run(plan: Plan, size: int = 12) -> None:
    """Train the encoder; the result is `see.safetensors`."""
    torch.manual_seed(plan.rank)
    model = Sight(config()).to(plan.device, memory_format=torch.channels_last)
    for name in ("class_codes", "colour_codes", "letter_codes", "mark_codes"):
        getattr(model, name).requires_grad_(False)  # these speak to the language model and are learned with it
    warm = plan.out / "see_warm.safetensors"
    if warm.exists():  # a shorter run's weights, to go on from at full rate
        model.load_state_dict(load_file(warm))
    classes = {name: number for number, name in enumerate(model.config.classes) if name}
    colours = {name: number for number, name in enumerate(model.config.colours)}
    mixture = known(SEE)

    def load(first: int) -> Iterator[dict[str, Tensor]]:
        for seeds in batches("see", plan.rank, plan.workers, size, first):
            scenes = [draw(seed, mixture) for seed in seeds]
            rows = [targets(scene, scene.seed % len(scene.images), classes, colours, 192) for scene in scenes]
            yield {key: value.to(plan.device) for key, value in collate(rows).items()}

    def loss_of(batch: Any) -> tuple[Tensor, dict[str, float]]:
        with torch.autocast(plan.device.split(":")[0], torch.bfloat16):
            _, dense = model.see(batch["pixels"])
        loss, figures = dense_loss(model, dense.float() if plan.device == "cpu" else dense, batch)
        return loss, {"samples": len(batch["pixels"]), **figures}

    model.train()
    train(model, load, loss_of, plan)
