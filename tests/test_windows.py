"""Decoders whose tokens see only those near them: what transformers computes, however a text was read."""

from __future__ import annotations

import copy
import dataclasses
import random
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Gemma2Config, MistralConfig

from imglish.core.types import ImagePart, Message, Request, TextPart
from imglish.engine._sampling import rules
from imglish.engine.batch import Budget
from imglish.engine.beams import settings
from imglish.engine.cache import FeatureCache
from imglish.engine.fast import lean
from imglish.engine.generate import Options
from imglish.engine.load import FAMILIES
from imglish.engine.loop import Job, Loop
from imglish.engine.plain import PlainStepper, decoder_of
from imglish.engine.prefix import PrefixTree
from imglish.engine.prompt import prompts
from imglish.engine.score import _ids
from imglish.engine.vlm import VLM
from imglish.families._base import Loaded
from imglish.families._tiny import seeded

WINDOW = 8  # tokens, itself included: fewer than any prompt here has, and than its picture
LAYERS = {"num_hidden_layers": 3, "layer_types": None}
KINDS: dict[str, Any] = {
    "llava": lambda text, window: MistralConfig(**_shape(text), sliding_window=window, num_hidden_layers=3),
    "qwen2_5_vl": lambda text, window: type(text)(
        **{**text.to_dict(), **LAYERS, "use_sliding_window": True, "sliding_window": window, "max_window_layers": 1}
    ),
    "paligemma": lambda text, window: Gemma2Config(
        **_shape(text), sliding_window=window, head_dim=16, query_pre_attn_scalar=16, num_hidden_layers=3
    ),
    "phi3_v": lambda text, window: None,
}
CASES = [("llava", "lean"), ("llava", "plain"), ("qwen2_5_vl", "lean"), ("qwen2_5_vl", "plain")]
CASES += [("paligemma", "plain"), ("phi3_v", "plain")]


def _shape(text: Any) -> dict[str, Any]:
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")
    names += ("max_position_embeddings", "initializer_range", "bos_token_id", "eos_token_id", "pad_token_id")
    return {name: getattr(text, name) for name in names}


def windowed(name: str, window: int = WINDOW) -> Loaded:
    tiny = FAMILIES.get(name)().tiny()
    config = copy.deepcopy(tiny.model.config)
    text = KINDS[name](config.get_text_config(), window)
    if text is None:
        config.sliding_window = window
    else:
        config.text_config = text
    with seeded():
        model = type(tiny.model)(config).eval()
    return dataclasses.replace(tiny, model=model, extra={})


@pytest.fixture(scope="module", params=CASES, ids=" ".join)
def case(request: pytest.FixtureRequest) -> tuple[Loaded, str]:
    name, how = request.param
    return windowed(name), how


def picture(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (90, 120, 3), np.uint8))


def ask(image: Image.Image, text: str) -> Request:
    return Request("ask", (Message("user", (ImagePart(image), TextPart(text))),), text)


REQUESTS = [
    ask(picture(0), "How many cats are in this picture, and which colour has each of them?"),
    ask(picture(0), "How many cats are in this picture, and where?"),
    ask(picture(1), "?"),
    ask(picture(0), "How many dogs?"),
]


def loop_of(loaded: Loaded, how: str, *, keeps: bool) -> Loop:
    two_way = bool(getattr(loaded.family, "two_way", False))
    stepper = lean(loaded.model, two_way=two_way) if how == "lean" else PlainStepper(loaded.model, two_way=two_way)
    return Loop(loaded, kept=FeatureCache(), prefixes=PrefixTree() if keeps else None, stepper=stepper)


def jobs_of(loop: Loop, requests: list[Request], most: int = 12) -> list[Job]:
    made = prompts(loop.loaded, requests, loop.starts.kept)
    told = rules(loop.loaded, loop.loaded.family.banned(requests[0]))
    return [Job(n, prompt, Options(max_tokens=most), told) for n, prompt in enumerate(made)]


def answered(loop: Loop, requests: list[Request]) -> list[Job]:
    jobs = jobs_of(loop, requests)
    for _ in loop.run(jobs, Budget(len(jobs), 1 << 20)):
        pass
    return jobs


def generated(loaded: Loaded, request: Request) -> tuple[list[int], list[float]]:
    """What transformers' own loop writes of one request alone, and the log-probability of each token."""
    tensors, _ = loaded.family.inputs(loaded, [request])
    config = settings(loaded, Options(max_tokens=12), 1)
    banned = loaded.tokenizer.convert_tokens_to_ids(list(loaded.family.banned(request)))
    config.suppress_tokens = sorted({*(config.suppress_tokens or ()), *banned}) or None
    with torch.inference_mode():
        made = loaded.model.generate(**tensors, generation_config=config)
    ids = made.sequences[0, tensors["input_ids"].shape[1] :].tolist()
    told = [float(scores[0].float().log_softmax(-1)[token]) for token, scores in zip(ids, made.scores, strict=True)]
    kept = len(ids) - (ids[-1] in config.eos_token_id)
    return ids[:kept], told[:kept]


@pytest.mark.parametrize("keeps", [True, False])
def test_answers_are_those_of_generate_alone_together_and_again(case: tuple[Loaded, str], keeps: bool) -> None:
    loaded, how = case
    expected = [generated(loaded, request) for request in REQUESTS]
    assert expected != [generated(windowed(loaded.family.name, 4096), request) for request in REQUESTS]
    loop = loop_of(loaded, how, keeps=keeps)
    together, again = answered(loop, REQUESTS), answered(loop, REQUESTS)
    alone = [job for request in REQUESTS for job in answered(loop_of(loaded, how, keeps=keeps), [request])]
    for jobs in (together, again, alone):
        assert all(len(job.prompt) > 2 * WINDOW for job in jobs)
        assert [job.row.ids for job in jobs] == [ids for ids, _ in expected]
        for job, (_, told) in zip(jobs, expected, strict=True):
            assert job.row.logprobs[: len(told)] == pytest.approx(told, abs=1e-3)
    assert (min(job.row.prefix_tokens for job in again) > 2 * WINDOW) == keeps


def begun(loop: Loop, request: Request) -> tuple[torch.Tensor, int]:
    """Logits after a prompt, and how many of its tokens were known."""
    (job,) = jobs_of(loop, [request])
    ((_, slot, logits),) = list(loop.starts.begin([job]))
    loop.stepper.drop([slot])
    return logits, job.row.prefix_tokens


def test_what_is_kept_of_other_requests_changes_no_logits(case: tuple[Loaded, str]) -> None:
    loaded, how = case
    warm, cold = loop_of(loaded, how, keeps=True), loop_of(loaded, how, keeps=False)
    known = []
    for request in (*REQUESTS, *reversed(REQUESTS)):
        logits, count = begun(warm, request)
        torch.testing.assert_close(logits, begun(cold, request)[0], atol=1e-4, rtol=1e-4)
        known.append(count)
    assert max(known) > 2 * WINDOW


def test_a_chat_goes_on_as_if_all_of_it_were_read_again(case: tuple[Loaded, str]) -> None:
    loaded, how = case
    if "chat" not in loaded.family.skills:
        pytest.skip("has no conversations")
    warm, cold = loop_of(loaded, how, keeps=True), loop_of(loaded, how, keeps=False)
    messages = REQUESTS[0].messages
    for text in ("And which?", "Why?", "Are you sure of all that?"):
        (job,) = jobs = jobs_of(warm, [Request("chat", messages, text)], most=2 * WINDOW)
        job.remember = True
        for _ in warm.run(jobs, Budget(1, 1 << 20)):
            pass
        answer = Message("assistant", (TextPart(job.row.text),))
        messages = (*messages, answer, Message("user", (TextPart(text),)))
        logits, known = begun(warm, Request("chat", messages, text))
        torch.testing.assert_close(logits, begun(cold, Request("chat", messages, text))[0], atol=1e-4, rtol=1e-4)
        assert known >= len(job.prompt) - 8


def read_whole(loaded: Loaded, request: Request, ids: list[int]) -> float:
    """Log-probability of an answer, by one forward of transformers over all that there is."""
    tensors, _ = loaded.family.inputs(loaded, [request])
    like = tensors["input_ids"]
    more = {
        name: torch.ones(1, len(ids), dtype=tensor.dtype)
        for name, tensor in tensors.items()
        if tensor is not None and tensor.shape == like.shape
    }
    more |= {"mm_token_type_ids": torch.zeros(1, len(ids), dtype=torch.long), "input_ids": torch.tensor([ids])}
    whole = {name: torch.cat((tensor, more[name]), 1) if name in more else tensor for name, tensor in tensors.items()}
    with torch.inference_mode():
        logits = loaded.model(**whole).logits[0, -len(ids) - 1 : -1].float()
    return float(logits.log_softmax(-1).gather(-1, torch.tensor(ids)[:, None]).sum())


@pytest.mark.parametrize("name", KINDS)
def test_scores_are_those_of_the_whole_text(name: str) -> None:
    loaded, options = windowed(name), ("red", "a blue cat beside another cat, and a dog", "r")
    messages = REQUESTS[0].messages
    found = VLM(loaded).score(messages, options)
    request = Request("chat" if "chat" in loaded.family.skills else "ask", messages, messages[0].text)
    for option, value in zip(options, found.plain, strict=True):
        assert value == pytest.approx(read_whole(loaded, request, _ids(loaded, request, option)), abs=2e-3)


@torch.inference_mode()
def reference(model: Any, ids: list[int]) -> torch.Tensor:
    """Logits (tokens, vocab) of a text by transformers, read at once and without a cache."""
    text, head = decoder_of(model)
    output = text(input_ids=torch.tensor([ids]), use_cache=False)
    logits: torch.Tensor = (output.logits if head is None else head(output.last_hidden_state))[0].float()
    return logits


@pytest.mark.parametrize("seed", range(4))
def test_rows_step_fork_rewind_go_on_from_others_and_leave(case: tuple[Loaded, str], seed: int) -> None:
    """All of it in an order drawn by chance; after each change the logits are those of the whole text."""
    loaded, how = case
    if getattr(loaded.family, "two_way", False):
        pytest.skip("a text without a picture is read otherwise")
    stepper: Any = loop_of(loaded, how, keeps=False).stepper
    chance = random.Random(seed)
    rows: list[tuple[Any, list[int]]] = []

    def words(most: int, least: int = 1) -> list[int]:
        return [chance.randrange(10, 60) for _ in range(chance.randint(least, most))]

    def check(got: torch.Tensor, ids: list[int]) -> None:
        torch.testing.assert_close(got, reference(loaded.model, ids)[-len(got) :], atol=1e-4, rtol=1e-4)

    def arrive(past: Any = None, known: tuple[int, ...] = ()) -> None:
        new = [words(3 * WINDOW) for _ in range(chance.randint(1, 3))]
        longest = max(map(len, new))
        ids = torch.tensor([[0] * (longest - len(one)) + one for one in new])
        mask = torch.tensor([[n >= longest - len(one) for n in range(longest)] for one in new])
        logits, slots = stepper.prefill(ids, mask=mask, past=past)
        for one, slot, got in zip(new, slots, logits, strict=True):
            check(got[None], [*known, *one])
            rows.append((slot, [*known, *one]))

    def step(some: list[tuple[Any, list[int]]]) -> None:
        tokens = [words(1)[0] for _ in some]
        logits = stepper.step(torch.tensor(tokens), [slot for slot, _ in some])
        for (_, own), token, got in zip(some, tokens, logits, strict=True):
            own.append(token)
            check(got[None], own)

    arrive()
    for _ in range(24):
        some = chance.sample(rows, chance.randint(1, len(rows)))
        slot, ids = some[0]
        move = chance.choice(["step", "step", "extend", "fork", "rewind", "go on", "arrive", "leave"])
        if move == "step":
            step(some)
        elif move == "extend":
            new = [words(2 * WINDOW) for _ in some]
            for (_, own), more, got in zip(some, new, stepper.extend(new, [s for s, _ in some]), strict=True):
                own += more
                check(got, own)
        elif move == "fork":
            twins = [(twin, list(ids)) for twin in stepper.fork(slot, 2)]
            rows += twins
            if chance.random() < 0.7:
                step([(slot, ids), *twins])
        elif move == "rewind":
            del ids[chance.randint(1, len(ids)) :]
            stepper.rewind(slot, len(ids), len(ids))
        elif move == "go on":
            length = chance.randint(1, len(ids))
            arrive(stepper.past(slot).cut(length, length), tuple(ids[:length]))
        elif move == "arrive":
            arrive()
        elif len(rows) > 1:
            stepper.drop([slot])
            rows[:] = [row for row in rows if row[0] is not slot]
        if len(rows) > 8:
            stepper.drop([s for s, _ in rows[:4]])
            del rows[:4]
