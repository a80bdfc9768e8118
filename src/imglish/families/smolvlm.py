"""SmolVLM2: the layout of Idefics3, a small decoder, trained on film, too (Marafioti et al. 2025, arXiv:2504.05299).

Film is told in words: how many frames of how long a film, then each frame, whole, after its time.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imglish.core.frames import Fitted
from imglish.families import _idefics_cards, _idefics_family
from imglish.families._base import Control, Loaded, Picture, Piece, Plain
from imglish.families._chat import SKILLS
from imglish.families._hub import View
from imglish.families._idefics_family import END, FAKE, IMAGE, TILES, WHOLE, IdeficsFamily

if TYPE_CHECKING:
    from PIL import Image

FPS = 1.0  # frames a second of a film that does not say: the rate of the published `video_sampling`
_ONES = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


class Family(IdeficsFamily):
    """Checkpoints with `model_type: smolvlm`."""

    name = "smolvlm"
    model_type = "smolvlm"
    model_class = "SmolVLMForConditionalGeneration"
    skills = SKILLS | {"watch"}
    special_tokens = (END, "<|im_start|>", FAKE, IMAGE, WHOLE, *TILES)
    max_frames = 64  # `video_sampling.max_frames`
    opening = "<|im_start|>"
    checkpoints = _idefics_cards.SMOLVLM
    pitfalls = (
        "Frames of a film are seen whole, never in tiles: small writing in a film is lost.",
        *_idefics_family.PITFALLS,
    )

    def film(self, indices: tuple[int, ...], fps: float | None) -> list[Piece]:
        """As `SmolVLMProcessor.replace_video_token` tells it."""
        seconds = [place / (fps or FPS) for place in range(len(indices))]
        length = datetime.timedelta(seconds=int(seconds[-1]) if seconds else 0)
        pieces: list[Piece] = [
            Plain(
                f"You are provided the following series of {number_word(len(indices))} frames from a {length} "
                "[H:MM:SS] video.\n"
            )
        ]
        for index, second in zip(indices, seconds, strict=True):
            pieces += [Plain(f"\nFrame from {int(second // 60):02d}:{int(second % 60):02d}:"), Picture(index)]
        return [*pieces, Control("\n\n")]

    def views(self, loaded: Loaded, pictures: Sequence[Image.Image], frames: Sequence[bool]) -> list[View]:
        pairs = zip(pictures, frames, strict=True)
        return [self._frame(loaded, picture) if frame else self.see(loaded, picture) for picture, frame in pairs]

    def _frame(self, loaded: Loaded, picture: Image.Image) -> View:
        """A frame is never cut into tiles: resized to a tile's length with its shape, then stretched to the tile."""
        pictures = loaded.processor.image_processor
        given = pictures(
            images=[[picture]], do_image_splitting=False, size=dict(pictures.max_image_size), return_tensors="pt"
        )
        side = given["pixel_values"].shape[-1]
        fitted = Fitted(picture.size, (side, side), side / picture.width, side / picture.height)
        tensors = {name: given[name][0] for name in ("pixel_values", "pixel_attention_mask")}
        return View(fitted, self._ids(loaded, 0, 0), tensors)

    def read_image_processor(self, folder: Path) -> Any:
        from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

        return _idefics_family.read_processor(SmolVLMImageProcessorPil, folder)

    def tiny(self) -> Loaded:
        from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration
        from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

        return _idefics_family.tiny(
            self, SmolVLMForConditionalGeneration, SmolVLMConfig, SmolVLMImageProcessorPil, opening="<|im_start|>"
        )


def number_word(number: int) -> str:
    """A number below a hundred in words: twenty-one.

    >>> number_word(64)
    'sixty-four'
    """
    if number < len(_ONES):
        return _ONES[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens - 2] + (f"-{_ONES[ones]}" if ones else "")
