"""What was computed from pictures, kept by the content of their pixels and bounded in bytes.

A key names the pixels and, as its `Kind`, all else that features depend on: the weights, the adapter that is switched
on, the precision, the preprocessing. A change of any of them finds nothing that was kept before.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, NamedTuple

from imglish.engine._flat import flat, parameters

if TYPE_CHECKING:
    from imglish.engine._shelf import Shelf
    from imglish.families._base import Loaded

MOST_BYTES = 256 * 1024 * 1024


class Kind(NamedTuple):
    """What computes: equal kinds compute equal features of equal pixels."""

    family: str
    dtype: str
    weights: int
    adapter: str
    preprocessing: str


def kind_of(loaded: Loaded) -> Kind:
    """The kind of a model as it is now; training it, or switching an adapter, changes the kind."""
    model = loaded.model
    weights = hash(tuple((one.data_ptr(), one._version) for one in parameters(model)))
    pictures = getattr(loaded.processor, "image_processor", None)
    preprocessing = repr(sorted((name, repr(value)) for name, value in getattr(pictures, "__dict__", {}).items()))
    return Kind(loaded.family.name, str(model.dtype), weights, _adapter(model), preprocessing)


def _adapter(model: Any) -> str:
    """Which adapters are switched on, with their strengths; empty where there are none."""
    names = ("_active_adapter", "_disable_adapters", "merged_adapters", "scaling")
    found = []
    tree = flat(model)
    for name, module in zip(("", *tree.names), (model, *tree.modules), strict=True):
        if "_active_adapter" in module.__dict__:
            found.append((name, *(repr(module.__dict__.get(one)) for one in names)))
    return repr(found) if found else ""


class FeatureCache(MutableMapping[Hashable, Any]):
    """The features used last, up to `most_bytes` of tensors. What does not fit at all is not kept.

    `shelf`: what is put in is written there, too, and found again by another process.
    """

    def __init__(self, most_bytes: int = MOST_BYTES, *, shelf: Shelf | None = None) -> None:
        self.most_bytes = most_bytes
        self.bytes = 0
        self.shelf = shelf
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()

    def __getitem__(self, key: Hashable) -> Any:
        if key not in self._kept and self.shelf is not None:
            found = self.shelf.find(key)
            if found is not None:
                self._keep(key, found)
                return found
        value = self._kept[key]
        self._kept.move_to_end(key)
        return value

    def __setitem__(self, key: Hashable, value: Any) -> None:
        self._keep(key, value)
        if self.shelf is not None:
            self.shelf.put(key, value)

    def _keep(self, key: Hashable, value: Any) -> None:
        if key in self._kept:
            del self[key]
        if size(value) > self.most_bytes:
            return
        self._kept[key] = value
        self.bytes += size(value)
        self.shrink(self.most_bytes)

    def shrink(self, most: int) -> None:
        """Lets go of the features used longest ago, until so many bytes are kept."""
        while self.bytes > max(most, 0):
            _, oldest = self._kept.popitem(last=False)
            self.bytes -= size(oldest)

    def __delitem__(self, key: Hashable) -> None:
        self.bytes -= size(self._kept.pop(key))

    def __contains__(self, key: object) -> bool:
        return key in self._kept  # asking is not using

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)


def size(value: Any) -> int:
    """Bytes of a tensor, or of all tensors in a tuple or list."""
    if isinstance(value, (tuple, list)):
        return sum(size(item) for item in value)
    return int(getattr(value, "nbytes", 0))
