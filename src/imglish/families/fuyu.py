"""Fuyu: no encoder, patches of 30 x 30 pixels go straight into a Persimmon decoder (Adept 2023, adept.ai/blog/fuyu-8b).

Pictures keep their resolution up to 1920 x 1080. Boxes are y1, x1, y2, x2 in halved pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imglish.core.results import Result
from imglish.core.types import Request, Sample, Size
from imglish.families import _fuyu_parse, _fuyu_text, _fuyu_tiny
from imglish.families._base import Control, Loaded, Picture, Piece, Plain
from imglish.families._card import Card, sizes
from imglish.families._fuyu_text import ANSWER, CLOSE, OPEN, PATCH
from imglish.families._hub import HubFamily, View, powerless
from imglish.families._region_answers import sizes_of
from imglish.families._tiny import HubProcessor, seeded

if TYPE_CHECKING:
    import torch
    from PIL import Image


class Family(HubFamily):
    """Checkpoints with `model_type: fuyu`."""

    name = "fuyu"
    model_type = "fuyu"
    model_class = "FuyuForCausalLM"
    skills = frozenset({"ask", "caption", "count", "detect", "ground", "identify"})
    prompted = frozenset({"detect"})
    codec = _fuyu_text.CODEC
    stop = ("|ENDOFTEXT|",)
    special_tokens = _fuyu_text.SPECIAL_TOKENS
    image_token = "|SPEAKER|"
    lora_targets = ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h")
    languages = ("en",)
    pitfalls = (
        "A base model: its makers expect a fine-tune for chats and long captions.",
        "`ground` finds where a text stands, and `identify` reads the text in a box: it was trained on screens.",
        "Boxes are y first and halved, in pixels of the picture after it was made to fit into 1920 x 1080.",
        "The numbers of a box have no space between them: boxes are read from tokens, not from text.",
        "Free for non-commercial use only.",
    )
    checkpoints = (
        Card(
            name="adept/fuyu-8b",
            family="fuyu",
            parameters=9_408_238_592,
            licence="cc-by-nc-4.0",
            commercial=False,
            languages=("en",),
            context=16384,
            resolution="up to 1920x1080",
            skills=frozenset({"ask", "caption", "count", "ground", "identify"}),
            source="adept.ai/blog/fuyu-8b; model card and config.json; parameters counted from the configuration",
            year=2023,
            note="Some tables give 300x300: that is the image_size of its config.json, which nothing uses.",
            config=sizes(
                layers=36, hidden=4096, heads=64, ffn=16384, ffn_matrices=2, vocab=262144,
                vision_layers=0, vision_hidden=0, vision_tokens=1, patch_values=3 * PATCH * PATCH,
            ),
            image_tokens=_fuyu_text.image_tokens,
            views=_fuyu_text.image_tokens,
        ),
    )  # fmt: skip

    def read_tokenizer(self, folder: Path) -> Any:
        """The tokenizer.json as it is, as transformers' FuyuProcessor reads it, too."""
        from transformers import PreTrainedTokenizerFast

        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
        tokenizer.padding_side = "left"
        tokenizer.pad_token_id = 0 if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        return tokenizer

    def read_image_processor(self, folder: Path) -> Any:
        from imglish.families._fuyu_pictures import Pictures

        return Pictures.from_pretrained(folder, local_files_only=True)

    def prompt(self, request: Request, sizes: Sequence[Size]) -> list[Piece]:
        return _fuyu_text.prompt_pieces(request, sizes)

    def image_tokens(self, loaded: Loaded, size: Size) -> int:
        return _fuyu_text.image_tokens(size)

    def see(self, loaded: Loaded, picture: Image.Image) -> View:
        fitted = self.codec.frame.fit(picture.size)
        columns, rows = (side // PATCH for side in fitted.size)
        patch, newline = loaded.tokenizer.convert_tokens_to_ids([self.image_token, "|NEWLINE|"])
        patches = loaded.processor.image_processor.patches(picture, frame=fitted.size)
        return View(fitted, (*(patch,) * columns, newline) * rows, {"pixel_values": patches})

    def encode(self, loaded: Loaded, pieces: Sequence[Piece], views: Sequence[View]) -> tuple[list[int], list[int]]:
        ids: list[int] = []
        order = [piece.index for piece in pieces if isinstance(piece, Picture)]
        for index in order:
            ids += views[index].ids
        words = [piece for piece in pieces if not isinstance(piece, Picture)]
        if words and words[0] == Control("<s>"):
            ids.append(loaded.tokenizer.convert_tokens_to_ids("<s>"))
            words = words[1:]
        return ids + self._written(loaded.tokenizer, words), order

    def features(self, loaded: Loaded, views: Sequence[View]) -> list[torch.Tensor]:
        patches = self.on_device(loaded, self.join(loaded, views))["pixel_values"]
        return [loaded.model.model.vision_embed_tokens(patches).flatten(0, -2)]

    def answer_ids(self, loaded: Loaded, sample: Sample) -> list[int]:
        ids = self._written(loaded.tokenizer, self.answer(sample))
        return [*ids, loaded.tokenizer.convert_tokens_to_ids(self.stop[0])]

    def _written(self, tokenizer: Any, pieces: Sequence[Piece]) -> list[int]:
        """Ids of text and boxes. A number of a box is one token; what a person typed has no power."""
        ids: list[int] = []
        stretch: list[Piece] = []
        marks = (Control(OPEN), Control(CLOSE), Control(ANSWER))
        for place, piece in enumerate([*pieces, Control(OPEN)]):
            if piece in marks:
                ids += self._stretch(tokenizer, stretch)
                stretch = []
                if place < len(pieces):
                    ids.append(tokenizer.convert_tokens_to_ids(self.text([piece])))
            elif place and pieces[place - 1] == Control(OPEN):
                ids += _numbers(tokenizer, self.text([piece]))
            else:
                stretch.append(piece)
        return ids

    def _stretch(self, tokenizer: Any, pieces: Sequence[Piece]) -> list[int]:
        powers = sorted({*tokenizer.get_added_vocab(), *self.special_tokens}, key=len, reverse=True)
        if not any(power in p.text for p in pieces if isinstance(p, Plain) for power in powers):
            text = self.text(pieces)
            return list(tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []
        ids: list[int] = []
        for piece in pieces:
            if isinstance(piece, Plain):
                ids += powerless(tokenizer, piece.text, powers)
            else:
                ids += tokenizer(self.text([piece]), add_special_tokens=False)["input_ids"]
        return ids

    def answer(self, sample: Sample) -> list[Piece]:
        return _fuyu_text.answer_pieces(sample, (*sizes_of(sample), (1, 1))[0])

    def parse(
        self,
        request: Request,
        raw: str,
        sizes: Sequence[Size],
        *,
        tokens: Sequence[str] | None = None,
        logprobs: Sequence[float] | None = None,
    ) -> Result:
        return _fuyu_parse.parse(request, raw, sizes, tokens=tokens, logprobs=logprobs)

    def tiny(self) -> Loaded:
        from transformers import FuyuConfig, FuyuForCausalLM

        from imglish.families._fuyu_pictures import Pictures

        tokenizer = _fuyu_tiny.tokenizer()
        text = {
            "model_type": "persimmon", "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 16384,
            "initializer_range": 0.3, "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
        }  # fmt: skip
        image = tokenizer.convert_tokens_to_ids(self.image_token)
        with seeded():
            model = FuyuForCausalLM(FuyuConfig(text_config=text, image_token_id=image, initializer_range=0.05)).eval()
        return Loaded(model, HubProcessor(tokenizer, Pictures()), self, "tiny")


def _numbers(tokenizer: Any, text: str) -> list[int]:
    """A box's numbers: one token each where the vocabulary has them, as published, otherwise as text."""
    known = [tokenizer.convert_tokens_to_ids(number) for number in text.split(", ")]
    if any(one in (None, tokenizer.unk_token_id) for one in known):
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])
    return known
