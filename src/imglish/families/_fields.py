"""A JSON schema as a flat list of field names, and its data as `name: value` lines and back.

Nested objects are flattened ("address street"). An array of objects is named with its columns, "items (name, price)",
and is written as one line per row, `items: Tea | 3.20`; an array of plain values is one line per value.
"""

from __future__ import annotations

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
            lines.append(f"{leaf.name}: {_text(value)}")
            continue
        rows = value if isinstance(value, Sequence) and not isinstance(value, str) else ()
        for row in rows:
            cells = [_text(_at(row, column.path)) for column in leaf.columns] or [_text(row)]
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


def fill(schema: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """(data with every key of the schema, [(problem, text)]) from JSON that may lack some or have others."""
    data: dict[str, Any] = {}
    problems: list[tuple[str, str]] = []
    for leaf in leaves(schema):
        value = _at(given, leaf.path)
        if value is None:
            problems.append((f"nothing was written for {leaf.name!r}", ""))
        if not leaf.repeated:
            _place(data, leaf, _typed(leaf, value, problems))
            continue
        rows = (
            value if isinstance(value, Sequence) and not isinstance(value, str) else () if value is None else (value,)
        )
        if leaf.columns:
            filled: list[Any] = []
            for row in rows:
                cells: dict[str, Any] = {}
                for column in leaf.columns:
                    _place(cells, column, _typed(column, _at(row, column.path), problems))
                filled.append(cells)
        else:
            filled = [_typed(leaf, row, problems) for row in rows]
        _put(data, leaf.path, filled)
    return data, problems


_TYPES: dict[str, Any] = {"string": str, "integer": int, "number": (int, float), "boolean": bool}


def _typed(leaf: Leaf, value: Any, problems: list[tuple[str, str]]) -> Any:
    """The value as it is where the schema allows it, else read from its text."""
    kind = str(leaf.schema.get("type"))
    right = isinstance(value, _TYPES.get(kind, object)) and (kind == "boolean" or not isinstance(value, bool))
    if value is not None and right and "enum" not in leaf.schema:
        return value
    return _coerce(_text(value), leaf, problems)


def _value(leaf: Leaf, values: list[str], problems: list[tuple[str, str]]) -> Any:
    if not leaf.repeated:
        return _coerce(values[0] if values else MISSING, leaf, problems)
    rows: list[Any] = []
    for value in values:
        if value in ("", MISSING):
            continue
        if not leaf.columns:
            rows.append(_coerce(value, leaf, problems))
            continue
        cells = [cell.strip() for cell in value.split("|")]
        if len(cells) != len(leaf.columns):
            problems.append((f"a row of {leaf.name!r} has {len(cells)} cells, not {len(leaf.columns)}", value))
        row: dict[str, Any] = {}
        for number, column in enumerate(leaf.columns):
            _place(row, column, _coerce(cells[number] if number < len(cells) else MISSING, column, problems))
        rows.append(row)
    return rows


def _coerce(text: str, leaf: Leaf, problems: list[tuple[str, str]]) -> Any:
    schema = leaf.schema
    if text in ("", MISSING):
        return None if schema.get("nullable") or None in schema.get("enum", ()) else MISSING
    kind = schema.get("type")
    allowed = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(allowed, Sequence) and not isinstance(allowed, str):
        for choice in allowed:
            if str(choice).lower() == text.lower():
                return choice
        problems.append((f"{leaf.name!r} is none of {', '.join(map(str, allowed))}", text))
        return MISSING
    try:
        if kind == "integer":
            return int(text.replace(" ", ""))
        if kind == "number":
            return float(text.replace(" ", "").replace(",", "."))
    except ValueError:
        problems.append((f"{leaf.name!r} is not of type {kind}", text))
        return None if schema.get("nullable") else MISSING
    if kind == "boolean":
        if text.lower() in ("true", "yes", "false", "no"):
            return text.lower() in ("true", "yes")
        problems.append((f"{leaf.name!r} is not of type boolean", text))
        return None if schema.get("nullable") else MISSING
    return text


def _text(value: Any) -> str:
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
