"""PaliGemma: SigLIP encoder, linear adapter, Gemma decoder that sees its whole prompt at once.

Beyer et al. 2024 (arXiv:2407.07726); with Gemma 2 as decoder, Steiner et al. 2024 (arXiv:2412.03555). The words it is
asked in are in `_paligemma_tasks.py`, what it writes is read in `_paligemma_parse.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imglish.core import geometry
from imglish.core.codecs import Squash
from imglish.core.errors import SkillError
from imglish.core.results import Boxes, Masks, Result
from imglish.core.types import Request, Sample, Size
from imglish.families import _paligemma_parse
from imglish.families._base import Control, Loaded, Piece, Plain
from imglish.families._hub import HubFamily, View
from imglish.families._imglish_text import sample_sizes
from imglish.families._paligemma_cards import CARDS
from imglish.families._paligemma_tasks import (
    CODEC,
    FRAME_TOKENS,
    IMAGE_TOKEN,
    LANGUAGES,
    LOCATIONS,
    SEGMENTS,
    check_named,
    prompt_pieces,
)
from imglish.families._tiny import HubProcessor, seeded, tiny_tokenizer

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from imglish.families._paligemma_masks import MaskCodec


class Family(HubFamily):
    """Checkpoints with `model_type: paligemma`; `mask_codec` is there where the checkpoint's folder has its weights."""

    name = "paligemma"
    model_type = "paligemma"
    model_class = "PaliGemmaForConditionalGeneration"
    image_processor_class = "SiglipImageProcessorPil"
    skills = frozenset({"ask", "caption", "detect", "ground", "segment"})
    codec = CODEC
    stop = ("<eos>",)
    special_tokens = (*FRAME_TOKENS, IMAGE_TOKEN, *LOCATIONS, *SEGMENTS)
    image_token = IMAGE_TOKEN
    together = 4
    special_frame = False
    max_images = 8
    languages = LANGUAGES
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    checkpoints = CARDS
    pitfalls = (
        "Detection finds what is named: detect(image) without labels is an error.",
        "A mask is sixteen codes; the weights that read them (vae-oid.npz) are not in the published checkpoints: put "
        "the file into the checkpoint's folder, else segment gives boxes and says so.",
        "Text is read without places: ask(image, 'ocr').",
        "Coordinates are shares of 1023, y first; tools that divide by 1024 are off by up to a pixel in a thousand.",
        "The pt checkpoints know the syntax of tasks only (cap, caption, describe, ocr, answer, detect, segment).",
        "The mix checkpoints were trained on one image; several make sense after fine-tuning.",
        "The prompt sees itself in both directions (token_type_ids 0), the answer only what is before it (1).",
    )
    two_way = True
    mask_codec: MaskCodec | None = None

    def check(self, request: Request) -> None:
        super().check(request)
        check_named(request)

    def prompt(self, request: Request, sizes: Sequence[Size]) -> list[Piece]:
        return prompt_pieces(request)

    def answer(self, sample: Sample) -> list[Piece]:
        size, truth = sample_sizes(sample)[0], sample.truth
        if isinstance(truth, Masks):
            return self._outlined(truth, size, sample.question)
        if not isinstance(truth, Boxes):
            return [Plain(sample.answer)]
        boxes = truth.xyxy
        order = sorted(range(len(truth)), key=lambda i: (boxes[i, 0] + boxes[i, 1], boxes[i, 1]))
        labels = truth.labels or (sample.question,) * len(truth)
        return _written([(_places(boxes[i], size), labels[i] or sample.question) for i in order])

    def _outlined(self, truth: Masks, size: Size, question: str) -> list[Piece]:
        from imglish.families._paligemma_masks import SIDE

        if self.mask_codec is None:
            raise SkillError(
                "PaliGemma cannot write outlines: the weights that turn masks into codes are not in the checkpoint",
                hint="put vae-oid.npz into the checkpoint's folder",
            )
        written = []
        for pieces, box in zip(truth.polygons, truth.xyxy, strict=True):
            x1, y1, x2, y2 = box.tolist()
            scale = (SIDE / max(x2 - x1, 1e-6), SIDE / max(y2 - y1, 1e-6))
            moved = [[((x - x1) * scale[0], (y - y1) * scale[1]) for x, y in piece] for piece in pieces]
            codes = self.mask_codec.encode(geometry.polygon_to_bitmap(moved, (SIDE, SIDE)))
            written.append((_places(box, size) + "".join(SEGMENTS[code] for code in codes), question))
        return _written(written)

    def parse(
        self,
        request: Request,
        raw: str,
        sizes: Sequence[Size],
        *,
        tokens: Sequence[str] | None = None,
        logprobs: Sequence[float] | None = None,
    ) -> Result:
        decode = self.mask_codec.decode if self.mask_codec is not None else None
        return _paligemma_parse.parse(request, raw, sizes, tokens=tokens, logprobs=logprobs, decode=decode)

    def banned(self, request: Request) -> tuple[str, ...]:
        return (IMAGE_TOKEN,)

    def see(self, loaded: Loaded, picture: Image.Image) -> View:
        processor = loaded.processor.image_processor
        frame = (int(processor.size["width"]), int(processor.size["height"]))
        pixels = processor(picture, return_tensors="pt")["pixel_values"]
        ids = [loaded.model.config.image_token_id] * self.image_tokens(loaded, picture.size)
        return View(Squash(frame).fit(picture.size), ids, {"pixel_values": pixels})

    def image_tokens(self, loaded: Loaded, size: Size) -> int:
        """256, 1024 or 4096, by the checkpoint's resolution, whatever the picture's size."""
        vision = loaded.model.config.vision_config
        return int(vision.image_size // vision.patch_size) ** 2

    def positions(self, loaded: Loaded, ids: Tensor, views: Sequence[View]) -> Tensor:
        """Counted from one."""
        return super().positions(loaded, ids, views) + 1

    def complete(self, loaded: Loaded, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """`token_type_ids` 0: all of the prompt sees all of it."""
        return tensors | {"token_type_ids": tensors["input_ids"].new_zeros(tensors["input_ids"].shape)}

    def taught(self, loaded: Loaded, samples: Sequence[Sample]) -> dict[str, Any]:
        """As everywhere, and the answer's tokens are of type 1: they see only what is before them."""
        tensors = super().taught(loaded, samples)
        return tensors | {"token_type_ids": (tensors["labels"] >= 0).to(tensors["input_ids"].dtype)}

    def read_tokenizer(self, folder: Path) -> Any:
        """The checkpoint's, with the tokens that the reference's processor adds where they are missing."""
        from tokenizers import AddedToken

        tokenizer = super().read_tokenizer(folder)
        tokenizer.add_tokens([AddedToken(IMAGE_TOKEN, special=True, normalized=False)], special_tokens=True)
        tokenizer.add_tokens([*LOCATIONS, *SEGMENTS])
        return tokenizer

    def load(self, checkpoint: str, *, device: str, dtype: str, revision: str | None = None) -> Loaded:
        from imglish.families._paligemma_masks import read_mask_codec

        loaded = super().load(checkpoint, device=device, dtype=dtype, revision=revision)
        self.mask_codec = read_mask_codec(checkpoint)
        return loaded

    def tiny(self) -> Loaded:
        from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration, SiglipImageProcessorPil

        tokenizer = tiny_tokenizer(self.special_tokens, bos="<bos>", eos="<eos>", pad="<pad>", unk="<unk>")
        image_processor = SiglipImageProcessorPil(
            size={"height": 56, "width": 56}, resample=3, image_mean=[0.5] * 3, image_std=[0.5] * 3, image_seq_length=16
        )
        text = {
            "model_type": "gemma", "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
            "max_position_embeddings": 2048, "initializer_range": 0.2, "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id,
        }  # fmt: skip
        vision = {
            "model_type": "siglip_vision_model", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 2, "patch_size": 14, "image_size": 56, "vision_use_head": False,
        }  # fmt: skip
        config = PaliGemmaConfig(
            vision_config=vision, text_config=text, projection_dim=32, hidden_size=32, vocab_size=len(tokenizer),
            image_token_index=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN), bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
        with seeded():
            model = PaliGemmaForConditionalGeneration(config).eval()
        return Loaded(model, HubProcessor(tokenizer, image_processor), self, "tiny")


def _places(box: Sequence[float], size: Size) -> str:
    return "".join(LOCATIONS[int(value)] for value in CODEC.encode([box], size)[0])


def _written(things: Sequence[tuple[str, str]]) -> list[Piece]:
    """`<loc...> cat ; <loc...> dog`."""
    pieces: list[Piece] = []
    for number, (places, label) in enumerate(things):
        pieces += [Control(places), Plain(f" {label}" + (" ; " if number + 1 < len(things) else ""))]
    return pieces
