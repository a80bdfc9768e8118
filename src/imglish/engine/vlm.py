"""What `load` returns: a model with every skill. `run` takes many requests at once, everything else is one of them.

What computes is imported by the first model that runs here: one on a server needs no torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from PIL import Image

from imglish.core.errors import InputError, SkillError
from imglish.core.results import TRUNCATED, Boxes, Masks, Problem, Record, Result, Text, TextRegions
from imglish.core.types import (
    SKILLS,
    ImagePart,
    ImageSource,
    Message,
    Request,
    TextPart,
    VideoPart,
    to_messages,
)
from imglish.engine import _given
from imglish.engine._opening import light, open_request
from imglish.engine._remote_address import is_address
from imglish.engine._shelf import Shelf
from imglish.engine._told import tokens_of
from imglish.engine.generate import Decoded, Options, longest
from imglish.engine.load import families_with, load_checkpoint
from imglish.engine.schema import as_schema
from imglish.engine.wording import caption_instruction
from imglish.families._base import Loaded, request_images

if TYPE_CHECKING:
    from imglish.engine.runner import Answer
    from imglish.engine.score import Scores

Pictures = Any  # one ImageSource or a sequence of them


def load(
    source: str | Path | None = None,
    /,
    *,
    model: str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
    quantize: str | None = None,
    family: str | None = None,
    timeout: float | None = None,
    retries: int | None = None,
) -> VLM:
    """A model with every skill: the shipped one, offline, or a checkpoint by its name on the hub or its folder.

    `source` may also be the address of a server that speaks the OpenAI protocol, and `model` is then the model's name
    there; otherwise `model` is another way to write `source`. `min_pixels`, `max_pixels`: bounds of what a family that
    resizes pictures looks at (Qwen-VL), or of what a server is sent; fewer are quicker. `quantize`: "int8" or "int4"
    for the decoder's weights; how much of its choices that changes is logged. Of a server only: `family`, where the
    model's name does not tell it, `timeout` in seconds, and `retries`.
    """
    if is_address(source if source is not None else model):
        return _connect(
            source, model, {"device": (device, "auto"), "dtype": (dtype, "auto"), "revision": (revision, None),
             "quantize": (quantize, None)},
            family=family, timeout=timeout, retries=retries, min_pixels=min_pixels, max_pixels=max_pixels,
        )  # fmt: skip
    if source is not None and model is not None:
        raise InputError(
            f"two models are named, {str(source)!r} and {str(model)!r}",
            hint="model goes with the address of a server only, as in http://127.0.0.1:8000/v1",
        )
    for name, value in (("family", family), ("timeout", timeout), ("retries", retries)):
        if value is not None:
            raise InputError(f"{name} is for a model on a server", hint="leave it out")
    model = source if source is not None else model
    loaded = load_checkpoint(model, device=device, dtype=dtype, revision=revision, quantize=quantize)
    if min_pixels is not None or max_pixels is not None:
        bound = getattr(loaded.family, "with_pixels", None)
        if bound is None:
            raise InputError(
                f"the family {loaded.family.name!r} looks at pictures in sizes of its own",
                hint="leave min_pixels and max_pixels out",
            )
        loaded = bound(loaded, min_pixels=min_pixels, max_pixels=max_pixels)
    return VLM(loaded)


def _connect(source: Any, model: Any, here: Mapping[str, tuple[Any, Any]], **given: Any) -> VLM:
    """A model on a server; what only makes sense for one in this process must be as it is by default."""
    from imglish.engine.remote import connect

    for name, (value, usual) in here.items():
        if value != usual:
            raise InputError(f"{name} is {value!r}, and the model runs on a server", hint=f"leave {name} out")
    address, called = (source, model) if source is not None else (model, None)
    return connect(str(address), None if called is None else str(called), **given)


class VLM:
    """A loaded vision-language model.

    Every skill takes the options of `Options` by keyword (`max_tokens=50`), and `language`, that of the answer.
    """

    def __init__(self, loaded: Loaded, **options: Any) -> None:
        from imglish.engine.runner import Runner

        self.loaded = loaded
        self.options = _given.options(Options(), options)
        self._runner = Runner()

    def __repr__(self) -> str:
        return f"VLM(family={self.loaded.family.name!r}, checkpoint={self.loaded.checkpoint!r})"

    @property
    def skills(self) -> tuple[str, ...]:
        """What this model can be asked for."""
        return tuple(skill for skill in SKILLS if skill in self.loaded.family.skills)

    def ask(self, image: Pictures, question: str, *, form: Any = None, **options: Any) -> Text:
        """The answer to a question about one image or several (a list).

        `form` is what the answer must look like: a list of choices, "integer", "number", "date", "yes or no", a range,
        a compiled regular expression, a pydantic class or a JSON schema.
        """
        return cast(Text, self._one(_request("ask", image, _given.words("ask", question), form=form), options))

    def caption(
        self, image: Pictures, text: str = "", *, detail: str = "normal", tone: str = "factual", **options: Any
    ) -> Text:
        """A description: brief, normal or full; factual, positive or negative; `text` is an instruction of your own."""
        language = options.get("language") or "en"
        text = caption_instruction(_given.words("caption", text), detail=detail, tone=tone, language=language)
        return cast(Text, self._one(_request("caption", image, text, detail=detail), options))

    def detect(self, image: ImageSource, labels: str | Iterable[str] = (), **options: Any) -> Boxes:
        """Boxes of all things with these labels, or of everything."""
        return cast(Boxes, self._one(_request("detect", image, "", labels=_given.labels(labels)), options))

    def ground(self, image: ImageSource, phrase: str, **options: Any) -> Boxes:
        """Boxes of what a phrase means: "the red cup on the left"."""
        return cast(Boxes, self._one(_request("ground", image, _given.words("ground", phrase)), options))

    def segment(self, image: ImageSource, phrase: str, **options: Any) -> Masks:
        """Outlines of what a phrase means."""
        return cast(Masks, self._one(_request("segment", image, _given.words("segment", phrase)), options))

    def read(self, image: ImageSource, **options: Any) -> TextRegions:
        """The lines of text in an image, and where they are."""
        return cast(TextRegions, self._one(_request("read", image, ""), options))

    def identify(self, image: ImageSource, box: Sequence[float], **options: Any) -> Text:
        """What is in a box, given as x1, y1, x2, y2 in pixels of the image."""
        return cast(Text, self._one(_request("identify", image, "", region=_given.box(box)), options))

    def count(self, image: ImageSource, thing: str, **options: Any) -> Text:
        """How many of a thing there are, as digits."""
        return cast(Text, self._one(_request("count", image, _given.words("count", thing)), options))

    def extract(self, image: Pictures, schema: Any, **options: Any) -> Record:
        """Fields of a document. `schema` is a pydantic class, a JSON schema, or a list of field names."""
        return cast(Record, self._one(_request("extract", image, "", schema=as_schema(schema)), options))

    def watch(self, frames: Pictures, question: str, **options: Any) -> Text:
        """The answer to a question about a video, given as its frames in order (a list), or as a GIF, WebP or APNG.

        Of an animation with more frames than the model takes, so many are taken, evenly spaced.
        """
        question, family = _given.words("watch", question), self.loaded.family
        clip = _given.frames(frames, most=max(family.max_frames, 2)) if "watch" in family.skills else (frames,)
        message = Message("user", (VideoPart(clip), TextPart(question)))
        return cast(Text, self._one(Request("watch", (message,), question), options))

    def chat(self, *, system: str = "", **options: Any) -> Chat:
        """A conversation that remembers its images and turns."""
        return Chat(self, system=system, **options)

    def stream(self, messages: Any, **options: Any) -> Stream:
        """The answer to messages, piece by piece; `.result` is the whole when it has ended."""
        language = options.pop("language", None) or "en"
        request = dataclasses.replace(chat_request(to_messages(messages)), language=language)
        return Stream(self, request, _given.one_answer(_given.options(self.options, options)))

    def run(
        self, requests: Iterable[Request], *, each: Sequence[Mapping[str, Any] | None] | None = None, **options: Any
    ) -> list[Result]:
        """Results in the order of the requests, which are decoded together; `n` of each where n is given.

        `each` has options of its own for every request, over those that all have: `[{"seed": 1}, {"max_tokens": 9}]`.
        """
        chosen, wanted = _given.options(self.options, options), _given.requests(requests)
        own = _given.options_of_each(chosen, each, len(wanted))
        for request in wanted:
            self.check(request)
        results: dict[tuple[int, int], Result] = {}
        counts = [0] * len(wanted)
        for index, answer in self._runner.run(self.loaded, wanted, chosen, opening=open_request, each=own):
            result = finish(self.loaded, answer)
            results[index, counts[index]] = light(result, wanted[index]) if len(wanted) > 1 else result
            counts[index] += 1
        return [results[index, number] for index in range(len(wanted)) for number in range(counts[index])]

    def score(self, messages: Any, options: Sequence[str]) -> Scores:
        """How probable each of these answers is, from one look at what they share; see `Scores`."""
        return self.score_all([(messages, options)])[0]

    def score_all(self, questions: Sequence[tuple[Any, Sequence[str]]]) -> list[Scores]:
        """As `score`, for many questions at once: what they have in common is read once."""
        from imglish.engine import score

        asked = []
        for messages, options in questions:
            request = chat_request(to_messages(messages))
            if "chat" not in self.loaded.family.skills:
                request = dataclasses.replace(request, skill="ask")
            self.check(request)
            asked.append((request, tuple(options)))
        return score.scores(self._runner, self.loaded, asked, self.options, opening=open_request)

    def keep_in(self, folder: str | Path, *, most_bytes: int = 1 << 32) -> None:
        """Keeps features of images in a folder, too, for other processes and later ones; the oldest go first."""
        self._runner.features.shelf = Shelf(folder, self.loaded, most_bytes=most_bytes)

    def forget(self) -> None:
        """Lets go of all features and keys and values that are kept, and of what is known of the weights."""
        from imglish.engine.loop import forget

        self._runner.forget()
        forget(self.loaded.model)

    def check(self, request: Request) -> None:
        """Raises SkillError where this model cannot do the request, naming families that can."""
        family = self.loaded.family
        if request.skill not in family.skills and request.skill in SKILLS:
            others = ", ".join(families_with(request.skill)) or "none yet"
            raise SkillError(
                f"the family {family.name!r} has no skill {request.skill!r}",
                hint=f"families that have it: {others}; this one has {', '.join(self.skills)}",
            )
        family.check(request)

    def _one(self, request: Request, options: dict[str, Any]) -> Result:
        language = options.pop("language", None) or request.language
        _given.one_answer(_given.options(self.options, options))
        return self.run([dataclasses.replace(request, language=language)], **options)[0]


class Stream:
    """An answer on its way. Iterate for the pieces; `result` is there when they have ended."""

    def __init__(self, vlm: VLM, request: Request, options: Options) -> None:
        vlm.check(request)
        self._vlm, self._request, self._options = vlm, request, options
        self._result: Result | None = None
        self._pieces = self._run()

    def __iter__(self) -> Iterator[str]:
        return self._pieces

    @property
    def result(self) -> Result:
        """The whole answer; what has not been streamed yet is run first."""
        for _ in self._pieces:
            pass
        if self._result is None:
            raise InputError("this stream was closed before its answer had ended")
        return self._result

    def _run(self) -> Iterator[str]:
        vlm, opened = self._vlm, open_request(self._request)
        pieces, answer = vlm._runner.pieces(vlm.loaded, opened, self._options)
        yield from pieces
        self._result = finish(vlm.loaded, answer())


class Chat:
    """A conversation. `say` answers; `stream` answers piece by piece; `messages` is what was said."""

    def __init__(self, vlm: VLM, *, system: str = "", **options: Any) -> None:
        self.vlm, self.options = vlm, options
        self._system = (Message("system", (TextPart(system),)),) if system else ()
        self.messages: tuple[Message, ...] = self._system

    def say(self, text: str, *, image: Pictures = None, **options: Any) -> Text:
        """The answer to the next turn; `image` (one or a list) joins the conversation."""
        messages = (*self.messages, _message(image, _given.words("chat", text)))
        result = self.vlm.stream(messages, **{**self.options, **options}).result
        return self._remember(messages, result)

    def stream(self, text: str, *, image: Pictures = None, **options: Any) -> Iterator[str]:
        """As `say`, in pieces. A turn whose stream is left before its end is not remembered."""
        messages = (*self.messages, _message(image, _given.words("chat", text)))
        stream = self.vlm.stream(messages, **{**self.options, **options})
        yield from stream
        self._remember(messages, stream.result)

    def reset(self) -> None:
        """Forgets everything but the system message."""
        self.messages = self._system

    def _remember(self, messages: tuple[Message, ...], result: Result) -> Text:
        answer = cast(Text, result)
        self.messages = (*messages, Message("assistant", (TextPart(answer.text),)))
        return answer


def chat_request(messages: Sequence[Message]) -> Request:
    """The request of a conversation whose last turn is the user's."""
    if not messages or messages[-1].role != "user":
        raise InputError("there is nothing to answer: the last message is not the user's")
    return Request("chat", tuple(messages), messages[-1].text)


def finish(loaded: Loaded, answer: Answer) -> Result:
    """The result of one decoded answer, with its receipt and all its problems."""
    request, row, prompt = answer.request, answer.row, answer.prompt
    pictures: list[Image.Image] = request_images(request)[0]
    tokens = loaded.tokenizer.convert_ids_to_tokens(row.ids)
    result = loaded.family.parse(
        request, row.text, [picture.size for picture in pictures], tokens=tokens, logprobs=row.logprobs
    )
    if "calibration" in loaded.extra:
        result = loaded.extra["calibration"].of(result)
    problems = list(result.problems)
    if row.truncated:
        problems.append(_cut(row, longest(loaded)))
    receipt = dataclasses.replace(
        prompt.receipt, generated_tokens=len(row.ids), truncated=row.truncated, cache_hits=row.cache_hits,
        prefix_tokens=row.prefix_tokens,
    )  # fmt: skip
    return dataclasses.replace(
        result,
        receipt=receipt,
        tokens=tokens_of(loaded.tokenizer, row) if answer.tells else (),
        problems=(*problems, *prompt.seen.problems),
        picture=pictures[0] if pictures else None,
    )


def _cut(row: Decoded, most: int | None) -> Problem:
    """Why an answer is not whole; `most` are the tokens that the model has places for."""
    count = len(row.ids)
    if most is not None and count >= most:
        return Problem(TRUNCATED, f"the answer was cut after {count} tokens: the model has no place for more")
    said = {
        "deadline": f"the answer was cut after {count} tokens: its deadline had passed",
        "cancelled": f"the answer was cut after {count} tokens: it was cancelled",
    }
    return Problem(TRUNCATED, said.get(row.stopped, f"the answer was cut after {count} tokens; raise max_tokens"))


def _request(skill: str, image: Pictures, text: str, **more: Any) -> Request:
    return Request(skill, (_message(image, text),), text, **more)


def _message(image: Pictures, text: str) -> Message:
    images = () if image is None else tuple(image) if isinstance(image, (list, tuple)) else (image,)
    return Message("user", (*(ImagePart(item) for item in images), TextPart(text)))
