"""What KOSMOS-2 is asked and what it writes: phrases, and boxes as two cells of a grid of 32 x 32.

    <s><image>...</image><grounding> An image of
    <phrase> a dog</phrase><object><patch_index_0044><patch_index_0863></object>

The prompts are those of the model card and of microsoft/unilm, kosmos-2/README.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imglish.core.codecs import Bins, Codec, Squash
from imglish.core.geometry import Floats
from imglish.core.types import Box, ImagePart, Request, Sample, Size
from imglish.families._base import Control, Picture, Piece, Plain
from imglish.families._region_answers import own_words

GRID = 32
IMAGE_TOKENS = 64
BETWEEN = "</delimiter_of_multi_objects/>"
TAGS = (
    "</doc>", "<image>", "</image>", "</chunk>", "</line>", "<phrase>", "</phrase>", "<object>", "</object>", BETWEEN,
    "<grounding>",
)  # fmt: skip
CELLS = tuple(f"<patch_index_{number:04d}>" for number in range(GRID * GRID))

_CAPTIONS = {"brief": " An image of", "normal": " An image of", "full": " Describe this image in detail:"}


@dataclass(frozen=True)
class Cells(Codec):
    """A box as the cells of its corners: (column, row) of the upper left and of the lower right, 0 to 31.

    Written and read as transformers does (`coordinate_to_patch_index`, `patch_index_to_coordinate`): cells are read at
    their centres, but a box within one row or column at its edges, so that it keeps an extent.
    """

    def encode(self, places: ArrayLike, size: Size) -> NDArray[Any]:
        """Points fall into a cell; the lower right corner belongs to the cell that ends at it."""
        written = super().encode(places, size)
        if written.shape[-1:] != (4,) or not len(written):
            return written
        box = np.asarray(places, np.float64)[..., 2:] / np.asarray(size, np.float64) * GRID
        last = np.clip(np.ceil(np.round(box - 1, 9)), 0, GRID - 1).astype(np.int64)
        written[..., 2:] = np.maximum(last, written[..., :2])
        return written

    def decode(self, values: ArrayLike, size: Size) -> Floats:
        """Boxes (and points) in pixels of the original image."""
        cells = np.asarray(values, np.float64)
        places = super().decode(values, size)
        if cells.shape[-1:] != (4,) or not len(cells):
            return places
        cell = np.asarray(size, np.float64) / GRID
        thin = (cells[..., :2] == cells[..., 2:]).any(axis=-1, keepdims=True)
        edges = np.concatenate((cells[..., :2] * cell, (cells[..., 2:] + 1) * cell), axis=-1)
        return np.where(thin, edges, places)

    def quantum(self, size: Size) -> tuple[float, float]:
        """A whole cell: half of one, but for boxes that are read at their edges."""
        return size[0] / GRID, size[1] / GRID


CODEC = Cells(Squash((224, 224)), Bins(GRID))


def prompt_pieces(request: Request, sizes: Sequence[Size]) -> list[Piece]:
    """One picture and one instruction; the text of earlier messages stands before it, as it is."""
    pieces: list[Piece] = [Control("<s>")]
    pieces += [Picture(0)] if any(isinstance(p, ImagePart) for m in request.messages for p in m.parts) else []
    for message in request.messages[:-1]:
        pieces += [Control(" "), Plain(message.text)]
    return [*pieces, *_instruction(request, sizes)]


def _instruction(request: Request, sizes: Sequence[Size]) -> list[Piece]:
    text = request.text.strip()
    if request.skill == "caption":
        own = own_words(request).strip()
        return [Control(" "), Plain(own)] if own else [Control(_CAPTIONS.get(request.detail, " An image of"))]
    if request.skill == "ground":
        return _phrase(text)
    if request.skill == "detect":
        if len(request.labels) == 1:
            return _phrase(request.labels[0])
        if not request.labels:
            return [Control("<grounding> Describe this image in detail:")]
        several = Plain(", ".join(request.labels))
        return [Control("<grounding> Question: Where are<phrase> "), several, Control("</phrase>? Answer:")]
    if request.skill == "identify" and request.region is not None:
        return [Control(f"<grounding><phrase> It</phrase>{boxes_text([request.region], sizes[0])} is")]
    if request.skill == "count":
        return [Control(" Question: How many "), Plain(text), Control(" are there? Answer:")]
    return [Control(" Question: "), Plain(text), Control(" Answer:")]


def _phrase(text: str) -> list[Piece]:
    return [Control("<grounding><phrase> "), Plain(text), Control("</phrase>")]


def answer_pieces(sample: Sample, size: Size) -> list[Piece]:
    """The truth of a sample as the model would write it; that there is nothing, in our way: `<object></object>`."""
    truth = sample.truth
    if sample.skill not in ("detect", "ground"):
        return [Plain(sample.answer)]
    order = sorted(range(len(truth)), key=lambda i: (truth.xyxy[i, 0] + truth.xyxy[i, 1], truth.xyxy[i, 1]))
    if sample.skill == "ground" or len(sample.labels) == 1 or not len(truth):
        return [Control(boxes_text([truth.xyxy[i] for i in order], size))]
    groups: dict[str, list[Floats]] = {}
    for index in order:
        groups.setdefault(truth.labels[index], []).append(truth.xyxy[index])
    pieces: list[Piece] = []
    for label, boxes in groups.items():
        pieces += [Control("<phrase>"), Plain(f" {label}"), Control(f"</phrase>{boxes_text(boxes, size)}")]
    return pieces


def boxes_text(boxes: Sequence[Box | Floats], size: Size) -> str:
    """Boxes as one `<object>` of pairs of cells."""
    rows: Any = CODEC.encode(np.asarray(boxes, np.float64), size) if len(boxes) else []
    pairs = ["".join(CELLS[y * GRID + x] for x, y in (row[:2], row[2:])) for row in rows]
    return f"<object>{BETWEEN.join(pairs)}</object>"
