"""What Fuyu is asked and what it writes: a question and a newline, and boxes as four halved pixels, y first.

    |SPEAKER|...|NEWLINE|<s> Generate a coco-style caption.\\n<0x04>      ...<0x00>194 213 202 244<0x01>|ENDOFTEXT|

`<0x00> <0x01>` are what `<box> </box>` become, `<0x02> <0x03>` are `<point> </point>`, `<0x04>` begins the answer
(transformers, processing_fuyu.py). Each number of a box is one token, and no space stands between them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imglish.core.codecs import Codec
from imglish.core.errors import InputError
from imglish.core.frames import Fitted
from imglish.core.geometry import Floats
from imglish.core.types import Box, ImagePart, Request, Sample, Size
from imglish.families._base import Control, Picture, Piece, Plain
from imglish.families._region_answers import own_words

MOST: Size = (1920, 1080)
PATCH = 30
NOTHING = "none"  # the original has no way to say that there is nothing; this is ours
OPEN, CLOSE, POINT_OPEN, POINT_CLOSE, ANSWER = (f"<0x0{number}>" for number in range(5))
SPECIAL_TOKENS = ("<s>", "|SPEAKER|", "|NEWLINE|", "|ENDOFTEXT|", OPEN, CLOSE, POINT_OPEN, POINT_CLOSE, ANSWER)

_BOXES = (
    "When presented with a box, perform OCR to extract text contained within it. If provided with text, generate the "
    "corresponding bounding box.\n"
)
_CAPTIONS = {"full": "Describe the image in detail.\n"}


@dataclass(frozen=True)
class Shrunk:
    """A picture larger than `most` is made smaller, its shape kept; patches on the right and below are filled up."""

    most: Size = MOST
    patch: int = PATCH

    def fit(self, size: Size) -> Fitted:
        """Raises InputError for an image without pixels."""
        if size[0] < 1 or size[1] < 1:
            raise InputError(f"an image of size {size[0]} x {size[1]} has no pixels")
        inner = size
        if size[0] > self.most[0] or size[1] > self.most[1]:
            scale = min(self.most[1] / size[1], self.most[0] / size[0])
            inner = (max(1, int(size[0] * scale)), max(1, int(size[1] * scale)))
        frame = [math.ceil(side / self.patch) * self.patch for side in inner]
        return Fitted(size, (frame[0], frame[1]), inner[0] / size[0], inner[1] / size[1])


@dataclass(frozen=True)
class Halved:
    """Half the pixels of the frame, rounded to whole numbers."""

    def write(self, pixels: Floats, extent: Floats) -> NDArray[Any]:
        """Rounded halves."""
        return np.round(np.clip(pixels, 0.0, extent) / 2).astype(np.int64)

    def read(self, values: Floats, extent: Floats) -> Floats:
        """Twice the numbers."""
        return values * 2.0

    def error(self, extent: Floats) -> Floats:
        """One pixel of the frame."""
        return np.ones_like(extent)


CODEC = Codec(Shrunk(), Halved(), "yxyx")
POINTS = Codec(Shrunk(), Halved())  # points are written x first


def image_tokens(size: Size) -> int:
    """A token for each patch and one at the end of each row."""
    columns, rows = (side // PATCH for side in CODEC.frame.fit(size).size)
    return (columns + 1) * rows


def prompt_pieces(request: Request, sizes: Sequence[Size]) -> list[Piece]:
    """One picture, earlier messages line by line, the instruction."""
    shown = any(isinstance(part, ImagePart) for message in request.messages for part in message.parts)
    pieces: list[Piece] = [*([Picture(0)] if shown else []), Control("<s>")]
    for message in request.messages[:-1]:
        pieces += [Plain(message.text), Control("\n")]
    return [*pieces, *_instruction(request, sizes), Control(ANSWER)]


def _instruction(request: Request, sizes: Sequence[Size]) -> Iterator[Piece]:
    if request.skill == "identify" and request.region is not None:
        yield Control(_BOXES)
        yield from box_pieces(request.region, sizes[0])
    elif request.skill in ("ground", "detect"):
        yield Control(_BOXES)
        yield Plain(request.text if request.skill == "ground" else ", ".join(request.labels) or "every object")
    elif request.skill == "caption" and not own_words(request):
        yield Control(_CAPTIONS.get(request.detail, "Generate a coco-style caption.\n"))
    elif request.skill == "count":
        yield from (Control("How many "), Plain(request.text), Control(" are there?\n"))
    else:
        yield from (Plain(request.text), Control("\n"))


def answer_pieces(sample: Sample, size: Size) -> list[Piece]:
    """The truth of a sample as the model would write it."""
    truth = sample.truth
    if sample.skill not in ("detect", "ground"):
        return [Plain(sample.answer)]
    if not len(truth):
        return [Plain(NOTHING)]
    order = sorted(range(len(truth)), key=lambda i: (truth.xyxy[i, 0] + truth.xyxy[i, 1], truth.xyxy[i, 1]))
    pieces: list[Piece] = []
    for index in order:
        pieces += [Plain(truth.labels[index])] if sample.skill == "detect" else []
        pieces += box_pieces(truth.xyxy[index], size)
    return pieces


def box_pieces(box: Box | Floats, size: Size) -> list[Piece]:
    """A box: the token that opens it, its numbers, the token that closes it."""
    numbers = ", ".join(map(str, CODEC.encode(np.asarray(box, np.float64), size).tolist()))
    return [Control(OPEN), Plain(numbers), Control(CLOSE)]
