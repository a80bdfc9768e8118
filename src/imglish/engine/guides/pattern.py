"""A regular expression as a grammar: the whole answer matches it. What remembers or looks around is refused."""

from __future__ import annotations

import importlib
import re
import string
from typing import Any

from imglish.core.errors import InputError
from imglish.families._grammar import Chars, Many, Node, Or, Seq

_CLASSES = {
    "CATEGORY_DIGIT": string.digits,
    "CATEGORY_WORD": string.ascii_letters + string.digits + "_",
    "CATEGORY_SPACE": " ",
}
_PRINTED = "".join(chr(number) for number in range(0x20, 0x7F))
_MOST = 1000  # repetitions that are written out


def pattern_grammar(pattern: str | re.Pattern[str]) -> Node:
    """The grammar of a regular expression in Python's syntax, or of a part of what it matches.

    A set with a class (\\d, \\w, \\s and their opposites, also inside [^...]) has letters of ASCII alone.

    Raises InputError for one that is not valid, or that has groups that look around, references or flags.
    """
    source = pattern if isinstance(pattern, str) else pattern.pattern
    flags = 0 if isinstance(pattern, str) else pattern.flags & ~re.UNICODE
    try:
        parsed = importlib.import_module("re._parser").parse(source)
    except re.error as error:
        raise InputError(f"the pattern {source!r} is not a regular expression: {error}") from error
    if flags or parsed.state.flags & ~re.UNICODE:
        raise InputError(f"the pattern {source!r} has flags", hint="write both cases out: [Aa]")
    return _sequence(list(parsed), source)


def _sequence(parts: list[Any], source: str) -> Node:
    made: list[Node] = []
    for place, (kind, value) in enumerate(parts):
        name = str(kind)
        edge = "AT_BEGINNING" if place == 0 else "AT_END"
        if name == "AT" and str(value).startswith(edge) and place in (0, len(parts) - 1):
            continue  # the whole answer is matched anyway
        made.append(_one(name, value, source))
    return Seq(*made)


def _one(name: str, value: Any, source: str) -> Node:
    match name:
        case "LITERAL":
            return _letters(chr(value), source)
        case "NOT_LITERAL":
            return _set([("NEGATE", None), ("LITERAL", value)], source)
        case "ANY":
            return Chars()
        case "IN":
            return _set(value, source)
        case "BRANCH":
            return Or(*(_sequence(list(branch), source) for branch in value[1]))
        case "SUBPATTERN":
            if value[1] or value[2]:
                raise InputError(f"the pattern {source!r} has flags in a group")
            return _sequence(list(value[3]), source)
        case "MAX_REPEAT" | "MIN_REPEAT":
            least, most, inner = value
            endless = str(most) == "MAXREPEAT"
            if least > _MOST or (not endless and most > _MOST):
                raise InputError(f"the pattern {source!r} repeats something more than {_MOST} times")
            return Many(_sequence(list(inner), source), int(least), None if endless else int(most))
    raise InputError(
        f"the pattern {source!r} has something that a grammar cannot say: {name.lower()}",
        hint="letters, classes, groups, | and repetitions are understood",
    )


def _set(items: list[Any], source: str) -> Node:
    chosen, negated, classes = "", False, False
    for kind, value in items:
        match str(kind):
            case "NEGATE":
                negated = True
            case "LITERAL":
                chosen += chr(value)
            case "RANGE":
                if value[1] - value[0] > 2048:
                    raise InputError(f"the pattern {source!r} has a range of more than 2048 letters")
                chosen += "".join(map(chr, range(value[0], value[1] + 1)))
            case "CATEGORY":
                name, classes = str(value), True
                letters = _CLASSES[name.replace("_NOT_", "_")]
                chosen += "".join(c for c in _PRINTED if c not in letters) if "_NOT_" in name else letters
    if not negated:
        return _letters(chosen, source)
    if classes:  # what a class leaves out beyond ASCII is not listed here: other digits, letters, spaces
        return _letters("".join(char for char in _PRINTED if char not in chosen), source)
    if any(ord(char) >= 0x80 for char in chosen):
        raise InputError(f"the pattern {source!r} excludes letters beyond ASCII")
    return Chars(without=chosen)


def _letters(chosen: str, source: str) -> Node:
    printed = "".join(char for char in dict.fromkeys(chosen) if char.isprintable() or char == " ")
    if not printed:
        raise InputError(f"the pattern {source!r} has a place where no letter can stand")
    return Chars(only=printed)
