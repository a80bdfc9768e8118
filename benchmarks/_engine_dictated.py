"""An answer in the tokens that a trained model would write: random weights write the same text in tokens of their own,
which no prompt has that tells the answer again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from torch import Tensor

from imglish.engine.generate import ends_of
from imglish.families._base import Loaded, plain_ids

OPENS = {"b": " "}  # what a model's template has before an answer is written by the model, too


class Dictated:
    """A guide that leaves no choice: these tokens, and then the end."""

    def __init__(self, tokens: list[int]) -> None:
        self._left = list(tokens)

    def mask(self) -> Tensor | None:
        """Any may come, as far as this says."""
        return None

    def accept(self, token: int) -> None:
        """The next of them was taken."""
        assert self._left.pop(0) == token

    def forced(self) -> list[int]:
        """All that are left."""
        return list(self._left)

    def closing(self, left: int) -> Tensor | None:
        """As `mask`."""
        return None

    def fork(self) -> Dictated:
        """Another one at the same place."""
        return Dictated(self._left)

    @property
    def shortest(self) -> int:
        """Tokens that are left."""
        return len(self._left)

    @property
    def ended(self) -> bool:
        """Whether none is left."""
        return not self._left


@contextmanager
def dictated(loaded: Loaded, answer: str, letter: str) -> Iterator[None]:
    """While it lasts, every answer is this one."""
    backend = getattr(loaded.tokenizer, "backend_tokenizer", loaded.tokenizer)
    tokens = [*plain_ids(backend, OPENS.get(letter, "") + answer), min(ends_of(loaded))]
    with mock.patch("imglish.engine.runner.guide_for", return_value=Dictated(tokens)):
        yield
