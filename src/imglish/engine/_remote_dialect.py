"""What one server takes of the protocol, learnt from what it refuses: parameters, forms of structured answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from imglish.core.results import Problem
from imglish.engine._remote_answer import SERVER
from imglish.engine._remote_errors import Failure
from imglish.engine._remote_forms import FORMS, response_format

OURS = ("logprobs", "stream_options", "skip_special_tokens")  # asked for by us; nobody is told where they are left out
_LENGTH, _NEW_LENGTH = "max_tokens", "max_completion_tokens"
_NEVER = frozenset({"model", "messages", "stream", "response_format", _LENGTH, _NEW_LENGTH})
_STATUSES = frozenset({400, 404, 415, 422, 501})
_MARKS = re.compile(r"response_format|json_schema|json_object|structured|schema|grammar|guided", re.IGNORECASE)


class Dialect:
    """May be used by several threads at once: what one learns, all know."""

    def __init__(self) -> None:
        self.without: set[str] = set()
        self.length = _LENGTH
        self.form: dict[str, int] = {}

    def body(self, wanted: Mapping[str, Any], schema: Mapping[str, Any] | None, shape: str) -> dict[str, Any]:
        """What is sent: `wanted`, but for what this server does not take. `shape` names the form of the answer."""
        body = {name: value for name, value in wanted.items() if name not in self.without}
        if _LENGTH in body:
            body[self.length] = body.pop(_LENGTH)
        if schema is not None:
            given = response_format(FORMS[self.form.get(shape, 0)], schema)
            if given is not None:
                body["response_format"] = given
        return body

    def learns(self, failure: Failure, body: Mapping[str, Any], shape: str) -> Callable[[], None] | None:
        """Leaves out what a refusal speaks of, so that another try makes sense; None where there is nothing to learn.

        What comes back unlearns it again, for when the next try is refused as well: it was about something else then.
        """
        if failure.error.status not in _STATUSES:
            return None
        message = f"{failure.parameter} {failure.error.message}"
        named = [name for name in sorted(body, key=len, reverse=True) if re.search(rf"\b{name}\b", message)]
        if _LENGTH in named and _NEW_LENGTH in message:
            self.length = _NEW_LENGTH
            return partial(setattr, self, "length", _LENGTH)
        structured = "response_format" in body
        if structured and ("response_format" in named or _MARKS.search(message)):
            return self._step_down(body, shape)
        left = {name for name in named if name not in _NEVER}
        if left or failure.error.status == 404:
            return self._leave_out(left)
        if structured:
            return self._step_down(body, shape)
        return self._leave_out({name for name in OURS if name in body})

    def problems(self, wanted: Mapping[str, Any], schema: Mapping[str, Any] | None, shape: str) -> list[Problem]:
        """What was asked for and is not in what was sent."""
        left = [name for name in wanted if name in self.without and name not in OURS]
        found = [Problem(SERVER, f"the server does not take {name}: it was left out") for name in left]
        form = FORMS[self.form.get(shape, 0)]
        if schema is not None and form != FORMS[0]:
            how = "held to JSON, not to the form" if form else "asked for in words only"
            found.append(Problem(SERVER, f"the server has no structured output for this form: the answer was {how}"))
        return found

    def _leave_out(self, names: set[str]) -> Callable[[], None] | None:
        self.without |= names
        return partial(self.without.difference_update, names) if names else None

    def _step_down(self, body: Mapping[str, Any], shape: str) -> Callable[[], None]:
        """From a schema to plain JSON to words: one step below what was refused, whoever got there first."""
        refused = FORMS.index(str(body["response_format"]["type"]))
        self.form[shape] = max(self.form.get(shape, 0), refused + 1)
        return partial(self.form.__setitem__, shape, 0)
