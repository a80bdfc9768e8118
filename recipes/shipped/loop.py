"""One training loop for every stage: budgeted by time, resumable, on one or several workers.

Workers train apart and average their weights every `SYNC` seconds (local SGD, Stich 2019, arXiv:1805.09767): a worker
that shares its core with something else slows nobody down. On a GPU one worker does it all.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from muon import Muon
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

SYNC, SAVE, SAY = 30.0, 120.0, 15.0  # seconds


@dataclass(frozen=True)
class Plan:
    """What a stage needs to run: where, how long, how fast it learns."""

    name: str
    out: Path
    minutes: float
    rank: int = 0
    workers: int = 1
    lr: float = 2.5e-3  # of Muon; AdamW takes `adam` times that
    adam: float = 0.5
    floor: float = 0.03
    warmup: float = 0.04
    device: str = "cpu"
    meeting: str = ""  # file through which workers find each other


def rate(progress: float, plan: Plan) -> float:
    """Learning rate factor at `progress` (0 to 1): linear warm-up, then cosine to `floor`."""
    if progress < plan.warmup:
        return max(progress / plan.warmup, 0.01)
    done = min((progress - plan.warmup) / (1 - plan.warmup), 1.0)
    return plan.floor + (1 - plan.floor) * 0.5 * (1 + math.cos(math.pi * done))


def optimizers(model: nn.Module, plan: Plan, adam_names: tuple[str, ...]) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside blocks, AdamW for vectors and for whatever is named in `adam_names`."""
    muon, adam = [], []
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            vector = weight.ndim < 2 or any(part in name for part in adam_names)
            (adam if vector else muon).append(weight)
    chosen: list[torch.optim.Optimizer] = []
    if muon:
        chosen.append(Muon(muon, lr=plan.lr))
    if adam:
        chosen.append(torch.optim.AdamW(adam, lr=plan.lr * plan.adam, betas=(0.9, 0.98), weight_decay=0.01))
    for optimizer in chosen:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return chosen


def average(model: nn.Module, samples: int) -> None:
    """The mean of all workers' weights, each weighted by the samples it saw since the last time, in all of them."""
    total = torch.tensor(float(samples))
    dist.all_reduce(total)
    share = samples / float(total)
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.is_floating_point():
            tensor.data.mul_(share)
            dist.all_reduce(tensor.data)


def train(
    model: nn.Module,
    batches: Callable[[int], Iterable[object]],
    loss_of: Callable[[object], tuple[Tensor, dict[str, float]]],
    plan: Plan,
    *,
    adam_names: tuple[str, ...] = ("embed", "lm_head", "position", "codes", "read"),
    accumulate: int = 1,
) -> None:
    """Train until `plan.minutes` of training are spent, however often it was stopped and started again.

    `batches(first)` yields the batches from number `first` on. Writes `<name>.safetensors`, `<name>.state` and a line of
    figures in `<name>.jsonl` every few seconds.
    """
    state_file = plan.out / f"{plan.name}.{plan.rank}.state"
    weights_file = plan.out / f"{plan.name}.safetensors"
    chosen = optimizers(model, plan, adam_names)
    spent, number, seen = 0.0, 0, 0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        model.load_state_dict(load_file(weights_file), strict=False)
        for optimizer, saved in zip(chosen, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        spent, number, seen = state["spent"], state["number"], state["seen"]
    if spent >= plan.minutes * 60:
        return
    if plan.workers > 1:
        store = dist.FileStore(plan.meeting, plan.workers)
        dist.init_process_group("gloo", store=store, rank=plan.rank, world_size=plan.workers)
    log = (plan.out / f"{plan.name}.{plan.rank}.jsonl").open("a")
    begin, base, said, saved_at, synced = time.time(), spent, 0.0, time.time(), time.time()
    sums: dict[str, float] = {}
    steps, averaged = 0, seen
    parameters = [weight for weight in model.parameters() if weight.requires_grad]

    def save() -> None:
        if plan.rank == 0:
            part = weights_file.with_suffix(".part")
            save_file({k: v.contiguous() for k, v in model.state_dict().items() if not k.endswith("lm_head.weight")}, part)
            part.replace(weights_file)
        part = state_file.with_suffix(".part")
        torch.save({"optimizers": [o.state_dict() for o in chosen], "spent": spent, "number": number, "seen": seen}, part)
        part.replace(state_file)

    for batch in batches(number):
        factor = rate(spent / (plan.minutes * 60), plan)
        for optimizer in chosen:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * factor
        loss, figures = loss_of(batch)
        (loss / accumulate).backward()
        number += 1
        if number % accumulate == 0:
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            for optimizer in chosen:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
        steps += 1
        seen += int(figures.pop("samples", 1))
        for key, value in {"loss": float(loss.detach()), **figures}.items():
            sums[key] = sums.get(key, 0.0) + value
        now = time.time()
        spent = base + now - begin
        if plan.workers > 1 and now - synced >= SYNC:
            done = torch.tensor(float(spent >= plan.minutes * 60))
            average(model, seen - averaged)
            dist.all_reduce(done)
            synced, averaged = time.time(), seen
            finished = bool(done > 0)
        else:
            finished = plan.workers == 1 and spent >= plan.minutes * 60
        if now - said >= SAY or finished:
            row = {"minutes": round(spent / 60, 2), "batches": number, "samples": seen, "lr": round(factor, 4)}
            row.update({key: round(value / steps, 4) for key, value in sums.items()})
            print(f"{plan.name}.{plan.rank}", json.dumps(row), flush=True)
            log.write(json.dumps(row) + "\n")
            log.flush()
            said, sums, steps = now, {}, 0
        if now - saved_at >= SAVE or finished:
            save()
            saved_at = now
        if finished:
            break
    log.close()
    if plan.workers > 1:
        dist.barrier()
        dist.destroy_process_group()
