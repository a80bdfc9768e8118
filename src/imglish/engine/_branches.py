"""Texts that go on from one memory in many ways, as a tree: what several of them begin with is there once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from imglish.engine.step import Past

PAST = -1  # what comes before the first tokens of a tree


@dataclass(eq=False)
class Branches:
    """Tokens after `past`, each after another one of its text, or after PAST."""

    past: Past
    tokens: list[int] = field(default_factory=list)
    paths: list[list[int]] = field(default_factory=list)
    """For each token the numbers of all tokens of its text up to itself, so that its depth is their count."""
    rows: list[int] = field(default_factory=list)
    """Number of the first token of each row: tokens that came in one after the other, and share most of their text."""
    asked: dict[int, int] = field(default_factory=dict)
    """Tokens after which the logits are wanted, and the place of each among these logits."""
    _after: dict[tuple[int, int], int] = field(default_factory=dict)

    def begin(self) -> None:
        """What comes now is another row."""
        if not self.rows or self.rows[-1] < len(self.tokens):
            self.rows.append(len(self.tokens))

    def grow(self, node: int, ids: Iterable[int]) -> int:
        """The node at the end of these tokens after a node; only what is not there yet is added."""
        for token in ids:
            found = self._after.get((node, token))
            if found is None:
                found = self._after[node, token] = len(self.tokens)
                self.tokens.append(token)
                self.paths.append([*(self.paths[node] if node != PAST else ()), found])
            node = found
        return node

    def ask(self, node: int) -> int:
        """Where among the logits those after this node will be."""
        return self.asked.setdefault(node, len(self.asked))
