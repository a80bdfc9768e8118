"""The form of an answer, as a user says it: `ask(image, "Which colour?", form=["red", "green"])`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from imglish.core.errors import InputError
from imglish.engine.guides.pattern import pattern_grammar
from imglish.engine.schema import as_schema
from imglish.families._grammar import Digits, Json, Line, Node, Or, Seq, date, maybe, whole

_LARGE = 10**9
KINDS: dict[str, Node] = {
    "integer": whole(-_LARGE, _LARGE),
    "number": Digits(lambda _: (-_LARGE * 1000, _LARGE * 1000), decimals=3),
    "date": date(),
    "yes or no": Or("yes", "no"),
    "line": Line(),
}


def as_grammar(form: Any) -> Node:
    """The grammar of a form.

    A list of strings is a choice; "integer", "number", "date" (2024-02-29), "yes or no" and "line" are kinds; a range
    is a whole number within it; a compiled regular expression is matched whole; a pydantic class or a JSON schema is a
    JSON document. A space may stand before what is not JSON, because many models begin an answer with one.
    """
    if isinstance(form, Node):
        return form
    if isinstance(form, str):
        if form not in KINDS:
            raise InputError(f"the form is {form!r}; allowed are {', '.join(map(repr, KINDS))}")
        return Seq(maybe(" "), KINDS[form])
    if isinstance(form, range):
        if not len(form) or form.step != 1:
            raise InputError(f"the form is {form!r}; allowed are ranges of whole numbers that go up by one")
        return Seq(maybe(" "), whole(form.start, form.stop - 1))
    if isinstance(form, re.Pattern):
        return pattern_grammar(form)
    if isinstance(form, Mapping) or hasattr(form, "model_json_schema"):
        return Json(as_schema(form))
    if isinstance(form, Collection) and not isinstance(form, (bytes, bytearray)):
        return Seq(maybe(" "), Or(*_choices(form)))
    raise InputError(
        f"the form is {form!r}; allowed are a list of choices, a range, a pattern, a schema and {', '.join(KINDS)}"
    )


def _choices(form: Collection[Any]) -> list[str]:
    choices = [choice.strip() if isinstance(choice, str) else "" for choice in form]
    if not choices or not all(choices) or any(not choice.isprintable() for choice in choices):
        raise InputError(
            f"the choices are {list(form)!r}; allowed are one string or more, of printable letters, none of them empty"
        )
    return choices
