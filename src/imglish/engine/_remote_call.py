"""One request to a server: what is sent for it, and the result that its answer makes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from imglish.core.errors import InputError
from imglish.core.results import TRUNCATED, Problem, Receipt, Result
from imglish.core.types import Request, Size
from imglish.engine._opening import open_request
from imglish.engine._remote_answer import REFUSED, SERVER, Said
from imglish.engine._remote_family import RemoteFamily
from imglish.engine._remote_forms import schema_of
from imglish.engine._remote_images import Shown
from imglish.engine.generate import Options
from imglish.families._base import request_images

_SAMPLING = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}  # sent where they are not these
_TOLD = {"prompt_tokens": "prompt_tokens", "generated_tokens": "completion_tokens", "prefix_tokens": "cached"}


@dataclass(frozen=True)
class Call:
    """A request with its pictures opened, in the words of its model."""

    request: Request
    sizes: list[Size]
    own: str
    """What the model is told in its own family's words; empty where it is asked in ours."""
    shown: list[Shown]
    wanted: dict[str, Any] = field(repr=False)
    """The body, before what the server does not take is left out."""
    schema: dict[str, Any] | None
    shape: str
    """What a server that refuses one form refuses with it: the same fields, or the same kind of regions."""
    tells: bool = False
    """Whether the tokens and their log-probabilities were asked for."""

    @classmethod
    def of(cls, model: str, family: RemoteFamily, request: Request, options: Options, *, streamed: bool) -> Self:
        """Raises ImageError for what cannot be opened, and InputError for what only a model in this process can."""
        if (options.beams or 1) > 1:
            raise InputError("beams is given, and the model runs on a server", hint="leave it out")
        opened = open_request(request)
        sizes = [picture.size for picture in request_images(opened)[0]]
        own = family.owns(opened, sizes)
        messages, shown = family.messages(opened, own)
        schema = schema_of(opened, own=bool(own))
        wanted: dict[str, Any] = {
            "model": model, "messages": messages, "max_tokens": options.max_tokens,
            "temperature": options.temperature, "logprobs": True,
        }  # fmt: skip
        for name, usual in _SAMPLING.items():
            if (value := getattr(options, name)) is not None and value != usual:
                wanted[name] = value
        if options.logprobs:
            wanted["top_logprobs"] = options.logprobs
        if options.seed is not None:
            wanted["seed"] = options.seed
        if options.stop:
            wanted["stop"] = list(options.stop)
        if family.wants_special:
            wanted["skip_special_tokens"] = False
        if streamed:
            wanted |= {"stream": True, "stream_options": {"include_usage": True}}
        tells = options.logprobs is not None
        return cls(opened, sizes, own, shown, wanted, schema, _shape(opened, schema), tells)

    def result(self, family: RemoteFamily, said: Said, address: str, problems: Sequence[Problem]) -> Result:
        """What an answer says, with what is known of how it came about; `problems` are of what could not be sent."""
        result = family.told(self.request, said.text, self.sizes, self.own, said.sure())
        found = [*result.problems, *problems]
        if said.refusal or said.finish == "content_filter":
            found.append(Problem(REFUSED, said.refusal or "the server held the answer back (content_filter)"))
        if said.truncated:
            found.append(Problem(TRUNCATED, f"the answer was cut after {said.written} tokens{_WHY[said.finish]}"))
        if self.tells and said.text and not said.tokens:
            found.append(Problem(SERVER, "the server tells no log-probabilities: the result has no tokens"))
        usage = said.usage
        unknown = [name for name, known in _TOLD.items() if known not in usage]
        receipt = Receipt(
            family=family.name, checkpoint=str(self.wanted["model"]), images=tuple(one.receipt for one in self.shown),
            prompt_tokens=usage.get("prompt_tokens", 0), generated_tokens=said.written, truncated=said.truncated,
            prefix_tokens=usage.get("cached", 0), prompted=family.is_prompted(self.request, self.own), remote=address,
            unknown=(*unknown, *(("image_tokens",) if self.shown else ())),
        )  # fmt: skip
        pictures = request_images(self.request)[0]
        picture = pictures[0] if pictures else None
        tokens = tuple(said.tokens) if self.tells else ()
        return dataclasses.replace(result, receipt=receipt, tokens=tokens, problems=tuple(found), picture=picture)


_WHY = {
    "length": "; raise max_tokens",
    "deadline": ": its deadline had passed",
    "cancelled": ": it was cancelled",
}


def _shape(request: Request, schema: Mapping[str, Any] | None) -> str:
    if schema is None or (request.skill != "extract" and request.form is None):
        return request.skill
    return f"{request.skill} " + hashlib.sha256(json.dumps(schema, sort_keys=True).encode()).hexdigest()[:16]
