"""A JSON schema as the grammar of `name: value` lines, so that what `_fields.read` makes of them satisfies the schema.

A value that is not on the picture is written N/A where the schema has a place for that: in a text, where null is
allowed, where the field is not required, for a list that may be empty. A number that is required is a number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from imglish.core.errors import InputError
from imglish.families import _fields
from imglish.families._fields import MISSING, Leaf
from imglish.families._grammar import Digits, Line, Many, Node, Or, Seq, date

_LARGE = 10**9
_DECIMALS = 4
_LONGEST = 2000  # characters of one text that a schema may ask for
_UNSAID = (
    "pattern", "not", "oneOf", "if", "then", "else", "patternProperties", "propertyNames", "dependentRequired",
    "dependentSchemas", "minProperties", "uniqueItems", "contains", "prefixItems", "allOf", "$ref",
)  # fmt: skip


def lines(schema: Mapping[str, Any], between: Node, *, without: str = "") -> Node:
    """One line for each field in the schema's order, or several for a list; `without` are characters no text has.

    Raises InputError where lines cannot promise what the schema demands, naming the field.
    """
    _check(schema, "")
    found = _fields.leaves(schema)
    names = [leaf.name for leaf in found]
    for name in names:
        if names.count(name) > 1 or any(char in f":|{without}\n" for char in name) or name != " ".join(name.split()):
            raise InputError(
                f"the field {name!r} cannot be told from others",
                hint="give each field a name of its own, of words without colons, bars and angle brackets",
            )
    written: list[Node] = []
    for leaf in found:
        written += [between, _line(leaf, between, without)] if written else [_line(leaf, between, without)]
    return Seq(*written)


def _line(leaf: Leaf, between: Node, without: str) -> Node:
    start = f"{leaf.name}: "
    if not leaf.repeated:
        return Seq(start, _value(leaf, without))
    cells: list[Node] = []
    for column in leaf.columns:
        if column.repeated:
            raise InputError(f"the field {leaf.name!r} has a list within a list, which lines cannot say")
        cells += [*([_literal(" | ")] if cells else []), _value(column, f"{without}|")]
    row = Seq(start, *(cells or [_value(leaf._replace(repeated=False, missable=False), without)]))
    least, most = int(leaf.bounds.get("minItems", 0)), leaf.bounds.get("maxItems")
    some = Many(row, max(least, 1), None if most is None else max(int(most), 1), between)
    if most == 0:
        return Seq(start, MISSING)
    return some if least else Or(some, Seq(start, MISSING))


def _value(leaf: Leaf, without: str) -> Node:
    """The value of one field."""
    _check(leaf.schema, leaf.name)
    solid = _solid(leaf, without)
    return Or(solid, MISSING) if leaf.missable or leaf.schema.get("nullable") else solid


def _solid(leaf: Leaf, without: str) -> Node:
    schema, kind = leaf.schema, leaf.schema.get("type", "string")
    if "const" in schema or "enum" in schema:
        return _choice(leaf, [schema["const"]] if "const" in schema else schema["enum"], without)
    if kind in ("integer", "number"):
        return _number(leaf, whole=kind == "integer")
    if kind == "boolean":
        return Or("yes", "no")
    if kind == "null":
        return _literal(MISSING)
    if kind != "string":
        raise InputError(f"the field {leaf.name!r} is of type {kind!r}, which lines cannot say")
    if schema.get("format") == "date":
        return date()
    least, most = max(int(schema.get("minLength", 1)), 1), schema.get("maxLength")
    if least > _LONGEST or (most is not None and (int(most) < least or int(most) < 1)):
        raise InputError(f"the field {leaf.name!r} is to have {least} to {most} characters, which no line has")
    return Line(without, least, None if most is None or int(most) > _LONGEST else int(most))


def _choice(leaf: Leaf, choices: list[Any], without: str) -> Node:
    written = [str(choice) for choice in choices if choice is not None]
    folded = {text.lower() for text in written}
    if len(folded) < len(written) or any(
        not text.isprintable() or text != " ".join(text.split()) or not text or set(text) & set(without)
        for text in written
    ):
        raise InputError(f"the choices of {leaf.name!r} cannot be told apart in a line: {', '.join(written)[:200]}")
    missing = [MISSING] if None in choices else []
    return Or(*written, *missing)


def _number(leaf: Leaf, *, whole: bool) -> Node:
    schema = leaf.schema
    decimals = 0 if whole else _DECIMALS
    step = schema.get("multipleOf")
    if step is not None:
        exponent = round(-math.log10(step)) if step > 0 else -1
        if not 0 <= exponent <= decimals or not math.isclose(step, 10.0**-exponent):
            raise InputError(f"the field {leaf.name!r} is to be a multiple of {step}, which lines cannot promise")
        decimals = exponent
    scale = 10**decimals
    low, high = -_LARGE * scale, _LARGE * scale
    if "minimum" in schema:
        low = math.ceil(_scaled(schema["minimum"], scale))
    if "maximum" in schema:
        high = math.floor(_scaled(schema["maximum"], scale))
    if "exclusiveMinimum" in schema:
        low = max(low, math.floor(_scaled(schema["exclusiveMinimum"], scale)) + 1)
    if "exclusiveMaximum" in schema:
        high = min(high, math.ceil(_scaled(schema["exclusiveMaximum"], scale)) - 1)
    if low > high:
        raise InputError(f"no number satisfies the bounds of the field {leaf.name!r}")
    return Digits(lambda _: (low, high), decimals)


def _scaled(bound: float, scale: int) -> float:
    return round(float(bound) * scale, 6)


def _check(schema: Mapping[str, Any], name: str) -> None:
    found = [key for key in _UNSAID if key in schema]
    if found:
        where = f"the field {name!r}" if name else "the schema"
        raise InputError(
            f"{where} has {found[0]!r}, which this model's lines cannot promise",
            hint="types, enums, bounds, lengths, dates, lists and objects are followed",
        )


def _literal(text: str) -> Node:
    return Seq(text)
