"""What every family shares: the pieces of a prompt, what a loaded model is, and the interface itself."""

from __future__ import annotations

import importlib.util
import re
from abc import ABC, abstractmethod
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from imglish.core.errors import SkillError
from imglish.core.types import ImageSource, Request, Sample, Size, VideoPart

if TYPE_CHECKING:
    from imglish.core.codecs import Codec
    from imglish.core.results import Problem, Receipt, Result
    from imglish.families._grammar import Node


@dataclass(frozen=True)
class Control:
    """Special tokens of the family, written one after the other: `<user><ask>`."""

    text: str


@dataclass(frozen=True)
class Plain:
    """Text that a person (or a truth) supplied. Special tokens in it have no power."""

    text: str


@dataclass(frozen=True)
class Spelled(Plain):
    """Plain text written one character a token, as what is read off a picture is: no word is longer than it looks."""


@dataclass(frozen=True)
class Picture:
    """The place of one image: an index into the request's images."""

    index: int


@dataclass(frozen=True)
class Frames:
    """The place of a video: indices into the request's images, in order."""

    indices: tuple[int, ...]


Piece = Control | Plain | Picture | Frames


class Encoded(NamedTuple):
    """A sample as token ids. Each image is ONE placeholder id in `prompt_ids`, however many tokens it will become.

    `prompt_ids[: 1 + len(images)]` does not depend on the question and the rest does not depend on the images, so
    that many questions can share one image prefix. `answer_ids` ends with the end token; only these carry loss.
    """

    prompt_ids: list[int]
    answer_ids: list[int]
    images: tuple[ImageSource, ...]
    frame_mask: list[bool]


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model ready to run, with everything that its family needs to feed it."""

    model: Any
    processor: Any
    family: Family
    checkpoint: str
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer."""
        return self.processor.tokenizer


class Seen(NamedTuple):
    """What came out of looking at the images of one request."""

    problems: tuple[Problem, ...] = ()
    cache_hits: int = 0


class Family(ABC):
    """One model type. Subclasses say what is special about it."""

    name: ClassVar[str]
    model_type: ClassVar[str]
    skills: ClassVar[frozenset[str]]
    single_image_skills: ClassVar[frozenset[str]] = frozenset({"detect", "ground", "segment", "read", "identify"})
    codec: ClassVar[Codec]
    stop: tuple[str, ...]  # may differ between checkpoints
    thought_end: str = ""  # what stands between a thought and the answer, where answers begin with a thought
    special_tokens: ClassVar[tuple[str, ...]]
    image_token: ClassVar[str]
    max_images: ClassVar[int] = 1
    max_frames: ClassVar[int] = 0
    native: ClassVar[bool] = False  # whether the model's own `generate` decodes, or our loop
    languages: ClassVar[tuple[str, ...]] = ()  # of answers; none means that the family does not say

    @abstractmethod
    def tiny(self) -> Loaded:
        """A random small model with the real configuration classes and a real small tokenizer, built offline."""

    @abstractmethod
    def load(self, checkpoint: str, *, device: str, dtype: str, revision: str | None = None) -> Loaded:
        """The model of a checkpoint folder. Raises CheckpointError naming what is missing or unexpected."""

    @abstractmethod
    def prompt(self, request: Request, sizes: Sequence[Size]) -> list[Piece]:
        """The request in the family's own format; `sizes` are of the request's images, in order."""

    @abstractmethod
    def inputs(self, loaded: Loaded, requests: Sequence[Request]) -> tuple[dict[str, Any], list[Receipt]]:
        """Tensors of a batch, padded on the left, and what the model really sees of each request."""

    def look(
        self, loaded: Loaded, tensors: dict[str, Any], receipts: Sequence[Receipt], *, kept: MutableMapping[Any, Any]
    ) -> tuple[dict[str, Any], list[Seen]]:
        """Encodes the images of a batch, where that can be done apart; what is `kept` is not encoded again."""
        return tensors, [Seen() for _ in receipts]

    def banned(self, request: Request) -> tuple[str, ...]:
        """Special tokens that an answer to this request never has."""
        return ()

    def grammar(self, request: Request, sizes: Sequence[Size]) -> Node | None:
        """What an answer to this request looks like, so that it can always be read; None where any text will do.

        `sizes` are of the request's images. Here the family's own file `_<name>_grammar.py` says it, where there is
        one; a family whose grammar depends on the checkpoint has a method of its own. Raises InputError for what cannot
        be promised.
        """
        name = f"{__package__}._{self.name}_grammar"
        if importlib.util.find_spec(name) is None:
            return None
        found: Node | None = importlib.import_module(name).grammar(request, sizes)
        return found

    @abstractmethod
    def answer(self, sample: Sample) -> list[Piece]:
        """The sample's truth as the family would write it."""

    @abstractmethod
    def parse(
        self,
        request: Request,
        raw: str,
        sizes: Sequence[Size],
        *,
        tokens: Sequence[str] | None = None,
        logprobs: Sequence[float] | None = None,
    ) -> Result:
        """The result that `raw` says. Never raises on model text: what cannot be read is recorded as a problem."""

    def check(self, request: Request) -> None:
        """Raises SkillError where this family cannot do the request."""
        if request.skill not in self.skills:
            raise SkillError(
                f"the family {self.name!r} has no skill {request.skill!r}; it has {', '.join(sorted(self.skills))}"
            )
        if self.languages and request.language not in self.languages:
            raise SkillError(
                f"no language {request.language!r}; the family {self.name!r} has {', '.join(self.languages)}"
            )
        stills, frames = count_images(request)
        most = 1 if request.skill in self.single_image_skills else self.max_images
        if request.skill == "watch":
            if frames == 0:
                raise SkillError("watch was given no frames", hint="give the video as a list of its frames")
        elif stills + frames == 0:
            raise SkillError(f"{request.skill} was given no image", hint=f"{request.skill} takes 1 to {most}")
        if stills > most:
            raise SkillError(
                f"{request.skill} was given {stills} images; the family {self.name!r} takes at most {most}"
            )
        if frames > self.max_frames:
            raise SkillError(
                f"{request.skill} was given {frames} frames; the family {self.name!r} takes at most {self.max_frames}",
                hint="give every n-th frame",
            )


def request_images(request: Request) -> tuple[list[ImageSource], list[bool]]:
    """Every image of a request in the order of its messages, and whether each is a frame of a video."""
    images: list[ImageSource] = []
    frames: list[bool] = []
    for message in request.messages:
        for part in message.parts:
            sources = part.frames if isinstance(part, VideoPart) else (getattr(part, "image", None),)
            sources = tuple(source for source in sources if source is not None)
            images.extend(sources)
            frames.extend([isinstance(part, VideoPart)] * len(sources))
    return images, frames


def count_images(request: Request) -> tuple[int, int]:
    """How many single images and how many frames a request has."""
    _, frames = request_images(request)
    return len(frames) - sum(frames), sum(frames)


_CONTROL = re.compile(r"<[^<>]+>")


def encode_pieces(tokenizer: Any, pieces: Sequence[Piece], *, image_token: str) -> list[int]:
    """Token ids of a prompt; an image or frame is one `image_token`. Plain text can never become a special token.

    `tokenizer` is a `tokenizers.Tokenizer` or a transformers fast tokenizer around one.
    """
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    ids: list[int] = []
    for piece in pieces:
        if isinstance(piece, Control):
            ids.extend(backend.token_to_id(token) for token in _CONTROL.findall(piece.text))
        elif isinstance(piece, Spelled):
            ids.extend(token for letter in piece.text for token in plain_ids(backend, letter))
        elif isinstance(piece, Plain):
            ids.extend(plain_ids(backend, piece.text))
        elif isinstance(piece, Picture):
            ids.append(backend.token_to_id(image_token))
        else:
            ids.extend([backend.token_to_id(image_token)] * len(piece.indices))
    return ids


def plain_ids(backend: Any, text: str) -> list[int]:
    """Ids of text in which special tokens have no power."""
    if not text:
        return []
    backend.encode_special_tokens = True  # "treat special tokens as any other text"
    ids: list[int] = backend.encode(text, add_special_tokens=False).ids
    return ids
