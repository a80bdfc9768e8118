"""The shipped family: a bridge of our own small encoder and decoder, trained on the world (192 x 192, location tokens).

What it writes is in `_imglish_text.py`, how that is read in `_imglish_parse.py`; neither needs torch, nor does
importing this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from imglish.core.results import Receipt, Result
from imglish.core.types import Request, Sample, Size
from imglish.families import _imglish_parse
from imglish.families._base import Family as BaseFamily
from imglish.families._base import Loaded, Piece
from imglish.families._imglish_text import (
    BINS,
    CODEC,
    FRAME,
    LOCATIONS,
    POLYGON_POINTS,
    SKILLS,
    SPECIAL_TOKENS,
    answer_pieces,
    encode_sample,
    prompt_pieces,
    render_sample,
    sample_sizes,
)

if TYPE_CHECKING:
    from imglish.core.results import Problem

__all__ = [
    "BINS", "CODEC", "FRAME", "LOCATIONS", "POLYGON_POINTS", "SKILLS", "SPECIAL_TOKENS", "Family",
    "answer_pieces", "encode_sample", "prompt_pieces", "render_sample", "sample_sizes",
]  # fmt: skip


class Family(BaseFamily):
    """Checkpoints with `model_type: imglish_bridge` and this family's special tokens."""

    name = "imglish"
    model_type = "imglish_bridge"
    skills = frozenset((*SKILLS, "chat"))
    codec = CODEC
    stop = ("<eos>",)
    special_tokens = SPECIAL_TOKENS
    image_token = "<image>"
    max_images = 8
    max_frames = 24

    def prompt(self, request: Request, sizes: Sequence[Size]) -> list[Piece]:
        return prompt_pieces(request, sizes)

    def answer(self, sample: Sample) -> list[Piece]:
        return answer_pieces(sample, sample_sizes(sample))

    def parse(
        self,
        request: Request,
        raw: str,
        sizes: Sequence[Size],
        *,
        tokens: Sequence[str] | None = None,
        logprobs: Sequence[float] | None = None,
    ) -> Result:
        return _imglish_parse.parse(request, raw, sizes, tokens=tokens, logprobs=logprobs)
