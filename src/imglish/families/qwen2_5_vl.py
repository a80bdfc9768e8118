"""Qwen2.5-VL: window attention in the encoder, absolute time in M-RoPE (Bai et al. 2025, arXiv:2502.13923).

Boxes are JSON in whole pixels of the RESIZED picture, so they depend on `min_pixels` and `max_pixels`.
"""

from __future__ import annotations

from typing import Any

from imglish.core.codecs import Codec, Pixels
from imglish.core.frames import Resized
from imglish.core.results import Result
from imglish.core.types import Request, Sample, Size
from imglish.families import _qwen_cards, _qwen_family, _qwen_json
from imglish.families._base import Loaded, Piece, Plain
from imglish.families._qwen_family import QwenFamily
from imglish.families._region_answers import sizes_of


class Family(QwenFamily):
    """Checkpoints with `model_type: qwen2_5_vl`."""

    name = "qwen2_5_vl"
    model_type = "qwen2_5_vl"
    model_class = "Qwen2_5_VLForConditionalGeneration"
    # a region in the question was not trained: a maintainer's answer in QwenLM/Qwen3-VL#782
    prompted = frozenset({"identify", "segment"})
    codec = Codec(Resized(*QwenFamily.pixels), Pixels())
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj")  # gate_proj and its kin stand in the encoder, too
    timed = True
    checkpoints = _qwen_cards.QWEN2_5
    pitfalls = (
        "Boxes are pixels of the resized picture: other min_pixels or max_pixels than in training shift them.",
        *_qwen_cards.PITFALLS,
    )

    def words(self, request: Request, size: Size) -> list[Piece]:
        """In the words of the reference: spatial_understanding.ipynb, ocr.ipynb and the fine-tuning guide."""
        names = ", ".join(request.labels) or "object"
        said = {
            "detect": f"Outline the position of each of these: {names}, and output all the bbox coordinates and labels "
            "in JSON format.",
            "ground": f"Locate {request.text} in this image and output the bbox coordinates in JSON format.",
            "read": "Spotting all the text in the image with line-level, and output in JSON format.",
        }
        return [Plain(said[request.skill])] if request.skill in said else super().words(request, size)

    def answer(self, sample: Sample) -> list[Piece]:
        return [Plain(_qwen_json.written(sample, self.codec, sizes_of(sample)[0]))]

    def read(self, request: Request, said: str, size: Size, **told: Any) -> Result:
        return _qwen_json.parse(request, said, self.codec, size, **told)

    def tiny(self) -> Loaded:
        from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

        vision = {
            "hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 32, "fullatt_block_indexes": [1],
            "window_size": 56, "tokens_per_second": 2,
        }  # fmt: skip
        return _qwen_family.tiny(self, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLConfig, text={}, vision=vision)
