"""A JSON schema as a flat list of field names, and its data as `name: value` lines and back.

Nested objects are flattened ("address street"). An array of objects is named with its columns, "items (name, price)",
and is written as one line per row, `items: Tea | 3.20`; an array of plain values is one line per value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

MISSING = "N/A"
_DEPTH = 6  # deeper schemas are cut: a cyclic `$ref` must end


class Leaf(NamedTuple):
    """One name that is asked for. `columns` is empty, except for an array of objects.

    `missable`: the schema does not require it; `bounds` is the schema of the array that a repeated one stands for.
    """

    path: tuple[str, ...]
    schema: Mapping[str, Any]
    columns: tuple[Leaf, ...] = ()
    repeated: bool = False
    missable: bool = False
    bounds: Mapping[str, Any] = {}

    @property
    def name(self) -> str:
        """What the model is shown: words, not identifiers."""
        return " ".join(self.path).replace("_", " ").lower()

    @property
    def title(self) -> str:
        """The name, with the columns of a table."""
        return f"{self.name} ({', '.join(column.name for column in self.columns)})" if self.columns else self.name


def leaves(schema: Mapping[str, Any]) -> list[Leaf]:
    """Every value that a schema asks for, in its order."""
    return list(_leaves(schema, schema, (), 0))


def _leaves(
    node: Mapping[str, Any], root: Mapping[str, Any], path: tuple[str, ...], depth: int, *, missable: bool = False
) -> Iterator[Leaf]:
    node = resolve(node, root)
    properties = node.get("properties")
    if isinstance(properties, Mapping) and depth < _DEPTH:
        required = node.get("required", ())
        for key, child in properties.items():
            yield from _leaves(child, root, (*path, str(key)), depth + 1, missable=key not in required)
        return
    items = node.get("items")
    if node.get("type") == "array" and isinstance(items, Mapping) and depth < _DEPTH:
        inner = resolve(items, root)
        columns = tuple(_leaves(inner, root, (), depth + 1)) if isinstance(inner.get("properties"), Mapping) else ()
        yield Leaf(path, inner, columns, repeated=True, missable=missable, bounds=node)
    elif path:
        yield Leaf(path, node, missable=missable)


def resolve(node: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """The node that local `$ref`s and an optional's `anyOf` lead to; `nullable` is kept as a key."""
    nullable = False
    for _ in range(_DEPTH):
        reference = node.get("$ref")
        if isinstance(reference, str) and (reference == "#" or reference.startswith("#/")):
            target: Any = root
            for key in reference[2:].split("/") if reference != "#" else ():
                target = target.get(key, {}) if isinstance(target, Mapping) else {}
            node = target if isinstance(target, Mapping) else {}
            continue
        choices = [choice for choice in node.get("anyOf", ()) if isinstance(choice, Mapping)]
        if choices:
            solid = [choice for choice in choices if choice.get("type") != "null"]
            nullable = nullable or len(solid) < len(choices)
            node = solid[0] if solid else {"type": "null"}
            continue
        kinds = node.get("type")
        if isinstance(kinds, list):
            solid_kinds = [kind for kind in kinds if kind != "null"]
            nullable = nullable or len(solid_kinds) < len(kinds)
            node = {**node, "type": solid_kinds[0] if solid_kinds else "null"}
        break
    return {**node, "nullable": True} if nullable else node


def write(schema: Mapping[str, Any], data: Mapping[str, Any]) -> list[str]:
    """The data as `name: value` lines, in the schema's order; a missing value is written N/A."""
    lines: list[str] = []
    for leaf in leaves(schema):
        value = _at(data, leaf.path)
        if not leaf.repeated:
            lines.append(f"{leaf.name}: {text_of(value)}")
            continue
        rows = value if isinstance(value, Sequence) and not isinstance(value, str) else ()
        for row in rows:
            cells = [text_of(_at(row, column.path)) for column in leaf.columns] or [text_of(row)]
            lines.append(f"{leaf.name}: {' | '.join(cells)}")
        if not rows:
            lines.append(f"{leaf.name}: {MISSING}")
    return lines


def read(schema: Mapping[str, Any], lines: Sequence[str]) -> tuple[dict[str, Any], list[tuple[str, str]], int]:
    """(data with every key of the schema, [(problem, text)], how many lines could be read)."""
    wanted = leaves(schema)
    by_name = {leaf.name: leaf for leaf in wanted}
    found: dict[str, list[str]] = {}
    problems: list[tuple[str, str]] = []
    understood = 0
    for line in lines:
        name, colon, value = line.partition(":")
        name = " ".join(name.lower().replace("_", " ").split())
        if not colon or name not in by_name:
            problems.append(("this is not `field: value` with a field that was asked for", line))
            continue
        understood += 1
        if name in found and not by_name[name].repeated:
            problems.append((f"{name!r} is given more than once; the first is kept", line))
            continue
        found.setdefault(name, []).append(value.strip())
    data: dict[str, Any] = {}
    for leaf in wanted:
        values = found.get(leaf.name, [])
        if not values:
            problems.append((f"nothing was written for {leaf.name!r}", ""))
        _place(data, leaf, _value(leaf, values, problems))
    return data, problems, understood


def _value(leaf: Leaf, values: list[str], problems: list[tuple[str, str]]) -> Any:
    if not leaf.repeated:
        return coerce(values[0] if values else MISSING, leaf, problems)
    rows: list[Any] = []
    for value in values:
        if value in ("", MISSING):
            continue
        if not leaf.columns:
            rows.append(coerce(value, leaf, problems))
            continue
        cells = [cell.strip() for cell in value.split("|")]
        if len(cells) != len(leaf.columns):
            problems.append((f"a row of {leaf.name!r} has {len(cells)} cells, not {len(leaf.columns)}", value))
        row: dict[str, Any] = {}
        for number, column in enumerate(leaf.columns):
            _place(row, column, coerce(cells[number] if number < len(cells) else MISSING, column, problems))
        rows.append(row)
    return rows


def coerce(text: str, leaf: Leaf, problems: list[tuple[str, str]]) -> Any:
    """A value of the leaf's type from its text; N/A, or null where that is allowed, with a problem if it is none."""
    schema = leaf.schema
    nothing = None if schema.get("nullable") or None in schema.get("enum", ()) else MISSING
    if text in ("", MISSING):
        return nothing
    kind = schema.get("type")
    allowed = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(allowed, Sequence) and not isinstance(allowed, str):
        exact = [choice for choice in allowed if text in (str(choice), text_of(choice))]
        alike = [choice for choice in allowed if text.lower() in (str(choice).lower(), text_of(choice))]
        if exact or alike:
            return (exact or alike)[0]
        problems.append((f"{leaf.name!r} is none of {', '.join(map(str, allowed))}", text))
        return nothing
    try:
        if kind == "integer":
            return int(text.replace(" ", ""))
        if kind == "number":
            number = float(text.replace(" ", "").replace(",", "."))
            if math.isnan(number):
                raise ValueError
            return number
    except ValueError:
        problems.append((f"{leaf.name!r} is not of type {kind}", text))
        return nothing
    if kind == "boolean":
        if text.lower() in ("true", "yes", "false", "no"):
            return text.lower() in ("true", "yes")
        problems.append((f"{leaf.name!r} is not of type boolean", text))
        return nothing
    return text


def text_of(value: Any) -> str:
    """A value as it is written in a line; N/A for none."""
    if value is None or value == "":
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(str(value).split())


def _at(data: Any, path: Sequence[str]) -> Any:
    for key in path:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data


def _place(data: dict[str, Any], leaf: Leaf, value: Any) -> None:
    """Puts a value where it belongs. A missing one is left out where the schema allows that and has no word for it."""
    if not (leaf.missable and value == MISSING and not _may_say_missing(leaf.schema)):
        _put(data, leaf.path, value)


def _may_say_missing(schema: Mapping[str, Any]) -> bool:
    """Whether N/A is a value of this schema."""
    if "enum" in schema or "const" in schema or "pattern" in schema or schema.get("format") == "date":
        return MISSING in schema.get("enum", ())
    fits = int(schema.get("minLength", 0)) <= len(MISSING) <= int(schema.get("maxLength", len(MISSING)))
    return schema.get("type", "string") == "string" and fits


def _put(data: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for key in path[:-1]:
        data = data.setdefault(key, {})
    data[path[-1]] = value
