"""The line to one model on a server: asks, asks again where that helps, and learns what the server does not take."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any, TypeVar

from imglish.core.errors import RemoteError
from imglish.core.results import Result
from imglish.core.types import Request
from imglish.engine._remote_answer import Said
from imglish.engine._remote_call import Call
from imglish.engine._remote_dialect import Dialect
from imglish.engine._remote_errors import Failure
from imglish.engine._remote_family import RemoteFamily
from imglish.engine._remote_http import SLICE, Server
from imglish.engine.generate import Options

_PATH = "/chat/completions"
_AHEAD = 64  # events that are read before they are asked for
T = TypeVar("T")


class Line:
    """One model. May be used by several threads at once."""

    def __init__(self, server: Server, model: str, family: RemoteFamily) -> None:
        self.server, self.model, self.family = server, model, family
        self.dialect = Dialect()
        self._left = threading.Event()

    def interrupt(self) -> None:
        """Ends what is on its way, in whatever thread, as if it had been cancelled; what comes later is not."""
        left, self._left = self._left, threading.Event()
        left.set()

    def answer(self, request: Request, options: Options, *, begun: float | None = None) -> Result:
        """The answer to a request. `begun` is when its deadline began to run, by the monotonic clock."""
        if options.deadline is not None or options.cancel is not None:  # what has come by then is kept
            *_, last = self.pieces(request, options, begun=begun)
            assert isinstance(last, Result)
            return last
        end = _End(options, time.monotonic(), self._left)
        call = Call.of(self.model, self.family, request, options, streamed=False)
        tried, lessons = 0, list[Callable[[], None]]()
        while not end.reason:
            body, said = self._body(call), Said()
            try:
                for event in watched(self._whole(body), lambda: end.reason):
                    said.take(event, options.stop)
                    said.complete(self.server.address.base)
                    return self._result(call, said)
            except Failure as failure:
                if not self._learns(failure, body, call.shape, lessons):
                    tried = self.server.rest(failure, tried, over=lambda: end.reason)
        raise RemoteError(f"the request to {self.server.address.base} was interrupted")

    def pieces(self, request: Request, options: Options, *, begun: float | None = None) -> Iterator[str | Result]:
        """The answer piece by piece, and the result as the last item.

        A stream that breaks off is asked for again; what was given out already must come again, or it is an error.
        """
        end = _End(options, time.monotonic() if begun is None else begun, self._left)
        call = Call.of(self.model, self.family, request, options, streamed=True)
        held = max((len(word) for word in options.stop), default=1) - 1  # a stop string may be half there
        given, tried, said, lessons = "", 0, Said(), list[Callable[[], None]]()
        while not end.reason:
            body, said = self._body(call), Said()
            try:
                events = self.server.stream(_PATH, body, limit=end.left)
                with closing(watched(events, lambda: end.reason)) as coming:
                    for event in coming:
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
                    tried = self.server.rest(failure, tried, most=end.left, over=lambda: end.reason)
        said.finish = said.finish or end.reason
        rest = self._after(given, said.text) if len(said.text) > len(given) or not end.reason else ""
        if rest:
            yield rest
        yield self._result(call, said)

    def _whole(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield self.server.post(_PATH, body)

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

    def __init__(self, options: Options, begun: float, left: threading.Event) -> None:
        self._until = None if options.deadline is None else begun + options.deadline
        self._cancels = [one for one in (left, options.cancel) if one is not None]

    @property
    def left(self) -> float | None:
        """Seconds until the deadline; None where there is none."""
        return None if self._until is None else max(self._until - time.monotonic(), 0.001)

    @property
    def reason(self) -> str:
        """ "deadline" or "cancelled", as soon as one of them holds."""
        if any(one.is_set() for one in self._cancels):
            return "cancelled"
        return "deadline" if self._until is not None and time.monotonic() >= self._until else ""


def watched(given: Iterator[T], over: Callable[[], object]) -> Generator[T]:
    """The same items, read in a thread of their own: they end as soon as it is `over`, whatever is waited for then.

    A thread whose server is silent stays until the server's time limit, and holds nobody up, nor the process's end.
    """
    came: queue.Queue[tuple[list[T], BaseException | None]] = queue.Queue(_AHEAD)
    left = threading.Event()

    def put(items: list[T], error: BaseException | None = None) -> None:
        while not left.is_set():
            try:
                came.put((items, error), timeout=SLICE)
                break
            except queue.Full:
                continue

    def read() -> None:
        try:
            for item in given:
                put([item])
                if left.is_set():
                    break
            put([])
        except BaseException as error:  # noqa: BLE001 (it is raised where the items are asked for)
            put([], error)
        finally:
            if isinstance(given, Generator):
                given.close()

    threading.Thread(target=read, name="imglish-remote-read", daemon=True).start()
    try:
        while not over():
            try:
                items, error = came.get(timeout=SLICE)
            except queue.Empty:
                continue
            if error is not None:
                raise error
            if not items:
                return
            yield items[0]
    finally:
        left.set()
