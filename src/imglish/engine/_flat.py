"""The modules of a model as a list, which is made anew only where its tree has changed.

Walking through modules within modules takes milliseconds for a model of a few hundred; to see that the tree is the same
takes a tenth of that. What is asked at every request (who listens, which weights) is asked of the list.
"""

from __future__ import annotations

import itertools
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

_numbers = itertools.count()


class Flat:
    """All modules of a tree, once each, the root first, with their names. Holds on to them, but for the root."""

    def __init__(self, root: nn.Module) -> None:
        self.number = next(_numbers)
        """No other tree has it."""
        named = dict(root.named_modules())
        self.names = list(named)[1:]
        self.modules = list(named.values())[1:]
        self._children = [module._modules for module in named.values()]
        self._ids = self._now()
        self.known: Any = None
        """What a caller found out about this tree."""

    def _now(self) -> list[int]:
        return [id(child) for children in self._children for child in children.values()]

    def is_current(self) -> bool:
        """Whether no module was put in, taken out or replaced."""
        return self._now() == self._ids


_made: weakref.WeakKeyDictionary[nn.Module, Flat] = weakref.WeakKeyDictionary()


def flat(root: nn.Module) -> Flat:
    """The modules of a tree as it is now."""
    found = _made.get(root)
    if found is None or not found.is_current():
        _made[root] = found = Flat(root)
    return found


def parameters(root: nn.Module) -> list[Tensor]:
    """All parameters, as often as modules have them."""
    modules = (root, *flat(root).modules)
    return [weight for module in modules for weight in module._parameters.values() if weight is not None]


def is_listened_to(module: nn.Module) -> bool:
    """Whether somebody has hooks in a module, or has given it another forward."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in module.__dict__)
