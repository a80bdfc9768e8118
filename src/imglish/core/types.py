"""Messages and their parts, samples, skills: the plain data that every floor passes to the next.

A message is a role and a tuple of parts. The dict form of OpenAI (`image_url`, the role `developer`) and of
transformers (`{"type": "image", "image": ...}`) is accepted as it is by `to_messages`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from imglish.core.errors import InputError

Role = Literal["system", "user", "assistant"]
Size = tuple[int, int]  # width, height in pixels
Box = tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels of the original image
Point = tuple[float, float]
Polygon = tuple[Point, ...]
ImageSource = Any  # path, URL, data URL, bytes, PIL image, numpy array, file object: what images.open_image takes

SKILLS = ("ask", "caption", "detect", "ground", "segment", "read", "identify", "count", "extract", "chat", "watch")


@dataclass(frozen=True)
class TextPart:
    """A piece of text. It is always plain text: special tokens in it have no power."""

    text: str


@dataclass(frozen=True)
class ImagePart:
    """One image, in any form that `images.open_image` takes."""

    image: ImageSource


@dataclass(frozen=True)
class VideoPart:
    """A video as its frames, in order; `fps` is frames per second where it is known."""

    frames: tuple[ImageSource, ...]
    fps: float | None = None


Part = TextPart | ImagePart | VideoPart


@dataclass(frozen=True)
class Message:
    """One chat turn."""

    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The text parts, joined by newlines."""
        return "\n".join(part.text for part in self.parts if isinstance(part, TextPart))

    @property
    def images(self) -> tuple[ImageSource, ...]:
        """The single images of this message, in order; video frames are not among them."""
        return tuple(part.image for part in self.parts if isinstance(part, ImagePart))


@dataclass(frozen=True)
class Request:
    """One call of a skill: what the user gave, before a family puts it into its own words.

    `text` is the question (ask, chat, watch), the phrase (ground, segment), the thing (count) or the caption's
    instruction; `labels` is what detect looks for (empty: everything); `region` is what identify looks at;
    `schema` is the JSON schema of extract; `detail` is brief, normal or full (caption). `form` is what the answer is to
    look like, as `engine.forms.as_grammar` takes it; None leaves that to the skill.
    """

    skill: str
    messages: tuple[Message, ...]
    text: str = ""
    labels: tuple[str, ...] = ()
    region: Box | None = None
    schema: Mapping[str, Any] | None = None
    detail: str = "normal"
    language: str = "en"
    form: Any = None


@dataclass(frozen=True)
class Sample:
    """One training or evaluation item: what is asked of which pictures, and the true answer twice.

    `answer` is the answer as text a person would write; `truth` is the same as a typed result
    (`imglish.core.results`): Text, Boxes, Masks, TextRegions or Record, in pixels of the original image.
    """

    id: str
    skill: str
    images: tuple[ImageSource, ...]
    question: str
    answer: str
    truth: Any
    labels: tuple[str, ...] = ()
    region: Box | None = None
    schema: Mapping[str, Any] | None = None
    detail: str = "normal"
    language: str = "en"
    topic: str = ""
    tags: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def request(self) -> Request:
        """The call of a skill that this sample is one instance of."""
        parts: list[Part]
        if self.skill == "watch":
            parts = [VideoPart(self.images)]
        else:
            parts = [ImagePart(image) for image in self.images]
        message = Message("user", (*parts, TextPart(self.question)))
        return Request(
            self.skill, (message,), self.question, self.labels, self.region, self.schema, self.detail, self.language
        )


def to_messages(value: str | Message | Mapping[str, Any] | Iterable[Any]) -> tuple[Message, ...]:
    """Messages from a string, a Message, a dict, or a sequence of them.

    Raises InputError naming the message and the part that is not of a known form.
    """
    if isinstance(value, str):
        return (Message("user", (TextPart(value),)),)
    if isinstance(value, Message):
        return (value,)
    if isinstance(value, Mapping):
        return (_message(value, 0),)
    if not isinstance(value, Iterable) or isinstance(value, bytes):
        raise InputError(f"messages are given as {_short(value)}; allowed are a string, a message or a list of them")
    return tuple(item if isinstance(item, Message) else _message(item, index) for index, item in enumerate(value))


def _message(value: Any, index: int) -> Message:
    where = f"message {index}"
    called = isinstance(value, Mapping) and value.get("role") == "assistant" and "tool_calls" in value
    if not isinstance(value, Mapping) or "role" not in value or not ("content" in value or called):
        raise InputError(
            f"{where} is {_short(value)}; a message has 'role' and 'content'",
            hint='for example {"role": "user", "content": "What is this?"}',
        )
    role, content = value["role"], value.get("content")
    if role == "developer":  # what OpenAI calls the system of its newer models
        role = "system"
    if role not in get_args(Role):
        raise InputError(f"{where} has role {role!r}; allowed are {', '.join(get_args(Role))} and developer")
    if content is None and role == "assistant":  # a turn that only calls tools
        content = ""
    if isinstance(content, str):
        return Message(role, (TextPart(content),))
    if not isinstance(content, Sequence) or isinstance(content, (bytes, bytearray, memoryview)):
        raise InputError(f"{where} has content {_short(content)}; allowed are a string or a list of parts")
    return Message(role, tuple(_part(part, f"{where}, part {number}") for number, part in enumerate(content)))


_TEXTS = ("text", "input_text", "output_text")
_IMAGES = ("image", "image_url", "input_image")
_VIDEOS = ("video", "video_url", "input_video")


def _part(value: Any, where: str) -> Part:
    if isinstance(value, (TextPart, ImagePart, VideoPart)):
        return value
    if isinstance(value, str):
        return TextPart(value)
    kind = value.get("type") if isinstance(value, Mapping) else None
    if kind in _TEXTS:
        if not isinstance(value.get("text"), str):
            raise InputError(f"{where} is {_short(value)}; a text part has 'text', a string")
        return TextPart(value["text"])
    if kind in _IMAGES:
        return ImagePart(_picture(value, where))
    if kind in _VIDEOS:
        frames = _first(value, ("frames", "video"))
        if isinstance(frames, Sequence) and not isinstance(frames, (str, bytes, bytearray, memoryview)):
            return VideoPart(tuple(frames), value.get("fps"))
        raise InputError(
            f"{where} is {_short(value)}; a video is given as a list of its frames, pictures in order",
            hint='for example {"type": "video", "video": ["1.png", "2.png"]}; '
            "imglish.core.images.open_frames(path) gives the frames of a GIF, WebP or APNG",
        )
    raise InputError(
        f"{where} is {_short(value)}; allowed are {', '.join((*_TEXTS, *_IMAGES))} and video parts",
        hint='for example {"type": "image", "image": "a.png"} or {"type": "text", "text": "What is this?"}',
    )


def _picture(value: Mapping[str, Any], where: str) -> ImageSource:
    source = _first(value, ("image", "image_url", "url", "path"))
    if isinstance(source, Mapping):  # OpenAI: {"image_url": {"url": ...}}
        source = source.get("url")
    if source is not None:
        return source
    encoded = value.get("base64")
    if isinstance(encoded, str):
        return encoded if encoded[:5].lower() == "data:" else f"data:image/png;base64,{encoded}"
    raise InputError(
        f"{where} is {_short(value)}; an image part names its picture as image, image_url, url, path or base64",
        hint='for example {"type": "image", "image": "a.png"}',
    )


def _first(value: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((value[key] for key in keys if value.get(key) is not None), None)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
