"""The grammar of location tokens, read once for every family that writes `<loc_17>`: text, places, marks.

The same scan runs over the model's text and over its tokens, so that an item found in one has its span in the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Literal, NamedTuple

LONGEST = 65_536  # characters of model text that are read; more is a runaway answer


class Atom(NamedTuple):
    """Text, a location token (`value` is its bin) or a mark such as `<none>`."""

    kind: Literal["text", "loc", "mark"]
    text: str
    value: int = -1


class Item(NamedTuple):
    """One region: what was written before its location tokens, their bins, and its span of atoms."""

    label: str
    values: tuple[int, ...]
    start: int
    stop: int


Complain = Callable[[str, str], None]  # (message, the text that it is about)

_TOKEN = re.compile(r"<(?:loc_(\d{1,6})|([a-z_]{1,16}))>")


def atoms(raw: str, marks: Collection[str]) -> list[Atom]:
    """The text as atoms; what looks like a token but is none of the family's stays text."""
    found: list[Atom] = []
    end = 0
    raw = raw[:LONGEST]
    for match in _TOKEN.finditer(raw):
        if match[1] is None and match[0] not in marks:
            continue
        if match.start() > end:
            found.append(Atom("text", raw[end : match.start()]))
        end = match.end()
        found.append(Atom("mark", match[0]) if match[1] is None else Atom("loc", match[0], int(match[1])))
    if end < len(raw):
        found.append(Atom("text", raw[end:]))
    return found


def token_atoms(tokens: Sequence[str], marks: Collection[str]) -> list[Atom]:
    """One atom per token, so that spans of atoms are spans of tokens."""
    result: list[Atom] = []
    for token in tokens:
        match = _TOKEN.fullmatch(token)
        if match and match[1] is not None:
            result.append(Atom("loc", token, int(match[1])))
        else:
            result.append(Atom("mark" if token in marks else "text", token))
    return result


def labelled(found: Sequence[Atom], arity: int, *, bins: int, complain: Complain) -> list[Item]:
    """Items of the form `label <loc> x arity`; a label may stand before several regions. Marks are skipped."""
    items: list[Item] = []
    values: list[int] = []
    label, last, start = "", "", 0
    for index, atom in enumerate(found):
        if atom.kind != "loc":
            if values:
                complain(f"a region has {len(values)} location tokens, not {arity}", _text(found[start:index]))
                values, label, start = [], "", index
            if atom.kind == "text":
                label += atom.text
            continue
        values.append(atom.value)
        if len(values) < arity:
            continue
        last = label.strip() or last
        if max(values) < bins:
            items.append(Item(last, tuple(values), start, index + 1))
        else:
            complain(f"a location token is outside 0 to {bins - 1}", _text(found[start : index + 1]))
        values, label, start = [], "", index + 1
    if values:
        complain(f"a region has {len(values)} location tokens, not {arity}", _text(found[start:]))
    elif label.strip():
        complain("a label has no region", label.strip())
    return items


def outlines(
    found: Sequence[Atom], *, begin: str, part: str, bins: int, complain: Complain, lead: int = 0
) -> list[tuple[list[tuple[int, ...]], int, int]]:
    """Instances as (parts, start, stop): `begin` opens an instance, `part` its next outline, bins are x, y pairs.

    The first `lead` bins of an instance are its box and not of its outline.
    """
    instances: list[tuple[list[tuple[int, ...]], int, int]] = []
    parts: list[tuple[int, ...]] = []
    values: list[int] = []
    start, left = 0, lead

    def close(stop: int) -> None:
        nonlocal values, left
        values, left = values[left:], 0
        if values:
            if len(values) < 6 or len(values) % 2 or max(values) >= bins:
                complain(f"{len(values)} location tokens are not an outline", _text(found[start:stop]))
            else:
                parts.append(tuple(values))
        values = []

    for index, atom in enumerate(found):
        if atom.kind == "loc":
            values.append(atom.value)
        elif atom.kind == "text":
            if atom.text.strip():
                complain("there is text among the location tokens", atom.text)
        elif atom.text in (begin, part):
            close(index)
            if atom.text == begin:
                if parts:
                    instances.append((parts, start, index))
                parts, start, left = [], index, lead
    close(len(found))
    if parts:
        instances.append((parts, start, len(found)))
    return instances


def _text(found: Sequence[Atom]) -> str:
    return "".join(atom.text for atom in found)[:200]
