"""What families that chat share: every skill is a turn of conversation, regions are asked for in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from imglish.core.results import Result
from imglish.core.types import ImagePart, Message, Request, Sample, Size, VideoPart
from imglish.families import _prompted, _prompted_grammar
from imglish.families._base import Picture, Piece, Plain, request_images
from imglish.families._grammar import Node
from imglish.families._hub import HubFamily

SKILLS = frozenset({"ask", "caption", "chat", "count", "detect", "extract", "ground", "identify", "read", "segment"})
PROMPTED = frozenset({"detect", "extract", "ground", "identify", "read", "segment"})


class ChatFamily(HubFamily):
    """A family that answers in words; `turns` writes a conversation in its own template."""

    skills = SKILLS
    prompted = PROMPTED
    special_tokens: ClassVar[tuple[str, ...]] = ()

    def turns(self, messages: Sequence[tuple[str, list[Piece]]]) -> list[Piece]:
        """The prompt of (role, content) turns, up to where the answer begins; a family has this or its own `prompt`."""
        raise NotImplementedError(f"the family {self.name!r} has neither turns nor a prompt of its own")

    def prompt(self, request: Request, sizes: Sequence[Size]) -> list[Piece]:
        numbers = iter(range(len(request_images(request)[0])))
        turns: list[tuple[str, list[Piece]]] = []
        last = len(request.messages) - 1
        for place, message in enumerate(request.messages):
            text = message.text
            if place == last and request.skill not in ("ask", "chat", "watch"):
                text = _prompted.instruction(request, self.codec, sizes[0])
            turns.append((message.role, self.content(message, text, numbers)))
        return self.turns(turns)

    def content(self, message: Message, text: str, numbers: Iterator[int]) -> list[Piece]:
        """Images first, each on its place, then the text, as these families were trained."""
        pictures: list[Piece] = []
        for part in message.parts:
            if isinstance(part, (ImagePart, VideoPart)):
                count = len(part.frames) if isinstance(part, VideoPart) else 1
                pictures += [Picture(next(numbers)) for _ in range(count)]
        return [*pictures, Plain(text)]

    def answer(self, sample: Sample) -> list[Piece]:
        return [Plain(_prompted.written(sample, self.codec, _size(sample)))]

    def grammar(self, request: Request, sizes: Sequence[Size]) -> Node | None:
        return _prompted_grammar.grammar(request, self.codec, (*sizes, (1, 1))[0])

    def parse(
        self,
        request: Request,
        raw: str,
        sizes: Sequence[Size],
        *,
        tokens: Sequence[str] | None = None,
        logprobs: Sequence[float] | None = None,
    ) -> Result:
        size = sizes[0] if sizes else (1, 1)
        return _prompted.parse(request, raw, self.codec, size, tokens=tokens, logprobs=logprobs)


def _size(sample: Sample) -> Size:
    from imglish.core.images import open_image

    image = sample.images[0]
    size: Size = image.size if hasattr(image, "convert") else open_image(image).size
    return size
