"""The loop that decodes: the tokens of `model.generate` for every family, alone, together, sampled, stopped, cut."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from imglish.core.errors import InputError, MemoryLimitError
from imglish.core.types import ImagePart, Message, Request, TextPart, VideoPart
from imglish.engine._opening import open_request
from imglish.engine._sampling import Draw, Rules, rules
from imglish.engine.batch import Budget
from imglish.engine.beams import settings
from imglish.engine.generate import Options
from imglish.engine.load import FAMILIES
from imglish.engine.loop import Job, Loop, stepper_of
from imglish.engine.prompt import prompts
from imglish.engine.score import _ids
from imglish.engine.vlm import VLM
from imglish.families._base import Loaded


@pytest.fixture(scope="module", params=FAMILIES.names())
def loaded(request: pytest.FixtureRequest) -> Loaded:
    return FAMILIES.get(request.param)().tiny()


def picture(seed: int = 0, size: tuple[int, int] = (120, 90)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8))


def ask(*images: Image.Image, skill: str = "ask", text: str = "How many?") -> Request:
    parts = [VideoPart(images)] if skill == "watch" else [ImagePart(image) for image in images]
    return Request(skill, (Message("user", (*parts, TextPart(text))),), text)


def requests_of(loaded: Loaded) -> list[Request]:
    requests = [
        ask(picture(0), text="How many cats are in this picture, and which colour has each of them?"),
        ask(picture(1, (50, 200)), text="?"),
        ask(picture(0), text="How many dogs?"),
        ask(*(picture(n) for n in range(2, 2 + min(2, loaded.family.max_images))), text="What changed?"),
    ]
    if loaded.family.max_frames:
        requests.append(ask(picture(5), picture(6), picture(7), skill="watch", text="Where to?"))
    return requests


def generated(loaded: Loaded, request: Request, options: Options) -> list[int]:
    """What transformers' own loop writes, greedily, of one request alone."""
    tensors, _ = loaded.family.inputs(loaded, [request])
    config = settings(loaded, options, 1)
    banned = loaded.tokenizer.convert_tokens_to_ids(list(loaded.family.banned(request)))
    config.suppress_tokens = sorted({*(config.suppress_tokens or ()), *banned}) or None
    with torch.inference_mode():
        made = loaded.model.generate(**tensors, generation_config=config).sequences[0].tolist()
    given = tensors["input_ids"][0].tolist()
    start = len(given) if made[: len(given)] == given else int(loaded.model.config.is_encoder_decoder)
    ids = made[start:]
    return ids[:-1] if ids and ids[-1] in config.eos_token_id else ids


def written(vlm: VLM, requests: list[Request], **options: Any) -> list[list[int]]:
    chosen = Options(**options)
    found: dict[int, list[int]] = {}
    for index, answer in vlm._runner.run(vlm.loaded, requests, chosen, opening=open_request):
        found[index] = answer.row.ids
    return [found[index] for index in range(len(requests))]


@pytest.mark.parametrize("cache", [True, False])
def test_greedy_tokens_are_those_of_generate(loaded: Loaded, cache: bool) -> None:
    requests, options = requests_of(loaded), Options(max_tokens=12)
    expected = [generated(loaded, request, options) for request in requests]
    vlm = VLM(loaded)
    assert written(vlm, requests, max_tokens=12, beams=1, cache=cache) == expected
    assert [written(vlm, [one], max_tokens=12, beams=1, cache=cache)[0] for one in requests] == expected


@pytest.fixture(scope="module")
def imglish() -> Loaded:
    return FAMILIES.get("imglish")().tiny()


@pytest.fixture(scope="module")
def florence() -> Loaded:
    return FAMILIES.get("florence2")().tiny()


def test_beams_find_what_generate_finds_and_encode_the_prompt_once(florence: Loaded) -> None:
    request, vlm = ask(picture(0), skill="caption"), VLM(florence, max_tokens=8)
    tensors, _ = florence.family.inputs(florence, [request])
    config = settings(florence, Options(max_tokens=8), 3)
    config.suppress_tokens = florence.tokenizer.convert_tokens_to_ids(list(florence.family.banned(request)))
    made = florence.model.generate(**tensors, generation_config=config).sequences[0, 1:].tolist()
    first, second = written(vlm, [request], max_tokens=8)[0], vlm.run([request])[0]
    assert first == [token for token in made if token not in config.eos_token_id]
    assert second.receipt is not None
    assert second.receipt.prefix_tokens == second.receipt.prompt_tokens
    assert second.receipt.cache_hits == 1


def test_samples_depend_on_their_seed_alone(imglish: Loaded) -> None:
    vlm = VLM(imglish, max_tokens=10, temperature=1.5)
    one, others = ask(picture(0)), [ask(picture(n), text=f"{n}?") for n in range(1, 4)]
    alone = vlm.run([one], seed=7)[0].raw
    assert [result.raw for result in vlm.run([*others, one], seed=7)][-1] == alone
    three = [result.raw for result in vlm.run([one], n=3, seed=7)]
    assert three == [vlm.run([one], seed=seed)[0].raw for seed in (7, 8, 9)]
    assert len(set(three)) > 1
    pairs = [result.raw for result in vlm.run([one, others[0]], n=2, seed=7)]
    assert pairs[:2] == three[:2]
    with pytest.raises(InputError, match="n asks for more"):
        vlm.ask(picture(0), "?", n=2)
    with pytest.raises(InputError, match="n asks for more"):
        vlm.stream(one.messages, n=2)
    with pytest.raises(InputError, match="one answer"):
        Options(beams=3, n=2)


@pytest.mark.parametrize("narrow", [{"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}])
def test_what_is_drawn_from_can_be_narrowed_to_the_best(imglish: Loaded, narrow: dict[str, Any]) -> None:
    request = ask(picture(0))
    vlm = VLM(imglish, max_tokens=10)
    greedy = vlm.run([request])[0].raw
    assert vlm.run([request], temperature=3.0, seed=1, **narrow)[0].raw == greedy
    assert vlm.run([request], temperature=3.0, seed=1)[0].raw != greedy


def test_narrowing_keeps_the_shares_of_what_is_left() -> None:
    logits = torch.tensor([0.4, 0.3, 0.2, 0.1]).log()
    cases: list[tuple[dict[str, Any], set[int]]] = [
        ({"top_k": 2}, {0, 1}),
        ({"top_p": 0.7}, {0, 1}),
        ({"top_p": 0.71}, {0, 1, 2}),
        ({"min_p": 0.45}, {0, 1, 2}),
        ({"top_k": 3, "min_p": 0.6}, {0, 1}),
    ]
    for narrow, allowed in cases:
        draw = Draw(1.0, generator=torch.Generator().manual_seed(0), **narrow)
        assert {draw.token(logits) for _ in range(400)} == allowed, narrow


def test_penalties_are_those_of_generate(imglish: Loaded) -> None:
    request, options = ask(picture(0)), Options(max_tokens=12)
    tensors, _ = imglish.family.inputs(imglish, [request])
    config = settings(imglish, options, 1)
    banned = imglish.tokenizer.convert_tokens_to_ids(list(imglish.family.banned(request)))
    config.suppress_tokens = sorted({*(config.suppress_tokens or ()), *banned})
    config.repetition_penalty = 1.7
    expected = imglish.model.generate(**tensors, generation_config=config).sequences[0, tensors["input_ids"].shape[1] :]
    found = written(VLM(imglish), [request], max_tokens=12, repetition_penalty=1.7)[0]
    assert found == [token for token in expected.tolist() if token not in config.eos_token_id]
    assert found != written(VLM(imglish), [request], max_tokens=12)[0]
    runs = Rules(no_repeat=2, words=((5, 6),))
    changed = runs.apply(torch.zeros(9), [1, 2, 5, 1], [5, 1])
    assert changed.isinf().nonzero()[:, 0].tolist() == [2]
    assert runs.apply(torch.zeros(9), [1, 2, 5], [5]).isinf().nonzero()[:, 0].tolist() == [6]


def test_a_deadline_and_a_cancellation_end_answers_and_say_so(imglish: Loaded) -> None:
    ticks = iter(range(1000))
    options = Options(max_tokens=50, deadline=4.5, cache=False)
    runner = VLM(imglish)._runner
    loop = runner.loop(options, imglish)
    loop.clock = lambda: float(next(ticks))
    (prompt,) = runner.prompts([ask(picture(0))], options)
    job = Job(0, prompt, options, Rules())
    for _ in loop.run([job], Budget(1, 1 << 20)):
        pass
    assert (job.row.stopped, len(job.row.ids), job.row.truncated) == ("deadline", 4, True)
    cancel = threading.Event()
    vlm = VLM(imglish, max_tokens=50, cancel=cancel)
    messages = [{"role": "user", "content": [{"type": "image", "image": picture(0)}, {"type": "text", "text": "?"}]}]
    stream = vlm.stream(messages)
    next(iter(stream))
    cancel.set()
    assert stream.result.receipt is not None
    assert 0 < stream.result.receipt.generated_tokens < 50
    assert "cancelled" in stream.result.problems[-1].message
    assert vlm.run([ask(picture(0))])[0].receipt.generated_tokens == 0  # type: ignore[union-attr]


def test_a_stream_that_is_left_frees_its_place(imglish: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = VLM(imglish)._runner
    loop = runner.loop(Options(), imglish)
    dropped: list[Any] = []
    drop = loop.stepper.drop
    monkeypatch.setattr(loop.stepper, "drop", lambda slots: (dropped.extend(slots), drop(slots))[1], raising=False)
    (prompt,) = runner.prompts([ask(picture(0))], Options())
    steps = loop.run([Job(0, prompt, Options(max_tokens=50), Rules())], Budget(1, 1 << 20))
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert len(dropped) == 1


class Tight:
    """A stepper with memory for so many rows at once."""

    def __init__(self, stepper: Any, most: int) -> None:
        self.stepper, self.most, self.slots, self.widest, self.failed = stepper, most, set(), 0, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stepper, name)

    def prefill(self, tokens: torch.Tensor, **more: Any) -> Any:
        if len(self.slots) + len(tokens) > self.most:
            self.failed += 1
            raise torch.OutOfMemoryError("out of memory")
        logits, slots = self.stepper.prefill(tokens, **more)
        self.slots |= {id(slot) for slot in slots}
        return logits, slots

    def step(self, tokens: torch.Tensor, slots: Any) -> Any:
        self.widest = max(self.widest, len(slots))
        return self.stepper.step(tokens, slots)

    def drop(self, slots: Any) -> None:
        self.slots -= {id(slot) for slot in slots}
        self.stepper.drop(slots)


def test_out_of_memory_halves_what_runs_and_loses_nothing(imglish: Loaded) -> None:
    requests = [ask(picture(n), text=f"{n}?") for n in range(8)]
    expected = written(VLM(imglish), requests, max_tokens=6)
    tight = Tight(stepper_of(imglish), 3)
    loop = Loop(imglish, kept={}, prefixes=None, stepper=tight)  # type: ignore[arg-type]
    told = rules(imglish, imglish.family.banned(requests[0]))
    jobs = [Job(n, prompt, Options(max_tokens=6), told) for n, prompt in enumerate(prompts(imglish, requests, {}))]
    budget = Budget(8, 1 << 20)
    for _ in loop.run(jobs, budget):
        pass
    assert [job.row.ids for job in jobs] == expected
    assert tight.failed > 0
    assert tight.widest <= 3
    alone = Loop(imglish, kept={}, prefixes=None, stepper=Tight(stepper_of(imglish), 0))  # type: ignore[arg-type]
    with pytest.raises(MemoryLimitError, match=r"prompt of \d+ tokens alone"):
        list(alone.run([Job(0, jobs[0].prompt, Options(), told)], Budget(8, 1 << 20)))


def test_a_finished_answer_makes_room_for_one_that_waits(imglish: Loaded) -> None:
    requests = [ask(picture(n), text="?" * (n + 1)) for n in range(6)]
    expected = written(VLM(imglish), requests, max_tokens=9)
    told = rules(imglish, imglish.family.banned(requests[0]))
    made = prompts(imglish, requests, {})
    jobs = [Job(n, prompt, Options(max_tokens=3 + n), told) for n, prompt in enumerate(made)]
    loop, running = Loop(imglish, kept={}, prefixes=None), []
    for changed in loop.run(iter(jobs), Budget(2, 1 << 20)):
        running.append([job.index for job in changed])
    assert max(map(len, running)) == 2
    assert [1, 2] in running and [3, 4] in running  # one left, the next came in beside the other
    assert [job.row.ids for job in jobs] == [ids[: 3 + n] for n, ids in enumerate(expected)]


def test_the_budget_counts_tokens(imglish: Loaded) -> None:
    requests = [ask(picture(n), text="?") for n in range(3)]
    (first, *_) = made = prompts(imglish, requests, {})
    jobs = [Job(n, prompt, Options(max_tokens=4), Rules()) for n, prompt in enumerate(made)]
    widths = [len(changed) for changed in Loop(imglish, kept={}, prefixes=None).run(jobs, Budget(9, len(first) + 10))]
    assert set(widths) == {1}  # two prompts do not fit; one alone always does


def test_scores_are_those_of_the_whole_text(loaded: Loaded) -> None:
    """Every option is read with the whole prompt by the model's own forward, one at a time."""
    options = ("red", "a blue cat", "r")
    messages = ask(picture(0), text="Which colour?").messages
    vlm = VLM(loaded)
    if "chat" not in loaded.family.skills and "ask" not in loaded.family.skills:
        pytest.skip("answers no questions")
    found = vlm.score(messages, options)
    request = Request("chat" if "chat" in loaded.family.skills else "ask", messages, "Which colour?")
    for text, plain, count in zip(options, found.plain, found.tokens, strict=True):
        ids = _ids(loaded, request, text)
        assert plain == pytest.approx(alone(loaded, request, ids), abs=2e-3)
        assert count == len(ids)
    assert found.mean == pytest.approx([value / count for value, count in zip(found.plain, found.tokens, strict=True)])
    again = vlm.score(messages, options)
    assert again.plain == pytest.approx(found.plain, abs=1e-3)
    assert again.prefix_tokens > 0


def alone(loaded: Loaded, request: Request, ids: list[int]) -> float:
    tensors, _ = loaded.family.inputs(loaded, [request])
    answer = torch.tensor([ids])
    if loaded.model.config.is_encoder_decoder:
        start = torch.full((1, 1), loaded.model.generation_config.decoder_start_token_id)
        more = {**tensors, "decoder_input_ids": torch.cat((start, answer[:, :-1]), 1)}
    else:
        more = {}
        for name, tensor in tensors.items():
            if getattr(tensor, "shape", None) != tensors["input_ids"].shape:
                more[name] = tensor
                continue
            fill = (
                answer
                if name == "input_ids"
                else torch.full_like(answer, int(name in ("attention_mask", "token_type_ids")))
            )
            more[name] = torch.cat((tensor, fill.to(tensor.dtype)), 1)
    with torch.inference_mode():
        logits = loaded.model(**more).logits.float()
    shift = 0 if loaded.model.config.is_encoder_decoder else 1
    last = logits[0, logits.shape[1] - len(ids) - shift : logits.shape[1] - shift]
    return float(last.log_softmax(-1).gather(-1, answer[0][:, None]).sum())
