"""Whether a value satisfies a JSON schema: the keywords that guides follow, and some that only servers know."""

from __future__ import annotations

import datetime
import math
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

KINDS: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "number": lambda value: is_number(value),
    "integer": lambda value: is_number(value) and (isinstance(value, int) or value.is_integer()),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, Mapping),
}
_FORMATS: dict[str, Callable[[str], object]] = {
    "date": lambda text: datetime.date.fromisoformat(text if text[4::3] == "--" else ""),
    "date-time": lambda text: datetime.datetime.fromisoformat(text.upper().replace(":60", ":59")),
    "time": lambda text: datetime.time.fromisoformat(text.upper().replace(":60", ":59")),
    "uuid": uuid.UUID,
}


class Validity:
    """What of one schema a value satisfies. As in a guide, an object has no fields that its schema does not name."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root
        self._known: dict[tuple[int, int, bool], tuple[Any, Any, bool]] = {}

    def fits(self, value: Any, schema: Any, *, part: bool = False) -> bool:
        """Whether the value satisfies a node of the schema; as a `part` of several it may have fields of the others."""
        if not isinstance(schema, Mapping):
            return schema is not False
        key = (id(value), id(schema), part)
        if key not in self._known:
            self._known[key] = (value, schema, False)  # a reference that leads back to itself is satisfied by nothing
            self._known[key] = (value, schema, self._fits(value, schema, part))
        return self._known[key][2]

    def at(self, reference: Any) -> Any:
        """The node that a local `$ref` names; {} for any other."""
        if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
            return {}
        node: Any = self.root
        for key in reference[2:].split("/") if reference != "#" else ():
            key = key.replace("~1", "/").replace("~0", "~")
            node = node.get(key, {}) if isinstance(node, Mapping) else {}
        return node

    def _fits(self, value: Any, schema: Mapping[str, Any], part: bool) -> bool:
        if value is None and schema.get("nullable") is True:
            return True
        if "$ref" in schema and not self.fits(value, self.at(schema["$ref"])):
            return False
        wanted = kinds(schema)
        if wanted and not any(kind not in KINDS or KINDS[kind](value) for kind in wanted):
            return False
        if "const" in schema and not same(value, schema["const"]):
            return False
        if "enum" in schema and not any(same(value, choice) for choice in _list(schema, "enum")):
            return False
        return self._fits_several(value, schema) and self._fits_kind(value, schema, part)

    def _fits_several(self, value: Any, schema: Mapping[str, Any]) -> bool:
        for one in _list(schema, "allOf"):
            if not self.fits(value, one, part=True):
                return False
        found = [self.fits(value, one) for one in _list(schema, "anyOf")]
        exact = [self.fits(value, one) for one in _list(schema, "oneOf")]
        if (found and not any(found)) or (exact and sum(exact) != 1):
            return False
        if "not" in schema and self.fits(value, schema["not"], part=True):
            return False
        if "if" in schema:
            following = "then" if self.fits(value, schema["if"], part=True) else "else"
            return self.fits(value, schema.get(following, {}), part=True)
        return True

    def _fits_kind(self, value: Any, schema: Mapping[str, Any], part: bool) -> bool:
        if isinstance(value, str):
            return _fits_text(value, schema)
        if is_number(value):
            return _fits_number(value, schema)
        if isinstance(value, list):
            return self._fits_array(value, schema)
        return self._fits_object(value, schema, part) if isinstance(value, Mapping) else True

    def _fits_array(self, value: list[Any], schema: Mapping[str, Any]) -> bool:
        if not _within(len(value), schema, "minItems", "maxItems"):
            return False
        first = _list(schema, "prefixItems")
        for number, one in enumerate(value):
            if not self.fits(one, first[number] if number < len(first) else schema.get("items", {})):
                return False
        if schema.get("uniqueItems") is True and any(same(a, b) for n, a in enumerate(value) for b in value[:n]):
            return False
        return "contains" not in schema or any(self.fits(one, schema["contains"]) for one in value)

    def _fits_object(self, value: Mapping[str, Any], schema: Mapping[str, Any], part: bool) -> bool:
        if not _within(len(value), schema, "minProperties", "maxProperties"):
            return False
        if any(key not in value for key in _list(schema, "required")):
            return False
        for key, one in value.items():
            for node in nodes(schema, key, part=part):
                if not self.fits(one, node):
                    return False
        names = schema.get("propertyNames", {})
        return names == {} or all(self.fits(key, names) for key in value)


def nodes(schema: Mapping[str, Any], key: str, *, part: bool = False) -> list[Any]:
    """What the schema of an object demands of the field of a name; [False] where there may be none."""
    fields, patterns = schema.get("properties"), schema.get("patternProperties")
    found = [fields[key]] if isinstance(fields, Mapping) and key in fields else []
    for pattern, node in patterns.items() if isinstance(patterns, Mapping) else ():
        found += [node] if _matches(pattern, key) else []
    if found or "additionalProperties" in schema:
        return found or [schema["additionalProperties"]]
    open_ended = part or "allOf" in schema or "patternProperties" in schema
    return [] if open_ended or not isinstance(fields, Mapping) else [False]


def kinds(schema: Mapping[str, Any]) -> list[str]:
    """The types that a node allows by name; what has fields is an object. Empty: any."""
    kind = schema.get("type")
    if kind is None:
        return ["object"] if isinstance(schema.get("properties"), Mapping) else []
    return [str(one) for one in kind] if isinstance(kind, list) else [str(kind)]


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same in JSON: true is not 1, and 1.0 is 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether this is a number as JSON has them."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


def _fits_text(value: str, schema: Mapping[str, Any]) -> bool:
    if not _within(len(value), schema, "minLength", "maxLength"):
        return False
    if isinstance(schema.get("pattern"), str) and not _matches(schema["pattern"], value):
        return False
    reads = _FORMATS.get(str(schema.get("format")))
    try:
        if reads is not None:
            reads(value)
    except ValueError:
        return False
    return True


def _fits_number(value: float, schema: Mapping[str, Any]) -> bool:
    if not _within(value, schema, "minimum", "maximum"):
        return False
    least, most, step = (schema.get(key) for key in ("exclusiveMinimum", "exclusiveMaximum", "multipleOf"))
    if (is_number(least) and value <= least) or (is_number(most) and value >= most):
        return False
    if not is_number(step) or not step:
        return True
    if isinstance(value, int) and isinstance(step, int):
        return value % step == 0
    try:
        ratio = value / step
        return math.isfinite(ratio) and abs(ratio - round(ratio)) < 1e-6
    except OverflowError:
        return False


def _within(size: float, schema: Mapping[str, Any], least: str, most: str) -> bool:
    low, high = schema.get(least), schema.get(most)
    return not ((is_number(low) and size < low) or (is_number(high) and size > high))


def _matches(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return True


def _list(schema: Mapping[str, Any], key: str) -> Sequence[Any]:
    found = schema.get(key)
    return found if isinstance(found, (list, tuple)) else ()
