"""How PaliGemma is asked: `<image><bos>detect cat ; dog` and a newline (arXiv:2407.07726, appendix; big_vision).

Boxes are y1 x1 y2 x2 as whole numbers from 0 to 1023, where 1023 is the whole side: `round(1023 * share)`, as the
training code writes them (`big_vision/pp/proj/paligemma/segmentation.py`); many readers divide by 1024 instead.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from imglish.core.codecs import Codec, Identity, Normalised
from imglish.core.errors import InputError
from imglish.core.types import Request
from imglish.families._base import Control, Picture, Piece, Plain, request_images

BINS = 1024
CODES, MASK_CODES = 16, 128  # codes of one mask, and how many different ones there are
CODEC = Codec(Identity(), Normalised(scale=BINS - 1, decimals=0), "yxyx")  # shares of the picture, squashed or not
LOCATIONS = tuple(f"<loc{number:04}>" for number in range(BINS))
SEGMENTS = tuple(f"<seg{number:03}>" for number in range(MASK_CODES))
FRAME_TOKENS = ("<pad>", "<eos>", "<bos>", "<unk>")
IMAGE_TOKEN = "<image>"
LANGUAGES = (
    "ar", "bn", "cs", "da", "de", "el", "en", "es", "fa", "fi", "fil", "fr", "he", "hi", "hr", "hu", "id", "it", "ja",
    "ko", "mi", "nl", "no", "pl", "pt", "ro", "ru", "sv", "sw", "te", "th", "tr", "uk", "vi", "zh",
)  # fmt: skip
"""Those of COCO-35L, which the captions were trained in (`transfers/coco35l.py` of the training code)."""
EVERYTHING = "all objects"  # for training only: no published checkpoint knows it
CAPTIONS = {"brief": "cap", "normal": "caption", "full": "describe"}

Gives = Literal["text", "boxes", "masks"]
_CODE = "(?:" + "|".join(LANGUAGES) + ")"
_TYPED: tuple[tuple[re.Pattern[str], Gives], ...] = (
    (re.compile(rf"(?:cap|caption|describe) {_CODE}|ocr"), "text"),
    (re.compile(rf"(?:answer|question) {_CODE} .+", re.DOTALL), "text"),
    (re.compile(r"detect .+", re.DOTALL), "boxes"),
    (re.compile(r"segment .+", re.DOTALL), "masks"),
)


class Asked(NamedTuple):
    """What a request comes to: the words that are said, and what they give."""

    words: str
    gives: Gives
    labels: tuple[str, ...] = ()


def asked(request: Request) -> Asked:
    """The words of a request. Text in the model's own syntax is said as it stands: `detect cat ; dog`, `caption es`."""
    text = request.text.strip()
    if request.skill in ("ask", "caption", "ground", "segment"):
        for pattern, gives in _TYPED:
            if pattern.fullmatch(text):
                return Asked(text, gives, _names(text) if gives != "text" else ())
    if request.skill == "caption":
        return Asked(f"{CAPTIONS[request.detail]} {request.language}", "text")
    if request.skill == "detect":
        return Asked(f"detect {' ; '.join(request.labels) or EVERYTHING}", "boxes", request.labels)
    if request.skill == "ground":
        return Asked(f"detect {text}", "boxes", (text,))
    if request.skill == "segment":
        return Asked(f"segment {text}", "masks", (text,))
    return Asked(f"answer {request.language} {text}", "text")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.partition(" ")[2].split(";"))


def check_named(request: Request) -> None:
    """Raises InputError where nothing is named that could be looked for."""
    names = request.labels if request.skill == "detect" else (request.text,)
    if request.skill in ("detect", "ground", "segment") and not (names and all(name.strip() for name in names)):
        raise InputError(
            f"{request.skill} was told nothing to look for; PaliGemma finds only what is named",
            hint='name it: detect(image, ["cat", "dog"])',
        )


def prompt_pieces(request: Request) -> list[Piece]:
    """All images first, then the words and a newline, as the reference's processor writes them."""
    pictures = [Picture(index) for index in range(len(request_images(request)[0]))]
    return [*pictures, Control("<bos>"), Plain(f"{asked(request).words}\n")]
