"""Models that run on a server: the same `VLM` over any that speaks the OpenAI protocol (vLLM, llama.cpp, Ollama ...).

    vlm = imglish.load("http://127.0.0.1:8000/v1", model="Qwen/Qwen2.5-VL-7B-Instruct")

Pictures are opened here and sent as data URLs; requests of `run` are sent at once, up to `batch` of them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, NoReturn, cast

from imglish.core.errors import InputError, RemoteError, SkillError, UnknownName
from imglish.core.results import TRUNCATED, Problem, Receipt, Result
from imglish.core.types import Request, Size, to_messages
from imglish.engine import _remote_known as known
from imglish.engine._remote_address import Address, find_key, is_address
from imglish.engine._remote_answer import REFUSED, Said
from imglish.engine._remote_dialect import Dialect
from imglish.engine._remote_errors import Failure
from imglish.engine._remote_family import RemoteFamily
from imglish.engine._remote_forms import schema_of
from imglish.engine._remote_http import Patience, Server
from imglish.engine._remote_images import Shown
from imglish.engine.generate import Options
from imglish.engine.vlm import VLM, Stream, _options, chat_request, open_request
from imglish.families._base import Loaded, request_images

__all__ = ["RemoteVLM", "connect", "is_address"]

PARALLEL = 8  # requests that are on their way at once, where nothing else is asked for
_SAMPLING = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}  # sent where they are not these
_UNKNOWN = ("image_tokens",)


def connect(
    address: str,
    model: str | None = None,
    *,
    family: str | None = None,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
    timeout: float | None = None,
    retries: int | None = None,
) -> RemoteVLM:
    """A model on a server. Without a name the server must have one model only.

    `family` says what the model is where its name does not; `max_pixels` bounds what is sent of a picture (4 million);
    `timeout` is in seconds (600), `retries` are after a failure that may pass (4). Raises RemoteError, UnknownName.
    """
    given = {"timeout": timeout, "retries": retries}
    patience = Patience(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    where = Address.of(address)
    server = Server(where, find_key(where), patience)
    try:
        name, root = _served(server, model)
        kind = known.family_called(family) if family else known.family_of_model(root, name)
        kind, frame = known.bounded(kind, min_pixels, max_pixels)
    except BaseException:
        server.close()
        raise
    return RemoteVLM(server, name, RemoteFamily(kind, frame))


class RemoteVLM(VLM):
    """A model on a server, with every skill. `close` ends its connections, and so does leaving a `with` block."""

    def __init__(self, server: Server, model: str, family: RemoteFamily, **options: Any) -> None:
        super().__init__(Loaded(None, None, family, model), **{"batch": PARALLEL, **options})
        self.server, self.model, self.family = server, model, family
        self.dialect = Dialect()

    def __repr__(self) -> str:
        name = self.family.known.name if self.family.known else None
        return f"RemoteVLM({self.server.address.base!r}, model={self.model!r}, family={name!r})"

    def __enter__(self) -> RemoteVLM:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self.server.close()

    def run(self, requests: Iterable[Request], **options: Any) -> list[Result]:
        """Results in the order of the requests, of which `batch` are on their way at once.

        The first that fails for good raises; those that were not sent yet are not sent any more.
        """
        chosen, wanted = _options(self.options, options), list(requests)
        for request in wanted:
            self.check(request)
        if len(wanted) < 2 or chosen.batch == 1:
            return [self._answer(request, chosen) for request in wanted]
        pool = ThreadPoolExecutor(min(chosen.batch, len(wanted)), thread_name_prefix="imglish-remote")
        try:
            return list(pool.map(lambda request: self._answer(request, chosen), wanted))
        finally:
            pool.shutdown(cancel_futures=True)

    def stream(self, messages: Any, **options: Any) -> Stream:
        """The answer to messages, piece by piece; `.result` is the whole when it has ended."""
        language = options.pop("language", None) or "en"
        request = dataclasses.replace(chat_request(to_messages(messages)), language=language)
        return _RemoteStream(self, request, _options(self.options, options))

    def score(self, *_: Any, **__: Any) -> NoReturn:
        """A server does not tell the probability of a text that it did not write: SkillError."""
        raise SkillError("a model on a server cannot score options", hint="load its checkpoint instead, or ask")

    def _answer(self, request: Request, options: Options) -> Result:
        call = self._call(request, options, streamed=False)
        tried = 0
        while True:
            body = self.dialect.body(call.wanted, call.schema, call.shape)
            said = Said()
            try:
                said.take(self.server.post("/chat/completions", body), options.stop)
                said.complete(self.server.address.base)
                return self._finished(call, said)
            except Failure as failure:
                if not self.dialect.learns(failure, body, call.shape):
                    tried = self.server.rest(failure, tried)

    def pieces(self, request: Request, options: Options) -> Iterator[str | Result]:
        """The answer piece by piece, and the result as the last item.

        A stream that breaks off is asked for again; what was given out already must come again, or it is an error.
        """
        call = self._call(request, options, streamed=True)
        held = max((len(word) for word in options.stop), default=1) - 1  # a stop string may be half there
        given, tried, said = "", 0, Said()
        while True:
            body = self.dialect.body(call.wanted, call.schema, call.shape)
            said = Said()
            try:
                for event in self.server.stream("/chat/completions", body):
                    said.take(event, options.stop)
                    ready = said.text if said.finish else said.text[: max(len(said.text) - held, 0)]
                    if len(ready) > len(given):
                        self._continues(ready, given)
                        piece, given = ready[len(given) :], ready
                        yield piece
                    if said.done or said.cut:
                        break
                said.complete(self.server.address.base)
                break
            except Failure as failure:
                if given or not self.dialect.learns(failure, body, call.shape):
                    tried = self.server.rest(failure, tried)
        self._continues(said.text, given)
        if len(said.text) > len(given):
            yield said.text[len(given) :]
        yield self._finished(call, said)

    def _continues(self, text: str, given: str) -> None:
        if not text.startswith(given):
            raise RemoteError(
                f"the answer of {self.server.address.base} broke off after {len(given)} characters, "
                "and begins otherwise when it is asked for again",
                hint="with temperature 0 and a seed most servers repeat themselves",
            )

    def _call(self, request: Request, options: Options, *, streamed: bool) -> _Call:
        opened = open_request(request)
        sizes = [picture.size for picture in request_images(opened)[0]]
        own = self.family.owns(opened, sizes)
        messages, shown = self.family.messages(opened, own)
        schema = schema_of(opened, own=bool(own))
        wanted: dict[str, Any] = {
            "model": self.model, "messages": messages, "max_tokens": options.max_tokens,
            "temperature": options.temperature, "logprobs": True,
        }  # fmt: skip
        sampling = {name: getattr(options, name, usual) for name, usual in _SAMPLING.items()}
        wanted |= {name: value for name, value in sampling.items() if value is not None and value != _SAMPLING[name]}
        if options.seed is not None:
            wanted["seed"] = options.seed
        if options.stop:
            wanted["stop"] = list(options.stop)
        if self.family.wants_special:
            wanted["skip_special_tokens"] = False
        if streamed:
            wanted |= {"stream": True, "stream_options": {"include_usage": True}}
        return _Call(opened, sizes, own, shown, wanted, schema, _shape(opened, schema))

    def _finished(self, call: _Call, said: Said) -> Result:
        """The result of an answer, with what is known of how it came about."""
        request = call.request
        result = self.family.told(request, said.text, call.sizes, call.own, said.sure())
        problems = [*result.problems, *self.dialect.problems(call.wanted, call.schema, call.shape)]
        if said.refusal or said.finish == "content_filter":
            problems.append(Problem(REFUSED, said.refusal or "the server held the answer back (content_filter)"))
        if said.truncated:
            problems.append(Problem(TRUNCATED, f"the answer was cut after {said.written} tokens; raise max_tokens"))
        usage = said.usage
        told = {"prompt_tokens": usage.get("prompt_tokens"), "generated_tokens": usage.get("completion_tokens")}
        more: dict[str, Any] = {}
        if "prefix_tokens" in {field.name for field in dataclasses.fields(Receipt)}:
            told["prefix_tokens"] = usage.get("cached")
            more["prefix_tokens"] = usage.get("cached", 0)
        receipt = Receipt(
            family=self.family.name, checkpoint=self.model, images=tuple(one.receipt for one in call.shown),
            prompt_tokens=usage.get("prompt_tokens", 0), generated_tokens=said.written, truncated=said.truncated,
            prompted=self.family.is_prompted(request, call.own), remote=self.server.address.base,
            unknown=(*(name for name, value in told.items() if value is None), *(_UNKNOWN if call.shown else ())),
            **more,
        )  # fmt: skip
        picture = request_images(request)[0]
        return dataclasses.replace(
            result, receipt=receipt, problems=tuple(problems), picture=picture[0] if picture else None
        )


class _Call(NamedTuple):
    """One request on its way."""

    request: Request
    sizes: list[Size]
    own: str
    shown: list[Shown]
    wanted: dict[str, Any]
    schema: dict[str, Any] | None
    shape: str


class _RemoteStream(Stream):
    def _run(self) -> Iterator[str]:
        for item in cast(RemoteVLM, self._vlm).pieces(self._request, self._options):
            if isinstance(item, str):
                yield item
            else:
                self._result = item


def _served(server: Server, model: str | None) -> tuple[str, str]:
    """(the model's name on the server, what else the server calls it). Raises UnknownName, InputError, RemoteError."""
    try:
        listed = server.get("/models").get("data")
    except RemoteError as error:
        if model and error.status in (404, 405, 501):
            return model, ""  # not every server lists its models
        raise
    rows = [row for row in listed if isinstance(row, Mapping)] if isinstance(listed, list) else []
    found = {str(row["id"]): str(row.get("root") or "") for row in rows if row.get("id")}
    if model is None:
        if len(found) == 1:
            return next(iter(found.items()))
        if found:
            raise InputError(
                f"{server.address.base} has {len(found)} models, and none is named",
                hint=f"name one with model (--model-name): {', '.join(sorted(found)[:40])}",
            )
        raise InputError(f"{server.address.base} lists no models", hint="name one with model (--model-name)")
    name = next((name for name in (model, f"{model}:latest") if name in found), model)
    if found and name not in found:
        raise UnknownName(f"model on {server.address.base}", model, found)
    return name, found.get(name, "")


def _shape(request: Request, schema: Mapping[str, Any] | None) -> str:
    """What a server that refuses one form refuses with it: the same fields, or the same kind of regions."""
    if schema is None or request.skill != "extract":
        return request.skill
    return "extract " + hashlib.sha256(json.dumps(schema, sort_keys=True).encode()).hexdigest()[:16]
