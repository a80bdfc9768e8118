"""Which digits may come next in a number that must end between two bounds."""

from __future__ import annotations

from functools import lru_cache

DIGITS = "0123456789"


@lru_cache(maxsize=1 << 16)
def after(prefix: str, low: int, high: int, decimals: int = 0, width: int = 0) -> tuple[str, bool]:
    """(characters that may follow `prefix`, whether it may end there), for a number from `low` to `high`.

    Bounds count the last decimal: with two decimals 0.25 is 25. Nothing has a leading zero, except that with a `width`
    all have as many digits; -0 does not occur.

    >>> after("1", 12, 20, 0)
    ('23456789', False)
    >>> after("0", 0, 100, 2)
    ('.', True)
    """
    if width:
        return "".join(char for char in DIGITS if _padded(prefix + char, low, high, width)), len(prefix) == width
    following = "".join(char for char in f"-.{DIGITS}" if _reaches(prefix + char, low, high, decimals))
    return following, _is_done(prefix, low, high, decimals)


@lru_cache(maxsize=1 << 16)
def shortest(prefix: str, low: int, high: int, decimals: int = 0, width: int = 0) -> str:
    """The fewest characters that end a number begun with `prefix`."""
    waiting = [""]
    while waiting:
        longer: list[str] = []
        for more in waiting:
            following, done = after(prefix + more, low, high, decimals, width)
            if done:
                return more
            longer += [more + char for char in following]
        waiting = longer
    raise AssertionError(f"no number from {low} to {high} begins with {prefix!r}")


def _padded(text: str, low: int, high: int, width: int) -> bool:
    span = 10 ** (width - len(text)) if len(text) <= width else 0
    return span > 0 and int(text) * span <= high and int(text) * span + span - 1 >= low


def value(text: str, decimals: int) -> int:
    """The number that a text says, counted in its last decimal."""
    sign = -1 if text.startswith("-") else 1
    before, _, behind = text.lstrip("-").partition(".")
    return sign * int(before + behind.ljust(decimals, "0"))


def _is_done(text: str, low: int, high: int, decimals: int) -> bool:
    if not text or text[-1] in "-.":
        return False
    number = value(text, decimals)
    return low <= number <= high and not (number == 0 and text.startswith("-"))


def _reaches(text: str, low: int, high: int, decimals: int) -> bool:
    """Whether some number within the bounds begins with `text`."""
    if text.startswith("-"):
        if low >= 0:
            return False
        low, high, text = max(1, -high), -low, text[1:]
        if not text:
            return True
    if high < 0:
        return False
    low = max(low, 0)
    before, point, behind = text.partition(".")
    if not before or "-" in text or "." in behind or (len(before) > 1 and before[0] == "0"):
        return False
    if point and (not decimals or len(behind) > decimals):
        return False
    if point:
        span = 10 ** (decimals - len(behind))
        start = int(before + behind) * span
        return start <= high and start + span - 1 >= low
    unit = 10**decimals
    start, end = int(before) * unit, (int(before) + 1) * unit - 1
    while start <= high:  # more digits before the point
        if end >= low:
            return True
        if before == "0":
            return False
        start, end = start * 10, (end + 1) * 10 - 1
    return False
