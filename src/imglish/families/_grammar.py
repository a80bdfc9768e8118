"""What an answer may look like, as plain data: a family says it here, `engine.guides` turns it into masks over tokens.

    label, place = Many(Chars(without="<"), least=1), Pick(LOCATIONS)
    Seq(label, place, place, Pick(LOCATIONS, lambda box: range(box[0] + 1, 128)), ...)

A grammar runs over the bytes of the answer's text and over special tokens. Numbers that were written since the last
`Fresh` (whole numbers, in the order of the answer) say what later numbers may be, so that a box is never turned inside
out. Nothing here knows a tokenizer: text may be cut into tokens in any way the vocabulary has.
"""

from __future__ import annotations

import calendar
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imglish.core.types import Size

if TYPE_CHECKING:
    from imglish.core.codecs import Codec

Numbers = tuple[int, ...]  # what was written since the last `Fresh`


class Node:
    """A part of a grammar."""


@dataclass(frozen=True)
class Lit(Node):
    """Exactly this text."""

    text: str


@dataclass(frozen=True)
class Chars(Node):
    """One character: any of `only` where it is given, else any but control characters and those in `without`."""

    without: str = ""
    only: str = ""


@dataclass(frozen=True)
class Line(Node):
    """Text of `least` to `most` characters that neither begins nor ends in a space, nor has two in a row."""

    without: str = ""
    least: int = 1
    most: int | None = None


@dataclass(frozen=True)
class Mark(Node):
    """One special token."""

    token: str


@dataclass(frozen=True, eq=False)
class Pick(Node):
    """One of the special tokens `tokens`: its index is a number. `allowed` gives the indices that fit what was written.

    `allowed` must leave at least one index wherever the grammar can get to.
    """

    tokens: Sequence[str]
    allowed: Callable[[Numbers], Iterable[int]] | None = None


@dataclass(frozen=True, eq=False)
class Digits(Node):
    """A number in digits within `bounds(numbers)`, both ends included, without leading zeros.

    With `decimals` it counts the last decimal: 0.25 is the number 25 of a Digits with two. With `width` it has exactly
    so many digits, zeros in front.
    """

    bounds: Callable[[Numbers], tuple[int, int]]
    decimals: int = 0
    width: int = 0


@dataclass(frozen=True)
class Fresh(Node):
    """Forgets the numbers written so far: a new region begins."""


@dataclass(frozen=True)
class Seq(Node):
    """One after the other."""

    parts: tuple[Node, ...]

    def __init__(self, *parts: Node | str) -> None:
        object.__setattr__(self, "parts", tuple(map(node, parts)))


@dataclass(frozen=True)
class Or(Node):
    """Any one of these."""

    parts: tuple[Node, ...]

    def __init__(self, *parts: Node | str) -> None:
        object.__setattr__(self, "parts", tuple(map(node, parts)))


@dataclass(frozen=True)
class Many(Node):
    """So many of `part`, `between` each two; `most` None is without end."""

    part: Node
    least: int = 0
    most: int | None = None
    between: Node | None = None


@dataclass(frozen=True, eq=False)
class Json(Node):
    """One JSON document that satisfies a schema; it is a whole grammar, not a part of one."""

    schema: Mapping[str, Any]


def node(part: Node | str) -> Node:
    """Text as its node."""
    return Lit(part) if isinstance(part, str) else part


def maybe(part: Node | str) -> Node:
    """The part, or nothing."""
    return Many(node(part), 0, 1)


def labels(names: Collection[str], *, without: str = "") -> Node:
    """One of the names where any are given, else any text; `without` are characters that it never has."""
    known = [name.strip() for name in names if name.strip()]
    return Or(*known) if known else Line(without)


def json_text(name: str) -> str:
    """A name as it stands between the quotes of a JSON string."""
    return json.dumps(name, ensure_ascii=False)[1:-1]


def date() -> Node:
    """A day that exists, as 2024-02-29."""

    def days(numbers: Numbers) -> tuple[int, int]:
        return 1, calendar.monthrange(numbers[0], numbers[1])[1]

    year, month = Digits(lambda _: (1000, 9999), width=4), Digits(lambda _: (1, 12), width=2)
    return Seq(Fresh(), year, "-", month, "-", Digits(days, width=2), Fresh())


def whole(low: int, high: int) -> Node:
    """A whole number from `low` to `high`."""
    return Digits(lambda _: (low, high))


def corners(codec: Codec, size: Size) -> list[Callable[[Numbers], tuple[int, int]]]:
    """The bounds of each of a box's four numbers, in the codec's order: in the picture, corners not exchanged.

    Where a picture is so thin that one number stands for all of a side, both corners have it.
    """
    low, high = extent(codec, size)
    sized = codec.order in ("xywh", "yxhw")

    def first(axis: int) -> Callable[[Numbers], tuple[int, int]]:
        return lambda _: (low[axis], max(low[axis], high[axis] - 1))

    def second(axis: int) -> Callable[[Numbers], tuple[int, int]]:
        if sized:
            return lambda numbers: (min(1, high[axis] - numbers[axis]), high[axis] - numbers[axis])
        return lambda numbers: (min(numbers[axis] + 1, high[axis]), high[axis])

    return [first(0), first(1), second(0), second(1)]


def extent(codec: Codec, size: Size) -> tuple[list[int], list[int]]:
    """The least and the greatest number along both axes, in the codec's order; with decimals, in their last."""
    scale = 10.0 ** decimals(codec)
    first = codec.encode([[0.0, 0.0], [float(side) for side in size]], size) * scale
    rows = [[round(float(value)) for value in row] for row in first]
    return rows[0], rows[1]


def decimals(codec: Codec) -> int:
    """How many decimals the codec's numbers have."""
    return max(0, int(getattr(codec.quanta, "decimals", 0)))


def boxed(codec: Codec, size: Size, *, between: str) -> Node:
    """A box's four numbers in digits."""
    numbers = [Digits(bounds, decimals(codec)) for bounds in corners(codec, size)]
    return Seq(Fresh(), numbers[0], between, numbers[1], between, numbers[2], between, numbers[3], Fresh())


def boxed_pairs(codec: Codec, size: Size) -> Node:
    """A box's two corners in digits: `(1,2),(3,4)`."""
    numbers = [Digits(bounds, decimals(codec)) for bounds in corners(codec, size)]
    return Seq(Fresh(), "(", numbers[0], ",", numbers[1], "),(", numbers[2], ",", numbers[3], ")", Fresh())


def placed(codec: Codec, size: Size, tokens: Sequence[str]) -> Node:
    """A box's four location tokens."""
    return Seq(Fresh(), *(Pick(tokens, within(bounds)) for bounds in corners(codec, size)), Fresh())


def points(codec: Codec, size: Size, tokens: Sequence[str], *, least: int, most: int | None) -> Node:
    """So many points of two location tokens each, in the picture."""
    low, high = extent(codec, size)
    axes = [Pick(tokens, within(_fixed(low[axis], high[axis]))) for axis in (0, 1)]
    return Many(Seq(Fresh(), *axes, Fresh()), least, most)


def within(bounds: Callable[[Numbers], tuple[int, int]]) -> Callable[[Numbers], Iterable[int]]:
    """The indices between two bounds, both included."""

    def allowed(numbers: Numbers) -> Iterable[int]:
        low, high = bounds(numbers)
        return range(low, high + 1)

    return allowed


def _fixed(low: int, high: int) -> Callable[[Numbers], tuple[int, int]]:
    return lambda _: (low, high)
