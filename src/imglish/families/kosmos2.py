"""KOSMOS-2: CLIP encoder, 64 latent tokens, a decoder that links phrases to boxes (Peng et al. 2023, arXiv:2306.14824).

A box is two cells of a grid of 32 x 32 over the squashed picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imglish.core.frames import Squash
from imglish.core.results import Result
from imglish.core.types import Request, Sample, Size
from imglish.families import _kosmos2_parse, _kosmos2_text
from imglish.families._base import Loaded, Piece
from imglish.families._card import Card, sizes
from imglish.families._hub import HubFamily, View
from imglish.families._region_answers import sizes_of
from imglish.families._tiny import HubProcessor, seeded, tiny_tokenizer

if TYPE_CHECKING:
    import torch
    from PIL import Image

_SKILLS = frozenset({"ask", "caption", "count", "detect", "ground", "identify"})


class Family(HubFamily):
    """Checkpoints with `model_type: kosmos-2`."""

    name = "kosmos2"
    model_type = "kosmos-2"
    skills = _SKILLS
    image_processor_class = "CLIPImageProcessorPil"
    codec = _kosmos2_text.CODEC
    stop = ("</s>",)
    special_tokens = ("<s>", "</s>", *_kosmos2_text.TAGS, *_kosmos2_text.CELLS)
    image_token = "<image>"
    together = 4
    special_frame = False  # the prompt spells its <s>, and has no </s>
    lora_targets = ("q_proj", "k_proj", "v_proj", "out_proj")
    languages = ("en",)
    pitfalls = (
        "Trained to ground one phrase at a time: several labels are asked in one question, better one by one.",
        "A box is two of 32 x 32 cells, read at their centres: on 1920x1080 it is off by up to 30 x 17 pixels.",
        "The picture is squashed to 224 x 224; a processor that crops its sides off would shift every box.",
        "It can say that nothing is there only after training here: `<object></object>`.",
        "It describes and grounds; it was not trained for conversations of several turns.",
    )
    checkpoints = (
        Card(
            name="microsoft/kosmos-2-patch14-224",
            family="kosmos2",
            parameters=1_664_485_376,
            licence="mit",
            commercial=True,
            languages=("en",),
            context=2048,
            resolution="224x224",
            skills=_SKILLS,
            source="arXiv:2306.14824; model card and config.json; parameters counted from the configuration",
            year=2023,
            config=sizes(
                layers=24, hidden=2048, heads=32, ffn=8192, ffn_matrices=2, vocab=65037, tied=1,
                vision_layers=24, vision_hidden=1024, vision_ffn=4096, vision_tokens=257,
            ),
            image_tokens=_kosmos2_text.IMAGE_TOKENS + 2,
        ),
    )  # fmt: skip

    def model_kind(self) -> Any:
        from imglish.families._kosmos2_model import Kosmos2

        return Kosmos2

    def settle(self, raw: Mapping[str, Any], processor: HubProcessor) -> None:
        """transformers' own processor adds the tags and cells to a tokenizer that has them not."""
        from transformers import Kosmos2Processor

        Kosmos2Processor(processor.image_processor, processor.tokenizer)

    def read_tokenizer(self, folder: Path) -> Any:
        tokenizer = super().read_tokenizer(folder)
        tokenizer.padding_side = "left"
        return tokenizer

    def read_image_processor(self, folder: Path) -> Any:
        processor = super().read_image_processor(folder)
        side = processor.size.shortest_edge or processor.size.height
        processor.size = type(processor.size)(height=side, width=side)  # squashed: the original does not crop
        processor.do_center_crop = False
        return processor

    def prompt(self, request: Request, sizes: Sequence[Size]) -> list[Piece]:
        return _kosmos2_text.prompt_pieces(request, sizes)

    def image_tokens(self, loaded: Loaded, size: Size) -> int:
        return int(loaded.model.config.latent_query_num) + 2

    def see(self, loaded: Loaded, picture: Image.Image) -> View:
        pixels = loaded.processor.image_processor(images=[picture], return_tensors="pt")["pixel_values"]
        fitted = Squash((pixels.shape[-1], pixels.shape[-2])).fit(picture.size)
        begin, end = loaded.tokenizer.convert_tokens_to_ids(["<image>", "</image>"])
        first = loaded.tokenizer.unk_token_id + 1  # what stands in the places of the latents: never looked up
        ids = (begin, *range(first, first + loaded.model.config.latent_query_num), end)
        return View(fitted, ids, {"pixel_values": pixels})

    def features(self, loaded: Loaded, views: Sequence[View]) -> list[torch.Tensor]:
        from torch.nn.functional import normalize

        pixels = self.on_device(loaded, self.join(loaded, views))["pixel_values"]
        vision = loaded.model.vision_model
        seen = vision.model.post_layernorm(vision(pixel_values=pixels, return_dict=True).last_hidden_state)
        latents, _ = loaded.model.image_to_text_projection(normalize(seen, dim=-1))
        return [latents.flatten(0, 1)]

    def places(self, loaded: Loaded, ids: torch.Tensor) -> torch.Tensor:
        mask: torch.Tensor = self.complete(loaded, {"input_ids": ids[None]})["image_embeds_position_mask"][0]
        return mask.bool()

    def positions(self, loaded: Loaded, ids: torch.Tensor, views: Sequence[View]) -> torch.Tensor:
        """Counted from the one after the padding token's, as fairseq does."""
        return super().positions(loaded, ids, views) + 1 + int(loaded.model.config.text_config.pad_token_id)

    def complete(self, loaded: Loaded, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        import torch

        ids, count = tensors["input_ids"], loaded.model.config.latent_query_num
        mask = torch.zeros_like(ids)
        begins = ids == loaded.tokenizer.convert_tokens_to_ids("<image>")
        for row, places in enumerate(begins):
            if places.any():
                start = int(places.long().argmax()) + 1
                mask[row, start : start + count] = 1
        return {**tensors, "image_embeds_position_mask": mask}

    def answer(self, sample: Sample) -> list[Piece]:
        return _kosmos2_text.answer_pieces(sample, (*sizes_of(sample), (1, 1))[0])

    def parse(
        self,
        request: Request,
        raw: str,
        sizes: Sequence[Size],
        *,
        tokens: Sequence[str] | None = None,
        logprobs: Sequence[float] | None = None,
    ) -> Result:
        return _kosmos2_parse.parse(request, raw, sizes, tokens=tokens, logprobs=logprobs)

    def tiny(self) -> Loaded:
        from transformers import CLIPImageProcessorPil, Kosmos2Config

        from imglish.families._kosmos2_model import Kosmos2

        tokenizer = tiny_tokenizer(("<s>", "<pad>", "</s>", "<unk>"), bos="<s>", eos="</s>", pad="<pad>", unk="<unk>")
        pictures = CLIPImageProcessorPil(size={"height": 56, "width": 56}, do_center_crop=False)
        processor = HubProcessor(tokenizer, pictures)
        self.settle({}, processor)
        special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
        text = {
            "vocab_size": len(tokenizer), "embed_dim": 32, "layers": 2, "ffn_dim": 64, "attention_heads": 2,
            "max_position_embeddings": 2048, "init_std": 0.3, "dropout": 0.0, "attention_dropout": 0.0, **special,
        }  # fmt: skip
        vision = {
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 56, "initializer_range": 0.3,
        }  # fmt: skip
        with seeded():
            model = Kosmos2(Kosmos2Config(text_config=text, vision_config=vision, latent_query_num=8)).eval()
        return Loaded(model, processor, self, "tiny")
