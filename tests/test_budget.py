"""What a request takes is known before it runs, is what it then takes, and is refused where it is too much."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from imglish.core.errors import InputError, MemoryLimitError
from imglish.core.types import ImagePart, Message, Request, TextPart, VideoPart
from imglish.engine import _budget_room, _fast_choice, _fast_weights, budget
from imglish.engine._budget_sizes import sizes_of
from imglish.engine._fast_layout import Layout
from imglish.engine.generate import Options
from imglish.engine.load import FAMILIES
from imglish.engine.loop import Loop
from imglish.engine.vlm import VLM
from imglish.families import _imglish_model, _qwen_family
from imglish.families._base import Loaded

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
SIZE = (300, 200)


def picture(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8))


def ask(loaded: Loaded, count: int = 1, size: tuple[int, int] = SIZE) -> Request:
    skill = next(skill for skill in ("ask", "caption", "detect") if skill in loaded.family.skills)
    parts = (*(ImagePart(picture(seed, size)) for seed in range(count)), TextPart("What is it?"))
    return Request(skill, (Message("user", parts),), "What is it?")


def watch(count: int, size: tuple[int, int] = (60, 60)) -> Request:
    frames = tuple(picture(seed, size) for seed in range(count))
    return Request("watch", (Message("user", (VideoPart(frames), TextPart("What moves?"))),), "What moves?")


@pytest.fixture(scope="module", params=FAMILIES.names())
def loaded(request: pytest.FixtureRequest) -> Loaded:
    return FAMILIES.get(request.param)().tiny()


@pytest.fixture(scope="module")
def qwen() -> Loaded:
    return FAMILIES.get("qwen2_vl")().tiny()


def test_the_prediction_is_near_what_tensors_take(loaded: Loaded) -> None:
    """Tiny models: what does not grow with anything weighs most in them, so the bounds are wide."""
    from _peak import Peak

    count = min(loaded.family.max_images, 3)
    asked, vlm = ask(loaded, count), VLM(loaded, max_tokens=6)
    need = budget.check(loaded, asked, vlm.options)
    vlm.run([ask(loaded, 1, (50, 40))])  # what a first request makes for all is not this one's
    with Peak(loaded.model) as peak:
        vlm.run([asked])
    predicted = need.extra - count * 3 * SIZE[0] * SIZE[1]  # Pillow's are no tensors
    assert 0.6 < predicted / peak.most < 6


def test_tokens_of_a_prompt_are_known_without_looking(loaded: Loaded) -> None:
    asked = budget.asked_of(loaded, ask(loaded), Options())
    (receipt,) = loaded.family.inputs(loaded, [ask(loaded)])[1]
    assert abs(asked.prompt - receipt.prompt_tokens) <= 24  # words of the skill's own


def test_more_of_anything_needs_more(qwen: Loaded) -> None:
    def total(count: int = 2, size: tuple[int, int] = SIZE, **options: Any) -> int:
        return budget.check(qwen, ask(qwen, count, size), Options(**{"max_tokens": 50, **options})).total

    least = total()
    assert total(count=3) > least
    assert total(size=(400, 400)) > least
    assert total(max_tokens=20000) > least
    assert total(n=64, max_tokens=2000) > total(max_tokens=2000)


def refused(loaded: Loaded, request: Request, limit: int, **options: Any) -> MemoryLimitError:
    with pytest.raises(MemoryLimitError) as error:
        budget.check(loaded, request, Options(memory_limit=limit, **options))
    return error.value


def test_a_refusal_says_what_would_fit_and_it_fits(qwen: Loaded) -> None:
    need = budget.check(qwen, ask(qwen, 8), Options(max_tokens=2000))
    limit = int(need.total * 0.9)
    error = refused(qwen, ask(qwen, 8), limit, max_tokens=2000)
    assert "pictures" in error.message
    assert "memory_limit is" in error.message
    fewer = re.search(r"at most (\d) of these 8 images", error.hint)
    pixels = re.search(r"max_pixels=(\d+)", error.hint)
    assert fewer is not None
    assert pixels is not None
    options = Options(memory_limit=limit, max_tokens=2000)
    budget.check(qwen, ask(qwen, int(fewer[1])), options)
    refused(qwen, ask(qwen, int(fewer[1]) + 1), limit, max_tokens=2000)
    small: Any = qwen.family
    bounded = small.with_pixels(qwen, max_pixels=int(pixels[1]))
    budget.check(bounded, ask(qwen, 8), options)


def test_a_long_answer_is_refused_with_the_longest_that_fits(qwen: Loaded) -> None:
    limit = budget.check(qwen, ask(qwen), Options(max_tokens=9000)).total
    error = refused(qwen, ask(qwen), limit, max_tokens=30000)
    tokens = re.search(r"max_tokens=(\d+)", error.hint)
    assert tokens is not None
    assert int(tokens[1]) == pytest.approx(9000, abs=2)
    assert "weights alone" in refused(qwen, ask(qwen), 1000).hint


def test_nothing_is_looked_at_where_it_is_refused(qwen: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(*_: Any, **__: Any) -> Any:
        raise AssertionError("a picture was looked at")

    vlm = VLM(qwen, max_tokens=4)
    budget.check(qwen, ask(qwen), vlm.options)
    monkeypatch.setattr(type(qwen.family), "see", look)
    with pytest.raises(MemoryLimitError, match="at its peak"):
        vlm.run([ask(qwen)], memory_limit="1MB")
    with pytest.raises(MemoryLimitError):
        vlm.chat().say("What?", image=picture(0), memory_limit=500_000)


def test_without_a_limit_what_is_free_is_the_limit(qwen: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "room", lambda device: 1000)
    with pytest.raises(MemoryLimitError, match="this machine has room for"):
        VLM(qwen).run([ask(qwen)])
    monkeypatch.setattr(budget, "room", lambda device: None)
    assert budget.limit_of(qwen, Options()) is None
    assert budget.tokens_within(qwen, Options()) == Options().tokens


def test_requests_that_run_at_once_are_predicted_together(qwen: Loaded) -> None:
    from _peak import Peak

    requests = [ask(qwen, 1, (120 + 40 * n, 200)) for n in range(5)]
    vlm = VLM(qwen, max_tokens=6)
    vlm.run(requests[:1], cache=False)
    needs = [budget.check(qwen, request, vlm.options) for request in requests]
    with Peak(qwen.model) as peak:
        vlm.run(requests)
    pillow = sum(3 * (120 + 40 * n) * 200 for n in range(5))
    assert 0.8 < (budget.together(qwen, needs) - needs[0].weights - pillow) / peak.most < 2
    assert budget.together(qwen, needs[:1]) == needs[0].total


def test_under_a_limit_fewer_run_at_once_and_answers_stay(qwen: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = [ask(qwen, 1, (60 + 8 * n, 60)) for n in range(4)]
    vlm, widths = VLM(qwen, max_tokens=6), list[int]()
    choose = Loop._choose
    monkeypatch.setattr(
        Loop, "_choose", lambda loop, rows, began: (widths.append(len(rows)), choose(loop, rows, began))[1]
    )
    free = [str(result) for result in vlm.run(requests)]
    assert max(widths) == 4
    widths.clear()
    needs = [budget.check(qwen, request, vlm.options).total for request in requests]
    limit = max(needs) + 20_000
    assert budget.tokens_within(qwen, Options(memory_limit=limit)) < 32768
    assert [str(result) for result in VLM(qwen, max_tokens=6).run(requests, memory_limit=limit)] == free
    assert max(widths) < 4


def test_a_limit_is_bytes_or_an_amount() -> None:
    assert Options(memory_limit="4GB").memory_limit == 4_000_000_000
    assert Options(memory_limit=7).memory_limit == 7
    for wrong in ("much", 0, -1, True, 1.5):
        with pytest.raises(InputError):
            Options(memory_limit=wrong)  # type: ignore[arg-type]


def test_what_is_free_is_the_less_of_machine_and_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_budget_room, "GROUPS", tmp_path)
    monkeypatch.setattr(_budget_room, "MEMORY", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    5000 kB\n")
    assert _budget_room.room("cpu") == 5000 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 200\n")
    assert _budget_room.room("cpu") == 5000 * 1024
    (tmp_path / "memory.max").write_text("1000\n")
    assert _budget_room.room("cpu") == 500
    assert _budget_room.told(3_240_000_000) == "3.2 GB"


def films() -> list[str]:
    return [name for name in FAMILIES.names() if hasattr(FAMILIES.get(name), "frame_tokens")]


@pytest.mark.parametrize("name", films())
def test_a_film_in_parts_is_the_film(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = FAMILIES.get(name)().tiny()
    family: Any = loaded.family
    row = family.row(loaded, watch(9))
    items = family.items(row.views)
    if len(items) > 1:  # its moments are told their times, and stand for themselves
        assert [item[0].tensors["video_grid_thw"][0, 0].item() for item in items] == [1] * 5
        return
    (item,) = items
    calls: list[int] = []
    look = loaded.model.model.get_video_features
    monkeypatch.setattr(
        loaded.model.model, "get_video_features",
        lambda **given: calls.append(len(given["pixel_values_videos"])) or look(**given),
    )  # fmt: skip
    with torch.inference_mode():
        whole = family.features(loaded, item)
        monkeypatch.setattr(_qwen_family, "PATCHES", 2 * calls[0] // 5)
        parts = family.features(loaded, item)
    assert len(calls) == 4  # two of the five moments at once, the last alone
    assert len(parts) == len(whole)
    for one, other in zip(parts, whole, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("name", films())
def test_frames_of_a_film_are_counted_as_they_are_seen(name: str) -> None:
    loaded = FAMILIES.get(name)().tiny()
    asked = budget.asked_of(loaded, watch(8), Options())
    (receipt,) = loaded.family.inputs(loaded, [watch(8)])[1]
    assert sum(asked.tokens) == sum(image.image_tokens for image in receipt.images)


def test_many_pictures_are_encoded_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = FAMILIES.get("imglish")().tiny()
    requests = [ask(loaded, 1, (40 + n, 40)) for n in range(7)]
    whole = [str(result) for result in VLM(loaded, max_tokens=5).run(requests)]
    seen: list[int] = []
    encode = loaded.model.encode_images
    monkeypatch.setattr(loaded.model, "encode_images", lambda p, *rest: seen.append(len(p)) or encode(p, *rest))
    monkeypatch.setattr(_imglish_model, "TOGETHER", 3)
    assert [str(result) for result in VLM(loaded, max_tokens=5).run(requests)] == whole
    assert seen == [3, 3, 1]


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_keys_and_values_count_in_the_precision_that_they_are_kept_in(
    kind: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = FAMILIES.get("llava")().tiny()
    loaded.model.to(torch.bfloat16)
    monkeypatch.setattr(_fast_choice, "attention_of", lambda *given: (kind, _fast_choice.plain_attention))
    text = loaded.model.config.text_config
    size = 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim * kind.itemsize
    assert sizes_of(loaded).cell == size
    monkeypatch.setattr(_fast_weights, "layout_of", lambda weights: Layout(some=True))
    again = FAMILIES.get("llava")().tiny()
    decoder = again.model.model.language_model
    dense = sum(one.weight.nbytes for one in decoder.modules() if isinstance(one, torch.nn.Linear))
    plain = sum(one.nbytes for one in (*again.model.parameters(), *again.model.buffers()))
    assert sizes_of(again).weights - plain == dense + again.model.lm_head.weight.nbytes


def test_what_is_kept_makes_room_under_a_limit() -> None:
    loaded = FAMILIES.get("llava")().tiny()
    requests = [
        Request("ask", (Message("user", (ImagePart(picture(seed)), TextPart("Why?"))),), "Why?") for seed in range(8)
    ]
    need = budget.check(loaded, requests[0], VLM(loaded, max_tokens=4).options)
    plain, bound = VLM(loaded, max_tokens=4), VLM(loaded, max_tokens=4, memory_limit=need.total + 20_000)
    kept: dict[VLM, list[int]] = {plain: [], bound: []}
    for request in requests:
        for vlm, sizes in kept.items():
            vlm.run([request])
            sizes.append(vlm._runner.prefixes.bytes + vlm._runner.features.bytes)
    assert kept[plain] == sorted(kept[plain])
    assert kept[plain][-1] > 20_000 + kept[plain][0]
    assert 0 < max(kept[bound]) <= 20_000 + kept[plain][0]


def test_scores_are_refused_over_a_limit(qwen: Loaded) -> None:
    question = [{"role": "user", "content": [{"type": "image", "image": picture(0)}, {"type": "text", "text": "Why?"}]}]
    assert VLM(qwen).score(question, ["yes", "no"]).options == ("yes", "no")
    with pytest.raises(MemoryLimitError, match="memory_limit is"):
        VLM(qwen, memory_limit="1kB").score(question, ["yes", "no"])
