"""What was computed from pictures, kept by the content of their pixels and bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator, MutableMapping
from typing import Any

MOST_BYTES = 256 * 1024 * 1024


class FeatureCache(MutableMapping[Hashable, Any]):
    """The features used last, up to `most_bytes` of tensors. What does not fit at all is not kept."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self.bytes = 0
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()

    def __getitem__(self, key: Hashable) -> Any:
        value = self._kept[key]
        self._kept.move_to_end(key)
        return value

    def __setitem__(self, key: Hashable, value: Any) -> None:
        if key in self._kept:
            del self[key]
        if size(value) > self.most_bytes:
            return
        self._kept[key] = value
        self.bytes += size(value)
        while self.bytes > self.most_bytes:
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
