"""What users give a skill beside its pictures: words, labels, a box, frames, requests. InputError says what is off."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from PIL import Image

from imglish.core._sources import describe
from imglish.core.errors import InputError
from imglish.core.images import open_frames
from imglish.core.types import Box, ImageSource, Request
from imglish.engine.generate import TOGETHER, Options

_BYTES = (bytes, bytearray, memoryview)
_PICTURES = (Image.Image, np.ndarray, os.PathLike, *_BYTES)
_WORDS = {  # what a skill's text is called, and an example of it
    "ask": ("question", "How many cats?"),
    "caption": ("instruction", "Describe the cat."),
    "chat": ("turn", "And what else?"),
    "count": ("thing", "cats"),
    "ground": ("phrase", "the red cup"),
    "segment": ("phrase", "the red cup"),
    "watch": ("question", "What moved?"),
}
_MAY_BE_EMPTY = ("caption", "chat")


def words(skill: str, text: Any) -> str:
    """The text of a skill, which is a string, and not an empty one where the skill cannot go without."""
    what, example = _WORDS[skill]
    if not isinstance(text, str):
        hint = f"pictures come first, then the {what}" if isinstance(text, _PICTURES) else f"for example {example!r}"
        raise InputError(f"the {what} is {_shown(text)}; a string is allowed", hint=hint)
    if not text.strip() and skill not in _MAY_BE_EMPTY:
        raise InputError(f"the {what} is empty", hint=f"for example {example!r}")
    return text


def labels(given: Any) -> tuple[str, ...]:
    """Labels from one or several; none are all things."""
    if isinstance(given, _BYTES) or not isinstance(given, Iterable):
        raise InputError(
            f"the labels are {_shown(given)}; allowed are a string or a list of strings",
            hint="leave them out, and everything is looked for",
        )
    found = (given,) if isinstance(given, str) else tuple(given)
    for index, label in enumerate(found):
        if not isinstance(label, str) or not label.strip():
            raise InputError(
                f"label {index} is {_shown(label)}; a label is a string that is not empty", hint="for example 'cat'"
            )
    return found


def box(given: Any) -> Box:
    """A box from any four numbers."""
    try:
        numbers = () if isinstance(given, (str, *_BYTES)) else tuple(float(value) for value in given)
    except (TypeError, ValueError, OverflowError):
        numbers = ()
    if len(numbers) == 4 and all(map(math.isfinite, numbers)):
        x1, y1, x2, y2 = numbers
        if x1 < x2 and y1 < y2:
            return x1, y1, x2, y2
    raise InputError(
        f"the box is {_shown(given)}; a box is x1, y1, x2, y2 in pixels with x1 < x2 and y1 < y2",
        hint="for example (10, 20, 110, 220)",
    )


def frames(given: Any, *, most: int) -> tuple[ImageSource, ...]:
    """The frames of a clip: a list as it is; of an animation at most so many, evenly spaced; a still is one frame."""
    if type(given) is Image.Image or (isinstance(given, np.ndarray) and _is_one(given)):
        return (given,)
    if isinstance(given, (str, os.PathLike, Image.Image, *_BYTES)) or callable(getattr(given, "read", None)):
        return open_frames(given, count=most)
    if not isinstance(given, Iterable):
        raise InputError(
            f"the frames are {_shown(given)}; allowed are a list of pictures in order, or a GIF, WebP or APNG",
            hint="for example ['1.png', '2.png']",
        )
    return tuple(given)


def requests(given: Any) -> list[Request]:
    """A list of requests, and of nothing else."""
    if isinstance(given, (Request, str, *_BYTES)) or not isinstance(given, Iterable):
        hint = "for one: vlm.run([request])" if isinstance(given, Request) else ""
        raise InputError(f"the requests are {_shown(given)}; a list of imglish.Request is allowed", hint=hint)
    found = list(given)
    for index, request in enumerate(found):
        if not isinstance(request, Request):
            raise InputError(
                f"request {index} is {_shown(request)}; each is an imglish.Request",
                hint="vlm.ask and its kin take pictures and words as they are",
            )
    return found


def options(base: Options, changes: Mapping[str, Any]) -> Options:
    """The options with changes; None changes nothing. Raises InputError for a name that is no option."""
    names = [field.name for field in dataclasses.fields(Options)]
    unknown = [name for name in changes if name not in names]
    if unknown:
        raise InputError(f"no option {unknown[0]!r}; allowed are {', '.join(names)}")
    given = {name: value for name, value in changes.items() if value is not None}
    return dataclasses.replace(base, **given)


def one_answer(chosen: Options) -> Options:
    """The same options, which ask for one answer. Raises InputError where they ask for more."""
    if chosen.n > 1:
        raise InputError("one answer is returned here, and n asks for more", hint="vlm.run([request], n=...) gives all")
    return chosen


def options_of_each(base: Options, each: Any, count: int) -> list[Options]:
    """The options of each of `count` requests, from what `run` was given. Raises InputError."""
    if each is None:
        return [base] * count
    given = list(each) if isinstance(each, Iterable) and not isinstance(each, (str, Mapping)) else None
    if given is None or not all(one is None or isinstance(one, Mapping) for one in given):
        raise InputError("each is a list that has a dict of options, or None, for every request")
    if len(given) != count:
        raise InputError(f"each has options for {len(given)} requests, and there are {count}", hint="None changes none")
    together = sorted({name for one in given for name in one or () if name in TOGETHER})
    if together:
        raise InputError(
            f"{together[0]} is not an option of one request: it is about all that run together",
            hint=f"give it beside each; so with {', '.join(TOGETHER)}",
        )
    return [options(base, one or {}) for one in given]


def _is_one(array: Any) -> bool:
    """Whether an array is one picture; a clip has an axis more."""
    return array.ndim < 3 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))


def _shown(value: Any) -> str:
    if isinstance(value, _PICTURES):
        return describe(value)
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
