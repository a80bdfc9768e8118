"""The fifteen tasks of Florence-2: their tokens, what each is in words, what it takes and what it gives.

A task token is a mark, not a token of the vocabulary: the model reads the sentence that stands for it. Sentences,
vocabulary and its order are the reference's (arXiv:2311.06242, and the processor of microsoft/Florence-2-large).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from imglish.core.codecs import Bins, Codec, Identity
from imglish.core.errors import InputError, UnknownName
from imglish.core.types import Box, Request, Size
from imglish.families._base import Control, Picture, Piece, Plain

Takes = Literal["nothing", "text", "region"]
Gives = Literal["text", "boxes", "proposals", "phrases", "named shapes", "outlines", "lines"]

BINS = 1000
CODEC = Codec(Identity(), Bins(BINS))  # thousandths of the picture: the squashing to 768 x 768 falls out
LOCATIONS = tuple(f"<loc_{number}>" for number in range(BINS))
FRAME_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
ADDED_TOKENS = (
    "<od>", "</od>", "<ocr>", "</ocr>", *LOCATIONS, "<cap>", "</cap>", "<ncap>", "</ncap>", "<dcap>", "</dcap>",
    "<grounding>", "</grounding>", "<seg>", "</seg>", "<sep>", "<region_cap>", "</region_cap>",
    "<region_to_desciption>", "</region_to_desciption>", "<proposal>", "</proposal>", "<poly>", "</poly>", "<and>",
)  # fmt: skip
"""What the reference adds to BART's vocabulary, in the order of the ids (its spelling of `desciption` included)."""
IMAGE_TOKEN = "<image>"
MARKS = frozenset({*FRAME_TOKENS, *ADDED_TOKENS, IMAGE_TOKEN} - set(LOCATIONS))


@dataclass(frozen=True)
class Task:
    """One task: `words` has `{}` where its input stands."""

    name: str
    words: str
    takes: Takes
    gives: Gives

    @property
    def token(self) -> str:
        """As people type it."""
        return f"<{self.name}>"


TASKS = {
    task.name: task
    for task in (
        Task("CAPTION", "What does the image describe?", "nothing", "text"),
        Task("DETAILED_CAPTION", "Describe in detail what is shown in the image.", "nothing", "text"),
        Task("MORE_DETAILED_CAPTION", "Describe with a paragraph what is shown in the image.", "nothing", "text"),
        Task("OCR", "What is the text in the image?", "nothing", "text"),
        Task("OCR_WITH_REGION", "What is the text in the image, with regions?", "nothing", "lines"),
        Task("OD", "Locate the objects with category name in the image.", "nothing", "boxes"),
        Task("DENSE_REGION_CAPTION", "Locate the objects in the image, with their descriptions.", "nothing", "boxes"),
        Task("REGION_PROPOSAL", "Locate the region proposals in the image.", "nothing", "proposals"),
        Task("CAPTION_TO_PHRASE_GROUNDING", "Locate the phrases in the caption: {}", "text", "phrases"),
        Task("REFERRING_EXPRESSION_SEGMENTATION", "Locate {} in the image with mask", "text", "outlines"),
        Task("OPEN_VOCABULARY_DETECTION", "Locate {} in the image.", "text", "named shapes"),
        Task("REGION_TO_SEGMENTATION", "What is the polygon mask of region {}", "region", "outlines"),
        Task("REGION_TO_CATEGORY", "What is the region {}?", "region", "text"),
        Task("REGION_TO_DESCRIPTION", "What does the region {} describe?", "region", "text"),
        Task("REGION_TO_OCR", "What text is in the region {}?", "region", "text"),
    )
}
CAPTIONS = {"brief": "CAPTION", "normal": "DETAILED_CAPTION", "full": "MORE_DETAILED_CAPTION"}
_TYPED = re.compile(r"\s*<\s*([A-Z][A-Z_]*)\s*>(.*)", re.DOTALL)
_REGION = re.compile(r"\s*".join([r"<loc_(\d{1,3})>"] * 4))


class Asked(NamedTuple):
    """What a request comes to: a task with its input, or (without a task) the user's words as they are."""

    task: Task | None
    inputs: tuple[str, ...] = ()  # phrases; several only for detection
    region: Box | str | None = None  # pixels, or location tokens as somebody typed them


def asked(request: Request) -> Asked:
    """The task of a request. Text that begins with a task token chooses the task itself: `<OD>`.

    Raises UnknownName for a token that names no task, InputError where a task lacks its input or takes none.
    """
    typed = _TYPED.match(request.text)
    if typed:
        if typed[1] not in TASKS:
            raise UnknownName("Florence-2 task", f"<{typed[1]}>", [task.token for task in TASKS.values()])
        return _checked(TASKS[typed[1]], typed[2].strip(), request.region)
    if request.skill == "caption":
        return Asked(TASKS[CAPTIONS[request.detail]])
    if request.skill == "detect":
        return Asked(TASKS["OPEN_VOCABULARY_DETECTION" if request.labels else "OD"], request.labels)
    if request.skill == "ground":
        return _checked(TASKS["CAPTION_TO_PHRASE_GROUNDING"], request.text.strip(), None)
    if request.skill == "segment" and request.region is None:
        return _checked(TASKS["REFERRING_EXPRESSION_SEGMENTATION"], request.text.strip(), None)
    if request.skill == "segment":
        return Asked(TASKS["REGION_TO_SEGMENTATION"], region=request.region)
    if request.skill == "read":
        return Asked(TASKS["OCR_WITH_REGION"])
    if request.skill == "identify":
        name = "REGION_TO_DESCRIPTION" if request.detail == "full" else "REGION_TO_CATEGORY"
        return _checked(TASKS[name], "", request.region)
    return Asked(None, (request.text,))


def _checked(task: Task, text: str, region: Box | None) -> Asked:
    if task.takes == "nothing":
        if text:
            raise InputError(f"the task {task.token} takes no text, and it was given {text[:60]!r}")
        return Asked(task)
    if task.takes == "text":
        inputs = tuple(part.strip() for part in text.split("<and>")) if task.gives == "named shapes" else (text,)
        if not all(inputs):
            raise InputError(f"the task {task.token} takes a text", hint=f'for example "{task.token} a green car"')
        return Asked(task, inputs)
    if not text and region is not None:
        return Asked(task, region=region)
    match = _REGION.fullmatch(text)
    if match is None:
        raise InputError(
            f"the task {task.token} takes a region, and it was given {text[:60]!r}",
            hint=f"write it in thousandths of width and height: {task.token}<loc_52><loc_332><loc_932><loc_774>",
        )
    return Asked(task, region="".join(f"<loc_{int(number)}>" for number in match.groups()))


def prompt_pieces(request: Request, size: Size) -> list[Piece]:
    """`<image><s>Locate the objects ...</s>`. Only a region's location tokens, and `<and>`, have power in between."""
    return [Picture(0), Control("<s>"), *_words(asked(request), size), Control("</s>")]


def _words(given: Asked, size: Size) -> list[Piece]:
    if given.task is None:
        return [Plain(text) for text in given.inputs if text]
    before, _, after = given.task.words.partition("{}")
    if given.task.takes == "nothing":
        return [Plain(before)]
    if given.region is not None:
        places = given.region if isinstance(given.region, str) else location_tokens(given.region, size)
        return [piece for piece in (Plain(before), Control(places), Plain(after)) if piece.text]
    texts = [*given.inputs]
    texts[0] = before + texts[0]
    texts[-1] += after
    pieces: list[Piece] = [Plain(texts[0] if len(texts) == 1 else f"{texts[0]} ")]
    for number, text in enumerate(texts[1:], start=2):
        pieces += [Control("<and>"), Plain(f" {text}" if number == len(texts) else f" {text} ")]
    return pieces


def location_tokens(places: Sequence[float] | Sequence[Sequence[float]], size: Size) -> str:
    """The location tokens of a box (four numbers) or of points (pairs), in pixels of an image of `size`."""
    return "".join(LOCATIONS[int(value)] for value in CODEC.encode(places, size).reshape(-1))
