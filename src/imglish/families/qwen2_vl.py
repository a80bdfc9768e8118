"""Qwen2-VL: a ViT for pictures of any size, M-RoPE, Qwen2 decoder (Wang et al. 2024, arXiv:2409.12191).

Boxes are written in the model's own tokens, in thousandths of the picture, whatever size it was resized to.
"""

from __future__ import annotations

from typing import Any

from imglish.core.codecs import Bins, Codec, Identity
from imglish.core.results import Result
from imglish.core.types import Request, Sample, Size
from imglish.families import _qwen_cards, _qwen_family, _qwen_grammar, _qwen_tags
from imglish.families._base import Control, Loaded, Piece, Plain
from imglish.families._grammar import Node
from imglish.families._qwen_family import QwenFamily
from imglish.families._region_answers import sizes_of


class Family(QwenFamily):
    """Checkpoints with `model_type: qwen2_vl`."""

    name = "qwen2_vl"
    model_type = "qwen2_vl"
    model_class = "Qwen2VLForConditionalGeneration"
    prompted = frozenset({"extract", "read", "segment"})
    text_key = "text"
    codec = Codec(Identity(), Bins(1000, centre=False))
    checkpoints = _qwen_cards.QWEN2
    pitfalls = (
        "Boxes are thousandths of the original picture; Qwen2.5-VL writes pixels of the resized one.",
        "Answers keep their special tokens: without <|box_start|> a box cannot be told from text.",
        *_qwen_cards.PITFALLS,
    )

    def words(self, request: Request, size: Size) -> list[Piece]:
        """`Find` and the thing's name in its tokens (modelscope/ms-swift#2535)."""
        if request.skill in ("detect", "ground"):
            names = [request.text] if request.skill == "ground" else list(request.labels)
            if not names:
                return [Plain("Generate the caption in English with grounding:")]
            pieces: list[Piece] = [Plain("Find ")]
            for place, name in enumerate(names):
                pieces += [*([Plain(", ")] if place else []), *_qwen_tags.named(name)]
            return pieces
        if request.skill == "identify" and request.region is not None:
            box = _qwen_tags.box_text(request.region, self.codec, size)
            return [Plain("What is in the box "), Control(box), Plain("? Answer with its name only.")]
        return super().words(request, size)

    def answer(self, sample: Sample) -> list[Piece]:
        if sample.skill in ("detect", "ground"):
            return _qwen_tags.answer(sample.truth, self.codec, sizes_of(sample)[0], labels=sample.skill == "detect")
        return super().answer(sample)

    def said(self, request: Request, size: Size) -> Node | None:
        if request.skill in ("detect", "ground"):
            return _qwen_grammar.grammar(request, self.codec, size)
        return super().said(request, size)

    def read(self, request: Request, said: str, size: Size, **told: Any) -> Result:
        if request.skill in ("detect", "ground"):
            return _qwen_tags.parse(request, said, self.codec, size, **told)
        return super().read(request, said, size, **told)

    def tiny(self) -> Loaded:
        from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

        return _qwen_family.tiny(
            self, Qwen2VLForConditionalGeneration, Qwen2VLConfig, text={}, vision={"embed_dim": 32, "hidden_size": 32}
        )
