"""The shipped family: a bridge of our own small encoder and decoder, trained on the world (192 x 192, location tokens).

What it writes is in `_imglish_text.py`, how that is read in `_imglish_parse.py`; neither needs torch, nor does
importing this file.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any

from imglish.core.images import content_hash
from imglish.core.results import ImageReceipt, Receipt, Result
from imglish.core.types import Request, Sample, Size
from imglish.families import _imglish_model, _imglish_parse
from imglish.families._base import Control, Frames, Loaded, Piece, Plain, Seen, request_images
from imglish.families._base import Family as BaseFamily
from imglish.families._imglish_card import shipped
from imglish.families._imglish_text import (
    BINS,
    CODEC,
    FRAME,
    LOCATIONS,
    POLYGON_POINTS,
    SKILLS,
    SPECIAL_TOKENS,
    answer_pieces,
    banned_tokens,
    encode_sample,
    prompt_pieces,
    render_sample,
    sample_sizes,
)

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
    languages = ("en", "pl", "vi", "ru")
    checkpoints = shipped(languages, max_images)

    def tiny(self) -> Loaded:
        model, processor = _imglish_model.tiny()
        return Loaded(model, processor, self, "tiny")

    def load(self, checkpoint: str, *, device: str, dtype: str, revision: str | None = None) -> Loaded:
        model, processor, known = _imglish_model.load(checkpoint, device=device, dtype=dtype)
        return Loaded(model, processor, self, checkpoint, {"familiarity": known} if known is not None else {})

    def prompt(self, request: Request, sizes: Sequence[Size]) -> list[Piece]:
        return prompt_pieces(request, sizes)

    def inputs(self, loaded: Loaded, requests: Sequence[Request]) -> tuple[dict[str, Any], list[Receipt]]:
        images, is_frame, texts = [], [], []
        for request in requests:
            pictures, frames = request_images(request)
            pieces = self.prompt(request, [picture.size for picture in pictures])
            texts.append([pair for piece in pieces for pair in _pairs(piece)])
            images.append(pictures)
            is_frame.append(frames)
        flat = [picture for pictures in images for picture in pictures]
        given = loaded.processor(texts, flat, [frame for frames in is_frame for frame in frames])
        tensors = {name: tensor.to(loaded.model.device) for name, tensor in given.items()}
        lengths = tensors["attention_mask"].sum(1).tolist()
        receipts = [
            Receipt(self.name, loaded.checkpoint, _seen(loaded, pictures, frames), prompt_tokens=length)
            for pictures, frames, length in zip(images, is_frame, lengths, strict=True)
        ]
        return tensors, receipts

    def look(
        self, loaded: Loaded, tensors: dict[str, Any], receipts: Sequence[Receipt], *, kept: MutableMapping[Any, Any]
    ) -> tuple[dict[str, Any], list[Seen]]:
        return _imglish_model.look(loaded, tensors, receipts, kept=kept)

    def banned(self, request: Request) -> tuple[str, ...]:
        return banned_tokens(request.skill)

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


def _pairs(piece: Piece) -> list[tuple[str, bool]]:
    """A piece as the processor takes it: text, and whether special tokens in it have power."""
    if isinstance(piece, Plain):
        return [(piece.text, False)]
    if isinstance(piece, Control):
        return [(piece.text, True)]
    return [("<image>", True)] * (len(piece.indices) if isinstance(piece, Frames) else 1)


def _seen(loaded: Loaded, pictures: Sequence[Any], frames: Sequence[bool]) -> tuple[ImageReceipt, ...]:
    letterbox, seen, number = loaded.processor.image_processor, [], 0
    for picture, is_frame in zip(pictures, frames, strict=True):
        fitted = letterbox.fit(picture.size)
        seen.append(
            ImageReceipt(
                original_size=picture.size,
                model_size=tuple(letterbox.image_size),
                scale=(fitted.scale_x, fitted.scale_y),
                pad=(fitted.pad_x, fitted.pad_y),
                image_tokens=loaded.processor.tokens_of(is_frame),
                content_hash=content_hash(picture),
                frame=number if is_frame else None,
            )
        )
        number += is_frame
    return tuple(seen)
