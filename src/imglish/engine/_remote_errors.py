"""What a failure of a server means for the person who asked it, and whether asking again is of any use."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from imglish.core.errors import RemoteError
from imglish.engine._remote_address import OPENAI, OWN, Address, Key
from imglish.engine._remote_events import Garbled, as_object

AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
LONGEST = 400  # letters of a server's message that are quoted
_FINAL = frozenset({"insufficient_quota", "billing_hard_limit_reached", "invalid_api_key"})  # time heals none of these
_PICTURE = re.compile(r"data:image/[^\s\"']{0,40}base64,[A-Za-z0-9+/=]*|[A-Za-z0-9+/=]{200,}")


@dataclass
class Failure(Exception):
    """One try that failed: the error it would be, whether to try again, and how long the server asks to wait."""

    error: RemoteError
    again: bool = False
    wait: float | None = None
    parameter: str = ""
    """What the server does not take, where it says so."""

    def __str__(self) -> str:
        return self.error.message


def refused(address: Address, key: Key, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    """The failure of an answer that is not 200."""
    said, code, parameter = _said(body)
    said = quoted(said, key)
    told = f": {said}" if said else ""
    error = RemoteError(
        f"{address.base} answers with status {status}{told}", hint=_hint(status, address, key), status=status
    )
    return Failure(error, status in AGAIN and code not in _FINAL, _wait(headers), parameter)


def told(address: Address, key: Key, error: Any) -> Failure:
    """The failure that a server tells in the midst of an answer, after its status was sent."""
    given = error if isinstance(error, dict) else {"message": str(error)}
    code = given.get("code")
    status = code if isinstance(code, int) else None
    said = quoted(str(given.get("message") or given), key)
    failed = RemoteError(f"{address.base} broke its answer off: {said}", status=status)
    return Failure(failed, status is None or status in AGAIN)


def garbled(address: Address, why: object) -> Failure:
    """The failure of an answer that is not of the protocol."""
    return Failure(
        RemoteError(
            f"the answer of {address.base} cannot be read: {why}",
            hint="is this an OpenAI-compatible server, and does the address end as its own guide says, as in /v1?",
        ),
        again=True,
    )


def broken(address: Address, why: object, *, reached: bool) -> Failure:
    """The failure of a connection."""
    if reached:
        return Failure(RemoteError(f"the connection to {address.base} broke off ({why})"), again=True)
    return Failure(
        RemoteError(f"cannot reach {address.base} ({why})", hint="is the server up, and the port right?"), again=True
    )


def silent(address: Address, seconds: float) -> Failure:
    """The failure of a server that does not answer. Asking again would only give it more to do."""
    return Failure(
        RemoteError(
            f"{address.base} did not answer within {seconds:g} seconds",
            hint="raise the limit (timeout, --timeout), ask for fewer tokens, or send smaller pictures (max_pixels)",
        )
    )


def quoted(text: str, key: Key) -> str:
    """What a server said, on one line, without the key and without pictures."""
    line = " ".join(_PICTURE.sub("[data]", key.scrub(text)).split())
    return line if len(line) <= LONGEST else line[:LONGEST] + "..."


def _said(body: bytes) -> tuple[str, str, str]:
    """(message, code, parameter) of an error, in the forms that servers use."""
    try:
        value = as_object(body)
    except Garbled:
        text = body.decode("utf-8", errors="replace")
        return ("" if "<html" in text[:500].lower() else text), "", ""
    error = value.get("error", value)
    if not isinstance(error, dict):
        return str(error), "", ""
    message = error.get("message") or error.get("detail") or error
    return str(message), str(error.get("code") or ""), str(error.get("param") or "")


def _hint(status: int, address: Address, key: Key) -> str:
    if status == 401:
        if key:
            return f"the key was sent; check {OWN} (or {OPENAI})"
        kept = "" if address.is_private else f"; {OPENAI} is not sent over http to another machine"
        return f"set {OWN}{kept}"
    if 300 <= status < 400:
        return "it sends elsewhere, and pictures and keys are not sent after that; give the address it really has"
    hints = {
        402: "the account has nothing left",
        403: "the key may not use this model, or not from here",
        404: "does the address end as the server's own guide says, as in /v1, and does it serve this model?",
        413: "send smaller pictures: max_pixels",
        429: "the server was asked too often; ask for fewer at once (batch)",
        503: "the server is busy or still starting; try again later",
    }
    return hints.get(status, "")


def _wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait: Retry-After in seconds or as a date (RFC 9110, 10.2.3)."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        if not text:
            continue
        try:
            seconds = float(text) * unit
        except ValueError:
            try:
                seconds = (parsedate_to_datetime(text).astimezone(UTC) - datetime.now(UTC)).total_seconds()
            except (ValueError, TypeError):
                continue
        if math.isfinite(seconds):
            return max(seconds, 0.0)
    return None
