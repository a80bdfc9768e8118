"""From requests to decoded answers: pictures are opened ahead, prompts made, answers decoded together or one by one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from imglish.core.types import Request
from imglish.engine import beams, budget
from imglish.engine._coming import Coming
from imglish.engine._sampling import rules
from imglish.engine.batch import Budget, chunks, opened, order
from imglish.engine.cache import FeatureCache
from imglish.engine.constrain import guide_for
from imglish.engine.generate import Decoded, Options, bounded, pieces
from imglish.engine.loop import Job, Loop
from imglish.engine.prefix import PrefixTree
from imglish.engine.prompt import Prompt, prompts
from imglish.families._base import Loaded


@dataclass(frozen=True)
class Answer:
    """What came of one request: the request with its pictures opened, its prompt, and the answer."""

    request: Request
    prompt: Prompt
    row: Decoded
    tells: bool = False
    """Whether its tokens and their log-probabilities were asked for."""


class Runner:
    """Runs requests on one model, and keeps what it computed of their pictures and prompts."""

    def __init__(self, *, features: FeatureCache | None = None, prefixes: PrefixTree | None = None) -> None:
        self.features = FeatureCache() if features is None else features
        self.prefixes = PrefixTree() if prefixes is None else prefixes
        self.loaded: Loaded | None = None

    def loop(self, options: Options, loaded: Loaded) -> Loop:
        """A loop over the model as it is now, that keeps what it computes unless the options say otherwise."""
        if self.loaded is not None and loaded.model is not self.loaded.model:
            self.forget()
        self.loaded = loaded
        if options.cache:
            return Loop(loaded, kept=self.features, prefixes=self.prefixes)
        return Loop(loaded, kept={}, prefixes=None)

    def forget(self) -> None:
        """Lets go of all that is kept of pictures and prompts."""
        self.features.clear()
        self.prefixes.clear()

    def run(
        self,
        loaded: Loaded,
        requests: Sequence[Request],
        options: Options,
        *,
        opening: Callable[[Request], Request],
        each: Sequence[Options] | None = None,
    ) -> Iterator[tuple[int, Answer]]:
        """(index of its request, answer) as they end: `n` for each request, whose own options are in `each`.

        What is about all of them together (`TOGETHER` of `imglish.engine.generate`) is taken from `options`.
        """
        chosen = [options] * len(requests) if each is None else each
        widths = [beams.count(loaded, one) for one in chosen]
        loop = self.loop(options, loaded)
        began, ranked = loop.clock(), order(requests)

        def coming(ranked: Sequence[int]) -> Iterator[Job]:
            def begin(place: int, together: int) -> Iterator[list[Job]]:
                ready = opened((requests[index] for index in ranked[place:]), opening)
                return self._jobs(ready, ranked[place:], chosen, together)

            return Coming(begin, 1 if loaded.family.native else options.batch)

        held: list[Job] = []
        for job in coming([index for index in ranked if widths[index] > 1]):
            if _has_form(job):  # what must have a form is decoded by the loop
                held.append(job)
            else:
                beams.search(loop.starts, job, widths[job.index], began)
                yield job.index, _answer(job)
        jobs = itertools.chain(held, coming([index for index in ranked if widths[index] == 1]))
        room = Budget(options.batch, budget.tokens_within(loaded, options))
        for changed in loop.run(jobs, room, began):
            for job in changed:
                if job.row.ended or job.row.stopped:
                    yield job.index, _answer(job)

    def pieces(self, loaded: Loaded, request: Request, options: Options) -> tuple[Iterator[str], Callable[[], Answer]]:
        """(the pieces of one answer, whose pictures are open; what it was when they have ended)."""
        loop = self.loop(options, loaded)
        ((job,),) = self._jobs([request], [0], [replace(options, n=1)], 1)
        width = beams.count(loaded, options)
        if width > 1 and not _has_form(job):
            steps: Iterable[Any] = self._searched(loop, job, width)
        else:
            steps = loop.run([job], Budget(1, options.tokens))
        return pieces(loaded.tokenizer, steps, job.row, options.stop), lambda: _answer(job)

    def make_room(self, request: Request, options: Options) -> None:
        """Refuses a request over the limit of memory; where one was given, what is kept makes room for the request."""
        assert self.loaded is not None, "there is a loop before there are requests"
        need = budget.check(self.loaded, request, options)
        if options.memory_limit is not None:
            spare = int(options.memory_limit) - need.total
            self.prefixes.shrink(spare)
            self.features.shrink(spare - self.prefixes.bytes)

    def prompts(self, requests: Sequence[Request], options: Options, *, in_turn: bool = False) -> list[Prompt]:
        """The prompts of opened requests; see `imglish.engine.prompt.prompts`."""
        assert self.loaded is not None, "there is a loop before there are prompts"
        kept: MutableMapping[Any, Any] = self.features if options.cache else {}
        return prompts(self.loaded, requests, kept, in_turn=in_turn)

    def _jobs(
        self, ready: Iterable[Request], indices: Sequence[int], chosen: Sequence[Options], together: int
    ) -> Iterator[list[Job]]:
        """The jobs of each request, whose pictures are open, made for so many requests at a time.

        `indices` are the requests' in what was asked for, in whose order their options are `chosen`.
        """
        assert self.loaded is not None, "there is a loop before there are jobs"
        left = iter(indices)
        for chunk in chunks(ready, together):
            numbers = [next(left) for _ in chunk]
            own = [bounded(self.loaded, chosen[index]) for index in numbers]
            for request, options in zip(chunk, own, strict=True):
                self.make_room(request, options)
            made = self.prompts(chunk, own[0])
            for request, index, options, prompt in zip(chunk, numbers, own, made, strict=True):
                told = rules(
                    self.loaded, self.loaded.family.banned(request), repetition_penalty=options.repetition_penalty
                )
                jobs = []
                for sample in range(options.n):
                    guided = guide_for(request, self.loaded) if options.guided else None
                    job = Job(index, prompt, options, told, guided, sample)
                    job.remember = request.skill == "chat"
                    jobs.append(job)
                yield jobs

    def _searched(self, loop: Loop, job: Job, width: int) -> Iterator[None]:
        """One step: a search decides at its end."""
        beams.search(loop.starts, job, width, loop.clock())
        yield


def _answer(job: Job) -> Answer:
    """What came of a job."""
    return Answer(job.prompt.request, job.prompt, job.row, tells=job.options.logprobs is not None)


def _has_form(job: Job) -> bool:
    """Whether a form of the answer was asked for, so that it is kept whatever else was asked."""
    return job.guide is not None and (job.prompt.request.form is not None or job.prompt.request.skill == "extract")
