"""Where a server of models is, and with which key it is spoken to.

The key is the value of IMGLISH_API_KEY, which goes wherever you point imglish, or else that of OPENAI_API_KEY, which
never goes in the clear to another machine: only over https, or to this one.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from imglish.core.errors import InputError

OWN, OPENAI = "IMGLISH_API_KEY", "OPENAI_API_KEY"
_SHORTEST = 8  # letters of what is taken for a secret in an address
_PATHS = ("/chat/completions", "/completions", "/models", "/responses")  # what people copy along with an address


def is_address(source: Any) -> bool:
    """Whether what should name a model is the address of a server instead."""
    return isinstance(source, str) and source[:8].lower().startswith(("http://", "https://"))


@dataclass(frozen=True)
class Address:
    """The root of a server's API. `base` may be shown; the query, which may hold a secret, may not."""

    base: str
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, text: str) -> Self:
        """From `http://host:port`, with or without `/v1` or the path of one call. Raises InputError."""
        try:
            parts = urlsplit(text.strip())
            port = parts.port
        except ValueError as error:
            raise InputError(f"this is not the address of a server: {error}", hint=_EXAMPLE) from None
        if parts.username is not None or parts.password is not None:
            raise InputError(
                "the address holds a user or a password", hint=f"leave them out, and put the key into {OWN}"
            )
        if not parts.hostname or re.search(r"\s", text.strip()):
            raise InputError(f"{text!r} is not the address of a server", hint=_EXAMPLE)
        path = parts.path.rstrip("/")
        for ending in _PATHS:
            path = path.removesuffix(ending)
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        where = f"{host}:{port}" if port is not None else host
        return cls(f"{parts.scheme.lower()}://{where}{path or '/v1'}", tuple(parse_qsl(parts.query)))

    @property
    def is_private(self) -> bool:
        """Whether nobody on the way can listen: https, or this machine."""
        parts = urlsplit(self.base)
        host = parts.hostname or ""
        try:
            here = ipaddress.ip_address(host).is_loopback
        except ValueError:
            here = host == "localhost" or host.endswith(".localhost")
        return parts.scheme == "https" or here


class Key:
    """A secret that shows itself to nobody who does not ask for it by `.secret`; `others` are hidden with it."""

    __slots__ = ("_others", "secret")

    def __init__(self, secret: str, others: Iterable[str] = ()) -> None:
        self.secret = secret
        self._others = tuple(other for other in others if len(other) >= _SHORTEST)

    def __repr__(self) -> str:
        return "Key(***)" if self.secret else "Key()"

    def __bool__(self) -> bool:
        return bool(self.secret)

    def __reduce__(self) -> Any:
        raise TypeError("a key is not written to files")

    def headers(self) -> dict[str, str]:
        """What a request carries."""
        return {"Authorization": f"Bearer {self.secret}"} if self.secret else {}

    def scrub(self, text: str) -> str:
        """A text without the key."""
        for secret in (self.secret, *self._others):
            text = text.replace(secret, "***") if secret else text
        return text


def find_key(address: Address, environ: Mapping[str, str] = os.environ) -> Key:
    """The key for this server; an empty one where there is none to send. Raises InputError for one with odd letters."""
    name = OWN if environ.get(OWN, "").strip() else OPENAI
    secret = environ.get(name, "").strip()
    others = [value for _, value in address.query]
    if name == OPENAI and not address.is_private:
        return Key("", others)
    if not re.fullmatch(r"[\x21-\x7e]*", secret):
        raise InputError(f"{name} holds a space or a letter that no key has", hint="copy the key once more")
    return Key(secret, others)


class Unlogged(logging.Filter):
    """Takes the query, which may hold a secret, off the addresses that a client logs."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets every line pass."""
        if isinstance(record.args, tuple):
            record.args = tuple(_bare(value) if hasattr(value, "copy_with") else value for value in record.args)
        return True


def _bare(url: Any) -> Any:
    return url.copy_with(query=None) if url.query else url


_EXAMPLE = "for example http://127.0.0.1:8000/v1"
