"""A guide for models that think before they answer: any text up to the end of the thought, then the answer's own guide.

The thought may take three quarters of the budget, and never what the shortest answer needs. Where it has not come to
its end by then, the end is written for it: a thought that is cut is told, a document that is cut would be lost.
"""

from __future__ import annotations

import numpy as np
import torch

from imglish.core.errors import InputError
from imglish.engine.guide import Guide
from imglish.engine.guides.vocabulary import Vocabulary

_SHARE = 4  # one part in so many of the budget is kept for the answer


class ThoughtGuide:
    """The guide of one answer after a thought; `end` is what stands between them, as `</think>` and two new lines."""

    def __init__(self, answer: Guide, words: Vocabulary, end: str) -> None:
        self._answer, self._words = answer, words
        self._mark = end.strip().encode()
        self._gap = end.partition(end.strip())[2].encode()
        token = words.id(end.strip())
        self._token = token
        self._way = [*(words.greedy(self._mark) if token is None else [token]), *words.greedy(self._gap)]
        self._written = b""  # the thought's last bytes, fewer than the mark has
        self._left: list[int] | None = None  # tokens up to the answer; None while the thought goes on
        self._total = 0
        self._is_due = False
        self._mask: torch.Tensor | None = None

    @property
    def ended(self) -> bool:
        """Whether the answer is complete."""
        return self._answer.ended

    @property
    def shortest(self) -> int:
        """Tokens of a short way to the end from here, the end token included."""
        return len(self._way if self._left is None else self._left) + self._answer.shortest

    def mask(self) -> torch.Tensor | None:
        """(vocab,) bool: what may come next. A thought has any text, and no end token."""
        if self._left is None:
            if self._mask is None:
                self._mask = self._thinking()
            return self._mask
        return self._only(self._left[0]) if self._left else self._answer.mask()

    def accept(self, token: int) -> None:
        """Advances by a token. Raises InputError for one that the mask forbids."""
        if self._left is None:
            mask = self.mask()
            if mask is None or not 0 <= token < len(mask) or not mask[token]:
                raise InputError(f"token {token} cannot come next in this thought")
            self._think(token)
        elif self._left:
            if token != self._left[0]:
                raise InputError(f"token {token} cannot come next in this answer")
            self._left = self._left[1:]
        else:
            self._answer.accept(token)

    def forced(self) -> list[int]:
        """Tokens of which there is no choice."""
        if self._left is None:
            return []
        return list(self._left) if self._left else self._answer.forced()

    def closing(self, left: int) -> torch.Tensor | None:
        """As `mask`, only tokens after which the answer can end within `left` tokens."""
        self._total = max(self._total, left)
        if self._left is None:
            self._is_due = left <= max(self._total // _SHARE, self.shortest)
            return self._only(self._way[0]) if self._is_due else self.mask()
        return self._only(self._left[0]) if self._left else self._answer.closing(left)

    def fork(self) -> ThoughtGuide:
        """A guide in the same state."""
        made = ThoughtGuide.__new__(ThoughtGuide)
        made.__dict__.update(self.__dict__)
        made._answer = self._answer.fork()
        return made

    def _think(self, token: int) -> None:
        """One token of the thought, which may be the last."""
        data = self._words.bytes[token]
        before, mark, after = (self._written + data).partition(self._mark)
        if token == self._token:
            mark, after = self._mark, b""
        if mark:
            self._left = self._words.greedy(self._gap.removeprefix(after))
        elif self._is_due and token == self._way[0]:
            self._left = self._way[1:]
        self._written = before[1 - len(self._mark) :] if data else b""  # a special token parts what stands around it
        self._mask = None

    def _thinking(self) -> torch.Tensor:
        """Any token but those that end the answer, and those in which the thought ends and something else begins."""
        mask = ~self._words.end_mask
        mask[len(self._words.bytes) :] = False
        for token in self._words.holding(self._mark):
            mask[token] &= self._gap.startswith(self._words.bytes[token].partition(self._mark)[2])
        begun = next(n for n in range(len(self._mark) - 1, -1, -1) if self._written.endswith(self._mark[:n]))
        rest = self._mark[begun:]
        group = self._words.beginning(rest[0]) if begun else None
        if group is not None and group[1].shape[1] > len(rest):
            ids, columns, lengths = group
            ends = (columns[:, : len(rest)] == np.frombuffer(rest, np.uint8)).all(1) & (lengths > len(rest))
            for token in ids[ends].tolist():
                mask[token] &= self._gap.startswith(self._words.bytes[token][len(rest) :])
        return mask

    def _only(self, token: int) -> torch.Tensor:
        only = torch.zeros_like(self._words.end_mask)
        only[token] = True
        return only
