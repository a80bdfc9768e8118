"""MiniGPT-v2: EVA ViT-g at 448 pixels, four tokens side by side, Llama-2 chat (Chen et al. 2023, arXiv:2310.09478).

Six task identifiers tell it what to do; boxes are words, in hundredths of the squashed picture.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imglish.core.errors import CheckpointError
from imglish.core.frames import Squash
from imglish.core.results import Result
from imglish.core.types import Request, Sample, Size
from imglish.families import _minigpt_parse, _minigpt_text
from imglish.families._base import Loaded, Piece, Plain
from imglish.families._hub import HubFamily, View
from imglish.families._minigpt_cards import CARDS, PITFALLS
from imglish.families._region_answers import sizes_of
from imglish.families._tiny import HubProcessor, seeded, tiny_tokenizer

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from transformers import PretrainedConfig


class Family(HubFamily):
    """Checkpoints with `model_type: minigpt_v2`: our own layout, or the reference's three pieces in one folder."""

    name = "minigpt_v2"
    model_type = "minigpt_v2"
    skills = frozenset({"ask", "caption", "chat", "count", "detect", "ground", "identify"})
    image_processor_class = "BlipImageProcessorPil"
    codec = _minigpt_text.CODEC
    stop = ("</s>",)
    special_tokens = ("<unk>", "<s>", "</s>")
    image_token = "<unk>"
    special_frame = False  # the prompt spells both of its <s>
    apart = True
    lora_targets = ("q_proj", "v_proj")
    checkpoints = CARDS
    pitfalls = PITFALLS

    def model_kind(self) -> Any:
        from imglish.nn.minigpt_v2 import MiniGPTv2

        return MiniGPTv2

    def rename(self, tensors: dict[str, torch.Tensor], config: PretrainedConfig) -> dict[str, torch.Tensor] | None:
        from imglish.families import _minigpt_weights

        return None if _minigpt_weights.is_ours(tensors) else _minigpt_weights.from_reference(tensors, config)

    def read_tokenizer(self, folder: Path) -> Any:
        """The tokenizer.json as it is: transformers' LlamaTokenizer builds another, without the space after <s>."""
        from transformers import PreTrainedTokenizerFast

        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
        if tokenizer.pad_token_id in (None, tokenizer.convert_tokens_to_ids(self.image_token)):
            known = tokenizer.get_vocab()
            tokenizer.pad_token = "$$" if "$$" in known else tokenizer.eos_token  # the reference's
        tokenizer.padding_side = "left"
        return tokenizer

    def read_image_processor(self, folder: Path) -> Any:
        if not (folder / "preprocessor_config.json").is_file():
            return _pictures(_minigpt_text.SIDE)
        return super().read_image_processor(folder)

    def prompt(self, request: Request, sizes: Sequence[Size]) -> list[Piece]:
        return _minigpt_text.prompt_pieces(request, sizes)

    def image_tokens(self, loaded: Loaded, size: Size) -> int:
        return int(loaded.model.config.image_tokens)

    def see(self, loaded: Loaded, picture: Image.Image) -> View:
        pixels = loaded.processor.image_processor(images=[picture], return_tensors="pt")["pixel_values"]
        fitted = Squash((pixels.shape[-1], pixels.shape[-2])).fit(picture.size)
        image = loaded.tokenizer.convert_tokens_to_ids(self.image_token)
        return View(fitted, (image,) * self.image_tokens(loaded, picture.size), {"pixel_values": pixels})

    def features(self, loaded: Loaded, views: Sequence[View]) -> list[torch.Tensor]:
        pixels = self.on_device(loaded, self.join(loaded, views))["pixel_values"]
        return [one.flatten(0, -2) for one in loaded.model.encode_images(pixels)]

    def answer(self, sample: Sample) -> list[Piece]:
        return [Plain(_minigpt_text.answer_text(sample, (*sizes_of(sample), (1, 1))[0]))]

    def parse(
        self,
        request: Request,
        raw: str,
        sizes: Sequence[Size],
        *,
        tokens: Sequence[str] | None = None,
        logprobs: Sequence[float] | None = None,
    ) -> Result:
        return _minigpt_parse.parse(request, raw, sizes, tokens=tokens, logprobs=logprobs)

    def tiny(self) -> Loaded:
        from transformers import Blip2VisionConfig, LlamaConfig

        from imglish.nn.minigpt_v2 import MiniGPTv2, MiniGPTv2Config

        tokenizer = tiny_tokenizer(self.special_tokens, bos="<s>", eos="</s>", unk="<unk>")
        vision = Blip2VisionConfig(
            hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=112,
            initializer_range=0.2,
        )  # fmt: skip
        text = LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=4096, initializer_range=0.3, bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
        image = tokenizer.convert_tokens_to_ids(self.image_token)
        with seeded():
            config = MiniGPTv2Config(vision_config=vision, text_config=text, image_token_id=image)
            model = MiniGPTv2(config).eval()
        return Loaded(model, HubProcessor(tokenizer, _pictures(112)), self, "tiny")


def convert(
    trained: str | Path, vision: str | Path, language: str | Path, *, out: str | Path, config: Any = None
) -> Path:
    """Writes the published pieces as one folder that `imglish.load` takes.

    `trained` (minigptv2_checkpoint) and `vision` (eva_vit_g) are safetensors files, `language` is the folder of
    Llama-2-7b-chat-hf with its tokenizer.json. `config` is a MiniGPTv2Config, where sizes are not the published ones.
    """
    from huggingface_hub import save_torch_state_dict

    from imglish.families import _minigpt_weights as weights

    folder, llama = Path(out), Path(language)
    if not (llama / "tokenizer.json").is_file():
        raise CheckpointError(f"{llama} has no tokenizer.json", hint="take all files of Llama-2-7b-chat-hf")
    encoder = weights.read_piece(Path(vision))
    config = weights.configuration(encoder, llama, config=config)
    pieces = {**weights.read_piece(llama), **encoder, **weights.read_piece(Path(trained))}
    tensors = weights.from_reference(pieces, config)
    folder.mkdir(parents=True, exist_ok=True)
    save_torch_state_dict({name: tensor.contiguous() for name, tensor in tensors.items()}, folder)
    config.architectures = ["MiniGPTv2"]
    config.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (llama / name).is_file():
            shutil.copyfile(llama / name, folder / name)
    _pictures(config.vision_config.image_size).save_pretrained(folder)
    return folder


def _pictures(side: int) -> Any:
    """Squashed to `side` x `side`, bicubic, CLIP's mean and deviation (processors/blip_processors.py)."""
    from transformers import BlipImageProcessorPil

    return BlipImageProcessorPil(size={"height": side, "width": side})
