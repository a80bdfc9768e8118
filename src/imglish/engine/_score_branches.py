"""The log-likelihoods of answers to many questions in one forward: what several of them begin with is read once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from imglish.engine._branches import PAST, Branches
from imglish.engine._starts import Start
from imglish.engine.fast import LeanStepper
from imglish.engine.loop import Job, Loop
from imglish.engine.step import Past

MOST = 2048  # tokens that are read at once


@dataclass(eq=False)
class _Question:
    """A prompt whose answers are looked at: what of it is not read yet, after what is."""

    job: Job
    told: list[list[int]]
    past: Past
    rest: Sequence[int] = ()
    first: Tensor | None = None
    """Logits (vocab,) after the prompt, where all of it is read."""

    @property
    def count(self) -> int:
        """Tokens to be read, if it had nothing in common with others."""
        return len(self.rest) + sum(len(ids) - 1 for ids in self.told)


def branched(loop: Loop, jobs: Sequence[Job], told: Sequence[list[list[int]]]) -> list[list[float]]:
    """For each job the sum of the log-probabilities of each of its answers; nothing where the stepper has no trees."""
    stepper = loop.stepper
    longest = max(len(job.prompt) + len(one) for job, ids in zip(jobs, told, strict=True) for one in ids)
    if not isinstance(stepper, LeanStepper) or not stepper.branches_to(longest):
        return []
    answers = {id(job): ids for job, ids in zip(jobs, told, strict=True)}
    found: dict[int, list[float]] = {}
    aside: list[Start] = []
    begun = list(loop.starts.begin(jobs, aside))
    try:
        groups = [
            [_Question(job, answers[id(job)], stepper.past(slot), first=logits.float())] for job, slot, logits in begun
        ]
        groups += [_questions(some, answers) for some in _grouped(loop, aside)]
        for some in _parted(groups):
            _score(stepper, some, found)
    finally:
        stepper.drop([slot for _, slot, _ in begun])
    return [found[id(job)] for job in jobs]


def _grouped(loop: Loop, aside: Sequence[Start]) -> list[list[Start]]:
    """Prompts that go on from the same memory, at one place."""
    groups: list[list[Start]] = []
    for start in aside:
        for number, group in enumerate(groups):
            if loop.starts.is_near(group, *start):
                groups[number] = loop.starts.cut([*group, start])
                break
        else:
            groups.append([start])
    return groups


def _questions(group: Sequence[Start], answers: dict[int, list[list[int]]]) -> list[_Question]:
    made = []
    for job, past, length in group:
        assert past is not None, "a prompt of which nothing is known is begun"
        row, prompt = job.row, job.prompt
        row.prefix_tokens = length
        row.cache_hits = len(prompt.items) if prompt.looked is None else prompt.looked
        made.append(_Question(job, answers[id(job)], past, prompt.symbols[length:]))
    return made


def _parted(groups: Sequence[list[_Question]]) -> Iterator[list[list[_Question]]]:
    """The groups, of which some may be cut, so many at a time that they are read at once."""
    parts: list[list[_Question]] = []
    count = 0
    for group in groups:
        parts.append([])
        for question in group:
            if count and count + question.count > MOST:
                yield [part for part in parts if part]
                parts, count = [[]], 0
            parts[-1].append(question)
            count += question.count
    yield [part for part in parts if part]


def _score(stepper: LeanStepper, groups: Sequence[list[_Question]], found: dict[int, list[float]]) -> None:
    """Fills in the sums by the id of each job."""
    trees: list[Branches] = []
    chosen: list[tuple[list[int], list[int]]] = []  # for each tree, the places of logits and the tokens after them
    owners: list[list[tuple[list[float], int]]] = []  # whose sums these are part of
    for group in groups:
        tree = Branches(group[0].past)
        places, tokens, owned = list[int](), list[int](), list[tuple[list[float], int]]()
        for question in group:
            tree.begin()
            end = tree.grow(PAST, question.rest)
            sums = found[id(question.job)] = [0.0] * len(question.told)
            first = None if question.first is None else question.first.log_softmax(-1)
            for number, ids in enumerate(question.told):
                node = end
                for place, token in enumerate(ids):
                    if node == PAST:
                        assert first is not None, "a prompt whose end is not known has tokens left"
                        sums[number] += float(first[token])
                    else:
                        places.append(tree.ask(node))
                        tokens.append(token)
                        owned.append((sums, number))
                    if place + 1 < len(ids):
                        node = tree.grow(node, (token,))
        if tree.asked:
            trees.append(tree)
            chosen.append((places, tokens))
            owners.append(owned)
    if not trees:
        return
    for logits, (places, tokens), owned in zip(stepper.branch(trees), chosen, owners, strict=True):
        total = logits.logsumexp(-1)
        at = torch.tensor(places, device=logits.device)
        values = logits[at, torch.tensor(tokens, device=logits.device)] - total[at]
        for (sums, number), value in zip(owned, values.tolist(), strict=True):
            sums[number] += value
