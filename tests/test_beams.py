"""The search with beams: what transformers' own finds in every family, from a prompt that is read once."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from imglish.core.types import ImagePart, Message, Request, TextPart
from imglish.engine._sampling import Rules
from imglish.engine.beams import search, settings
from imglish.engine.fast import lean
from imglish.engine.generate import Options
from imglish.engine.load import FAMILIES
from imglish.engine.loop import Job
from imglish.engine.plain import PlainStepper, decoder_of
from imglish.engine.vlm import VLM
from imglish.families._base import Loaded
from test_loop import picture, requests_of, written

UNSEARCHED = {"fuyu"}  # transformers repeats the pictures of these for each beam, and not their places


@pytest.fixture(scope="module", params=FAMILIES.names())
def loaded(request: pytest.FixtureRequest) -> Loaded:
    return FAMILIES.get(request.param)().tiny()


def searched(loaded: Loaded, request: Request, width: int, **more: Any) -> list[int]:
    """What transformers' own search finds, with pictures and prompt for each beam."""
    tensors, receipts = loaded.family.inputs(loaded, [request])
    if not loaded.family.native:
        tensors, _ = loaded.family.look(loaded, tensors, receipts, kept={})
    config = settings(loaded, Options(max_tokens=10), width)
    banned = loaded.tokenizer.convert_tokens_to_ids(list(loaded.family.banned(request)))
    config.suppress_tokens = sorted({*(config.suppress_tokens or ()), *banned}) or None
    config.update(**more)
    with torch.inference_mode():
        made = loaded.model.generate(**tensors, generation_config=config).sequences[0].tolist()
    given = tensors["input_ids"][0].tolist()
    ids = made[len(given) if made[: len(given)] == given else int(loaded.model.config.is_encoder_decoder) :]
    return ids[: next((n for n, token in enumerate(ids) if token in config.eos_token_id), len(ids))]


@pytest.mark.parametrize("cache", [True, False])
def test_beams_find_what_those_of_transformers_find(loaded: Loaded, cache: bool) -> None:
    requests = requests_of(loaded)
    found = written(VLM(loaded), requests, max_tokens=10, beams=3, cache=cache)
    if loaded.family.name in UNSEARCHED:
        assert all(found)
        return
    assert found == [searched(loaded, request, 3) for request in requests]


def test_a_prompt_is_read_once_for_all_beams_and_for_the_next_search(loaded: Loaded) -> None:
    vlm = VLM(loaded, max_tokens=4, beams=3)
    image = picture(0)
    results = [vlm.run([one])[0] for one in (about(image, "How many?"), about(image, "How many?"))]
    receipts = [result.receipt for result in results if result.receipt is not None]
    assert [receipt.cache_hits for receipt in receipts] == [0, 1]
    assert receipts[0].prefix_tokens == 0
    assert receipts[1].prefix_tokens >= receipts[1].prompt_tokens - 1
    cold = vlm.run([about(image, "How many?")], cache=False)[0]
    assert (cold.raw, results[1].raw) == (results[0].raw, results[0].raw)
    assert cold.receipt is not None
    assert (cold.receipt.cache_hits, cold.receipt.prefix_tokens) == (0, 0)


def about(image: Any, text: str) -> Request:
    return Request("ask", (Message("user", (ImagePart(image), TextPart(text))),), text)


@pytest.fixture
def llava() -> Loaded:
    return FAMILIES.get("llava")().tiny()


def test_rules_of_the_answer_are_kept_by_all_beams(llava: Loaded) -> None:
    request = about(picture(0), "How many?")
    plain = searched(llava, request, 4)
    told = searched(llava, request, 4, repetition_penalty=1.8)
    assert told != plain
    assert written(VLM(llava), [request], max_tokens=10, beams=4, repetition_penalty=1.8)[0] == told


@pytest.mark.parametrize("width", [1, 3])
def test_answers_that_grow_into_another_regime_are_read_again(width: int) -> None:
    """Phi-3-Vision turns all tokens otherwise where the text is long: after three tokens of these answers."""
    loaded, request = FAMILIES.get("phi3_v")().tiny(), about(picture(0), "How many?")
    short = written(VLM(loaded), [request], max_tokens=10, beams=width)[0]
    length = loaded.family.inputs(loaded, [request])[0]["input_ids"].shape[1] + 3
    loaded.model.config.original_max_position_embeddings = length
    loaded.model.config.rope_parameters["original_max_position_embeddings"] = length
    found = written(VLM(loaded), [request], max_tokens=10, beams=width)[0]
    assert found == searched(loaded, request, width)
    assert found != short


def test_a_search_leaves_no_rows_behind(llava: Loaded) -> None:
    runner = VLM(llava)._runner
    loop = runner.loop(Options(), llava)
    (prompt,) = runner.prompts([about(picture(0), "How many?")], Options())
    stepper: Any = loop.stepper
    alive: list[int] = []
    step = stepper.step
    stepper.step = lambda tokens, slots: (
        alive.append(sum(len(group.rows) for group in stepper._groups.values())), step(tokens, slots)
    )[1]  # fmt: skip
    search(loop.starts, Job(0, prompt, Options(max_tokens=6), Rules()), 3)
    assert max(alive) == 3
    assert not stepper._groups


def test_no_picture_is_encoded_for_a_second_search(llava: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    features = llava.family.features  # type: ignore[attr-defined]
    monkeypatch.setattr(llava.family, "features", lambda *given: (looked.append(1), features(*given))[1], raising=False)
    vlm = VLM(llava, max_tokens=4, beams=3)
    for text in ("How many?", "Which colour has the largest of them?", "How many?"):
        vlm.run([about(picture(0), text)])
    assert len(looked) == 1


@pytest.mark.parametrize("how", ["lean", "plain"])
@pytest.mark.parametrize("seed", range(4))
def test_rows_that_part_again_and_again_keep_what_is_their_own(llava: Loaded, how: str, seed: int) -> None:
    """As beams do: in each round some rows are left, others are gone on from several times."""
    stepper: Any = lean(llava.model) if how == "lean" else PlainStepper(llava.model)
    body, head = decoder_of(llava.model)
    chance = random.Random(seed)
    _, (first,) = stepper.prefill(torch.tensor([[11, 12, 13, 14, 15]]))
    rows = [(first, [11, 12, 13, 14, 15])]
    for _ in range(10):
        chosen = [chance.choice(rows) for _ in range(3)]
        grown = []
        for place, (slot, ids) in enumerate(chosen):
            again = any(slot is other for other, _ in chosen[place + 1 :])
            grown.append((stepper.fork(slot)[0] if again else slot, [*ids, chance.randrange(10, 60)]))
        stepper.drop([slot for slot, _ in rows if all(slot is not other for other, _ in grown)])
        rows = grown
        got = stepper.step(torch.tensor([ids[-1] for _, ids in rows]), [slot for slot, _ in rows])
        with torch.inference_mode():
            wanted = head(body(input_ids=torch.tensor([ids for _, ids in rows])).last_hidden_state[:, -1])
        torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)
