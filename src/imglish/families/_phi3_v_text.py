"""The conversation of Phi-3-vision as text, and prompts that were written with its numbered placeholders."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from imglish.core.errors import InputError
from imglish.core.types import ImagePart, ImageSource, Message, Part, TextPart, VideoPart, to_messages
from imglish.families._base import Control, Picture, Piece, Plain

PLACEHOLDER = re.compile(r"<\|image_(\d{1,9})\|>")


def turns(messages: Sequence[tuple[str, list[Piece]]]) -> list[Piece]:
    """`<|user|>\\n...<|end|>\\n<|assistant|>\\n`; the published chat template."""
    pieces: list[Piece] = []
    for role, content in messages:
        pieces += [Control(f"<|{role}|>\n"), *content, Control("<|end|>\n")]
    return [*pieces, Control("<|assistant|>\n")]


def content(message: Message, text: str, numbers: Iterator[int]) -> list[Piece]:
    """Pictures and text of a turn in their order, a line each, as the published prompts are.

    `text` other than the message's own (an instruction) stands after all pictures.
    """
    parts: list[Piece] = []
    for part in message.parts:
        if isinstance(part, TextPart):
            parts += [Plain(part.text)] if text == message.text else []
        else:
            count = len(part.frames) if isinstance(part, VideoPart) else 1
            parts += [Picture(next(numbers)) for _ in range(count)]
    if text != message.text:
        parts.append(Plain(text))
    pieces: list[Piece] = []
    for one in parts:
        if pieces and not _is_spaced(pieces[-1], one):
            pieces.append(Control("\n"))
        pieces.append(one)
    return pieces


def _is_spaced(before: Piece, after: Piece) -> bool:
    """Whether somebody put a space or a line between two pieces already."""
    ends = isinstance(before, Plain) and before.text[-1:].isspace()
    return ends or (isinstance(after, Plain) and after.text[:1].isspace())


def numbered(
    messages: str | Message | Mapping[str, Any] | Sequence[Any], images: Sequence[ImageSource]
) -> tuple[Message, ...]:
    """Messages whose `<|image_1|>`, `<|image_2|>` ... become these images, each in its place.

    For conversations written for the published processor. Elsewhere such a placeholder is plain text, as everything is
    that a user types. Without any, all images stand before the first turn of the user. Raises InputError unless each
    image has one placeholder, numbered from 1 without gaps.

    >>> [type(part).__name__ for part in numbered("<|image_1|>\\nWhat is it?", ["a.png"])[0].parts]
    ['ImagePart', 'TextPart']
    """
    given = to_messages(messages)
    tags = [int(tag) for message in given if message.role == "user" for tag in PLACEHOLDER.findall(message.text)]
    if tags:
        _check(tags, len(images))
        return tuple(_placed(message, images) if message.role == "user" else message for message in given)
    first = next((place for place, message in enumerate(given) if message.role == "user"), None)
    if first is None:
        raise InputError(f"there is no turn of the user to put {len(images)} images in")
    opened = dataclasses.replace(given[first], parts=(*map(ImagePart, images), *given[first].parts))
    return (*given[:first], opened, *given[first + 1 :])


def _check(tags: Sequence[int], count: int) -> None:
    wanted = list(range(1, len(set(tags)) + 1))
    if sorted(set(tags)) != wanted:
        raise InputError(
            f"the placeholders are numbered {', '.join(map(str, sorted(set(tags))))}; they are numbered from 1, "
            "without gaps",
            hint=f"for {len(wanted)} images: {' '.join(f'<|image_{number}|>' for number in wanted[:9])}",
        )
    twice = next((tag for tag in tags if tags.count(tag) > 1), None)
    if twice is not None:
        raise InputError(f"<|image_{twice}|> stands in the prompt {tags.count(twice)} times; each image has one place")
    if len(tags) != count:
        raise InputError(
            f"the prompt has {len(tags)} placeholders, and there are {count} images",
            hint="give each image one placeholder, or leave all of them out",
        )


def _placed(message: Message, images: Sequence[ImageSource]) -> Message:
    parts: list[Part] = []
    for part in message.parts:
        if not isinstance(part, TextPart):
            parts.append(part)
            continue
        for place, text in enumerate(PLACEHOLDER.split(part.text)):  # text, number, text, number, text
            if place % 2:
                parts.append(ImagePart(images[int(text) - 1]))
            elif text:
                parts.append(TextPart(text))
    return dataclasses.replace(message, parts=tuple(parts))
