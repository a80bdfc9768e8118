"""What a lean decoder holds: it goes with its model, and follows all that its model is changed in."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from PIL import Image

from imglish.core.types import ImagePart, Message, Request, TextPart
from imglish.engine._fast_prompt import read_prompt, room_for
from imglish.engine.load import FAMILIES
from imglish.engine.vlm import VLM
from test_engine_fast import close, made, reference, stepper_of, texts


def test_weights_go_with_their_model_at_once() -> None:
    model = made("llama")
    (ids,) = texts(model, 9)
    stepper = stepper_of(model)
    stepper.prefill(ids[None])
    decoder, weight = weakref.ref(stepper.decoder), weakref.ref(model.model.layers[0].mlp.down_proj.weight)
    gc.collect()
    gc.disable()
    try:
        del stepper, model
        assert decoder() is None
        assert weight() is None
    finally:
        gc.enable()


def test_angles_follow_the_model_where_they_are_written_to() -> None:
    model = made("llama")
    (ids,) = texts(model, 9)
    close(stepper_of(model).prefill(ids[None])[0][0], reference(model, ids)[-1])
    model.model.rotary_emb.inv_freq.mul_(0.7)
    close(stepper_of(model).prefill(ids[None])[0][0], reference(model, ids)[-1])


@pytest.mark.parametrize("cache", [True, False])
def test_pictures_whose_features_go_deeper_are_encoded_once(cache: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = FAMILIES.get("qwen3_vl")().tiny()
    seen: list[int] = []
    features = loaded.family.features  # type: ignore[attr-defined]

    def counted(model: Any, views: Any) -> Any:
        seen.append(len(views))
        return features(model, views)

    monkeypatch.setattr(loaded.family, "features", counted)
    requests = [
        Request("ask", (Message("user", (ImagePart(Image.new("RGB", (90, 90), colour)), TextPart("Why?"))),), "Why?")
        for colour in ("red", "blue", "green")
    ]
    results = VLM(loaded).run(requests, max_tokens=3, cache=cache)
    assert sum(seen) == 3
    assert [result.receipt.cache_hits for result in results if result.receipt] == [0, 0, 0]


@pytest.mark.parametrize("offset", [0.0, 400.0])
def test_what_all_keys_have_in_common_costs_few_bits_nothing(offset: float) -> None:
    """A large bias of the keys, as Qwen2's have it, moves all scores of a query alike: no weight changes by it."""
    random = torch.Generator().manual_seed(0)
    heads, count, size = 4, 90, 32
    qkv = torch.randn(count, 3 * heads, size, generator=random)
    qkv[:, heads : 2 * heads] += offset * torch.randn(heads, size, generator=random) / size
    exact = read_prompt(qkv, heads, [], room_for(qkv, heads, count, torch.float32))
    few = read_prompt(qkv, heads, [], room_for(qkv, heads, count, torch.bfloat16)).float()
    assert (few - exact).abs().mean() < 0.006
