"""From requests to decoded answers: pictures are opened ahead, prompts made, answers decoded together or one by one."""

from __future__ import annotations

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
from imglish.engine.generate import Decoded, Options, pieces
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
    ) -> Iterator[tuple[int, Answer]]:
        """(index of its request, answer) as they end: `options.n` for each request."""
        loop = self.loop(options, loaded)
        ranked = order(requests)

        def begin(place: int, together: int) -> Iterator[list[Job]]:
            ready = opened((requests[index] for index in ranked[place:]), opening)
            return self._jobs(ready, ranked[place:], options, together)

        jobs: Iterator[Job] = Coming(begin, 1 if loaded.family.native else options.batch)
        width = beams.count(loaded, options)
        if width > 1:
            guided: list[Job] = []  # a search with beams has no guide: what must have a form is decoded by the loop
            for job in jobs:
                if _has_form(job):
                    guided.append(job)
                else:
                    beams.search(loop.starts, job, width)
                    yield job.index, Answer(job.prompt.request, job.prompt, job.row)
            jobs = iter(guided)
        for changed in loop.run(jobs, Budget(options.batch, budget.tokens_within(loaded, options))):
            for job in changed:
                if job.row.ended or job.row.stopped:
                    yield job.index, Answer(job.prompt.request, job.prompt, job.row)

    def pieces(self, loaded: Loaded, request: Request, options: Options) -> tuple[Iterator[str], Callable[[], Answer]]:
        """(the pieces of one answer, whose pictures are open; what it was when they have ended)."""
        loop = self.loop(options, loaded)
        ((job,),) = self._jobs([request], [0], replace(options, n=1), 1)
        width = beams.count(loaded, options)
        if width > 1 and not _has_form(job):
            steps: Iterable[Any] = self._searched(loop, job, width)
        else:
            steps = loop.run([job], Budget(1, options.tokens))
        return pieces(loaded.tokenizer, steps, job.row, options.stop), lambda: Answer(request, job.prompt, job.row)

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
        self, ready: Iterable[Request], indices: Sequence[int], options: Options, together: int
    ) -> Iterator[list[Job]]:
        """The jobs of each request, whose pictures are open, made for so many requests at a time."""
        assert self.loaded is not None, "there is a loop before there are jobs"
        numbers = iter(indices)
        for chunk in chunks(ready, together):
            for request in chunk:
                self.make_room(request, options)
            for request, prompt in zip(chunk, self.prompts(chunk, options), strict=True):
                told = rules(
                    self.loaded, self.loaded.family.banned(request), repetition_penalty=options.repetition_penalty
                )
                index, jobs = next(numbers), []
                for sample in range(options.n):
                    guided = guide_for(request, self.loaded) if options.guided else None
                    job = Job(index, prompt, options, told, guided, sample)
                    job.remember = request.skill == "chat"
                    jobs.append(job)
                yield jobs

    def _searched(self, loop: Loop, job: Job, width: int) -> Iterator[None]:
        """One step: a search decides at its end."""
        beams.search(loop.starts, job, width)
        yield


def _has_form(job: Job) -> bool:
    """Whether a form of the answer was asked for, so that it is kept whatever else was asked."""
    return job.guide is not None and (job.prompt.request.form is not None or job.prompt.request.skill == "extract")
