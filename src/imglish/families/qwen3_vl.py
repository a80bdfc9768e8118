"""Qwen3-VL: patches of 16, features of several depths of the encoder, interleaved M-RoPE (2025, arXiv:2511.21631).

Boxes are JSON in thousandths of the picture again (0 to 1000). Film is told in moments, each after its second.
"""

from __future__ import annotations

from typing import Any

from imglish.core.codecs import Codec, Identity, Normalised
from imglish.core.results import Result
from imglish.core.types import Request, Sample, Size
from imglish.families import _qwen_cards, _qwen_family, _qwen_json
from imglish.families._base import Control, Loaded, Piece, Plain
from imglish.families._qwen_family import VISION_END, VISION_START, QwenFamily
from imglish.families._qwen_film import Clip
from imglish.families._region_answers import sizes_of


class Family(QwenFamily):
    """Checkpoints with `model_type: qwen3_vl` (the dense ones)."""

    name = "qwen3_vl"
    model_type = "qwen3_vl"
    model_class = "Qwen3VLForConditionalGeneration"
    prompted = frozenset({"identify", "segment"})
    codec = Codec(Identity(), Normalised(1000.0, decimals=0))
    system = ""  # its template speaks no system message of its own
    pixels = (65536, 16777216)
    patch = 16
    checkpoints = _qwen_cards.QWEN3
    pitfalls = (
        "Boxes are thousandths of the original picture (0 to 1000), unlike those of Qwen2.5-VL.",
        "The Thinking editions think before they answer; the thought stays in `raw` and is not read.",
        *_qwen_cards.PITFALLS,
    )

    def words(self, request: Request, size: Size) -> list[Piece]:
        """In the words of the reference: ODinW-13 evaluation, appendix B of the report, ocr.ipynb."""
        names = f"'{', '.join(request.labels)}'" if request.labels else "'object'"
        report = "Report bbox coordinates in JSON format."
        said = {
            "detect": f"Locate every instance that belongs to the following categories: {names}. {report}",
            "ground": f'Locate every object that matches the description "{request.text}" in the image. {report}',
            "read": "Spotting all the text in the image with line-level, and output in JSON format as "
            "[{'bbox_2d': [x1, y1, x2, y2], 'text_content': 'text'}, ...].",
        }
        return [Plain(said[request.skill])] if request.skill in said else super().words(request, size)

    def film(self, indices: tuple[int, ...], fps: float) -> list[Piece]:
        """Each pair of frames after its time, the mean of theirs, as transformers 4.57 wrote it at the model's release.

        transformers 5.23 puts a second <|vision_start|> and <|vision_end|> around all of them.
        """
        pieces: list[Piece] = []
        for start in range(0, len(indices), 2):
            end = min(start + 1, len(indices) - 1)
            pieces += [Plain(f"<{(start + end) / 2 / fps:.1f} seconds>"), Control(VISION_START)]
            pieces += [Clip(indices[start : start + 2], fps, len(indices)), Control(VISION_END)]
        return pieces

    def answer(self, sample: Sample) -> list[Piece]:
        return [Plain(_qwen_json.written(sample, self.codec, sizes_of(sample)[0]))]

    def read(self, request: Request, said: str, size: Size, **told: Any) -> Result:
        return _qwen_json.parse(request, said, self.codec, size, **told)

    def tiny(self) -> Loaded:
        from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

        vision = {
            "hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 32, "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        }  # fmt: skip
        return _qwen_family.tiny(
            self, Qwen3VLForConditionalGeneration, Qwen3VLConfig, text={"head_dim": 16}, vision=vision
        )
