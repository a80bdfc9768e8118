"""Requests to one server: bounded, with time limits, tried again where that helps. Nothing is ever redirected.

The client is httpx2, which huggingface_hub brings along. Its log lines name addresses, without the query once a server
was given one, and statuses, never a header.
"""

from __future__ import annotations

import json
import logging
import random
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

from imglish.core.errors import InputError, RemoteError
from imglish.engine import _remote_errors as errors
from imglish.engine._remote_address import Address, Key, Unlogged
from imglish.engine._remote_errors import Failure
from imglish.engine._remote_events import DONE, Garbled, as_object, events

MOST_SENT = 48 * 1024 * 1024  # bytes of one request; OpenAI takes 50 MB
MOST_READ = 32 * 1024 * 1024  # bytes of one answer
SLICE = 0.1  # seconds; so often somebody who waits looks whether it is still worth it
_CONNECT = 10.0  # seconds
_UNLOGGED = Unlogged()


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for, and how often it is asked again."""

    timeout: float = 600.0
    """Seconds of silence, and of a whole answer that is not streamed."""
    retries: int = 4
    first: float = 0.5
    """Seconds before the second try; twice as long before each later one, and up to a quarter less, by chance."""
    longest: float = 30.0
    most_asked: float = 120.0
    """A server that asks to wait longer than so many seconds is not waited for."""

    def __post_init__(self) -> None:
        if isinstance(self.retries, bool) or not isinstance(self.retries, int) or not 0 <= self.retries <= 100:
            raise InputError(f"retries is {self.retries!r}; allowed are whole numbers from 0 to 100")
        if not 0 < self.timeout <= 86400:
            raise InputError(f"timeout is {self.timeout!r}; allowed are seconds above 0, up to 86400")


class Server:
    """A server that speaks the OpenAI protocol. May be used by several threads at once."""

    def __init__(self, address: Address, key: Key, patience: Patience | None = None) -> None:
        self.address, self.patience = address, patience or Patience()
        self.sleep: Callable[[float], None] = time.sleep
        self._key = key
        self._chance = random.Random()
        self._client = httpx2.Client(
            headers={**key.headers(), "User-Agent": "imglish"},
            params=dict(address.query),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=32),
        )
        if address.query:
            logging.getLogger("httpx2").addFilter(_UNLOGGED)
        self._end = weakref.finalize(self, self._client.close)

    def __repr__(self) -> str:
        return f"Server({self.address.base!r})"

    def close(self) -> None:
        """Closes all connections."""
        self._end()

    def get(self, path: str) -> dict[str, Any]:
        """What is at a path, as JSON. Raises RemoteError."""
        tried = 0
        while True:
            try:
                return self._whole("GET", path)
            except Failure as failure:
                tried = self.rest(failure, tried)

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """One try: the answer to a request. Raises Failure."""
        return self._whole("POST", path, body)

    def stream(self, path: str, body: Mapping[str, Any], *, limit: float | None = None) -> Iterator[dict[str, Any]]:
        """One try: the events of an answer. Raises Failure, where they break off in a way that is seen, too.

        `limit` bounds the seconds of silence further than the server's own patience does.
        """
        with self._opened("POST", path, body, limit=limit) as response:
            kind = response.headers.get("content-type", "")
            if "event-stream" not in kind:  # a server that does not stream gives the whole
                yield self._read(response)
                return
            try:
                for data in events(response.iter_bytes()):
                    if data.strip() == DONE:
                        yield {"done": True}
                        return
                    event = as_object(data)
                    if event.get("error"):
                        raise errors.told(self.address, self._key, event["error"])
                    yield event
            except Garbled as why:
                raise errors.garbled(self.address, why) from None

    def rest(
        self, failure: Failure, tried: int, *, most: float | None = None, over: Callable[[], object] = lambda: False
    ) -> int:
        """Waits before another try, at `most` so long, and counts it; raises the error where that is of no use.

        The wait ends early as soon as `over` says so.
        """
        patience = self.patience
        if not failure.again or tried >= patience.retries:
            if tried:
                failure.error.message += f" (tried {tried + 1} times)"
            raise failure.error from None
        if failure.wait is not None and failure.wait > patience.most_asked:
            failure.error.hint = f"the server asks to wait {failure.wait:.0f} seconds; try again then"
            raise failure.error from None
        wait = min(patience.first * 2**tried, patience.longest) * self._chance.uniform(0.75, 1.0)
        wait = max(wait, failure.wait or 0.0)
        self.pause(wait if most is None else min(wait, most), over)
        return tried + 1

    def pause(self, seconds: float, over: Callable[[], object]) -> None:
        """Sleeps in slices, until it is `over`."""
        while seconds > 0 and not over():
            self.sleep(min(seconds, SLICE))
            seconds -= SLICE

    def _whole(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        with self._opened(method, path, body) as response:
            return self._read(response)

    def _read(self, response: httpx2.Response) -> dict[str, Any]:
        try:
            value = as_object(self._bytes(response))
        except Garbled as why:
            raise errors.garbled(self.address, why) from None
        if value.get("error"):
            raise errors.told(self.address, self._key, value["error"])
        return value

    def _bytes(self, response: httpx2.Response, most: int = MOST_READ) -> bytes:
        """The body. The time that all of it takes is bounded, so that one letter a minute is no answer."""
        begun, data = time.monotonic(), bytearray()
        for chunk in response.iter_bytes():
            data += chunk
            if len(data) > most:
                raise Garbled(f"it has more than {most} bytes")
            if time.monotonic() - begun > self.patience.timeout:
                raise errors.silent(self.address, self.patience.timeout)
        return bytes(data)

    @contextmanager
    def _opened(
        self, method: str, path: str, body: Mapping[str, Any] | None, *, limit: float | None = None
    ) -> Iterator[httpx2.Response]:
        """A response with status 200. Every failure of the client inside becomes a Failure."""
        content = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        if content is not None and len(content) > MOST_SENT:
            raise InputError(
                f"the request has {len(content) / 2**20:.0f} MiB, and at most {MOST_SENT // 2**20} are sent",
                hint="send fewer pictures, or smaller ones: max_pixels",
            )
        headers = {} if content is None else {"Content-Type": "application/json"}
        seconds = min(self.patience.timeout, limit or self.patience.timeout)
        times = httpx2.Timeout(seconds, connect=min(_CONNECT, seconds), pool=None)
        try:
            with self._client.stream(
                method, self.address.base + path, content=content, headers=headers, timeout=times
            ) as response:
                if response.status_code != 200:
                    raise self._refusal(response)
                yield response
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
            raise errors.broken(self.address, _named(error), reached=False) from None
        except httpx2.TimeoutException:
            raise errors.silent(self.address, seconds) from None
        except httpx2.TransportError as error:
            raise errors.broken(self.address, _named(error), reached=True) from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise Failure(RemoteError(f"{self.address.base} cannot be used ({_named(error)})")) from None

    def _refusal(self, response: httpx2.Response) -> Failure:
        try:
            body = self._bytes(response, 64 * 1024)
        except Garbled:
            body = b""
        return errors.refused(self.address, self._key, response.status_code, response.headers, body)


def _named(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
