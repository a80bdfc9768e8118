"""DeepSeek-VL: SigLIP at 384 pixels, in the 7B size with SAM at 1024 beside it, and a Llama (arXiv:2403.05525).

The 7B size is a type of its own in transformers (`deepseek_vl_hybrid`); to its users it is the same family.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imglish.core.codecs import Codec, Identity, Normalised
from imglish.core.types import Message, Size
from imglish.families import _deepseek_vl
from imglish.families._base import Loaded, Piece
from imglish.families._chat import ChatFamily
from imglish.families._hub import View
from imglish.families._tiny import HubProcessor, seeded, tiny_tokenizer

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from transformers import PretrainedConfig

BEGIN = "<｜begin▁of▁sentence｜>"


class Family(ChatFamily):
    """Checkpoints with `model_type: deepseek_vl` or `deepseek_vl_hybrid`."""

    name = "deepseek_vl"
    model_type = "deepseek_vl"
    also = ("deepseek_vl_hybrid",)
    model_class = "DeepseekVLForConditionalGeneration"
    image_processor_class = "DeepseekVLImageProcessorPil"
    codec = Codec(Identity(), Normalised(decimals=2))
    stop = (_deepseek_vl.END,)
    special_tokens = (BEGIN, _deepseek_vl.END, "<image_placeholder>")
    image_token = "<image_placeholder>"
    max_images = 6
    checkpoints = _deepseek_vl.CARDS
    pitfalls = _deepseek_vl.PITFALLS

    tied: bool | None = None  # what config.json says of the word embeddings and the output layer

    def config(self, raw: Mapping[str, Any]) -> PretrainedConfig:
        self.tied = raw.get("tie_word_embeddings")
        if raw.get("model_type") == "deepseek_vl_hybrid":
            self._be_hybrid()
        return super().config(raw)

    def rename(self, tensors: dict[str, torch.Tensor], config: PretrainedConfig) -> dict[str, torch.Tensor] | None:
        """Names stay. Where config.json is silent, a file that has an output layer says that it is not tied."""
        if self.tied is None:
            config.tie_word_embeddings = "lm_head.weight" not in tensors
        return None

    def turns(self, messages: Sequence[tuple[str, list[Piece]]]) -> list[Piece]:
        return _deepseek_vl.turns(messages)

    def content(self, message: Message, text: str, numbers: Iterator[int]) -> list[Piece]:
        return _deepseek_vl.content(message, text, numbers)

    def image_tokens(self, loaded: Loaded, size: Size) -> int:
        vision = loaded.model.config.vision_config
        return int((vision.image_size // vision.patch_size) ** 2)

    def see(self, loaded: Loaded, picture: Image.Image) -> View:
        pixels = loaded.processor.image_processor
        tensors = dict(pixels(images=[picture], return_tensors="pt"))
        image = loaded.tokenizer.convert_tokens_to_ids(self.image_token)
        sharpest = max(tensor.shape[-1] for tensor in tensors.values())
        fitted = _deepseek_vl.Centred(sharpest, pixels.min_size).fit(picture.size)
        return View(fitted, (image,) * self.image_tokens(loaded, picture.size), tensors, tiles=len(tensors))

    def read_tokenizer(self, folder: Path) -> Any:
        """The tokenizer.json as it stands, whatever class its config names: it splits text into bytes."""
        from transformers import PreTrainedTokenizerFast

        if not (folder / "tokenizer.json").is_file():
            return super().read_tokenizer(folder)
        return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)

    def tiny(self, *, hybrid: bool = False) -> Loaded:
        """`hybrid`: of the larger size's type, with a second encoder."""
        from transformers import LlamaConfig, SamVisionConfig, SiglipVisionConfig

        tokenizer = tiny_tokenizer(self.special_tokens, bos=BEGIN, eos=_deepseek_vl.END, frame=((BEGIN,), ()))
        image, begin, end = tokenizer.convert_tokens_to_ids([self.image_token, BEGIN, _deepseek_vl.END])
        parts: dict[str, Any] = {
            "vision_config": SiglipVisionConfig(
                hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=64,
                patch_size=16, vision_use_head=False,
            ),
            "text_config": LlamaConfig(
                vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                num_attention_heads=2, max_position_embeddings=4096, bos_token_id=begin, eos_token_id=end,
                pad_token_id=end, initializer_range=0.3,
            ),
        }  # fmt: skip
        pictures: dict[str, Any] = {"size": {"height": 64, "width": 64}}
        if hybrid:
            self._be_hybrid()
            parts["high_res_vision_config"] = SamVisionConfig(
                hidden_size=32, output_channels=8, num_hidden_layers=2, num_attention_heads=2, image_size=128,
                patch_size=16, window_size=4, global_attn_indexes=[0, 1], mlp_dim=64,
            )  # fmt: skip
            pictures["high_res_size"] = {"height": 128, "width": 128}
        kind = self.model_kind()
        config = kind.config_class(**parts, image_token_id=image, tie_word_embeddings=False)
        with seeded():
            model = kind(config).eval()
        return Loaded(model, HubProcessor(tokenizer, self._pictures()(**pictures)), self, "tiny")

    def _be_hybrid(self) -> None:
        self.model_class = "DeepseekVLHybridForConditionalGeneration"  # type: ignore[misc]  # of this one only
        self.image_processor_class = "DeepseekVLHybridImageProcessorPil"  # type: ignore[misc]

    def _pictures(self) -> Any:
        import transformers

        return getattr(transformers, self.image_processor_class)
