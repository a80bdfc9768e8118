"""LLaVA 1.5: CLIP encoder, two-layer MLP adapter, Llama decoder (Liu et al. 2023, arXiv:2310.03744).

The picture is padded to a square with the encoder's mean colour, as the reference does; boxes are shares of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imglish.core.codecs import Codec, Normalised
from imglish.core.frames import PaddedSquare
from imglish.core.types import Size
from imglish.families import _llava
from imglish.families._base import Loaded, Piece
from imglish.families._chat import ChatFamily
from imglish.families._hub import View
from imglish.families._tiny import HubProcessor, seeded

if TYPE_CHECKING:
    from PIL import Image


class Family(ChatFamily):
    """Checkpoints with `model_type: llava`."""

    name = "llava"
    model_type = "llava"
    model_class = "LlavaForConditionalGeneration"
    codec = Codec(PaddedSquare(336), Normalised(decimals=2))
    stop = ("</s>",)
    special_tokens = ("<s>", "</s>", "<image>", "<pad>")
    image_token = "<image>"
    together = 2
    checkpoints = _llava.CARDS
    pitfalls = ("Trained on one picture a conversation; a second one is refused.", *_llava.PITFALLS)

    def turns(self, messages: Sequence[tuple[str, list[Piece]]]) -> list[Piece]:
        return _llava.vicuna(messages)

    def image_tokens(self, loaded: Loaded, size: Size) -> int:
        config = loaded.model.config
        side = config.vision_config.image_size // config.vision_config.patch_size
        return int(side**2) + (config.vision_feature_select_strategy == "full")

    def see(self, loaded: Loaded, picture: Image.Image) -> View:
        pixels = loaded.processor.image_processor(images=[picture], do_pad=True, return_tensors="pt")["pixel_values"]
        image = loaded.tokenizer.convert_tokens_to_ids(self.image_token)
        fitted = PaddedSquare(pixels.shape[-1]).fit(picture.size)
        return View(fitted, (image,) * self.image_tokens(loaded, picture.size), {"pixel_values": pixels})

    def read_image_processor(self, folder: Path) -> Any:
        from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

        return LlavaImageProcessorPil.from_pretrained(folder, local_files_only=True)

    def tiny(self) -> Loaded:
        from transformers import LlavaConfig, LlavaForConditionalGeneration
        from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

        parts = _llava.tiny_parts()
        config = LlavaConfig(vision_config=parts["vision"], text_config=parts["text"], **parts["image"])
        pictures = LlavaImageProcessorPil(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56})
        with seeded():
            model = LlavaForConditionalGeneration(config).eval()
        return Loaded(model, HubProcessor(parts["tokenizer"], pictures), self, "tiny")
