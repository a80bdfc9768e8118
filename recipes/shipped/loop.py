"""One training loop for every stage: budgeted by time, resumable, on one or several workers.

Workers train apart and average their weights every `SYNC` seconds (local SGD, Stich 2019, arXiv:1805.09767), each
weighted by what it saw: a worker that shares its core with something else slows nobody down. On a GPU one worker does
it all.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.distributed as dist
from muon import Muon
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

SYNC, SAVE, SAY = 30.0, 60.0, 15.0  # seconds
WORDS = 6.0  # how much faster the word embeddings learn than other tables: they are larger (`speak.LOUD`)
ADAM = ("embed", "lm_head", "position", "codes", "read")  # matrices that are tables, not maps


@dataclass(frozen=True)
class Plan:
    """What a stage needs to run: where, how long, how fast it learns."""

    name: str
    out: Path
    minutes: float
    rank: int = 0
    workers: int = 1
    lr: float = 3e-3  # of Muon; AdamW takes `adam` times that
    adam: float = 0.6
    floor: float = 0.03
    warmup: float = 0.03
    device: str = "cpu"
    meeting: str = ""  # file through which workers find each other


def rate(progress: float, plan: Plan) -> float:
    """Learning rate factor at `progress` (0 to 1): linear warm-up, then cosine to `floor`."""
    if progress < plan.warmup:
        return max(progress / plan.warmup, 0.01)
    done = min((progress - plan.warmup) / (1 - plan.warmup), 1.0)
    return plan.floor + (1 - plan.floor) * 0.5 * (1 + math.cos(math.pi * done))


def optimizers(model: nn.Module, plan: Plan) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside blocks, AdamW for vectors and tables, faster for the table of words."""
    muon, adam, words = [], [], []
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            table = weight.ndim < 2 or any(part in name for part in ADAM)
            (words if "embed_tokens" in name else adam if table else muon).append(weight)
    chosen: list[torch.optim.Optimizer] = []
    if muon:
        chosen.append(Muon(muon, lr=plan.lr))
    if adam:
        chosen.append(torch.optim.AdamW(adam, lr=plan.lr * plan.adam, betas=(0.9, 0.98), weight_decay=0.01))
    if words:
        chosen.append(torch.optim.AdamW(words, lr=plan.lr * plan.adam * WORDS, betas=(0.9, 0.98), weight_decay=0.0))
    for optimizer in chosen:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return chosen


def average(model: nn.Module, samples: int) -> None:
    """The mean of all workers' weights, each weighted by the samples it saw since the last time, in all of them."""
    total = torch.tensor(float(samples))
    dist.all_reduce(total)
    share = samples / max(float(total), 1.0)
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.is_floating_point():
            tensor.data.mul_(share)
            dist.all_reduce(tensor.data)


@dataclass
class Keeper:
    """Where a stage stands, on disk: weights once, optimizer state for each worker, a log of figures."""

    model: nn.Module
    plan: Plan
    chosen: list[torch.optim.Optimizer]
    spent: float = 0.0  # seconds of training
    number: int = 0  # batches
    seen: int = 0  # samples
    sums: dict[str, list[float]] = field(default_factory=dict)

    @property
    def weights(self) -> Path:
        """The stage's result."""
        return self.plan.out / f"{self.plan.name}.safetensors"

    @property
    def state(self) -> Path:
        """What this worker needs to go on."""
        return self.plan.out / f"{self.plan.name}.{self.plan.rank}.state"

    def load(self) -> None:
        """Go on where the stage was stopped, if it ever began; a worker that is new takes the place of the first."""
        first = self.plan.out / f"{self.plan.name}.0.state"
        source = self.state if self.state.exists() else first
        if not source.exists() or not self.weights.exists():
            return
        state = torch.load(source, weights_only=True)
        self.model.load_state_dict(load_file(self.weights), strict=False)
        for optimizer, saved in zip(self.chosen, state["optimizers"], strict=True):
            peaks = [group["peak"] for group in optimizer.param_groups]
            optimizer.load_state_dict(saved)
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["peak"] = peak  # the plan's, which may have changed
        self.spent, self.number, self.seen = state["spent"], state["number"], state["seen"]

    def save(self) -> None:
        """Write everything beside its old version first, so that a stop in the middle loses nothing."""
        if self.plan.rank == 0:
            tensors = {
                k: v.contiguous() for k, v in self.model.state_dict().items() if not k.endswith("lm_head.weight")
            }
            part = self.weights.with_suffix(".part")
            save_file(tensors, part)
            part.replace(self.weights)
        where = {"spent": self.spent, "number": self.number, "seen": self.seen}
        part = self.state.with_suffix(".part")
        torch.save({"optimizers": [optimizer.state_dict() for optimizer in self.chosen], **where}, part)
        part.replace(self.state)

    def count(self, loss: float, figures: dict[str, float]) -> None:
        """Take note of one batch."""
        self.number += 1
        self.seen += int(figures.pop("samples", 1))
        for key, value in {"loss": loss, **figures}.items():
            self.sums.setdefault(key, []).append(value)

    def say(self, factor: float) -> None:
        """One line of figures, the mean since the last line, to the log and to the screen."""
        row = {
            "minutes": round(self.spent / 60, 2),
            "batches": self.number,
            "samples": self.seen,
            "lr": round(factor, 4),
        }
        line = json.dumps({**row, **{key: round(sum(values) / len(values), 4) for key, values in self.sums.items()}})
        print(f"{self.plan.name}.{self.plan.rank} {line}", flush=True)
        with (self.plan.out / f"{self.plan.name}.{self.plan.rank}.jsonl").open("a") as log:
            log.write(line + "\n")
        self.sums = {}


def train(
    model: nn.Module,
    batches: Callable[[int], Iterable[object]],
    loss_of: Callable[[object], tuple[Tensor, dict[str, float]]],
    plan: Plan,
) -> None:
    """Train until `plan.minutes` of training are spent, however often it was stopped and started again.

    `batches(first)` yields the batches from number `first` on.
    """
    keeper = Keeper(model, plan, optimizers(model, plan))
    keeper.load()
    whole = plan.minutes * 60
    if keeper.spent >= whole:
        return
    if plan.workers > 1:
        store = dist.FileStore(plan.meeting, plan.workers)
        dist.init_process_group("gloo", store=store, rank=plan.rank, world_size=plan.workers)
    begin, synced, averaged = time.time() - keeper.spent, time.time(), keeper.seen
    said, saved = 0.0, time.time()
    for batch in batches(keeper.number):
        factor = rate(keeper.spent / whole, plan)
        keeper.count(*step(model, loss_of, batch, keeper.chosen, factor=factor))
        now = time.time()
        keeper.spent = now - begin
        finished = keeper.spent >= whole
        if plan.workers > 1:
            finished, together = False, torch.tensor(float(keeper.spent >= whole))
            if now - synced >= SYNC:
                average(model, keeper.seen - averaged)
                dist.all_reduce(together)
                synced, averaged, finished = time.time(), keeper.seen, bool(together > 0)
        if now - said >= SAY or finished:
            keeper.say(factor)
            said = now
        if now - saved >= SAVE or finished:
            keeper.save()
            saved = now
        if finished:
            break
    if plan.workers > 1:
        dist.barrier()
        dist.destroy_process_group()


def step(
    model: nn.Module,
    loss_of: Callable[[object], tuple[Tensor, dict[str, float]]],
    batch: object,
    chosen: list[torch.optim.Optimizer],
    *,
    factor: float,
) -> tuple[float, dict[str, float]]:
    """One update of the weights; the loss and the figures of its batch."""
    for optimizer in chosen:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor
    loss, figures = loss_of(batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_([weight for weight in model.parameters() if weight.grad is not None], 1.0)
    for optimizer in chosen:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return float(loss.detach()), figures
