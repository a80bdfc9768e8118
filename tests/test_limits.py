"""What ends or bounds an answer: memory, the budget of tokens, a deadline, a cancellation; nothing is lost by any."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import pytest
import torch

from imglish.core.errors import MemoryLimitError
from imglish.core.types import ImagePart, Message, Request, TextPart
from imglish.engine import _fast_rows, _opening, _pages
from imglish.engine._sampling import Rules
from imglish.engine.batch import Budget, is_out_of_memory
from imglish.engine.beams import search
from imglish.engine.cache import FeatureCache
from imglish.engine.fast import LeanStepper
from imglish.engine.generate import Options
from imglish.engine.load import FAMILIES
from imglish.engine.loop import Job, Loop, stepper_of
from imglish.engine.prefix import PrefixTree
from imglish.engine.prompt import prompts
from imglish.engine.vlm import VLM
from imglish.families._base import Loaded
from test_loop import ask, picture

ERRORS = [
    torch.OutOfMemoryError("allocation failed"),
    MemoryError(),
    RuntimeError("CUDA out of memory"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
]


@pytest.fixture(scope="module")
def llava() -> Loaded:
    return FAMILIES.get("llava")().tiny()


class Failing:
    """A stepper whose calls of `prefill` and `step`, counted together, fail where it is told; it knows its rows."""

    def __init__(self, stepper: Any, error: Exception, *at: int) -> None:
        self.stepper, self.error, self.at = stepper, error, at
        self.calls, self.alive, self.widths = 0, set[Any](), list[int]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stepper, name)

    def _count(self) -> None:
        self.calls += 1
        if self.calls in self.at:
            raise self.error

    def prefill(self, tokens: torch.Tensor, **more: Any) -> Any:
        self._count()
        logits, slots = self.stepper.prefill(tokens, **more)
        self.alive |= set(slots)
        return logits, slots

    def step(self, tokens: torch.Tensor, slots: Any) -> Any:
        self._count()
        self.widths.append(len(slots))
        return self.stepper.step(tokens, slots)

    def drop(self, slots: Any) -> None:
        self.alive -= set(slots)
        self.stepper.drop(slots)


def jobs_of(loaded: Loaded, count: int, most: int = 6) -> list[Job]:
    requests = [ask(picture(n), text=f"{n}?") for n in range(count)]
    made = prompts(loaded, requests, {})
    return [Job(n, prompt, Options(max_tokens=most), Rules()) for n, prompt in enumerate(made)]


def finished(loop: Loop, jobs: list[Job], budget: Budget) -> list[list[int]]:
    for _ in loop.run(jobs, budget):
        pass
    return [job.row.ids for job in jobs]


def failing(loaded: Loaded, error: Exception, *at: int) -> tuple[Loop, Any]:
    stepper = Failing(stepper_of(loaded), error, *at)
    return Loop(loaded, kept=FeatureCache(), prefixes=PrefixTree(), stepper=stepper), stepper  # type: ignore[arg-type]


@pytest.mark.parametrize("error", ERRORS, ids=str)
def test_half_of_what_ran_without_memory_goes_on_from_where_it_was(llava: Loaded, error: Exception) -> None:
    expected = finished(Loop(llava, kept={}, prefixes=None), jobs_of(llava, 6), Budget(64, 1 << 20))
    for at in range(1, 7):
        loop, stepper = failing(llava, error, at)
        budget = Budget(64, 1 << 20)
        assert finished(loop, jobs_of(llava, 6), budget) == expected
        assert budget.rows == 3
        assert max(stepper.widths[at:], default=0) <= 3
        assert not stepper.alive


def test_what_is_kept_is_let_go_of_where_memory_ends(llava: Loaded) -> None:
    loop, stepper = failing(llava, ERRORS[0], 4)
    (job,) = jobs_of(llava, 1)
    steps = loop.run([job], Budget(1, 1 << 20))
    next(steps)
    assert len(loop.starts.kept) > 0
    assert loop.starts.prefixes
    seen: list[tuple[int, int]] = []
    prefill = stepper.prefill
    stepper.prefill = lambda *given, **more: (
        seen.append((len(loop.starts.kept), len(loop.starts.prefixes or ()))), prefill(*given, **more)
    )[1]  # fmt: skip
    forget = loop.starts.forget
    loop.starts.forget = lambda: (forget(), seen.append((len(loop.starts.kept), len(loop.starts.prefixes or ()))))[0]  # type: ignore[method-assign]
    list(steps)
    assert seen[0] == (0, 0)
    assert len(seen) == 2


def test_one_alone_is_tried_again_once_for_each_token_and_then_refused(llava: Loaded) -> None:
    expected = finished(Loop(llava, kept={}, prefixes=None), jobs_of(llava, 1), Budget(1, 1 << 20))
    for at in ((1,), (3,), (3, 6), (2, 5, 8)):
        assert finished(failing(llava, MemoryError(), *at)[0], jobs_of(llava, 1), Budget(1, 1 << 20)) == expected
    loop, stepper = failing(llava, MemoryError(), 3, 4)
    with pytest.raises(MemoryLimitError, match="alone"):
        finished(loop, jobs_of(llava, 1), Budget(1, 1 << 20))
    assert not stepper.alive


def test_other_errors_are_raised_as_they_are_and_leave_no_rows(llava: Loaded) -> None:
    wrong = RuntimeError("shapes do not match")
    assert not is_out_of_memory(wrong)
    for at in (1, 2, 5):
        loop, stepper = failing(llava, wrong, at)
        with pytest.raises(RuntimeError, match="shapes"):
            finished(loop, jobs_of(llava, 6), Budget(64, 1 << 20))
        assert not stepper.alive


def test_the_budget_has_room_for_the_answers_too(llava: Loaded) -> None:
    (first, second) = jobs_of(llava, 2, most=4)
    need = len(first.prompt) + len(second.prompt) + 8
    for tokens, most in ((need, 2), (need - 1, 1), (1, 1)):
        loop, jobs = Loop(llava, kept={}, prefixes=None), jobs_of(llava, 2, most=4)
        assert max(len(changed) for changed in loop.run(jobs, Budget(9, tokens))) == most
        assert all(job.row.ids for job in jobs)


@pytest.mark.parametrize("name", ["llava", "florence2"])
def test_a_search_ends_at_its_deadline_or_where_it_is_cancelled_and_says_so(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, ticks = FAMILIES.get(name)().tiny(), iter(range(1000))
    monkeypatch.setattr("imglish.engine.beams.time.monotonic", lambda: float(next(ticks)))
    cancel = threading.Event()
    cancel.set()
    for options, why, most in (
        (Options(max_tokens=30, deadline=4.5), "deadline", 5), (Options(max_tokens=30, cancel=cancel), "cancelled", 1),
    ):  # fmt: skip
        loop = Loop(loaded, kept={}, prefixes=None)
        (prompt,) = prompts(loaded, [ask(picture(0), skill="caption")], {})
        job = Job(0, prompt, options, Rules())
        search(loop.starts, job, 3)
        assert (job.row.stopped, job.row.ended) == (why, False)
        assert len(job.row.ids) <= most


@pytest.mark.parametrize("at", [1, 3, 6])
def test_rows_already_begun_are_let_go_of_where_memory_ends_at_a_later_one(llava: Loaded, at: int) -> None:
    expected = finished(Loop(llava, kept={}, prefixes=None), jobs_of(llava, 6), Budget(64, 1 << 20))
    loop, stepper = failing(llava, ERRORS[0])
    begin, calls = loop._started, itertools.count(1)

    def started(*given: Any) -> Any:
        if next(calls) == at:
            raise ERRORS[0]
        return begin(*given)

    loop._started = started  # type: ignore[method-assign]
    assert finished(loop, jobs_of(llava, 6), Budget(64, 1 << 20)) == expected
    assert not stepper.alive


@pytest.mark.parametrize("at", [1, 2, 4])
def test_rows_just_read_are_let_go_of_where_there_is_no_memory_to_keep_their_prompt(llava: Loaded, at: int) -> None:
    expected = finished(Loop(llava, kept={}, prefixes=None), jobs_of(llava, 6), Budget(64, 1 << 20))
    loop, stepper = failing(llava, ERRORS[0])
    past, calls = stepper.stepper.past, itertools.count(1)

    def keeping(slot: Any) -> Any:
        if next(calls) == at:
            raise ERRORS[0]
        return past(slot)

    stepper.past = keeping
    assert finished(loop, jobs_of(llava, 6), Budget(64, 1 << 20)) == expected
    assert next(calls) > at
    assert not stepper.alive
    assert not stepper._groups


def asked_of(count: int) -> list[Request]:
    texts = ("why? " * 9, "what is it? " * 7, "where " * 12, "hm " * 30)
    return [
        Request("chat", (Message("user", (ImagePart(picture(number % 2)), TextPart(text))),), text)
        for number, text in enumerate(texts[:count])
    ]


def test_memory_may_end_at_any_place_and_every_answer_comes_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = FAMILIES.get("llava")().tiny()
    steppers, calls, at = list[Any](), [0], [0]
    monkeypatch.setattr(_fast_rows, "TOGETHER", 1)  # each layer is a piece of memory
    begin = LeanStepper.__init__

    def noted(self: LeanStepper, *given: Any, **more: Any) -> None:
        begin(self, *given, **more)
        steppers.append(self)

    def failing_at(real: Any) -> Any:
        def call(*given: Any, **more: Any) -> Any:
            calls[0] += 1
            if calls[0] == at[0]:
                raise torch.OutOfMemoryError("out of memory")
            return real(*given, **more)

        return call

    def answers() -> list[str]:
        steppers.clear()
        calls[0] = 0
        return [result.raw for result in VLM(loaded, max_tokens=90).run(asked_of(3))]

    monkeypatch.setattr(LeanStepper, "__init__", noted)
    for owner, name in ((_pages, "room"), (_fast_rows.Group, "freeze"), (_fast_rows.Prefix, "then")):
        monkeypatch.setattr(owner, name, failing_at(getattr(owner, name)))
    expected, total = answers(), calls[0]
    assert total > 10
    for at[0] in range(1, total + 1):
        assert answers() == expected, f"at call {at[0]} of {total}"
        assert not any(stepper._groups for stepper in steppers)


@pytest.mark.parametrize("at", ["step", "past"])
def test_an_answer_that_ends_while_memory_ends_is_given(at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = FAMILIES.get("llava")().tiny()
    texts = [result.raw for result in VLM(loaded, max_tokens=14).run(asked_of(2))]
    stop = next(letter for letter in texts[1][2:] if letter.strip() and letter not in texts[0])
    vlm = VLM(loaded, max_tokens=14, stop=(stop,))
    expected = [result.raw for result in vlm.run(asked_of(2))]
    assert len(expected[1]) < len(texts[1])
    leave, real, ended = Loop._leave, getattr(LeanStepper, at), list[int]()

    def left(self: Loop, done: Any) -> None:
        if done:
            ended.append(0)
        leave(self, done)

    def failing_once(*given: Any) -> Any:
        if ended == [0]:
            ended.append(1)
            raise torch.OutOfMemoryError("out of memory")
        return real(*given)

    monkeypatch.setattr(Loop, "_leave", left)
    monkeypatch.setattr(LeanStepper, at, failing_once)
    vlm.forget()
    assert [result.raw for result in vlm.run(asked_of(2))] == expected
    assert 1 in ended


@pytest.mark.parametrize("name", ["imglish", "llava", "qwen2_5_vl"])
@pytest.mark.parametrize("at", [1, 2, 4, 7])
def test_memory_that_ends_before_there_is_a_prompt_loses_no_request(
    name: str, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, calls, opening = FAMILIES.get(name)().tiny(), itertools.count(1), _opening.open_image
    requests = [ask(picture(number), text=f"{number}?") for number in range(8)]
    expected = [result.raw for result in VLM(loaded, max_tokens=3).run(requests)]

    def failing_once(*given: Any, **more: Any) -> Any:
        if next(calls) == at:
            raise MemoryError
        return opening(*given, **more)

    monkeypatch.setattr(_opening, "open_image", failing_once)
    assert [result.raw for result in VLM(loaded, max_tokens=3).run(requests)] == expected
    monkeypatch.setattr(_opening, "open_image", lambda *given, **more: failing_always())
    with pytest.raises(MemoryLimitError, match="the next prompt alone"):
        VLM(loaded, max_tokens=3).run(requests)


def failing_always() -> None:
    raise MemoryError


@pytest.mark.parametrize("at", [1, 2, 3])
def test_an_encoder_without_memory_encodes_fewer_at_once(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = FAMILIES.get("imglish")().tiny()
    requests = [ask(picture(number), text=f"{number}?") for number in range(10)]
    expected = [result.raw for result in VLM(loaded, max_tokens=3).run(requests, batch=4)]
    encode, calls = type(loaded.model).encode_images, itertools.count(1)

    def failing_once(*given: Any, **more: Any) -> Any:
        if next(calls) == at:
            raise torch.OutOfMemoryError("out of memory")
        return encode(*given, **more)

    monkeypatch.setattr(type(loaded.model), "encode_images", failing_once)
    assert [result.raw for result in VLM(loaded, max_tokens=3).run(requests, batch=4)] == expected
    assert next(calls) > 3
