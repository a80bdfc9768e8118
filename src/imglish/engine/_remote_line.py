"""The line to one model on a server: asks, asks again where that helps, and learns what the server does not take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from imglish.core.errors import RemoteError
from imglish.core.results import Result
from imglish.core.types import Request
from imglish.engine._remote_answer import Said
from imglish.engine._remote_call import Call
from imglish.engine._remote_dialect import Dialect
from imglish.engine._remote_errors import Failure
from imglish.engine._remote_family import RemoteFamily
from imglish.engine._remote_http import Server
from imglish.engine.generate import Options

_PATH = "/chat/completions"


class Line:
    """One model. May be used by several threads at once."""

    def __init__(self, server: Server, model: str, family: RemoteFamily) -> None:
        self.server, self.model, self.family = server, model, family
        self.dialect = Dialect()

    def answer(self, request: Request, options: Options, *, begun: float | None = None) -> Result:
        """The answer to a request. `begun` is when its deadline began to run, by the monotonic clock."""
        if options.deadline is not None or options.cancel is not None:  # what has come by then is kept
            *_, last = self.pieces(request, options, begun=begun)
            assert isinstance(last, Result)
            return last
        call = Call.of(self.model, self.family, request, options, streamed=False)
        tried, lessons = 0, list[Callable[[], None]]()
        while True:
            body, said = self._body(call), Said()
            try:
                said.take(self.server.post(_PATH, body), options.stop)
                said.complete(self.server.address.base)
                return self._result(call, said)
            except Failure as failure:
                if not self._learns(failure, body, call.shape, lessons):
                    tried = self.server.rest(failure, tried)

    def pieces(self, request: Request, options: Options, *, begun: float | None = None) -> Iterator[str | Result]:
        """The answer piece by piece, and the result as the last item.

        A stream that breaks off is asked for again; what was given out already must come again, or it is an error.
        """
        end = _End(options, time.monotonic() if begun is None else begun)
        call = Call.of(self.model, self.family, request, options, streamed=True)
        held = max((len(word) for word in options.stop), default=1) - 1  # a stop string may be half there
        given, tried, said, lessons = "", 0, Said(), list[Callable[[], None]]()
        while not end.reason:
            body, said = self._body(call), Said()
            try:
                for event in self.server.stream(_PATH, body, limit=end.left):
                    said.take(event, options.stop)
                    ready = said.text if said.finish else said.text[: max(len(said.text) - held, 0)]
                    if len(ready) > len(given):
                        piece, given = self._after(given, ready), ready
                        yield piece
                    if said.done or said.cut or end.reason:
                        break
                if not end.reason:
                    said.complete(self.server.address.base)
                break
            except Failure as failure:
                if not end.reason and (given or not self._learns(failure, body, call.shape, lessons)):
                    tried = self.server.rest(failure, tried, most=end.left)
        said.finish = said.finish or end.reason
        rest = self._after(given, said.text) if len(said.text) > len(given) or not end.reason else ""
        if rest:
            yield rest
        yield self._result(call, said)

    def _learns(self, failure: Failure, body: dict[str, Any], shape: str, lessons: list[Callable[[], None]]) -> bool:
        """Whether to ask again at once, having learnt what to leave out; lessons that did not help are unlearnt."""
        lesson = self.dialect.learns(failure, body, shape)
        if lesson is not None:
            lessons.append(lesson)
            return True
        for unlearn in lessons:
            unlearn()
        lessons.clear()
        return False

    def _body(self, call: Call) -> dict[str, Any]:
        return self.dialect.body(call.wanted, call.schema, call.shape)

    def _result(self, call: Call, said: Said) -> Result:
        problems = self.dialect.problems(call.wanted, call.schema, call.shape)
        return call.result(self.family, said, self.server.address.base, problems)

    def _after(self, given: str, text: str) -> str:
        """What of a text was not given out yet. Raises RemoteError where it does not begin with what was."""
        if text.startswith(given):
            return text[len(given) :]
        raise RemoteError(
            f"the answer of {self.server.address.base} broke off after {len(given)} characters, "
            "and begins otherwise when it is asked for again",
            hint="with temperature 0 or a seed most servers repeat themselves",
        )


class _End:
    """The deadline and the cancellation of one request."""

    def __init__(self, options: Options, begun: float) -> None:
        self._until = None if options.deadline is None else begun + options.deadline
        self._cancel = options.cancel

    @property
    def left(self) -> float | None:
        """Seconds until the deadline; None where there is none."""
        return None if self._until is None else max(self._until - time.monotonic(), 0.001)

    @property
    def reason(self) -> str:
        """ "deadline" or "cancelled", as soon as one of them holds."""
        if self._cancel is not None and self._cancel.is_set():
            return "cancelled"
        return "deadline" if self._until is not None and time.monotonic() >= self._until else ""
