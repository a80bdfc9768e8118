"""The forms that structured answers of a server are held to: JSON schemas of regions, of records, of single values.

Regions are told in thousandths of the picture, so that no server's resizing changes them; the list stands in an object,
since some servers take no other root.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from datetime import date
from typing import Any

from imglish.core.codecs import Codec, Identity, Normalised
from imglish.core.errors import InputError
from imglish.core.results import PARSE, Problem
from imglish.core.types import Request, Size
from imglish.engine.schema import as_schema
from imglish.families import _prompted
from imglish.families._validity import Validity

CODEC = Codec(Identity(), Normalised(1000.0, decimals=0))
LIST, ANSWER = "items", "answer"
FORMS = ("json_schema", "json_object", "")  # what is tried, in this order
_LIST = "Answer with a JSON list only, [] if there is none"
_FENCE = re.compile(r"```(?:json)?\s*(.*?)(?:```|\Z)", re.DOTALL)
_OPENING = re.compile(rf'\s*\{{\s*"{LIST}"\s*:\s*')
_KINDS: dict[str, dict[str, Any]] = {
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "date": {"type": "string", "format": "date"},
    "yes or no": {"type": "string", "enum": ["yes", "no"]},
}
_PLACE: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": 1000}
_BOX: dict[str, Any] = {"type": "array", "items": _PLACE, "minItems": 4, "maxItems": 4}
_POINT: dict[str, Any] = {"type": "array", "items": _PLACE, "minItems": 2, "maxItems": 2}
_OUTLINE: dict[str, Any] = {"type": "array", "items": _POINT, "minItems": 3}


def instruction(request: Request, size: Size) -> str:
    """What a model is told whose own words for regions are not known."""
    told = _prompted.instruction(request, CODEC, size)
    if request.skill in _prompted.REGIONS:
        told = told.replace(
            "Answer with a JSON list only, [] if there is none", "Answer with JSON only, in whole numbers"
        )
        told += f' Write the list as {{"{LIST}": [...]}}, and {{"{LIST}": []}} if there is none.'
    return told


def schema_of(request: Request, *, own: bool) -> dict[str, Any] | None:
    """The schema of the answer; None where it is words, or where the model writes regions in its `own` way."""
    if request.form is not None:
        return schema_of_form(request.form)
    if request.skill == "extract" and request.schema is not None:
        return closed(request.schema)
    if own or request.skill not in _prompted.REGIONS:
        return None
    label: dict[str, Any] = {"type": "string"}
    if request.skill == "detect" and request.labels:
        label["enum"] = list(dict.fromkeys(request.labels))
    place, name = ("polygon", _OUTLINE) if request.skill == "segment" else ("bbox_2d", _BOX)
    fields = {place: name, "text" if request.skill == "read" else "label": label}
    return _object({LIST: {"type": "array", "items": _object(fields)}})


def schema_of_form(form: Any) -> dict[str, Any]:
    """The schema that says a form: a document's own, or an object whose one field is the answer. Raises InputError."""
    from imglish.engine.forms import as_grammar

    as_grammar(form)
    if isinstance(form, Mapping) or hasattr(form, "model_json_schema"):
        whole: dict[str, Any] = closed(as_schema(form))
        return whole
    if isinstance(form, range):
        return _object({ANSWER: {"type": "integer", "minimum": form.start, "maximum": form.stop - 1}})
    if isinstance(form, str) and form in _KINDS:
        return _object({ANSWER: _KINDS[form]})
    if isinstance(form, Collection) and not isinstance(form, str):
        return _object({ANSWER: {"type": "string", "enum": list(dict.fromkeys(choice.strip() for choice in form))}})
    raise InputError(
        f"a server cannot be held to {'a line' if isinstance(form, str) else 'a pattern'}",
        hint=f"allowed are choices, a range, a schema, {', '.join(_KINDS)}; or say it in the question",
    )


def of_form(form: Any, said: str) -> tuple[str, list[Problem]]:
    """(the answer, what is wrong with it) that a text says which should be JSON of a form."""
    schema = schema_of_form(form)
    fenced = _FENCE.search(said)
    text = (fenced[1] if fenced else said).strip()
    value, node = _read(text), schema
    if list(schema["properties"]) == [ANSWER] and not (isinstance(form, Mapping) or hasattr(form, "model_json_schema")):
        node = schema["properties"][ANSWER]
        if isinstance(value, Mapping):
            value = value[ANSWER] if set(value) == {ANSWER} else None
        elif node["type"] == "string" and not isinstance(value, str):
            value = text  # of a server that ignores the schema
        text = value if isinstance(value, str) else text if value is None else json.dumps(value)
    if Validity(schema).fits(value, node) and (node.get("format") != "date" or _is_day(value)):
        return text, []
    return text, [Problem(PARSE, "the answer is not of the form that was asked for", said[:200])]


def response_format(form: str, schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """The parameter `response_format` of one of FORMS."""
    if form == "json_schema":
        strict = is_strict(schema)
        return {"type": form, "json_schema": {"name": "answer", "schema": dict(schema), "strict": strict}}
    return {"type": form} if form else None


def closed(schema: Any) -> Any:
    """The same schema in which objects have no fields but those that are named."""
    if isinstance(schema, Mapping):
        made = {name: closed(value) for name, value in schema.items()}
        if isinstance(made.get("properties"), Mapping):
            made.setdefault("additionalProperties", False)
        return made
    return [closed(value) for value in schema] if isinstance(schema, (list, tuple)) else schema


def is_strict(schema: Any) -> bool:
    """Whether every object is closed and needs all its fields: what OpenAI's strict mode asks for."""
    if isinstance(schema, Mapping):
        properties = schema.get("properties")
        if isinstance(properties, Mapping) and (
            set(schema.get("required", ())) != set(properties) or schema.get("additionalProperties") is not False
        ):
            return False
        return all(is_strict(value) for value in schema.values())
    return all(is_strict(value) for value in schema) if isinstance(schema, list) else True


def unwrapped(raw: str) -> str:
    """An answer whose list stands in an object, as the list alone; one that was cut off, too."""
    fenced = _FENCE.search(raw)
    text = fenced[1] if fenced else raw
    opening = _OPENING.match(text)
    if opening is None:
        return raw
    try:
        value, end = json.JSONDecoder().raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        return text[opening.end() :]
    rest = text.lstrip()[end:]
    return json.dumps(value[LIST], ensure_ascii=False) + rest if set(value) == {LIST} else raw


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _object(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(fields), "required": list(fields), "additionalProperties": False}
