"""A model on a server as a family: what it is told for each skill, and how its answers are read."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import Any

from imglish.core.codecs import Codec
from imglish.core.errors import SkillError
from imglish.core.frames import Frame
from imglish.core.results import Receipt, Result
from imglish.core.types import SKILLS, ImagePart, Message, Request, Sample, Size, TextPart, VideoPart
from imglish.engine import _remote_forms as forms
from imglish.engine._remote_images import Bounded, Shown, show
from imglish.engine._remote_known import TALK, needs_special, said_by
from imglish.families import _prompted, _qwen_json
from imglish.families._base import Family, Loaded, Piece, Plain, count_images, request_images
from imglish.families._chat import PROMPTED

MOST_IMAGES = 256  # pictures of one request
_THOUGHT = "</think>"


class RemoteFamily(Family):
    """What is known of a model that runs elsewhere; `known` is its family, where its name told."""

    name = "remote"
    model_type = ""
    skills = frozenset(SKILLS)
    codec: Codec = forms.CODEC  # type: ignore[misc]
    stop = ()
    special_tokens = ()
    image_token = ""
    max_images = max_frames = MOST_IMAGES

    def __init__(self, known: Family | None = None, frame: Frame | None = None) -> None:
        self.known, self.frame = known, frame or Bounded()
        if known is not None:  # on the instance: another server's model is of another family
            chats = "chat" in known.skills
            vars(self).update(name=known.name, codec=known.codec, stop=known.stop, languages=known.languages)
            vars(self)["skills"] = frozenset(SKILLS) if chats else known.skills

    @property
    def wants_special(self) -> bool:
        """Whether the server is asked to leave special tokens in its answers."""
        return needs_special(self.known)

    def check(self, request: Request) -> None:
        if request.skill == "chat" and not sum(count_images(request)):
            return  # a server's model may well talk about nothing to be seen
        super().check(request)
        if self.known is not None and request.skill in self.known.skills:
            self.known.check(request)
        if sum(count_images(request)) > MOST_IMAGES:
            raise SkillError(f"at most {MOST_IMAGES} pictures are sent at once", hint="give fewer, or every n-th frame")

    def owns(self, request: Request, sizes: Sequence[Size]) -> str:
        """The family's own words for a request; empty where it is asked in ours."""
        if self.known is None or request.skill not in self.known.skills or not sizes:
            return ""
        return said_by(self.known, request, sizes)

    def messages(self, request: Request, own: str) -> tuple[list[dict[str, Any]], list[Shown]]:
        """The messages of the protocol, and the pictures in them, in order."""
        pictures, frames = request_images(request)
        count = iter(range(len(pictures)))
        numbers = [next(count) if frame else None for frame in frames]
        shown = [show(picture, self.frame, number=n) for picture, n in zip(pictures, numbers, strict=True)]
        places = iter(shown)
        made: list[dict[str, Any]] = []
        last = len(request.messages) - 1
        for index, message in enumerate(request.messages):
            words = None
            if index == last and (request.skill not in TALK or own):
                words = own or forms.instruction(request, pictures[0].size if pictures else (1, 1))
                words = None if request.skill in TALK and words == message.text else words
            parts = list(_parts(message, places, words))
            if index == last and request.form is not None:
                told = json.dumps(forms.schema_of_form(request.form), ensure_ascii=False)
                parts.append({"type": "text", "text": f"Answer with JSON only, which satisfies this schema: {told}"})
            text_only = all(part["type"] == "text" for part in parts)
            content: Any = "\n".join(part["text"] for part in parts) if text_only else parts
            made.append({"role": message.role, "content": content})
        return made, shown

    def told(self, request: Request, raw: str, sizes: Sequence[Size], own: str, sure: dict[str, Any]) -> Result:
        """The result that an answer says, to a request in the family's `own` words or in ours."""
        if request.form is not None:
            return self._of_form(request, raw, sure)
        if self.known is not None and (own or request.skill in TALK) and request.skill in self.known.skills:
            for end in self.known.stop:
                raw = raw.removesuffix(end)
            return self.known.parse(request, raw, sizes, **sure)
        said = raw.partition(_THOUGHT)[2].lstrip() if _THOUGHT in raw else raw
        if request.skill in _prompted.REGIONS:
            said = forms.unwrapped(said)
        result = _qwen_json.parse(request, said, forms.CODEC, sizes[0] if sizes else (1, 1), **sure)
        return dataclasses.replace(result, raw=raw)

    def _of_form(self, request: Request, raw: str, sure: dict[str, Any]) -> Result:
        said = raw.rpartition(_THOUGHT)[2]
        for end in self.known.stop if self.known is not None else ():
            said = said.removesuffix(end)
        said, wrong = forms.of_form(request.form, said)
        result = _qwen_json.parse(request, said, forms.CODEC, (1, 1), **sure)
        return dataclasses.replace(result, raw=raw, problems=(*result.problems, *wrong))

    def is_prompted(self, request: Request, own: str) -> bool:
        """Whether the model is asked in words for what it may never have been trained on."""
        if self.known is not None and own:
            return request.skill in getattr(self.known, "prompted", frozenset())
        return request.skill in PROMPTED

    def prompt(self, request: Request, sizes: Sequence[Size]) -> list[Piece]:
        return [Plain(self.owns(request, sizes) or forms.instruction(request, sizes[0] if sizes else (1, 1)))]

    def parse(
        self,
        request: Request,
        raw: str,
        sizes: Sequence[Size],
        *,
        tokens: Sequence[str] | None = None,
        logprobs: Sequence[float] | None = None,
    ) -> Result:
        return self.told(request, raw, sizes, self.owns(request, sizes), {"tokens": tokens, "logprobs": logprobs})

    def tiny(self) -> Loaded:
        raise SkillError("a model on a server has no small one", hint=_ELSEWHERE)

    def load(self, checkpoint: str, *, device: str, dtype: str, revision: str | None = None) -> Loaded:
        raise SkillError("a model on a server is not loaded here", hint=_ELSEWHERE)

    def inputs(self, loaded: Loaded, requests: Sequence[Request]) -> tuple[dict[str, Any], list[Receipt]]:
        raise SkillError("a model on a server has no tensors here", hint=_ELSEWHERE)

    def answer(self, sample: Sample) -> list[Piece]:
        raise SkillError("a model on a server is not trained here", hint=_ELSEWHERE)


def _parts(message: Message, places: Iterator[Shown], words: str | None) -> Iterator[dict[str, Any]]:
    """The parts of a message in their order; `words` stand instead of its texts, after the pictures."""
    for part in message.parts:
        if isinstance(part, TextPart):
            if words is None and part.text:
                yield {"type": "text", "text": part.text}
            continue
        count = 1 if isinstance(part, ImagePart) else len(part.frames) if isinstance(part, VideoPart) else 0
        for _ in range(count):
            yield {"type": "image_url", "image_url": {"url": next(places).url}}
    if words is not None:
        yield {"type": "text", "text": words}


_ELSEWHERE = "load its checkpoint: imglish.load(name) instead of imglish.load(address)"
