"""How probable given answers are: one look at image and question, then all answers side by side in one forward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from imglish.core.errors import InputError, MemoryLimitError
from imglish.core.results import Text
from imglish.core.types import Request, Sample
from imglish.engine._sampling import Rules
from imglish.engine._score_branches import branched
from imglish.engine.batch import is_out_of_memory
from imglish.engine.generate import Options
from imglish.engine.loop import Job, Loop
from imglish.families._base import Loaded, encode_pieces, request_images

if TYPE_CHECKING:
    from imglish.engine.runner import Runner

AT_ONCE = 16  # questions that are in memory together


@dataclass(frozen=True)
class Scores:
    """Log-likelihoods of answers: `plain` are sums over their tokens, `mean` those divided by how many these are.

    The end of an answer is not counted: "red" and "red car" are scored as what is written so far.
    """

    options: tuple[str, ...]
    plain: tuple[float, ...]
    tokens: tuple[int, ...]
    prefix_tokens: int = 0
    """Tokens of the prompt that were known and not read again."""

    @property
    def mean(self) -> tuple[float, ...]:
        """Per token: long answers are not worse for being long."""
        return tuple(value / count for value, count in zip(self.plain, self.tokens, strict=True))

    @property
    def best(self) -> str:
        """The option with the highest plain score."""
        return self.options[max(range(len(self.options)), key=self.plain.__getitem__)]

    @property
    def best_mean(self) -> str:
        """The option with the highest score per token."""
        return self.options[max(range(len(self.options)), key=self.mean.__getitem__)]


def scores(
    runner: Runner, loaded: Loaded, questions: Sequence[tuple[Request, tuple[str, ...]]], options: Options, *,
    opening: Callable[[Request], Request],
) -> list[Scores]:  # fmt: skip
    """Scores of each question's options, a few questions at once; half as many where memory ends.

    Raises MemoryLimitError where it does for one alone, with nothing else kept.
    """
    found: list[Scores] = []
    together, is_alone = AT_ONCE, False
    while len(found) < len(questions):
        some = questions[len(found) : len(found) + together]
        try:
            found += _scores(runner, loaded, some, options, opening)
            is_alone = False
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if len(some) == 1 and is_alone:
                raise MemoryLimitError(
                    f"there is not enough memory to score {len(some[0][1])} options of one question: {error}",
                    hint="give fewer or smaller images, a shorter text, or fewer options at once",
                ) from error
            together, is_alone = max(len(some) // 2, 1), len(some) == 1
            runner.forget()
    return found


def _scores(
    runner: Runner, loaded: Loaded, some: Sequence[tuple[Request, tuple[str, ...]]], options: Options,
    opening: Callable[[Request], Request],
) -> list[Scores]:  # fmt: skip
    """Those of questions that are in memory together."""
    loop = runner.loop(options, loaded)
    requests = [opening(request) for request, _ in some]
    told = [[_ids(loaded, request, text) for text in texts] for request, (_, texts) in zip(requests, some, strict=True)]
    for request, ids in zip(requests, told, strict=True):
        runner.make_room(request, replace(options, max_tokens=sum(map(len, ids)), n=1, beams=1))
    made = runner.prompts(requests, options, in_turn=True)
    jobs = [Job(index, prompt, options, Rules()) for index, prompt in enumerate(made)]
    plain = branched(loop, jobs, told) or _forked(loop, jobs, told)
    return [
        Scores(texts, tuple(sums), tuple(map(len, ids)), job.row.prefix_tokens)
        for job, ids, sums, (_, texts) in zip(jobs, told, plain, some, strict=True)
    ]


def _forked(loop: Loop, jobs: Sequence[Job], told: Sequence[list[list[int]]]) -> list[list[float]]:
    """Sums of the tokens `told` of each job's options, each of which is a row that goes on from the prompt."""
    found: list[list[float]] = []
    begun = list(loop.starts.begin(jobs))
    slots = [slot for _, slot, _ in begun]
    try:
        forks: list[Any] = []
        waiting: list[list[int]] = []
        for (_, slot, _), ids in zip(begun, told, strict=True):
            longer = [one[:-1] for one in ids if len(one) > 1]
            if longer:
                new = loop.stepper.fork(slot, len(longer))
                slots += new
                forks += new
                waiting += longer
        later = iter(loop.stepper.extend(waiting, forks) if forks else ())
        for (_, _, logits), ids in zip(begun, told, strict=True):
            found.append([_sum(one, logits, next(later) if len(one) > 1 else None) for one in ids])
    finally:
        loop.stepper.drop(slots)
    return found


def _sum(ids: Sequence[int], first: Tensor, later: Tensor | None) -> float:
    logits = first[None] if later is None else torch.cat((first[None], later.float().to(first.device)))
    chosen = torch.tensor(list(ids), device=logits.device)
    return float(logits.log_softmax(-1).gather(-1, chosen[:, None]).sum())


def _ids(loaded: Loaded, request: Request, text: str) -> list[int]:
    """The tokens of an answer as the family writes it, without its end."""
    if not text:
        raise InputError("an option is empty; allowed are strings that are not")
    images = tuple(request_images(request)[0])
    sample = Sample("score", "ask", images, request.text, text, Text(text=text))
    written = getattr(loaded.family, "answer_ids", None)
    if written is not None:
        ids: list[int] = list(written(loaded, sample))[:-1]
    else:
        ids = encode_pieces(loaded.tokenizer, loaded.family.answer(sample), image_token=loaded.family.image_token)
        end = loaded.tokenizer.convert_tokens_to_ids(loaded.family.stop[0])
        ids = ids[:-1] if ids and ids[-1] == end else ids
    first = getattr(loaded.model.generation_config, "forced_bos_token_id", None)
    if first is not None and ids[:1] != [first]:
        ids = [first, *ids]
    return ids
