"""A JSON document that a model wrote, and its schema: what satisfies it stays as it is, the rest is mended.

A leaf of another type is read from its text ("12,5" is a number), what is required and missing is written N/A, fields
that the schema does not know are left out. What still does not satisfy the schema is a problem of parsing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from imglish.core.results import PARSE, Problem
from imglish.families._fields import MISSING, Leaf, coerce, text_of
from imglish.families._validity import KINDS, Validity, kinds, nodes

_DEPTH = 6  # so deep is what was not written filled in: a schema may contain itself
_NOTHING = ("", MISSING)


def fill(schema: Mapping[str, Any], given: Mapping[str, Any] | None) -> tuple[dict[str, Any], list[Problem]]:
    """(data, problems) of a document; None is one that could not be read, of which every field is missing."""
    mender = _Mender(schema, blank=given is None)
    problems: list[Problem] = []
    try:
        data = mender.mend(given or {}, schema, (), problems)
        if not isinstance(data, Mapping):
            data = given or {}
        wrong = [] if mender.fits(data, schema) else mender.wrong(data, schema)
    except RecursionError:
        return {}, [Problem(PARSE, "the document is nested too deep to be read")]
    if wrong:
        problems.append(Problem(PARSE, f"the document does not satisfy its schema: see {', '.join(wrong)}"))
    return dict(data), problems


class _Mender(Validity):
    """Makes values satisfy the nodes of one schema. `blank`: what may be left out is filled in, too."""

    def __init__(self, root: Mapping[str, Any], *, blank: bool) -> None:
        super().__init__(root)
        self._blank = blank

    def mend(self, value: Any, schema: Any, path: tuple[str, ...], problems: list[Problem], *, empty: int = 0) -> Any:
        """The value as it is where it fits, else what can be read in it; `empty`: levels above that nobody wrote."""
        if not isinstance(schema, Mapping) or (self.fits(value, schema) and not (self._blank and not path)):
            return value
        choices = self._choices(schema)
        nullable = value is not None and self.fits(None, schema)
        if not choices:
            return value
        if isinstance(value, (Mapping, list)) or len(choices) == 1:
            best = max(choices, key=lambda choice: self._nearness(value, choice))
            return self._mend_one(value, best, path, problems, empty, nullable)
        plain = [one for one in choices if not {"object", "array"} & set(kinds(one))] or choices[:1]
        tried: list[tuple[Any, list[Problem]]] = []
        for choice in plain:
            tried.append((None, []))
            tried[-1] = (self._mend_one(value, choice, path, tried[-1][1], empty, False), tried[-1][1])
            if tried[-1][0] != MISSING and self.fits(tried[-1][0], schema):
                break
        else:
            tried.sort(key=lambda one: not self.fits(one[0], schema))
            tried.append((None, tried[0][1]) if nullable else tried[0])
        problems += tried[-1][1]
        return tried[-1][0]

    def wrong(self, data: Any, schema: Mapping[str, Any]) -> list[str]:
        """The names of the fields that keep a document from satisfying its schema."""
        keys = [*data, *(key for key in schema.get("required", ()) if key not in data)]
        found = [key for key in keys if key not in data or not all(self.fits(data[key], n) for n in nodes(schema, key))]
        return [repr(key) for key in found] or ["the whole"]

    def _choices(self, schema: Mapping[str, Any], depth: int = 0) -> list[Mapping[str, Any]]:
        """The nodes without choice that a node leads to, but for null; references are followed."""
        if depth > 2 * _DEPTH:
            return []
        parts = [self.at(schema["$ref"])] if "$ref" in schema else []
        parts += schema["allOf"] if isinstance(schema.get("allOf"), list) and len(schema["allOf"]) == 1 else []
        for key in ("anyOf", "oneOf"):
            parts += schema[key] if isinstance(schema.get(key), list) else []
        if parts and "properties" not in schema:
            inner = [self._choices(part, depth + 1) for part in parts if isinstance(part, Mapping)]
            return [choice for some in inner for choice in some]
        named = kinds(schema)
        if named == ["null"]:
            return []
        return [{**schema, "type": kind} for kind in named if kind != "null"] if len(named) > 1 else [schema]

    def _nearness(self, value: Any, choice: Mapping[str, Any]) -> tuple[int, ...]:
        """How much a node looks like what was meant: by type, by fields with one value, by names."""
        named = kinds(choice)
        if not isinstance(value, Mapping):
            return (int(isinstance(value, list) == ("array" in named)),)
        fields = choice.get("properties", {})
        tags = [
            self.fits(value[key], node)
            for key, node in fields.items()
            if key in value and isinstance(node, Mapping) and ("const" in node or "enum" in node)
        ]
        lacking = sum(key not in value for key in choice.get("required", ()))
        return int("object" in named), 2 * sum(tags) - len(tags), sum(key in fields for key in value) - lacking

    def _mend_one(
        self,
        value: Any,
        node: Mapping[str, Any],
        path: tuple[str, ...],
        problems: list[Problem],
        empty: int,
        nullable: bool,
    ) -> Any:
        named = kinds(node)
        if "object" in named:
            return self._object(value, node, path, problems, empty)
        if "array" in named:
            return self._array(value, node, path, problems)
        limited = "const" in node or "enum" in node
        if value is None:
            problems.append(_missing(path))
        elif not limited and (not named or named[0] not in KINDS or KINDS[named[0]](value)):
            return value
        leaf = Leaf(path, {**node, "nullable": True} if nullable else node)
        told: list[tuple[str, str]] = []
        text = json.dumps(value, ensure_ascii=False) if isinstance(value, (Mapping, list)) else text_of(value)
        made = coerce(text, leaf, told)
        problems += [Problem("missing", message, written[:200]) for message, written in told]
        return made

    def _object(
        self, value: Any, node: Mapping[str, Any], path: tuple[str, ...], problems: list[Problem], empty: int
    ) -> Any:
        if not isinstance(value, Mapping):
            if empty > _DEPTH:
                return MISSING
            if not (value is None or value in _NOTHING):
                problems.append(Problem("missing", f"{_name(path)} is not an object", str(value)[:200]))
            value, empty = {}, empty + 1
        made: dict[str, Any] = {}
        fields, required = node.get("properties", {}), node.get("required", ())
        for key, inner in fields.items():
            if key in value or key in required or self._blank:
                if key not in value and self.fits(None, inner):
                    problems.append(_missing((*path, str(key))))
                one = self.mend(value.get(key), inner, (*path, str(key)), problems, empty=empty)
                if key in required or one not in (MISSING, None) or self.fits(one, inner):
                    made[key] = one
        for key in value:
            demands = nodes(node, key)
            if key not in fields and False not in demands:
                made[key] = self.mend(value[key], demands[0], (*path, str(key)), problems) if demands else value[key]
        return made

    def _array(self, value: Any, node: Mapping[str, Any], path: tuple[str, ...], problems: list[Problem]) -> Any:
        if not isinstance(value, list):
            if value is None or value in _NOTHING:
                problems.append(_missing(path))
                return []
            value = [value]
        first: Sequence[Any] = node.get("prefixItems", ())
        items = [first[n] if n < len(first) else node.get("items", {}) for n in range(len(value))]
        return [self.mend(one, inner, path, problems) for one, inner in zip(value, items, strict=True)]


def _name(path: tuple[str, ...]) -> str:
    return repr(Leaf(path, {}).name)


def _missing(path: tuple[str, ...]) -> Problem:
    return Problem("missing", f"nothing was written for {_name(path)}")
