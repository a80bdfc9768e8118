"""LLaVA-NeXT (LLaVA 1.6): LLaVA with the picture in tiles, besides a small view of the whole (Liu et al. 2024).

Source: https://llava-vl.github.io/blog/2024-01-30-llava-next and transformers' LlavaNext. The chat template follows the
decoder: Mistral, Vicuna or, for the 34B checkpoint, ChatML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    import torch
    from PIL import Image


class Family(ChatFamily):
    """Checkpoints with `model_type: llava_next`."""

    name = "llava_next"
    model_type = "llava_next"
    model_class = "LlavaNextForConditionalGeneration"
    codec = Codec(PaddedSquare(336), Normalised(decimals=2))
    stop = ("</s>",)
    special_tokens = ("<s>", "</s>", "<image>", "<pad>")
    image_token = "<image>"
    max_images = 8
    pitfalls = (
        "A picture takes up to 2,900 tokens: tiles and a view of the whole.",
        "Trained on one picture a conversation; several are taken, and answered less surely.",
        *_llava.PITFALLS,
    )
    checkpoints = _llava.NEXT_CARDS
    template = "mistral"

    def settle(self, raw: Mapping[str, Any], processor: HubProcessor) -> None:
        text = raw.get("text_config", {})
        if "<|im_start|>" in processor.tokenizer.get_vocab():
            self.template, self.stop = "chatml", ("<|im_end|>",)
        elif "mistral" in f"{text.get('model_type', '')} {text.get('_name_or_path', '')}".lower():
            self.template = "mistral"
        else:
            self.template = "vicuna"

    def turns(self, messages: Sequence[tuple[str, list[Piece]]]) -> list[Piece]:
        return _llava.TEMPLATES[self.template](messages)

    def image_tokens(self, loaded: Loaded, size: Size) -> int:
        config = loaded.model.config
        tile, patch = config.vision_config.image_size, config.vision_config.patch_size
        count = _llava.tile_tokens(size, config.image_grid_pinpoints, tile=tile, patch=patch)
        return count + (config.vision_feature_select_strategy == "full")

    def see(self, loaded: Loaded, picture: Image.Image) -> View:
        given = loaded.processor.image_processor(images=[picture], return_tensors="pt")
        count = self.image_tokens(loaded, picture.size)
        fitted = PaddedSquare(given["pixel_values"].shape[-1]).fit(picture.size)
        image = loaded.tokenizer.convert_tokens_to_ids(self.image_token)
        tensors = {"pixel_values": given["pixel_values"], "image_sizes": given["image_sizes"]}
        return View(fitted, (image,) * count, tensors, tiles=given["pixel_values"].shape[1])

    def join(self, loaded: Loaded, views: Sequence[View]) -> dict[str, torch.Tensor]:
        import torch

        if not views:
            return {}
        most = max(view.tiles for view in views)
        tiles = [view.tensors["pixel_values"] for view in views]
        padded = [torch.nn.functional.pad(t, (0, 0, 0, 0, 0, 0, 0, most - t.shape[1])) for t in tiles]
        return {
            "pixel_values": torch.cat(padded), "image_sizes": torch.cat([view.tensors["image_sizes"] for view in views])
        }  # fmt: skip

    def read_image_processor(self, folder: Path) -> Any:
        from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

        return LlavaNextImageProcessorPil.from_pretrained(folder, local_files_only=True)

    def tiny(self) -> Loaded:
        from transformers import LlavaNextConfig, LlavaNextForConditionalGeneration
        from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

        parts = _llava.tiny_parts()
        grid = [[56, 112], [112, 56], [112, 112], [168, 56], [56, 168]]
        config = LlavaNextConfig(
            vision_config=parts["vision"], text_config=parts["text"], image_grid_pinpoints=grid, **parts["image"]
        )
        pictures = LlavaNextImageProcessorPil(
            size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}, image_grid_pinpoints=grid
        )
        with seeded():
            model = LlavaNextForConditionalGeneration(config).eval()
        self.template = "vicuna"
        return Loaded(model, HubProcessor(parts["tokenizer"], pictures), self, "tiny")
