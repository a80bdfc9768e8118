"""Idefics3: SigLIP, pixel shuffle, Llama 3 (Laurençon et al. 2024, arXiv:2408.12637).

The first SmolVLM checkpoints have this model_type, too; their prompt begins with their own first token.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from imglish.families import _idefics_cards, _idefics_family
from imglish.families._base import Loaded
from imglish.families._idefics_family import END, FAKE, IMAGE, TILES, WHOLE, IdeficsFamily


class Family(IdeficsFamily):
    """Checkpoints with `model_type: idefics3`."""

    name = "idefics3"
    model_type = "idefics3"
    model_class = "Idefics3ForConditionalGeneration"
    special_tokens = (END, "<|begin_of_text|>", FAKE, IMAGE, WHOLE, *TILES)
    checkpoints = _idefics_cards.IDEFICS3
    pitfalls = (
        "Calling tokenizer and template apart gives two <|begin_of_text|>; here there is one.",
        "It was not trained on film: show it frames as pictures.",
        *_idefics_family.PITFALLS,
    )

    def read_image_processor(self, folder: Path) -> Any:
        from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

        return _idefics_family.read_processor(Idefics3ImageProcessorPil, folder)

    def tiny(self) -> Loaded:
        from transformers import Idefics3Config, Idefics3ForConditionalGeneration
        from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

        return _idefics_family.tiny(
            self, Idefics3ForConditionalGeneration, Idefics3Config, Idefics3ImageProcessorPil,
            opening="<|begin_of_text|>",
        )  # fmt: skip
