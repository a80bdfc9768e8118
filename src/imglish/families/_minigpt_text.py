"""What MiniGPT-v2 is asked and what it writes: six task identifiers, and boxes in words.

    <s><s>[INST] <Img>{image}</Img> [refer] give me the location of the cup [/INST]    {<12><30><45><88>}

The wordings are those of the reference's evaluation and demo (Vision-CAIR/MiniGPT-4: eval_scripts/, demo_v2.py,
datasets/). Its tokenizer adds a <s> to the <s> that the template spells, and so do we.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imglish.core.codecs import Codec, Squash
from imglish.core.geometry import Floats
from imglish.core.types import Box, ImagePart, Request, Sample, Size
from imglish.families._base import Control, Picture, Piece, Plain
from imglish.families._region_answers import own_words

IDENTIFIERS = ("[vqa]", "[caption]", "[grounding]", "[refer]", "[identify]", "[detection]")
NOTHING = "none"  # the reference has no way to say that there is nothing; this is ours
SIDE = 448

_VQA = "[vqa] Based on the image, respond to this question with a short answer: "
_CAPTIONS = {
    "brief": "[caption] Briefly describe this image.",
    "normal": "[caption] please describe this image?",
    "full": "[grounding] please describe this image in details",
}


@dataclass(frozen=True)
class Percent:
    """Whole hundredths of the frame's extent, 0 to 100, cut off: `int(x / width * 100)` (datasets/coco_dataset.py)."""

    def write(self, pixels: Floats, extent: Floats) -> NDArray[Any]:
        """The hundredth that a pixel coordinate falls into; only the far edge is 100."""
        return np.floor(np.clip(pixels / extent, 0.0, 1.0) * 100 + 1e-9).astype(np.int64)

    def read(self, values: Floats, extent: Floats) -> Floats:
        """The pixel of a hundredth, as the reference draws it."""
        return values / 100 * extent

    def error(self, extent: Floats) -> Floats:
        """One hundredth."""
        return extent / 100


CODEC = Codec(Squash((SIDE, SIDE)), Percent())


def prompt_pieces(request: Request, sizes: Sequence[Size]) -> list[Piece]:
    """The conversation in the Llama-2 template; an earlier answer follows its question without </s>, as in the demo."""
    system = "\n".join(message.text for message in request.messages if message.role == "system")
    turns = [message for message in request.messages if message.role != "system"]
    pieces: list[Piece] = []
    opening, number = "<s><s>[INST] ", 0
    for place, message in enumerate(turns):
        if message.role == "assistant":
            pieces.append(Plain(message.text))
            continue
        for part in message.parts:
            if isinstance(part, ImagePart):
                pieces += [Control(f"{opening}<Img>"), Picture(number), Control("</Img> ")]
                opening, number = "", number + 1
        pieces += [Control(opening)] if opening else []
        pieces += [Plain(f"{system}\n")] if system else []
        pieces += _instruction(request, sizes) if place == len(turns) - 1 else [Plain(message.text)]
        pieces.append(Control(" [/INST]"))
        opening, system = "<s>[INST] ", ""
    return pieces


def named(text: str) -> str:
    """The identifier that a person's text begins with, or nothing."""
    return next((name for name in IDENTIFIERS if text.lstrip().startswith(name)), "")


def _instruction(request: Request, sizes: Sequence[Size]) -> list[Piece]:
    text = request.text
    if request.skill == "ask":
        return [Plain(text)] if named(text) else [Control(_VQA), Plain(text)]
    if request.skill == "caption":
        own = own_words(request)
        if not own:
            return [Control(_CAPTIONS.get(request.detail, _CAPTIONS["normal"]))]
        return [Plain(own)] if named(own) else [Control("[caption] "), Plain(own)]
    if request.skill == "detect":
        if not request.labels:
            return [Control(_CAPTIONS["full"])]
        return [Control("[detection] "), Plain(", ".join(request.labels))]
    if request.skill == "ground":
        return [Control("[refer] give me the location of "), Plain(text)]
    if request.skill == "count":
        return [Control(f"{_VQA}how many "), Plain(text), Control(" are there?")]
    if request.skill == "identify" and request.region is not None:
        return [Control(f"[identify] what is this {box_text(request.region, sizes[0])}")]
    return [Plain(text)]


def answer_text(sample: Sample, size: Size) -> str:
    """The truth of a sample as the model would write it."""
    truth = sample.truth
    if sample.skill not in ("detect", "ground"):
        return sample.answer
    if not len(truth):
        return NOTHING
    order = sorted(range(len(truth)), key=lambda i: (truth.xyxy[i, 0] + truth.xyxy[i, 1], truth.xyxy[i, 1]))
    groups: dict[str, list[str]] = {}
    for index in order:
        label = truth.labels[index] if sample.skill == "detect" else ""
        groups.setdefault(label, []).append(box_text(truth.xyxy[index], size))
    return " ".join(
        f"<p>{label}</p> {'<delim>'.join(boxes)}" if label else "<delim>".join(boxes) for label, boxes in groups.items()
    )


def box_text(box: Box | Floats, size: Size) -> str:
    """A box as `{<x1><y1><x2><y2>}`."""
    return "{" + "".join(f"<{value}>" for value in CODEC.encode(np.asarray(box, np.float64), size).tolist()) + "}"
