"""Pictures of several prompts are encoded together, and nobody can tell but by the time that it takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from imglish.core.types import ImagePart, Message, Request, TextPart
from imglish.engine.load import FAMILIES
from imglish.engine.prompt import look_at, prompts
from imglish.engine.vlm import VLM
from imglish.families._base import Loaded
from imglish.families._hub import HubFamily

TOGETHER = [name for name in FAMILIES.names() if getattr(FAMILIES.get(name), "together", 1) > 1]


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (60 + 7 * seed, 90, 3), np.uint8))


def ask(*seeds: int, text: str = "Why?") -> Request:
    return Request("ask", (Message("user", (*(ImagePart(picture(seed)) for seed in seeds), TextPart(text))),), text)


@pytest.fixture(params=TOGETHER)
def loaded(request: pytest.FixtureRequest) -> Loaded:
    return FAMILIES.get(request.param)().tiny()


def watched(loaded: Loaded, monkeypatch: pytest.MonkeyPatch, *, most: int = 99) -> list[int]:
    """How many views the encoder got at each call; MemoryError where these are more than `most`."""
    seen: list[int] = []
    assert isinstance(loaded.family, HubFamily)
    features = loaded.family.features

    def counted(model: Loaded, views: Any) -> Any:
        seen.append(len(views))
        if len(views) > most:
            raise MemoryError
        return features(model, views)

    monkeypatch.setattr(loaded.family, "features", counted)
    return seen


def test_some_family_looks_ahead() -> None:
    assert "llava" in TOGETHER


def test_what_the_encoder_makes_of_a_picture_does_not_depend_on_those_beside_it(loaded: Loaded) -> None:
    items = [prompt.items[0] for prompt in prompts(loaded, [ask(seed) for seed in range(3)], {})]
    for (_, made), item in zip(look_at(loaded, items), items, strict=True):
        ((_, alone),) = look_at(loaded, [item])
        for one, other in zip(made, alone, strict=True):
            assert len(one) == item.count
            assert torch.allclose(one, other, atol=1e-5)


def test_pictures_are_encoded_a_few_at_once_and_each_counts_for_its_own_prompt(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [ask(seed, text=f"{seed}?") for seed in (0, 1, 2, 1, 3, 4)]
    expected = [VLM(loaded).run([one], max_tokens=5)[0].raw for one in requests]
    seen, few = watched(loaded, monkeypatch), loaded.family.together  # type: ignore[attr-defined]
    vlm = VLM(loaded)
    found = vlm.run(requests, max_tokens=5)
    assert [one.raw for one in found] == expected
    assert sum(seen) == 5 and max(seen) == few
    assert [one.receipt.cache_hits for one in found if one.receipt] == [0, 0, 0, 1, 0, 0]
    again = vlm.run(requests, max_tokens=5)
    assert [one.raw for one in again] == expected
    assert sum(seen) == 5
    assert [one.receipt.cache_hits for one in again if one.receipt] == [1] * 6


def test_where_memory_ends_each_picture_is_encoded_alone(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = [ask(seed) for seed in range(3)]
    expected = [VLM(loaded).run([one], max_tokens=5)[0].raw for one in requests]
    seen = watched(loaded, monkeypatch, most=1)
    assert [one.raw for one in VLM(loaded).run(requests, max_tokens=5)] == expected
    assert seen.count(1) == 3


def test_without_a_cache_and_alone_a_picture_is_encoded_once(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = watched(loaded, monkeypatch)
    VLM(loaded).run([ask(0)], max_tokens=2)
    VLM(loaded).run([ask(1), ask(2)], max_tokens=2, cache=False)
    assert seen == [1, 1, 1]
