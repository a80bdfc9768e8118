"""Florence-2: DaViT encoder, BART encoder-decoder, fifteen tasks by sentence (Xiao et al. 2023, arXiv:2311.06242).

Both layouts are read: transformers' (florence-community/...) and the original one (microsoft/..., MIT), which was
written for code of its own; that code is not run. Tasks are in `_florence2_tasks.py`, what the model writes is read in
`_florence2_parse.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from imglish.core.codecs import Squash
from imglish.core.errors import CheckpointError
from imglish.core.results import Result
from imglish.core.types import Request, Sample, Size
from imglish.families import _florence2_layout, _florence2_parse
from imglish.families._base import Loaded, Piece
from imglish.families._florence2_answer import answer_pieces
from imglish.families._florence2_cards import CARDS
from imglish.families._florence2_tasks import ADDED_TOKENS, CODEC, FRAME_TOKENS, IMAGE_TOKEN, asked, prompt_pieces
from imglish.families._hub import HubFamily, View
from imglish.families._imglish_text import sample_sizes
from imglish.families._tiny import HubProcessor, seeded, tiny_tokenizer

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor
    from transformers import PretrainedConfig


class Family(HubFamily):
    """Checkpoints with `model_type: florence2`."""

    name = "florence2"
    model_type = "florence2"
    model_class = "Florence2ForConditionalGeneration"
    image_processor_class = "CLIPImageProcessorPil"
    skills = frozenset({"ask", "caption", "detect", "ground", "identify", "read", "segment"})
    codec = CODEC
    stop = ("</s>",)
    special_tokens = (*FRAME_TOKENS, *ADDED_TOKENS, IMAGE_TOKEN)
    image_token = IMAGE_TOKEN
    special_frame = False
    max_images = 1
    generation: ClassVar[Mapping[str, Any]] = {
        "num_beams": 3,
        "early_stopping": True,
        "no_repeat_ngram_size": 3,
        "decoder_start_token_id": 2,
        "forced_bos_token_id": 0,
        "max_new_tokens": 1024,
    }
    lora_targets = ("q_proj", "k_proj", "v_proj", "out_proj")
    checkpoints = CARDS
    pitfalls = (
        "A task token is the whole question or begins it; in the midst of a question it is plain text.",
        "Captions take no instruction of your own: only the detail (brief, normal, full) is read.",
        "A free question is sent as it stands, as the reference does; the published checkpoints answer few of them.",
        "The tokenizer of the original layout lacks the location tokens; they are added on loading.",
        "No three tokens occur twice in an answer (no_repeat_ngram_size 3), which can break long lists of alike boxes.",
        "Several labels are joined by <and>; the checkpoints find one at a time more surely.",
    )

    def check(self, request: Request) -> None:
        super().check(request)
        asked(request)

    def prompt(self, request: Request, sizes: Sequence[Size]) -> list[Piece]:
        return prompt_pieces(request, sizes[0])

    def answer(self, sample: Sample) -> list[Piece]:
        return answer_pieces(sample, sample_sizes(sample)[0])

    def parse(
        self,
        request: Request,
        raw: str,
        sizes: Sequence[Size],
        *,
        tokens: Sequence[str] | None = None,
        logprobs: Sequence[float] | None = None,
    ) -> Result:
        return _florence2_parse.parse(request, raw, sizes, tokens=tokens, logprobs=logprobs)

    def banned(self, request: Request) -> tuple[str, ...]:
        return (IMAGE_TOKEN, "<pad>")

    def see(self, loaded: Loaded, picture: Image.Image) -> View:
        processor = loaded.processor.image_processor
        frame = (int(processor.size["width"]), int(processor.size["height"]))
        pixels = processor(picture, return_tensors="pt")["pixel_values"]
        ids = [loaded.model.config.image_token_id] * self.image_tokens(loaded, picture.size)
        return View(Squash(frame).fit(picture.size), ids, {"pixel_values": pixels})

    def image_tokens(self, loaded: Loaded, size: Size) -> int:
        """576 patches and their mean, whatever the picture's size."""
        vision, shown = loaded.model.config.vision_config, loaded.processor.image_processor.size
        sides = [int(shown["height"]), int(shown["width"])]
        for kernel, stride, padding in zip(vision.patch_size, vision.patch_stride, vision.patch_padding, strict=True):
            sides = [(side + 2 * padding - kernel) // stride + 1 for side in sides]
        return sides[0] * sides[1] + 1

    def complete(self, loaded: Loaded, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Padding goes to the right: the encoder counts positions from the first token on."""
        mask = tensors["attention_mask"]
        order = mask.argsort(dim=1, descending=True, stable=True)
        return tensors | {"input_ids": tensors["input_ids"].gather(1, order), "attention_mask": mask.gather(1, order)}

    def config(self, raw: Mapping[str, Any]) -> PretrainedConfig:
        return super().config(_florence2_layout.native_config(raw) if _florence2_layout.is_original(raw) else raw)

    def rename(self, tensors: dict[str, Tensor], config: PretrainedConfig) -> dict[str, Tensor] | None:
        if not any(name.startswith("vision_tower.") for name in tensors):
            return None
        rows = config.text_config.vocab_size
        return _florence2_layout.to_native(tensors, rows, tied=config.tie_word_embeddings)

    def read_tokenizer(self, folder: Path) -> Any:
        """As it is in transformers' layout; the original one is BART's, to which the tokens of the tasks are added."""
        if not _florence2_layout.is_original(json.loads((folder / "config.json").read_text(encoding="utf-8"))):
            return super().read_tokenizer(folder)
        from tokenizers import AddedToken
        from transformers import PreTrainedTokenizerFast

        tokenizer = PreTrainedTokenizerFast(
            tokenizer_file=str(folder / "tokenizer.json"),
            bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>",
            clean_up_tokenization_spaces=False,
        )  # fmt: skip
        added = [AddedToken(token, special=True, normalized=False) for token in (*ADDED_TOKENS, IMAGE_TOKEN)]
        tokenizer.add_tokens(added, special_tokens=True)
        return tokenizer

    def load(self, checkpoint: str, *, device: str, dtype: str, revision: str | None = None) -> Loaded:
        loaded = super().load(checkpoint, device=device, dtype=dtype, revision=revision)
        image, expected = loaded.tokenizer.convert_tokens_to_ids(IMAGE_TOKEN), loaded.model.config.image_token_id
        if image != expected:
            raise CheckpointError(
                f"{IMAGE_TOKEN} is token {image} of the tokenizer in {checkpoint}, and the model has it as {expected}",
                hint="take the tokenizer and the weights of one and the same version",
            )
        settings = loaded.model.generation_config
        text = json.loads((Path(checkpoint) / "config.json").read_text(encoding="utf-8")).get("text_config", {})
        for name in self.generation.keys() & text.keys():  # where the original layout, and older native ones, keep them
            setattr(settings, name, text[name])
        settings.forced_eos_token_id = None  # it would hide that an answer was cut
        return loaded

    def tiny(self) -> Loaded:
        from transformers import CLIPImageProcessorPil, Florence2Config, Florence2ForConditionalGeneration
        from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

        tokenizer = tiny_tokenizer(self.special_tokens, bos="<s>", eos="</s>", pad="<pad>", unk="<unk>")
        size = {"height": 64, "width": 64}
        image_processor = CLIPImageProcessorPil(
            size=size, crop_size=size, do_center_crop=False, resample=3, image_mean=IMAGENET_DEFAULT_MEAN,
            image_std=IMAGENET_DEFAULT_STD, image_seq_length=17,
        )  # fmt: skip
        config = Florence2Config(
            vision_config={
                "depths": [1, 1, 1, 1], "embed_dim": [16, 24, 32, 48], "num_heads": [2, 2, 2, 2], "window_size": 4,
                "num_groups": [2, 2, 2, 2], "patch_stride": [4, 2, 2, 1], "projection_dim": 32, "drop_path_rate": 0.0,
                "initializer_range": 0.2,
            },
            text_config={
                "model_type": "bart", "vocab_size": len(tokenizer), "d_model": 32, "encoder_layers": 2,
                "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 64,
                "decoder_ffn_dim": 64, "max_position_embeddings": 1024, "dropout": 0.0, "init_std": 0.1,
                "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
                "pad_token_id": tokenizer.pad_token_id, "decoder_start_token_id": tokenizer.eos_token_id,
                "forced_eos_token_id": None,
            },
            image_token_id=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        )  # fmt: skip
        with seeded():
            model = Florence2ForConditionalGeneration(config).eval()
        generation = model.generation_config
        generation.decoder_start_token_id = tokenizer.eos_token_id
        generation.forced_bos_token_id = tokenizer.bos_token_id
        generation.num_beams, generation.no_repeat_ngram_size = 3, 0  # one byte a token: any word repeats another's
        return Loaded(model, HubProcessor(tokenizer, image_processor), self, "tiny")
