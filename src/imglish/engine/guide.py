"""What the decoding loop asks of whatever constrains an answer. `constrain.guide_for` makes one per request.

The loop, at each step: take `forced()` where it is not empty (it is fed at once), else choose under `mask()`, or under
`closing(left)` while `left`, the tokens that max_tokens still allows with the end token, is small; then `accept` each
token in order, the end token included. It goes on until `ended`. `closing` may be called at every step: far from the
end of the budget it costs no more than `mask`. Where no ending fits into `left` (a budget below the shortest answer),
`closing` allows only the shortest way to an end, and the loop follows it past the budget: an answer is never cut open.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Guide(Protocol):
    """Which tokens may come next in one answer. State of one request; never shared between rows or samples."""

    def mask(self) -> Tensor | None:
        """(vocab,) bool, true for tokens that may come next, on the CPU; None: any may. Never all false.

        `vocab` is the width of the model's logits. The tensor may be kept by the guide: it is not to be written to.
        """

    def accept(self, token: int) -> None:
        """Advances by a token that was chosen or forced. Raises InputError for one that the mask forbids."""

    def forced(self) -> list[int]:
        """Tokens of which there is no choice, in order; may be empty. They are still to be accepted."""

    def closing(self, left: int) -> Tensor | None:
        """As `mask`, only tokens after which the answer can end within `left`, this and the end token counted."""

    def fork(self) -> Guide:
        """A guide in the same state that advances on its own: for another sample, for a beam."""

    @property
    def shortest(self) -> int:
        """Tokens of a short way to the end from here, the end token included."""

    @property
    def ended(self) -> bool:
        """Whether the answer is complete: an end token was accepted."""
