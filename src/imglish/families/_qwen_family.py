"""What Qwen2-VL, Qwen2.5-VL and Qwen3-VL share: ChatML turns, pictures of any size, film in pairs of frames.

A picture is resized to whole patches between two bounds (`smart_resize`); both bounds come from the checkpoint's
preprocessor_config.json, where they stand as `min_pixels`/`max_pixels` or as `size`, and can be set by `with_pixels`.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from imglish.core.codecs import Codec
from imglish.core.errors import ImageError, InputError
from imglish.core.frames import Fitted, Resized
from imglish.core.results import Result
from imglish.core.types import ImagePart, Message, Request, Size, TextPart, VideoPart
from imglish.families import _prompted, _prompted_grammar, _qwen_film
from imglish.families._base import Control, Loaded, Picture, Piece, Plain
from imglish.families._chat import SKILLS, ChatFamily
from imglish.families._grammar import Node
from imglish.families._hub import View
from imglish.families._qwen_film import Clip
from imglish.families._tiny import HubProcessor, seeded, tiny_tokenizer

if TYPE_CHECKING:
    import torch
    from PIL import Image

VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"
SPECIAL_TOKENS = (
    "<|im_end|>", "<|endoftext|>", "<|im_start|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
    "<|box_end|>", "<|quad_start|>", "<|quad_end|>", VISION_START, VISION_END, "<|vision_pad|>", "<|image_pad|>",
    "<|video_pad|>",
)  # fmt: skip
MOST_SHAPELESS = 200  # the reference refuses pictures whose sides differ by more than this factor
PATCHES = 8192  # of a film, encoded at once: what the encoder needs meanwhile does not grow with its length
_THOUGHT = "</think>"
_AS_THEY_ARE = frozenset({"ask", "chat", "watch"})  # skills whose messages are the prompt


class QwenFamily(ChatFamily):
    """One generation of Qwen-VL. Subclasses say how regions are asked for and written."""

    skills = SKILLS | {"watch"}
    stop = ("<|im_end|>", "<|endoftext|>")
    special_tokens = SPECIAL_TOKENS
    image_token = "<|image_pad|>"
    max_images = 64
    max_frames = 768  # FPS_MAX_FRAMES of qwen-vl-utils
    lora_targets: ClassVar[tuple[str, ...]] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    )
    system: ClassVar[str] = "You are a helpful assistant."  # where the user gives no system message; "" is none
    pixels = (56 * 56, 14 * 14 * 4 * 1280)  # fewest and most of a resized picture; from the checkpoint when loaded
    patch: int = 14
    timed: ClassVar[bool] = False  # whether the model is told the seconds between two pairs of frames
    opening = "<|im_start|>assistant\n"
    text_key: ClassVar[str] = "text_content"  # what a line of text is called

    def words(self, request: Request, size: Size) -> list[Piece]:
        """How a skill is asked for, after the pictures."""
        return [Plain(_prompted.instruction(request, self.codec, size))]

    def prompt(self, request: Request, sizes: Sequence[Size]) -> list[Piece]:
        numbers = iter(range(len(sizes)))
        pieces: list[Piece] = []
        if self.system and (not request.messages or request.messages[0].role != "system"):
            pieces.append(Control(f"<|im_start|>system\n{self.system}<|im_end|>\n"))
        last = len(request.messages) - 1
        for place, message in enumerate(request.messages):
            asked = place == last and request.skill not in _AS_THEY_ARE
            pieces += [Control(f"<|im_start|>{message.role}\n"), *self._parts(message, numbers, texts=not asked)]
            pieces += self.words(request, sizes[0]) if asked else []
            pieces.append(Control("<|im_end|>\n"))
        return [*pieces, Control(self.opening)]

    def _parts(self, message: Message, numbers: Iterator[int], *, texts: bool) -> list[Piece]:
        """What a message holds, in its order: as the chat template writes it, or the pictures alone."""
        pieces: list[Piece] = []
        for part in message.parts:
            if isinstance(part, ImagePart):
                pieces += [Control(VISION_START), Picture(next(numbers)), Control(VISION_END)]
            elif isinstance(part, VideoPart):
                pieces += self.film(tuple(next(numbers) for _ in part.frames), part.fps or _qwen_film.FPS)
            elif isinstance(part, TextPart) and part.text and texts:
                pieces.append(Plain(part.text))
        return pieces

    def film(self, indices: tuple[int, ...], fps: float) -> list[Piece]:
        """The place of a film in the prompt."""
        return [Control(VISION_START), Clip(indices, fps, len(indices)), Control(VISION_END)]

    def settle(self, raw: Mapping[str, Any], processor: HubProcessor) -> None:
        pictures = processor.image_processor
        least, most = pictures.size.shortest_edge, pictures.size.longest_edge
        self.pixels, self.patch = (least or self.pixels[0], most or self.pixels[1]), pictures.patch_size
        if isinstance(self.codec.frame, Resized):  # boxes are pixels of the resized picture
            vars(self)["codec"] = Codec(self._frame(pictures.merge_size), self.codec.quanta)
        template = getattr(processor.tokenizer, "chat_template", None) or ""
        if "assistant\\n<think>\\n" in str(template):  # the Thinking editions begin every answer with a thought
            self.opening, self.thought_end = "<|im_start|>assistant\n<think>\n", f"{_THOUGHT}\n\n"

    def with_pixels(self, loaded: Loaded, *, min_pixels: int | None = None, max_pixels: int | None = None) -> Loaded:
        """The same model looking at pictures of at least and at most so many pixels: fewer are quicker."""
        least, most = min_pixels or self.pixels[0], max_pixels or self.pixels[1]
        if not 0 < least <= most or most < (2 * self.patch) ** 2:
            raise InputError(
                f"min_pixels is {least} and max_pixels {most}",
                hint=f"allowed are whole numbers with min_pixels <= max_pixels and at least {(2 * self.patch) ** 2}",
            )
        pictures = copy.copy(loaded.processor.image_processor)
        pictures.size = type(pictures.size)(shortest_edge=least, longest_edge=most)
        family, processor = copy.copy(self), HubProcessor(loaded.tokenizer, pictures)
        family.settle({}, processor)
        return dataclasses.replace(loaded, processor=processor, family=family)

    def see(self, loaded: Loaded, picture: Image.Image) -> View:
        pictures = loaded.processor.image_processor
        self._frame(pictures.merge_size).fit(checked(picture.size))
        given = pictures(images=[picture], return_tensors="pt")
        grid = given["image_grid_thw"]
        height, width = (int(cells) * pictures.patch_size for cells in grid[0, 1:])
        fitted = Fitted(picture.size, (width, height), width / picture.width, height / picture.height)
        count = int(grid.prod()) // pictures.merge_size**2
        image = loaded.tokenizer.convert_tokens_to_ids(self.image_token)
        return View(fitted, (image,) * count, {"pixel_values": given["pixel_values"], "image_grid_thw": grid})

    def image_tokens(self, loaded: Loaded, size: Size) -> int:
        merge = loaded.processor.image_processor.merge_size
        width, height = self._frame(merge).fit(checked(size)).size
        return (width // (self.patch * merge)) * (height // (self.patch * merge))

    def frame_tokens(self, loaded: Loaded, size: Size, frames: int) -> float:
        """Tokens of one of so many frames of a film: two frames share theirs."""
        pictures = loaded.processor.image_processor
        width, height = _qwen_film.bounds(pictures, frames).fit(checked(size)).size
        cells = (width // pictures.patch_size) * (height // pictures.patch_size)
        return cells / pictures.merge_size**2 / pictures.temporal_patch_size

    def views(self, loaded: Loaded, pictures: Sequence[Image.Image], frames: Sequence[bool]) -> list[View]:
        """Frames are looked at in `encode`, when it is known which film each belongs to."""
        pairs = zip(pictures, frames, strict=True)
        return [_qwen_film.unseen(picture) if frame else self.see(loaded, picture) for picture, frame in pairs]

    def encode(self, loaded: Loaded, pieces: Sequence[Piece], views: Sequence[View]) -> tuple[list[int], list[int]]:
        if isinstance(views, list):
            for clip in (piece for piece in pieces if isinstance(piece, Clip)):
                _qwen_film.look(loaded, clip, views, timed=self.timed)
        return super().encode(loaded, pieces, views)

    def join(self, loaded: Loaded, views: Sequence[View]) -> dict[str, torch.Tensor]:
        """Pictures and films each in their order; a batch may have both."""
        import torch

        names = dict.fromkeys(name for view in views for name in view.tensors)
        return {name: torch.cat([v.tensors[name] for v in views if name in v.tensors]) for name in names}

    def complete(self, loaded: Loaded, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Says of each token whether it is text (0), picture (1) or film (2): M-RoPE counts them differently."""
        ids = tensors["input_ids"]
        picture, film = loaded.tokenizer.convert_tokens_to_ids([self.image_token, _qwen_film.TOKEN])
        return {**tensors, "mm_token_type_ids": (ids == picture).int() + 2 * (ids == film).int()}

    def items(self, views: Sequence[View]) -> list[list[View]]:
        """Frames belong to the film whose size stands at its first frame."""
        found: list[list[View]] = []
        for view in views:
            if "image_grid_thw" in view.tensors or "video_grid_thw" in view.tensors or not found:
                found.append([])
            found[-1].append(view)
        return found

    def places(self, loaded: Loaded, ids: torch.Tensor) -> torch.Tensor:
        picture, film = loaded.tokenizer.convert_tokens_to_ids([self.image_token, _qwen_film.TOKEN])
        return (ids == picture) | (ids == film)

    def features(self, loaded: Loaded, views: Sequence[View]) -> list[torch.Tensor]:
        import torch

        tensors = self.on_device(loaded, self.join(loaded, views))
        tensors.pop("second_per_grid_ts", None)
        if "video_grid_thw" not in tensors:
            return _seen(loaded.model.model.get_image_features(**tensors, return_dict=True))
        pixels, ((moments, high, wide),) = tensors["pixel_values_videos"], tensors["video_grid_thw"].tolist()
        step, found = max(PATCHES // (high * wide), 1), []
        for start in range(0, moments, step):  # no moment of a film sees another
            some = pixels[start * high * wide : (start + step) * high * wide]
            grid = torch.tensor([[len(some) // (high * wide), high, wide]], device=pixels.device)
            look = loaded.model.model.get_video_features
            found.append(_seen(look(pixel_values_videos=some, video_grid_thw=grid, return_dict=True)))
        return [torch.cat(layer) for layer in zip(*found, strict=True)]

    def positions(self, loaded: Loaded, ids: torch.Tensor, views: Sequence[View]) -> torch.Tensor:
        """(3, length): time, row and column of what is seen; the three are one for text."""
        tensors = self.complete(loaded, {"input_ids": ids[None]})
        grids = self.on_device(loaded, {n: t for n, t in self.join(loaded, views).items() if not n.startswith("pixel")})
        found: torch.Tensor = loaded.model.model.get_rope_index(**tensors, **grids)[0][:, 0]
        return found.to(ids.device)

    def grammar(self, request: Request, sizes: Sequence[Size]) -> Node | None:
        """Of the answer itself: a thought that stands before it has any text."""
        return self.said(request, (*sizes, (1, 1))[0])

    def said(self, request: Request, size: Size) -> Node | None:
        """The grammar of an answer without a thought."""
        return _prompted_grammar.grammar(request, self.codec, size, text_key=self.text_key)

    def parse(
        self,
        request: Request,
        raw: str,
        sizes: Sequence[Size],
        *,
        tokens: Sequence[str] | None = None,
        logprobs: Sequence[float] | None = None,
    ) -> Result:
        _, mark, said = raw.partition(_THOUGHT)
        if mark:
            said, first = said.lstrip(), _answer_start(tokens or ())
            tokens, logprobs = tokens and tokens[first:], logprobs and logprobs[first:]
        else:
            said = "" if self.thought_end else raw  # a thought that was cut is no answer
        result = self.read(request, said, sizes[0] if sizes else (1, 1), tokens=tokens, logprobs=logprobs)
        return dataclasses.replace(result, raw=raw)

    def read(self, request: Request, said: str, size: Size, **told: Any) -> Result:
        """The result that an answer, without the thought before it, says; `told` are its tokens and logprobs."""
        return _prompted.parse(request, said, self.codec, size, **told)

    def read_image_processor(self, folder: Path) -> Any:
        """As it was published: `size` may stand under older names, the type of the processor does not matter."""
        import json

        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

        raw = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
        known = {name: value for name, value in raw.items() if not name.endswith(("_type", "_class", "auto_map"))}
        size = dict(known.pop("size", None) or {})
        least = known.pop("min_pixels", None) or size.get("shortest_edge") or size.get("min_pixels")
        most = known.pop("max_pixels", None) or size.get("longest_edge") or size.get("max_pixels")
        bounds = {"shortest_edge": least or self.pixels[0], "longest_edge": most or self.pixels[1]}
        return Qwen2VLImageProcessorPil(size=bounds, **known)

    def _frame(self, merge: int) -> Resized:
        return Resized(self.pixels[0], self.pixels[1], self.patch * merge)


def _answer_start(tokens: Sequence[str]) -> int:
    """How many tokens there are up to the end of a thought, with the new lines after it."""
    tail, is_over = "", False
    for number, token in enumerate(tokens):
        if is_over and token.strip("ĊĠ"):
            return number
        is_over = is_over or _THOUGHT in tail + token
        tail = (tail + token)[-len(_THOUGHT) :]
    return len(tokens)


def _seen(found: Any) -> list[torch.Tensor]:
    """What the encoder gives: (tokens, hidden), and the same for each later layer that takes more."""
    import torch

    return [torch.cat(list(one)) for one in (found.pooler_output, *(getattr(found, "deepstack_features", None) or ()))]


def checked(size: Size) -> Size:
    """The size of a picture that this family can look at; a thinner one is an ImageError."""
    if max(size) > MOST_SHAPELESS * min(size):
        raise ImageError(
            f"the picture is {size[0]} x {size[1]} pixels; one side may be at most {MOST_SHAPELESS} times the other",
            hint="crop the picture",
        )
    return size


def tiny(family: QwenFamily, kind: Any, config: Any, *, text: dict[str, Any], vision: dict[str, Any]) -> Loaded:
    """A small random model: two layers of 32, with pictures of up to 64 tokens."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    tokenizer = tiny_tokenizer(SPECIAL_TOKENS, eos="<|im_end|>", pad="<|endoftext|>")
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
    sizes = {
        "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 32768, "initializer_range": 0.2,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2]},
        "bos_token_id": ids["<|endoftext|>"], "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"],
    }  # fmt: skip
    made = config(
        text_config={**sizes, **text}, vision_config={"depth": 2, "num_heads": 2, "initializer_range": 0.2, **vision},
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids[VISION_START], vision_end_token_id=ids[VISION_END], tie_word_embeddings=True,
    )  # fmt: skip
    cell = (2 * family.patch) ** 2
    pictures = Qwen2VLImageProcessorPil(
        size={"shortest_edge": 4 * cell, "longest_edge": 64 * cell}, patch_size=family.patch
    )
    with seeded():
        model = kind(made).eval()
    processor = HubProcessor(tokenizer, pictures)
    family.settle({}, processor)
    return Loaded(model, processor, family, "tiny")
