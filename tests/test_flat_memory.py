"""A thousand different pictures in one process: what is held does not grow with them."""

from __future__ import annotations

import gc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from imglish.core.types import ImagePart, Message, Request, TextPart
from imglish.engine.cache import FeatureCache
from imglish.engine.load import FAMILIES
from imglish.engine.prefix import PrefixTree
from imglish.engine.runner import Runner
from imglish.engine.vlm import VLM

KEPT = {"imglish": 60_000, "qwen2_vl": 8_000}  # bytes of features, and as many of keys and values: a few pictures'
OTHERS = 20_000
ONCE = 60  # objects that are made when they are first needed, however many pictures follow
WARM = 80  # pictures until all that is bounded is full: automata of 64 questions are kept, too


def ask(seed: int) -> Request:
    size = (40 + seed % 17, 30 + seed % 11)  # no two alike, of many sizes
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    parts = (ImagePart(Image.fromarray(pixels)), TextPart(f"What is number {seed}?"))
    return Request("ask", (Message("user", parts),), f"What is number {seed}?")


def tensors() -> int:
    """Bytes of all tensors that are alive."""
    gc.collect()
    alive = [one for one in gc.get_objects() if issubclass(type(one), torch.Tensor)]
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in alive}.values())


def objects() -> Counter[str]:
    for _ in range(4):  # tuples in tuples are let go of one layer a time
        gc.collect()
    return Counter(type(one).__name__ for one in gc.get_objects())


def resident() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def small(name: str) -> VLM:
    vlm = VLM(FAMILIES.get(name)().tiny(), max_tokens=3)
    kept = KEPT.get(name, OTHERS)
    vlm._runner = Runner(features=FeatureCache(kept), prefixes=PrefixTree(kept))
    return vlm


@pytest.mark.parametrize("name", ["imglish", "llava", "qwen2_vl"])
def test_what_is_held_is_flat_after_the_first_pictures(name: str) -> None:
    grows(name, 240 if name == "imglish" else 180)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES.names())
def test_resident_memory_is_flat_over_a_thousand_pictures(name: str) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not tell what is resident")
    before = grows(name, 300)
    vlm = small(name)
    for seed in range(1000):
        vlm.run([ask(seed)] if "ask" in vlm.skills else [])
        if seed == 300:
            before = resident()
    assert resident() - before < 16_000_000


def grows(name: str, count: int) -> int:
    """Runs so many pictures and holds what there is after them against what there was after WARM."""
    vlm = small(name)
    if "ask" not in vlm.skills:
        pytest.skip("this family is not asked")
    for start in range(0, WARM, 4):
        vlm.run([ask(seed) for seed in range(start, start + 4)])
    held, known = tensors(), objects()
    for start in range(WARM, count, 4):
        vlm.run([ask(seed) for seed in range(start, start + 4)])
    more = objects() - known
    kept = KEPT.get(name, OTHERS)
    assert tensors() - held < 2 * kept
    assert 0 < vlm._runner.features.bytes <= kept
    assert vlm._runner.prefixes.bytes <= kept
    assert {kind: number for kind, number in more.items() if number > ONCE} == {}
    return resident() if Path("/proc/self/status").exists() else 0
