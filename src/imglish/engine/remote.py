"""Models that run on a server: the same `VLM` over any that speaks the OpenAI protocol (vLLM, llama.cpp, Ollama ...).

    vlm = imglish.load("http://127.0.0.1:8000/v1", model="Qwen/Qwen2.5-VL-7B-Instruct")

Pictures are opened here and sent as data URLs; requests of `run` are sent at once, up to `batch` of them.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn, cast

from imglish.core.errors import InputError, RemoteError, SkillError, UnknownName
from imglish.core.results import Result
from imglish.core.types import Request, to_messages
from imglish.engine import _given
from imglish.engine import _remote_known as known
from imglish.engine._remote_address import Address, find_key, is_address
from imglish.engine._remote_family import RemoteFamily
from imglish.engine._remote_forms import schema_of_form
from imglish.engine._remote_http import Patience, Server
from imglish.engine._remote_line import Line
from imglish.engine.generate import Options
from imglish.engine.vlm import VLM, Stream, chat_request
from imglish.families._base import Loaded
from imglish.families._prompted import REGIONS

__all__ = ["RemoteVLM", "connect", "is_address"]

PARALLEL = 8  # requests that are on their way at once, where nothing else is asked for


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
        self.loaded = Loaded(None, None, family, model)
        self.options = _given.options(Options(batch=PARALLEL), options)
        self.server, self.model, self.family = server, model, family
        self.line = Line(server, model, family)

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

    def check(self, request: Request) -> None:
        """As for every model; a form must be one that a JSON schema can say, and of an answer in words."""
        if request.form is not None:
            if request.skill in ("extract", *REGIONS):
                raise InputError(f"{request.skill} has a form of its own", hint="leave form out")
            schema_of_form(request.form)
        super().check(request)

    def run(
        self, requests: Iterable[Request], *, each: Sequence[Mapping[str, Any] | None] | None = None, **options: Any
    ) -> list[Result]:
        """Results in the order of the requests, of which `batch` are on their way at once; `n` of each.

        `each` has options of its own for every request. The first that fails for good raises; those that were not sent
        yet are not sent any more.
        """
        chosen, wanted, begun = _given.options(self.options, options), _given.requests(requests), time.monotonic()
        for request in wanted:
            self.check(request)
        own = _given.options_of_each(chosen, each, len(wanted))
        jobs = [
            (request, _sampled(its, number))
            for request, its in zip(wanted, own, strict=True)
            for number in range(its.n)
        ]

        def answer(job: tuple[Request, Options]) -> Result:
            return self.line.answer(*job, begun=begun)

        if len(jobs) < 2 or chosen.batch == 1:
            return [answer(job) for job in jobs]
        pool = ThreadPoolExecutor(min(chosen.batch, len(jobs)), thread_name_prefix="imglish-remote")
        try:
            return list(pool.map(answer, jobs))
        except KeyboardInterrupt:
            self.interrupt()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def interrupt(self) -> None:
        """Ends all requests that are on their way, in whatever thread; the model can be asked again afterwards."""
        self.line.interrupt()

    def stream(self, messages: Any, **options: Any) -> Stream:
        """The answer to messages, piece by piece; `.result` is the whole when it has ended."""
        language = options.pop("language", None) or "en"
        request = dataclasses.replace(chat_request(to_messages(messages)), language=language)
        return _RemoteStream(self, request, _given.one_answer(_given.options(self.options, options)))

    def score(self, messages: Any, options: Sequence[str]) -> NoReturn:
        """Refuses: of a text that it did not write itself, a server tells no probabilities. Raises SkillError."""
        self._cannot_score(options)

    def score_all(self, questions: Sequence[tuple[Any, Sequence[str]]]) -> NoReturn:
        """Refuses, as `score`. Raises SkillError."""
        self._cannot_score([option for _, options in questions for option in options])

    def _cannot_score(self, options: Sequence[str]) -> NoReturn:
        told = ", ".join(map(repr, options[:3])) + (", ..." if len(options) > 3 else "")
        raise SkillError(
            f"cannot score {told or 'options'} with {self.model!r}: it runs on {self.server.address.base}, "
            "and a server tells how probable its own answer is, not how probable a given one is",
            hint="load the checkpoint here, imglish.load('owner/name'), to score; or ask, for the answer it would give",
        )

    def keep_in(self, *_: Any, **__: Any) -> NoReturn:
        """Pictures are encoded by the server: InputError."""
        raise InputError("a model on a server keeps no features here", hint="leave keep_in out")

    def forget(self) -> None:
        """Nothing is kept here."""


class _RemoteStream(Stream):
    def _run(self) -> Iterator[str]:
        for item in cast(RemoteVLM, self._vlm).line.pieces(self._request, self._options):
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


def _sampled(options: Options, number: int) -> Options:
    """The options of sample `number` of a request: each has a seed of its own."""
    return options if options.seed is None else dataclasses.replace(options, seed=options.seed + number)
