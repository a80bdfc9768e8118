"""What Idefics3 and SmolVLM share: pictures cut into tiles that are named by row and column, and a view of the whole.

A picture is stretched onto a grid of square tiles. Each tile is its name and its tokens, and the whole comes last:
`<fake_token_around_image><row_1_col_1><image>...`, a newline after each row, then `<global-img><image>...`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imglish.core.codecs import Codec, Identity, Normalised
from imglish.core.frames import Fitted
from imglish.core.types import ImagePart, Message, Request, Sample, Size, TextPart, VideoPart
from imglish.families import _prompted
from imglish.families._base import Control, Loaded, Picture, Piece, Plain
from imglish.families._chat import ChatFamily
from imglish.families._hub import View
from imglish.families._tiny import HubProcessor, seeded, tiny_tokenizer

if TYPE_CHECKING:
    import torch
    from PIL import Image

FAKE, WHOLE, IMAGE, END = "<fake_token_around_image>", "<global-img>", "<image>", "<end_of_utterance>"
LARGEST = 4096  # the reference never makes a picture larger
TILES = tuple(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7))
PITFALLS = (
    "A picture takes up to 17 views; where tiles are not needed, a smaller size of the image processor is quicker.",
    "Answers end with <end_of_utterance>, not with the end token of the decoder.",
)
_AS_THEY_ARE = frozenset({"ask", "chat", "watch"})  # skills whose messages are the prompt


class IdeficsFamily(ChatFamily):
    """Idefics3 or SmolVLM. Regions are asked for in words, in thousandths of the picture."""

    stop = (END,)
    image_token = IMAGE
    codec = Codec(Identity(), Normalised(1000.0, decimals=0))
    max_images = 16
    opening = "<|begin_of_text|>"
    special_frame = False  # the template writes the first token itself

    def prompt(self, request: Request, sizes: Sequence[Size]) -> list[Piece]:
        numbers = iter(range(len(sizes)))
        pieces: list[Piece] = [Control(self.opening)]
        last = len(request.messages) - 1
        for place, message in enumerate(request.messages):
            asked = place == last and request.skill not in _AS_THEY_ARE
            content = self._parts(message, numbers, texts=not asked)
            content += [Plain(_prompted.instruction(request, self.codec, sizes[0]))] if asked else []
            space = "" if message.parts and isinstance(message.parts[0], ImagePart) else " "
            pieces += [Control(f"{message.role.capitalize()}:{space}"), *content, Control(f"{END}\n")]
        return [*pieces, Control("Assistant:")]

    def _parts(self, message: Message, numbers: Iterator[int], *, texts: bool) -> list[Piece]:
        """What a message holds, in its order: as the chat template writes it, or the pictures alone."""
        pieces: list[Piece] = []
        for part in message.parts:
            if isinstance(part, ImagePart):
                pieces.append(Picture(next(numbers)))
            elif isinstance(part, VideoPart):
                pieces += self.film(tuple(next(numbers) for _ in part.frames), part.fps)
            elif isinstance(part, TextPart) and part.text and texts:
                pieces.append(Plain(part.text))
        return pieces

    def film(self, indices: tuple[int, ...], fps: float | None) -> list[Piece]:
        """The place of a film in the prompt; a family without films never gets here."""
        return [Picture(index) for index in indices]

    def answer(self, sample: Sample) -> list[Piece]:
        return [Plain(" "), *super().answer(sample)]  # `Assistant: answer`: the space is the model's to write

    def settle(self, raw: Mapping[str, Any], processor: HubProcessor) -> None:
        self.opening = processor.tokenizer.bos_token or self.opening

    def see(self, loaded: Loaded, picture: Image.Image) -> View:
        given = loaded.processor.image_processor(images=[[picture]], return_row_col_info=True, return_tensors="pt")
        rows, columns = int(given["rows"][0][0]), int(given["cols"][0][0])
        side = given["pixel_values"].shape[-1]
        size = (max(columns, 1) * side, max(rows, 1) * side)
        fitted = Fitted(
            picture.size, size, size[0] / picture.width, size[1] / picture.height,
            tiles=rows * columns + 1, grid=(max(columns, 1), max(rows, 1)),
        )  # fmt: skip
        tensors = {name: given[name][0] for name in ("pixel_values", "pixel_attention_mask")}
        return View(fitted, self._ids(loaded, rows, columns), tensors, tiles=rows * columns + 1)

    def image_tokens(self, loaded: Loaded, size: Size) -> int:
        return len(self._ids(loaded, *grid(loaded.processor.image_processor, size)))

    def _ids(self, loaded: Loaded, rows: int, columns: int) -> list[int]:
        """Token ids of a picture of so many tiles; none where it is small enough to be seen whole."""
        one = IMAGE * tile_tokens(loaded.model.config)
        lines = [
            "".join(f"{FAKE}<row_{row}_col_{column}>{one}" for column in range(1, columns + 1)) + "\n"
            for row in range(1, rows + 1)
        ]
        text = "".join(lines) + ("\n" if lines else "") + f"{FAKE}{WHOLE}{one}{FAKE}"
        ids: list[int] = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def join(self, loaded: Loaded, views: Sequence[View]) -> dict[str, torch.Tensor]:
        import torch

        names = views[0].tensors if views else {}
        return {name: torch.cat([view.tensors[name] for view in views]) for name in names}

    def features(self, loaded: Loaded, views: Sequence[View]) -> list[torch.Tensor]:
        """Tiles of one picture."""
        import torch

        tensors = self.on_device(loaded, self.join(loaded, views))
        seen = loaded.model.get_image_features(**{name: one[None] for name, one in tensors.items()}, return_dict=True)
        return [torch.cat(list(seen.pooler_output))]

    def complete(self, loaded: Loaded, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Tiles in one row per prompt, as the reference has them: beams repeat rows, and take their tiles along."""
        import torch

        image = loaded.tokenizer.convert_tokens_to_ids(IMAGE)
        counts = (tensors["input_ids"] == image).sum(1) // tile_tokens(loaded.model.config)
        padded: dict[str, Any] = {
            name: torch.nn.utils.rnn.pad_sequence(tensors[name].split(counts.tolist()), batch_first=True)
            for name in ("pixel_values", "pixel_attention_mask")
            if name in tensors
        }
        return {**tensors, **padded}


def tile_tokens(config: Any) -> int:
    """Tokens of one tile: its patches, several to a token."""
    return int((config.vision_config.image_size // config.vision_config.patch_size) ** 2 / config.scale_factor**2)


def grid(pictures: Any, size: Size) -> tuple[int, int]:
    """(rows, columns) of the tiles that an image processor cuts a picture into; (0, 0) where it is seen whole."""
    if not pictures.do_image_splitting:
        return (0, 0)
    return grid_of(size, longest=pictures.size.longest_edge, tile=_edge(pictures.max_image_size))


def grid_of(size: Size, *, longest: int, tile: int) -> tuple[int, int]:
    """The arithmetic of the reference: the longer side to `longest`, then both up to whole tiles."""
    width, height = _scaled(size, longest, even=True)
    if max(width, height) > LARGEST:
        width, height = _scaled((width, height), LARGEST, even=False)
    ratio = width / height
    if width >= height:
        width = math.ceil(width / tile) * tile
        height = math.ceil(int(width / ratio) / tile) * tile
    else:
        height = math.ceil(height / tile) * tile
        width = math.ceil(int(height * ratio) / tile) * tile
    return (height // tile, width // tile) if width > tile or height > tile else (0, 0)


def _scaled(size: Size, longest: int, *, even: bool) -> Size:
    width, height = size
    ratio = width / height
    if width >= height:
        short = int(longest / ratio)
        return (longest, max(short + (short % 2 if even else 0), 1))
    short = int(longest * ratio)
    return (max(short + (short % 2 if even else 0), 1), longest)


def _edge(size: Any) -> int:
    return int(size["longest_edge"] if isinstance(size, Mapping) else size.longest_edge)


def tiny(family: IdeficsFamily, kind: Any, config: Any, pictures: Any, *, opening: str) -> Loaded:
    """A small random model: two layers of 32, tiles of 56 pixels that are 4 tokens each."""
    specials = (END, opening, "<|pad|>", FAKE, IMAGE, WHOLE, *TILES)
    tokenizer = tiny_tokenizer(specials, bos=opening, eos=END, pad="<|pad|>")
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in specials}
    text = {
        "model_type": "llama", "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 8192,
        "initializer_range": 0.2, "bos_token_id": ids[opening], "eos_token_id": ids[END],
        "pad_token_id": ids["<|pad|>"],
    }  # fmt: skip
    vision = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 56,
        "patch_size": 14, "initializer_range": 0.2,
    }  # fmt: skip
    made = config(
        text_config=text, vision_config=vision, image_token_id=ids[IMAGE], scale_factor=2,
        pad_token_id=ids["<|pad|>"], tie_word_embeddings=False,
    )  # fmt: skip
    with seeded():
        model = kind(made).eval()
    processor = HubProcessor(tokenizer, pictures(size={"longest_edge": 112}, max_image_size={"longest_edge": 56}))
    family.settle({}, processor)
    return Loaded(model, processor, family, "tiny")


def read_processor(kind: Any, folder: Path) -> Any:
    """The image processor of a folder, whatever type its file names."""
    return kind.from_pretrained(folder, local_files_only=True)
