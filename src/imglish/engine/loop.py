"""The loop that decodes for every family: prompts come in while there is room, all that run take a token, some leave.

Each answer has its own options, randomness, guide and deadline; nothing of it depends on what else runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from imglish.core.errors import MemoryLimitError
from imglish.engine import _cross_weights, _fast_looking, fast
from imglish.engine._sampling import Draw, Rules
from imglish.engine._starts import Starts
from imglish.engine._told import most_probable
from imglish.engine.batch import Budget, is_out_of_memory
from imglish.engine.crossed import crossed
from imglish.engine.generate import Decoded, Options, append, detokenize, ends_of
from imglish.engine.guide import Guide
from imglish.engine.plain import PlainStepper
from imglish.engine.prefix import PrefixTree
from imglish.engine.prompt import Prompt
from imglish.engine.seq2seq import Seq2SeqStepper
from imglish.engine.step import Slot, Stepper
from imglish.families._base import Loaded


@dataclass(eq=False)
class Job:
    """One answer that is wanted. `index` is the request's, `sample` counts its answers."""

    index: int
    prompt: Prompt
    options: Options
    rules: Rules
    guide: Guide | None = None
    sample: int = 0
    row: Decoded = field(default_factory=Decoded)
    remember: bool = False
    """Whether what was written is kept with the prompt: another turn will go on from it."""


@dataclass(eq=False)
class _Run:
    """A job with its place in the stepper and the logits (vocab,) of what comes next."""

    job: Job
    slot: Slot
    logits: Tensor
    draw: Draw
    regime: int
    fed: int = 0
    """Tokens of the answer that the stepper has."""


class Loop:
    """Decodes jobs. `kept` holds features of images, `prefixes` what is known of prompts; None keeps nothing."""

    def __init__(
        self, loaded: Loaded, *, kept: MutableMapping[Any, Any], prefixes: PrefixTree | None,
        stepper: Stepper | None = None, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.loaded, self.clock = loaded, clock
        self.starts = Starts(loaded, stepper_of(loaded) if stepper is None else stepper, kept, prefixes)
        self.stepper: Stepper = self.starts.stepper
        self.ends = ends_of(loaded)
        self._tried = 0  # answers that ran, or were to begin, when memory was last needed
        self._is_alone = False  # whether one alone ran out of memory, and is tried once more

    def run(self, jobs: Iterable[Job], budget: Budget, began: float | None = None) -> Iterator[list[Job]]:
        """Decodes all jobs; after each step, those that got a token or ended. Leaving off drops the rest.

        Deadlines count from `began` by the loop's clock; None is now.
        """
        began, waiting = self.clock() if began is None else began, _Queue(jobs)
        running: list[_Run] = []
        try:
            while running or waiting.is_open:
                changed: list[Job] = []
                try:
                    new = self._admit(waiting, running, budget)
                    running += new
                    changed = self._choose(running, began)
                    stay = [run for run in running if not _is_done(run.job.row)]
                    self._leave([run for run in running if _is_done(run.job.row)])
                    running = stay
                    self._feed(running)
                    self._is_alone = False
                except Exception as error:
                    if not is_out_of_memory(error):
                        raise
                    ended = {id(job): job for job in (*changed, *(run.job for run in running)) if _is_done(job.row)}
                    self._shrink(error, running, waiting, budget)
                    running, changed = [], list(ended.values())
                    self._write(changed)
                if changed:
                    yield changed
        finally:
            self.stepper.drop([run.slot for run in running])

    def _admit(self, waiting: _Queue, running: list[_Run], budget: Budget) -> list[_Run]:
        """Starts as many of the waiting as there is room for."""
        tokens = sum(run.slot.length + _rest(run.job) for run in running)
        taken: list[Job] = []
        given: list[tuple[Job, Slot, Tensor]] = []
        try:
            while len(running) + len(taken) < budget.rows and waiting:
                if not budget.takes(_need(waiting.first), rows=len(running) + len(taken), tokens=tokens):
                    break
                taken.append(waiting.take())
                tokens += _need(taken[-1])
            given.extend(self.starts.begin(taken))
            return [self._started(*one) for one in given]
        except Exception:
            self.stepper.drop([slot for _, slot, _ in given])
            waiting.back(taken)
            raise
        finally:
            self._tried = len(running) + len(taken)

    def _started(self, job: Job, slot: Slot, logits: Tensor) -> _Run:
        options, generator = job.options, None
        if options.temperature > 0:
            generator = torch.Generator(device=logits.device)
            if options.seed is None:
                generator.seed()
            else:
                generator.manual_seed(options.seed + job.sample)
        draw = Draw(options.temperature, options.top_p, options.top_k, options.min_p, generator)
        return _Run(job, slot, logits, draw, self.starts.regime(job.prompt, len(job.row.ids)), len(job.row.ids))

    def _choose(self, running: list[_Run], began: float) -> list[Job]:
        """One token for each, or as many as its guide leaves no choice of; all jobs that changed."""
        now = self.clock()
        greedy: list[tuple[_Run, Tensor]] = []
        for run in running:
            options, row = run.job.options, run.job.row
            if options.cancel is not None and options.cancel.is_set():
                row.stopped = "cancelled"
            elif options.deadline is not None and now - began >= options.deadline:
                row.stopped = "deadline"
            if row.stopped:
                continue
            logits = run.job.rules.apply(run.logits, self._seen(run), row.ids)
            if run.job.guide is not None:
                self._guided(run, logits, run.job.guide)
            elif options.temperature == 0:
                greedy.append((run, logits))
            else:
                token = run.draw.token(logits)
                self._take(run, token, _logprob(logits, token), logits)
        if greedy:
            together = greedy[0][1][None] if len(greedy) == 1 else torch.stack([logits for _, logits in greedy])
            best = together.argmax(-1)
            values = together.log_softmax(-1).gather(-1, best[:, None])[:, 0]
            for (run, logits), token, value in zip(greedy, best.tolist(), values.tolist(), strict=True):
                self._take(run, token, value, logits)
        return [run.job for run in running]

    def _guided(self, run: _Run, logits: Tensor, guide: Guide) -> None:
        """A token that the guide allows; its probability is kept among all tokens, and among those allowed."""
        forced = guide.forced()
        if forced:
            self._forced(run, logits, guide, forced)
            return
        allowed = guide.closing(run.job.options.max_tokens - len(run.job.row.ids))
        narrowed = logits
        if allowed is not None:
            mask = allowed[: len(logits)].to(logits.device)
            narrowed = logits.masked_fill(~mask, -torch.inf)
            if float(narrowed.max()) == -torch.inf:  # what the rules forbid is all that the guide allows
                narrowed = run.logits.masked_fill(~mask, -torch.inf)
            free = guide.mask()
            if free is not None and free is not allowed and not torch.equal(free, allowed):
                wanted = int(logits.masked_fill(~free[: len(logits)].to(logits.device), -torch.inf).argmax())
                run.job.row.hurried |= not bool(mask[wanted])
        token = run.draw.token(narrowed)
        guide.accept(token)
        raw = _logprob(run.logits, token)
        masked = raw if narrowed is run.logits else _logprob(narrowed, token)
        self._take(run, token, raw, run.logits, masked=masked, ended=guide.ended)

    def _forced(self, run: _Run, logits: Tensor, guide: Guide, forced: list[int]) -> None:
        """Feeds all forced tokens but the last at once: `_feed` feeds that one."""
        seen = [run.logits]
        if len(forced) > 1:
            seen += self.stepper.extend([forced[:-1]], [run.slot])[0].float().unbind(0)
            run.fed += len(forced) - 1
        for token, before in zip(forced, seen, strict=True):
            guide.accept(token)
            self._take(run, token, _logprob(before, token), before, masked=0.0, ended=guide.ended)

    def _take(
        self, run: _Run, token: int, logprob: float, logits: Tensor, *, masked: float | None = None, ended: bool = False
    ) -> None:
        """Adds a token, which was chosen of `logits` (vocab,), to its answer."""
        job = run.job
        options, tokenizer = job.options, self.loaded.tokenizer
        top = most_probable(logits, options.logprobs) if options.logprobs else ()
        append(job.row, token, logprob, ends=self.ends, tokenizer=tokenizer, stop=options.stop, masked=masked, top=top)
        job.row.ended = job.row.ended or ended
        if not job.row.ended and job.guide is None and len(job.row.ids) >= job.options.max_tokens:
            job.row.stopped = "length"

    def _write(self, done: Iterable[Job]) -> None:
        for job in done:
            job.row.text = job.row.text or detokenize(self.loaded.tokenizer, job.row.ids)

    def _leave(self, done: list[_Run]) -> None:
        self._write(run.job for run in done)
        for run in done:
            row = run.job.row
            if run.job.remember and run.job.options.cache:
                self.starts.remember(run.job.prompt, row.ids[: run.fed], run.slot)
        self.stepper.drop([run.slot for run in done])

    def _feed(self, running: list[_Run]) -> None:
        """The tokens chosen go into the stepper; where an answer grew into another regime, all is read again."""
        for run in running:
            if self.starts.regime(run.job.prompt, len(run.job.row.ids)) != run.regime:
                _, slot, run.logits = next(iter(self.starts.begin([run.job])))
                self.stepper.drop([run.slot])
                run.slot = slot
                run.regime = self.starts.regime(run.job.prompt, len(run.job.row.ids))
                run.fed = len(run.job.row.ids)
        behind = [run for run in running if run.fed < len(run.job.row.ids)]
        if not behind:
            return
        slots = [run.slot for run in behind]
        tokens = torch.tensor([run.job.row.ids[-1] for run in behind])
        for run, logits in zip(behind, self.stepper.step(tokens, slots), strict=True):
            run.logits, run.fed = logits.float(), len(run.job.row.ids)

    def _shrink(self, error: Exception, running: list[_Run], waiting: _Queue, budget: Budget) -> None:
        """Frees all that is kept, and lets half as many run at once; answers go on from where they are."""
        self.stepper.drop([run.slot for run in running])
        waiting.back([run.job for run in running if not _is_done(run.job.row)])
        self.starts.forget()
        if not waiting.is_open:
            return
        budget.halve(self._tried)
        if self._tried <= 1 and self._is_alone:
            what = f"a prompt of {len(waiting.first.prompt)} tokens" if waiting.known else "the next prompt"
            raise MemoryLimitError(
                f"there is not enough memory for {what} alone: {error}",
                hint="give fewer or smaller images, a shorter text, or fewer max_tokens",
            ) from error
        self._is_alone = self._tried <= 1

    def _seen(self, run: _Run) -> list[int]:
        """All tokens so far, for rules that look back: an encoder-decoder sees what it wrote itself."""
        rules = run.job.rules
        if rules.repetition_penalty == 1 and not rules.no_repeat and not rules.words:
            return []
        before = self.starts.first if self.starts.first else run.job.prompt.ids.tolist()
        return [*before, *run.job.row.ids]


class _Queue:
    """Jobs that wait; those put back come first."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._rest = iter(jobs)
        self._front: list[Job] = []
        self._is_over = False

    def __bool__(self) -> bool:
        if not self._front:
            self._front = [job for job in [next(self._rest, None)] if job is not None]
            self._is_over = not self._front
        return bool(self._front)

    @property
    def known(self) -> bool:
        """Whether the next job was made already."""
        return bool(self._front)

    @property
    def is_open(self) -> bool:
        """Whether there may be more jobs, as far as is known without making one."""
        return self.known or not self._is_over

    @property
    def first(self) -> Job:
        """The next job; asked only where there is one."""
        return self._front[0]

    def take(self) -> Job:
        """The next job, which waits no longer."""
        return self._front.pop(0)

    def back(self, jobs: list[Job]) -> None:
        """Puts jobs before all others."""
        self._front = [*jobs, *self._front]


def stepper_of(loaded: Loaded) -> Stepper:
    """What steps this model's decoder as it is now: the lean stepper where it qualifies, else the plain one."""
    model, two_way = loaded.model, bool(getattr(loaded.family, "two_way", False))
    if model.config.is_encoder_decoder:
        return crossed(model) or _kept_stepper(loaded, lambda: Seq2SeqStepper(model))
    found = fast.lean(model, two_way=two_way)
    return _kept_stepper(loaded, lambda: PlainStepper(model, two_way=two_way)) if found is None else found


def forget(model: Any) -> None:
    """What is known of a model's weights is read again."""
    for known in (fast, _cross_weights, _fast_looking):
        known.forget(model)


def _kept_stepper(loaded: Loaded, make: Callable[[], Stepper]) -> Stepper:
    """One for each model: it holds no weights of its own."""
    known: tuple[Any, Stepper] | None = loaded.extra.get("_stepper")
    if known is None or known[0] is not loaded.model:
        known = loaded.extra["_stepper"] = (loaded.model, make())
    return known[1]


def _logprob(logits: Tensor, token: int) -> float:
    """In nats, of one token of logits (vocab,). One pass: at small vocabularies every operation has its price."""
    return float(logits.log_softmax(-1)[token])


def _is_done(row: Decoded) -> bool:
    return row.ended or bool(row.stopped)


def _rest(job: Job) -> int:
    return min(job.options.max_tokens, 64)  # most answers are shorter than they may be


def _need(job: Job) -> int:
    return len(job.prompt) + len(job.row.ids) + _rest(job)
