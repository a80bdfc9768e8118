"""Phi-3-vision and Phi-3.5-vision: CLIP in tiles, HD projector, Phi-3-mini (Abdin et al. 2024, arXiv:2404.14219).

The model is our own port (`nn/phi3_v.py`): transformers has none, and the code in the repositories is not run. How a
picture is cut into tiles is in `_phi3_v_view.py`, how a conversation is written in `_phi3_v_text.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imglish.core.codecs import Codec, Identity, Normalised
from imglish.core.types import Message, Request, Size
from imglish.families import _phi3_v_text
from imglish.families._base import Loaded, Piece
from imglish.families._chat import SKILLS, ChatFamily
from imglish.families._hub import View
from imglish.families._phi3_v_cards import CARDS, PITFALLS
from imglish.families._phi3_v_text import numbered
from imglish.families._phi3_v_view import ImageProcessor
from imglish.families._tiny import HubProcessor, seeded, tiny_tokenizer

if TYPE_CHECKING:
    import torch
    from PIL import Image

__all__ = ["Family", "numbered"]


class Family(ChatFamily):
    """Checkpoints with `model_type: phi3_v`."""

    name = "phi3_v"
    model_type = "phi3_v"
    model_class = "Phi3VForCausalLM"
    skills = SKILLS | {"watch"}
    codec = Codec(Identity(), Normalised(decimals=2))
    stop = ("<|end|>", "<|endoftext|>", "<|assistant|>")
    special_tokens = ("<s>", "</s>", "<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>", "<|image|>")
    image_token = "<|image|>"
    max_images = 32
    max_frames = 64
    apart = True  # the reference splits at the pictures; each stretch of text begins with <s>
    lora_targets = ("qkv_proj", "o_proj", "gate_up_proj", "down_proj")
    checkpoints = CARDS
    pitfalls = PITFALLS

    def model_kind(self) -> Any:
        from imglish.nn.phi3_v import Phi3VForCausalLM

        return Phi3VForCausalLM

    def turns(self, messages: Sequence[tuple[str, list[Piece]]]) -> list[Piece]:
        return _phi3_v_text.turns(messages)

    def content(self, message: Message, text: str, numbers: Iterator[int]) -> list[Piece]:
        return _phi3_v_text.content(message, text, numbers)

    def banned(self, request: Request) -> tuple[str, ...]:
        return (self.image_token,)

    def image_tokens(self, loaded: Loaded, size: Size) -> int:
        """Of a picture that is alone; several have fewer tiles each."""
        return int(loaded.processor.image_processor.frame(alone=True).tokens(size))

    def see(self, loaded: Loaded, picture: Image.Image) -> View:
        return self.views(loaded, [picture], [False])[0]

    def views(self, loaded: Loaded, pictures: Sequence[Image.Image], frames: Sequence[bool]) -> list[View]:
        pixels = loaded.processor.image_processor
        frame = pixels.frame(alone=len(pictures) == 1)
        image = loaded.tokenizer.convert_tokens_to_ids(self.image_token)
        views = []
        for picture in pictures:
            fitted = frame.fit(picture.size)
            ids = (image,) * frame.tokens(picture.size)
            views.append(View(fitted, ids, pixels.tensors(picture, fitted, frame), tiles=fitted.tiles))
        return views

    def features(self, loaded: Loaded, views: Sequence[View]) -> list[torch.Tensor]:
        import torch

        return [torch.cat(loaded.model.model.vision_embed_tokens(**self.on_device(loaded, self.join(loaded, views))))]

    def regime(self, loaded: Loaded, length: int) -> int:
        """Longer than it was first trained on, other frequencies hold: every key is turned otherwise."""
        bound = loaded.model.config.rope_parameters.get("original_max_position_embeddings")
        return int(bound is not None and length > bound)

    def read_tokenizer(self, folder: Path) -> Any:
        """The tokenizer.json as it stands: transformers' LlamaTokenizer builds another, with other ids."""
        from transformers import PreTrainedTokenizerFast

        if not (folder / "tokenizer.json").is_file():
            return super().read_tokenizer(folder)
        return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)

    def read_image_processor(self, folder: Path) -> Any:
        return ImageProcessor.from_pretrained(folder)

    def tiny(self) -> Loaded:
        from imglish.nn.phi3_v import Phi3VConfig, Phi3VForCausalLM

        tokenizer = tiny_tokenizer(
            ("<unk>", *self.special_tokens), bos="<s>", eos="<|endoftext|>", frame=(("<s>",), ())
        )
        image, pad, begin = tokenizer.convert_tokens_to_ids([self.image_token, "<|endoftext|>", "<s>"])
        config = Phi3VConfig(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=131_072, original_max_position_embeddings=4096, pad_token_id=pad,
            bos_token_id=begin, eos_token_id=pad, image_token_id=image, initializer_range=0.3,
            rope_scaling={"type": "su", "short_factor": [1.0 + 0.1 * n for n in range(8)], "long_factor": [4.0] * 8},
            vision_config={
                "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2,
                "image_size": 56, "patch_size": 14, "initializer_range": 0.3, "hidden_act": "quick_gelu",
            },
        )  # fmt: skip
        with seeded():
            model = Phi3VForCausalLM(config).eval()
        pictures = ImageProcessor(num_crops=4, crop_size=56, num_img_tokens=4)
        return Loaded(model, HubProcessor(tokenizer, pictures), self, "tiny")
