"""What `extract` is asked for, as a JSON schema: a pydantic class, a JSON schema, or a list of field names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from imglish.core.errors import InputError


def as_schema(schema: Any) -> dict[str, Any]:
    """The JSON schema of an object. Raises InputError where there are no fields in what was given."""
    if hasattr(schema, "model_json_schema"):
        found: dict[str, Any] = schema.model_json_schema()
    elif isinstance(schema, Mapping):
        found = json.loads(json.dumps(schema))
    elif isinstance(schema, Sequence) and not isinstance(schema, (str, bytes)):
        if not all(isinstance(name, str) and name for name in schema):
            raise InputError(f"the field names are {list(schema)!r}; allowed are strings that are not empty")
        names = list(dict.fromkeys(schema))
        found = {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": names}
    else:
        raise InputError(
            f"the schema is {schema!r}; allowed are a pydantic class, a JSON schema and a list of field names",
            hint='for example ["name", "date of birth"]',
        )
    if not isinstance(found.get("properties"), Mapping) or not found["properties"]:
        raise InputError("the schema has no properties", hint='for example ["name", "date of birth"]')
    return found
