"""Server-sent events, and the JSON in them: bounded, whatever a server sends.

Lines end where the standard says (WHATWG HTML, 9.2.6), and nowhere else: U+2028 in an answer ends none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

MOST_LINE = 8 * 1024 * 1024  # bytes of one event
DONE = "[DONE]"
_END = re.compile(rb"\r\n|\n|\r")


class Garbled(Exception):
    """What came is not what the protocol says."""


def events(chunks: Iterable[bytes]) -> Iterator[str]:
    """The data of each event; comments, which keep a connection alive, and other fields are left out."""
    rest, data = b"", list[bytes]()
    for chunk in chunks:
        rest += chunk
        if len(rest) + sum(map(len, data)) > MOST_LINE:
            raise Garbled(f"an event has more than {MOST_LINE} bytes")
        end = len(rest) - rest.endswith(b"\r")  # its line feed may be on the way
        *lines, begun = _END.split(rest[:end])
        rest = begun + rest[end:]
        for line in lines:
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
            elif not line and data:
                yield _text(data)
                data = []
    if rest.startswith(b"data:"):
        data.append(rest.rstrip(b"\r\n")[5:].removeprefix(b" "))
    if data:
        yield _text(data)


def as_object(text: str | bytes) -> dict[str, Any]:
    """The JSON object that a text is. Raises Garbled for anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise Garbled("it is not JSON") from None
    if not isinstance(value, dict):
        raise Garbled("it is not a JSON object")
    return value


def _text(data: list[bytes]) -> str:
    return b"\n".join(data).decode("utf-8", errors="replace")
