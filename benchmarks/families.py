"""Whether every family's whole path works: a small model of it learns 16 scenes, and is then asked through `VLM`.

For families that write regions: `detect` (and `segment`, `read` where it is trained to write them) must give the boxes
back in pixels of the original, non-square pictures. For families that only chat, a different picture must change the
answer. Small random models of the real architecture; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from _table import Report, parser, row

from imglish import world
from imglish.core import geometry
from imglish.core.errors import InputError, SkillError
from imglish.core.results import Boxes, Masks, TextRegions
from imglish.core.types import Sample
from imglish.engine.load import FAMILIES
from imglish.engine.vlm import VLM
from imglish.families._base import Loaded
from imglish.families._chat import ChatFamily
from imglish.families._hub import HubFamily
from imglish.metrics import _interval

SCENES, STEPS, RATE = 16, 1200, 3e-3
GOOD = 0.02  # the loss at which a model knows its scenes by heart
SIZES = ((231, 150), (97, 140), (160, 90), (120, 200))


class Learned(NamedTuple):
    """What came of one skill: the mean IoU (or share of right answers) and how long it took to learn."""

    skill: str
    values: list[float]
    steps: int
    seconds: float
    loss: float


def scenes(skill: str, count: int, *, named: bool = False, seed: int = 0) -> list[Sample]:
    """Samples of that skill on pictures that are not square, short enough to be learned by heart.

    `named`: what is to be detected is named.
    """
    rng, found = random.Random(seed), []
    kind = "text" if skill == "read" else "things"
    number = 0
    while len(found) < count:
        scene = world.draw(kind, world.seeds("train", number, 1)[0], size=rng.choice(SIZES), difficulty="easy")
        number += 1
        fitting = [s for s in world.samples(scene) if s.skill == skill and bool(s.labels) == named]
        fitting = [s for s in fitting if not named or len(s.truth)]
        if skill == "ask":
            fitting = [s for s in fitting if s.topic == "caption"]
        if fitting:
            found.append(rng.choice(fitting))
    return found


def learn(loaded: Loaded, samples: Sequence[Sample], *, steps: int = STEPS, rate: float = RATE) -> tuple[int, float]:
    """Trains until the samples are known by heart; (steps taken, the last loss)."""
    family, model = loaded.family, loaded.model
    assert isinstance(family, HubFamily)
    batch = family.taught(loaded, samples)
    model.train()
    for module in model.modules():  # dropout only slows learning by heart
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    chosen = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.0)
    loss = float("inf")
    step = 0
    while step < steps and loss > GOOD:
        step += 1
        for group in chosen.param_groups:
            group["lr"] = rate * min(1.0, step / 20) * (1 - 0.9 * step / steps)
        output = model(**batch)
        output.loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        chosen.step()
        chosen.zero_grad(set_to_none=True)
        loss = float(output.loss.detach())
    model.eval()
    return step, loss


def agreement(result: Any, sample: Sample) -> float:
    """Mean IoU of the truth's regions with their nearest found ones, 0 where there is none; 1 or 0 for words."""
    truth = sample.truth
    if isinstance(truth, Boxes):
        return _matched(geometry.iou(truth.xyxy, result.xyxy)) if isinstance(result, Boxes) else 0.0
    if isinstance(truth, Masks):
        return _matched(geometry.mask_iou(truth.mask, result.mask)) if isinstance(result, Masks) else 0.0
    if isinstance(truth, TextRegions):
        same = isinstance(result, TextRegions) and result.texts == truth.texts
        return _matched(geometry.iou(truth.xyxy, result.xyxy)) if same else 0.0
    return float(str(result) == sample.answer)


def _matched(ious: Any) -> float:
    return float(np.asarray(ious).max(axis=1).mean()) if np.asarray(ious).size else 0.0


def needs_names(family: HubFamily) -> bool:
    """Whether this family detects only what it is told the names of."""
    (sample,) = scenes("detect", 1)
    try:
        family.check(sample.request())
    except InputError:
        return True
    return False


def writes(family: HubFamily, sample: Sample) -> bool:
    """Whether this checkpoint can write such an answer: PaliGemma's outlines need weights that `tiny` has not."""
    try:
        family.answer(sample)
    except SkillError:
        return False
    return True


def skills_of(family: HubFamily) -> list[str]:
    """The region skills that the family writes in a form of its own; `ask` for one that has none."""
    own = frozenset() if isinstance(family, ChatFamily) else family.prompted  # asked in words, written as boxes
    native = [s for s in ("detect", "segment", "read") if s in family.skills and s not in family.prompted - own]
    return native or ["ask"]


def prove(name: str, *, count: int = SCENES, steps: int = STEPS) -> list[Learned]:
    """Every skill of a family, each on a fresh small model."""
    results = []
    for skill in skills_of(FAMILIES.get(name)()):
        loaded = FAMILIES.get(name)().tiny()
        samples = scenes(skill, count, named=skill == "detect" and needs_names(loaded.family))
        if not writes(loaded.family, samples[0]):
            continue
        begun = time.process_time()
        taken, loss = learn(loaded, samples, steps=steps)
        seconds = time.process_time() - begun
        found = VLM(loaded).run([sample.request() for sample in samples], max_tokens=400)
        values = [agreement(result, sample) for result, sample in zip(found, samples, strict=True)]
        results.append(Learned(skill, values, taken, seconds, loss))
    return results


def published() -> list[str]:
    """The families that other people's checkpoints belong to."""
    return [name for name in FAMILIES.names() if issubclass(FAMILIES.get(name), HubFamily)]


def main() -> None:
    """One row per family and skill."""
    options: argparse.ArgumentParser = parser(__doc__ or "")
    options.add_argument("--families", nargs="*", default=published(), metavar="FAMILY")
    options.add_argument("--samples", type=int, default=SCENES, help=f"scenes to learn (default {SCENES})")
    options.add_argument("--steps", type=int, default=STEPS)
    given = options.parse_args()
    report = Report(given, {"samples": given.samples})
    for name in given.families:
        if any(report.has(f"{name}/{skill}") for skill in ("detect", "ask")):
            continue
        for learned in prove(name, count=given.samples, steps=given.steps):
            mean = float(np.mean(learned.values))
            unit = f"{'IoU' if learned.skill != 'ask' else 'right'}; {learned.steps} steps, {learned.seconds:.0f} s"
            interval = _interval.of_mean(learned.values)
            report.add(row(f"{name}/{learned.skill}", mean, interval, aim=0.8, unit=unit))
    report.show()


if __name__ == "__main__":
    main()
