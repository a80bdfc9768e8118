"""From logits to a token: what is never written, penalties, the guide's mask, temperature and its cuts.

In the order of transformers: penalties and suppressions change the logits; temperature, top-k, top-p and min-p then
say which tokens are drawn from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rules:
    """What a checkpoint's generation config, its family and the options say of every token."""

    suppressed: tuple[int, ...] = ()
    first: int | None = None
    """The token that every answer begins with."""
    not_first: tuple[int, ...] = ()
    repetition_penalty: float = 1.0
    no_repeat: int = 0
    """No run of so many tokens occurs twice."""
    words: tuple[tuple[int, ...], ...] = ()
    """Runs of tokens that are never written."""

    @cached_property
    def _never(self) -> Tensor:
        return torch.tensor(self.suppressed, dtype=torch.long)

    def apply(self, logits: Tensor, seen: Sequence[int], written: Sequence[int]) -> Tensor:
        """Logits (vocab,) as they count; `seen` are all tokens so far (the prompt's, too), `written` the answer's."""
        begins = not written and (self.first is not None or bool(self.not_first))
        if not (begins or self.suppressed or self.no_repeat or self.words or self.repetition_penalty != 1):
            return logits
        logits = logits.index_fill(0, self._never.to(logits.device), -torch.inf)
        if self.repetition_penalty != 1:
            known = torch.tensor(sorted(set(seen)), device=logits.device)
            score = logits[known]
            logits[known] = torch.where(score < 0, score * self.repetition_penalty, score / self.repetition_penalty)
        if self.no_repeat:
            for token in _repeats(seen, self.no_repeat):
                logits[token] = -torch.inf
        for run in self.words:
            if len(run) == 1 or tuple(seen[-len(run) + 1 :]) == run[:-1]:
                logits[run[-1]] = -torch.inf
        if not written:
            if self.not_first:
                logits[list(self.not_first)] = -torch.inf
            if self.first is not None:
                logits[:] = -torch.inf
                logits[self.first] = 0.0
        return logits


def rules(loaded: Any, banned: Sequence[str] = (), *, repetition_penalty: float | None = None) -> Rules:
    """The rules of a model: its generation config, the family's where that says nothing, and what was asked for."""
    config, family = loaded.model.generation_config, loaded.family

    def of(name: str) -> Any:
        value = getattr(config, name, None)
        return getattr(family, "generation", {}).get(name) if value is None else value

    suppressed = [*(of("suppress_tokens") or ()), *loaded.tokenizer.convert_tokens_to_ids(list(banned))]
    penalty = of("repetition_penalty") if repetition_penalty is None else repetition_penalty
    bad = of("bad_words_ids") or ()
    return Rules(
        tuple(sorted({token for token in suppressed if token is not None})), of("forced_bos_token_id"),
        tuple(of("begin_suppress_tokens") or ()), 1.0 if penalty is None else float(penalty),
        int(of("no_repeat_ngram_size") or 0), tuple(tuple(run) for run in bad),
    )  # fmt: skip


@dataclass(eq=False)
class Draw:
    """How one answer's tokens are drawn; each has randomness of its own, so that no answer depends on the batch."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    generator: torch.Generator | None = field(default=None)

    def token(self, logits: Tensor) -> int:
        """A token of logits (vocab,)."""
        if self.temperature == 0:
            return int(logits.numpy().argmax() if logits.device.type == "cpu" else logits.argmax())
        weights = (logits / self.temperature).softmax(-1)
        if 0 < self.top_k < len(weights):
            weights[weights < weights.topk(self.top_k).values[-1]] = 0
        if self.top_p < 1:
            ranked, order = weights.sort(descending=True)
            ranked = ranked / ranked.sum()
            weights[order[ranked.cumsum(-1) - ranked >= self.top_p]] = 0
        if self.min_p > 0:
            weights[weights < self.min_p * weights.max()] = 0
        return int(torch.multinomial(weights, 1, generator=self.generator))


def _repeats(seen: Sequence[int], size: int) -> set[int]:
    """Tokens that would make a run of `size` tokens occur again."""
    if len(seen) + 1 < size:
        return set()
    last = tuple(seen[len(seen) - size + 1 :]) if size > 1 else ()
    return {seen[n + size - 1] for n in range(len(seen) - size + 1) if tuple(seen[n : n + size - 1]) == last}
