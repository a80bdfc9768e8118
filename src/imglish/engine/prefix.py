"""Keys and values by content: a tree over symbols, so that each prompt begins with the longest start that is known.

Symbols are token ids, and for images numbers made of their pixels (`imglish.engine.prompt`). An edge of the tree is a
run of symbols; what is kept hangs at its end, and any start of it serves a prompt that parts from it on the way.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

MOST_BYTES = 1024 * 1024 * 1024
LEAST = 8  # tokens: shorter starts are read again sooner than found
WORTH = 8  # a start is kept where at least one token of so many is new, or where it goes on from the end of another


@dataclass(eq=False)
class _Node:
    edge: tuple[int, ...] = ()
    parent: _Node | None = None
    children: dict[int, _Node] = field(default_factory=dict)
    past: Any = None
    pieces: dict[int, int] = field(default_factory=dict)
    """Bytes of each piece of memory that `past` held when it came."""


class PrefixTree:
    """The starts used last, up to `most_bytes`. Starts of different `kind` share nothing."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self._roots: dict[Hashable, _Node] = {}
        self._used: OrderedDict[int, tuple[Hashable, _Node]] = OrderedDict()
        self._holders: Counter[int] = Counter()  # how many hold each piece of memory
        self.bytes = 0
        """Of all that is kept; memory that several of them have in common counts once."""

    def __len__(self) -> int:
        return len(self._used)

    def find(self, kind: Hashable, symbols: Sequence[int], *, whole: bool = False) -> tuple[Any, int]:
        """(what is kept of the longest known start, its length); (None, 0) where nothing is.

        `whole`: only a start that has all of the symbols, and nothing else, serves.
        """
        node, length, inside = self._walk(kind, symbols)
        if node is None or (not whole and length < LEAST):
            return None, 0
        if whole and (length < len(symbols) or inside < len(node.edge) or node.past is None):
            return None, 0
        holder = _first(node)
        if holder is None:
            return None, 0
        self._used.move_to_end(id(holder))
        return holder.past, length

    def is_worth(self, kind: Hashable, symbols: Sequence[int]) -> bool:
        """Whether keeping these would spare a later prompt more than a few tokens."""
        node, length, inside = self._walk(kind, symbols)
        if node is None or length == 0:
            return True
        goes_on = inside == len(node.edge) and node.past is not None and not node.children
        return length < len(symbols) and (goes_on or WORTH * (len(symbols) - length) >= len(symbols))

    def keep(self, kind: Hashable, symbols: Sequence[int], past: Any) -> None:
        """Keeps what was computed of these symbols. What it goes on from is then part of it, and let go of."""
        if past.nbytes > self.most_bytes or not symbols:
            return
        node = self._roots.setdefault(kind, _Node())
        rest = tuple(symbols)
        while rest:
            if node.past is not None and node.parent is not None:
                self._drop(kind, node, prune=False)
            child = node.children.get(rest[0])
            if child is None:
                child = _Node(rest, node)
                node.children[rest[0]] = child
                node, rest = child, ()
                break
            same = _common(child.edge, rest)
            if same < len(child.edge):
                child = _split(child, same)
            node, rest = child, rest[same:]
        self._let_go(node)
        node.past = past
        node.pieces = _pieces(past)
        for piece, count in node.pieces.items():
            self.bytes += 0 if self._holders[piece] else count
            self._holders[piece] += 1
        self._used[id(node)] = (kind, node)
        self._used.move_to_end(id(node))
        self.shrink(self.most_bytes)

    def shrink(self, most: int) -> None:
        """Forgets the starts used longest ago, until so many bytes are kept."""
        while self.bytes > max(most, 0):
            oldest_kind, oldest = next(iter(self._used.values()))
            self._drop(oldest_kind, oldest)

    def clear(self) -> None:
        """Forgets everything."""
        self._roots.clear()
        self._used.clear()
        self._holders.clear()
        self.bytes = 0

    def _walk(self, kind: Hashable, symbols: Sequence[int]) -> tuple[_Node | None, int, int]:
        """(the node that the symbols lead to or into, how many of them lead there, how many of its edge)."""
        node = self._roots.get(kind)
        if node is None:
            return None, 0, 0
        rest = tuple(symbols)
        length = inside = 0
        while rest:
            child = node.children.get(rest[0])
            if child is None:
                break
            inside = _common(child.edge, rest)
            node, length, rest = child, length + inside, rest[inside:]
            if inside < len(child.edge):
                break
        return node, length, inside

    def _drop(self, kind: Hashable, node: _Node, *, prune: bool = True) -> None:
        del self._used[id(node)]
        self._let_go(node)
        while prune and node.parent is not None and node.past is None and not node.children:
            del node.parent.children[node.edge[0]]
            node = node.parent
        if prune and node.parent is None and not node.children:
            self._roots.pop(kind, None)

    def _let_go(self, node: _Node) -> None:
        for piece, count in node.pieces.items():
            self._holders[piece] -= 1
            if not self._holders[piece]:
                del self._holders[piece]
                self.bytes -= count
        node.past, node.pieces = None, {}


def _pieces(past: Any) -> dict[int, int]:
    """Bytes of each piece of memory that a past holds, by where it is; one piece where it does not tell them apart."""
    pieces: dict[int, int] | None = getattr(past, "storages", None)
    return {id(past): past.nbytes} if pieces is None else pieces


def _first(node: _Node) -> _Node | None:
    """A node at or below this one where something is kept."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if node.past is not None:
            return node
        waiting += node.children.values()
    return None


def _split(node: _Node, at: int) -> _Node:
    """Cuts an edge in two; the new node in the middle."""
    assert node.parent is not None
    middle = _Node(node.edge[:at], node.parent)
    node.parent.children[node.edge[0]] = middle
    node.edge, node.parent = node.edge[at:], middle
    middle.children[node.edge[0]] = node
    return middle


def _common(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    """How many symbols two runs begin with alike."""
    most = min(len(a), len(b))
    if a[:most] == b[:most]:
        return most
    low, high = 0, most  # halving compares slices in C, whatever their length
    while high - low > 1:
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low if a[low] != b[low] else low + 1
