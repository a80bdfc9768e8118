"""An answer on its way from a server: text, tokens with log-probabilities, why it ended, what it cost."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from imglish.core.errors import RemoteError
from imglish.core.receipts import Token
from imglish.engine._remote_errors import Failure

REFUSED, SERVER = "refused", "server"  # kinds of problems
LEAST = -9999.0  # the log-probability that servers tell of what is impossible; JSON has no infinity


@dataclass
class Said:
    """What has come so far. `take` adds a whole answer, or one event of a stream."""

    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    finish: str = ""
    refusal: str = ""
    model: str = ""
    usage: dict[str, int] = field(default_factory=dict)
    done: bool = False
    cut: bool = False
    """Whether the text was ended here, at a stop string that the server let pass."""

    def take(self, event: Mapping[str, Any], stop: Sequence[str] = ()) -> None:
        """Adds one event; the text ends before any of the `stop` strings, should the server not know them."""
        self.done = self.done or bool(event.get("done"))
        self.model = str(event.get("model") or self.model)
        self._count(event.get("usage"))
        choices = event.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, Mapping) or self.cut:
            return
        part = choice.get("message") or choice.get("delta") or {}
        if isinstance(part, Mapping):
            self.text += _text(part.get("content"))
            self.refusal += _text(part.get("refusal"))
        self._probabilities(choice.get("logprobs"))
        self.finish = str(choice.get("finish_reason") or self.finish)
        first = min((self.text.find(word) for word in stop if word in self.text), default=-1)
        if first >= 0:
            self.text, self.finish, self.cut = self.text[:first], "stop", True
            self._cut_tokens()

    def complete(self, address: str) -> None:
        """Raises Failure where the answer broke off: neither a reason for its end nor the mark of it has come."""
        if not (self.finish or self.done):
            error = RemoteError(f"the answer of {address} broke off after {len(self.text)} characters")
            raise Failure(error, again=True)

    @property
    def truncated(self) -> bool:
        """Whether max_tokens or the model's context, a deadline or a cancellation ended it."""
        return self.finish in ("length", "deadline", "cancelled")

    @property
    def written(self) -> int:
        """Tokens that were written, as far as is known."""
        return self.usage.get("completion_tokens", len(self.tokens))

    def sure(self) -> dict[str, Any]:
        """`tokens` and `logprobs` for a family's `parse`; nothing where the server tells none, or not of all."""
        if not self.tokens:
            return {}
        return {"tokens": [one.text for one in self.tokens], "logprobs": [one.logprob for one in self.tokens]}

    def _probabilities(self, given: Any) -> None:
        rows = given.get("content") if isinstance(given, Mapping) else None
        for row in rows if isinstance(rows, list) else ():
            told = _token(row)
            if told is not None:
                top = row.get("top_logprobs")
                others = [_token(one) for one in top] if isinstance(top, list) else ()
                self.tokens.append(dataclasses.replace(told, top=tuple(one for one in others if one is not None)))

    def _cut_tokens(self) -> None:
        """Tokens of what was cut off go, too; the last one may stay in part."""
        ends = list(itertools.accumulate(len(one.text) for one in self.tokens))
        kept = [one for one, end in zip(self.tokens, ends, strict=True) if end - len(one.text) < len(self.text)]
        over = sum(len(one.text) for one in kept) - len(self.text)
        if kept and over > 0:
            kept[-1] = dataclasses.replace(kept[-1], text=kept[-1].text[:-over])
        self.tokens = kept

    def _count(self, usage: Any) -> None:
        if not isinstance(usage, Mapping):
            return
        details = usage.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, Mapping) else None
        given = {name: usage.get(name) for name in ("prompt_tokens", "completion_tokens")} | {"cached": cached}
        self.usage |= {name: int(value) for name, value in given.items() if isinstance(value, int) and value >= 0}


def _token(row: Any) -> Token | None:
    """A token as a server tells it; nothing where that is not one."""
    text, value = (row.get("token"), row.get("logprob")) if isinstance(row, Mapping) else (None, None)
    if not isinstance(text, str) or isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return None if math.isnan(value) else Token(text, min(max(float(value), LEAST), 0.0))


def _text(content: Any) -> str:
    """Words, from a string or from a list of parts."""
    if isinstance(content, list):
        return "".join(_text(part.get("text")) for part in content if isinstance(part, Mapping))
    return content if isinstance(content, str) else ""
