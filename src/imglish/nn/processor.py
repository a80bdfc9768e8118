"""What goes into a bridge: pictures as a letterboxed frame, text as tokens with room for the pictures' features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from transformers import BatchFeature, PreTrainedTokenizerBase
from transformers.image_processing_utils import BaseImageProcessor
from transformers.processing_utils import ProcessorMixin

from imglish.core.codecs import Fitted, Pad
from imglish.core.errors import InputError
from imglish.core.types import Size
from imglish.nn.config import BridgeConfig

Piece = tuple[str, bool]  # a piece of text, and whether special tokens in it have power
ANCHORS = ("centre", "corner")
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


class LetterboxProcessor(BaseImageProcessor):
    """Fits a picture whole into a frame of `image_size` (width, height), fills the rest, and normalises.

    The frame and its defaults are those of `codecs.Pad`; `image_mean` and `image_std` are per channel, of values from
    0 to 1. Pictures are PIL images; opening files, orientation and transparency are the work of `core.images`.
    """

    model_input_names = ("pixel_values",)

    def __init__(
        self,
        image_size: Sequence[int] = (192, 192),
        image_mean: Sequence[float] = (0.5, 0.5, 0.5),
        image_std: Sequence[float] = (0.5, 0.5, 0.5),
        anchor: str = "centre",
        fill: Sequence[int] = (127, 127, 127),
        resample: str = "bicubic",
        **kwargs: Any,
    ) -> None:
        kwargs.pop("image_processor_type", None)
        super().__init__(**kwargs)
        for name, value, allowed in (("resample", resample, FILTERS), ("anchor", anchor, ANCHORS)):
            if value not in allowed:
                raise InputError(f"{name} is {value!r}; allowed are {', '.join(allowed)}")
        self.image_size, self.image_mean, self.image_std = list(image_size), list(image_mean), list(image_std)
        self.anchor, self.fill, self.resample = anchor, list(fill), resample

    def fit(self, size: Size) -> Fitted:
        """Where a picture of that size lies in the frame."""
        anchor: Any = self.anchor
        return Pad((self.image_size[0], self.image_size[1]), anchor).fit(size)

    def frame(self, image: Image.Image) -> Image.Image:
        """The picture as the model sees it, before normalisation."""
        red, green, blue = self.fill
        picture = image.convert("RGB")
        return self.fit(image.size).apply(picture, fill=(red, green, blue), resample=FILTERS[self.resample])

    def normalise(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Frames (images, height, width, 3) of bytes as pixel values (images, 3, height, width)."""
        mean, std = (np.array(value, np.float32) * 255 for value in (self.image_mean, self.image_std))
        return np.ascontiguousarray(((frames - mean) / std).transpose(0, 3, 1, 2), np.float32)

    def preprocess(self, images: Any, return_tensors: str | None = None, **kwargs: Any) -> BatchFeature:
        """`pixel_values` (images, 3, height, width) of one picture or a list of them."""
        if kwargs:
            raise InputError(f"unknown options for pictures: {', '.join(sorted(kwargs))}")
        pictures = [images] if isinstance(images, Image.Image) else list(images)
        frames = np.stack([np.asarray(self.frame(picture)) for picture in pictures])
        return BatchFeature({"pixel_values": self.normalise(frames)}, tensor_type=return_tensors)


class BridgeProcessor(ProcessorMixin):
    """Text and pictures to the arguments of a bridge's `forward`.

    Every `<image>` placeholder becomes `image_tokens` tokens, or `frame_tokens` where the picture is a video's frame.
    """

    def __init__(
        self,
        image_processor: LetterboxProcessor,
        tokenizer: PreTrainedTokenizerBase,
        image_tokens: int = 1,
        frame_tokens: int | None = None,
        image_token: str = "<image>",
        chat_template: str | None = None,
    ) -> None:
        super().__init__(image_processor, tokenizer, chat_template=chat_template)
        self.image_tokens, self.frame_tokens, self.image_token = image_tokens, frame_tokens, image_token
        self.image_token_id: int = tokenizer.convert_tokens_to_ids(image_token)
        if image_token not in tokenizer.get_vocab():
            raise InputError(
                f"the tokenizer has no token {image_token!r}",
                hint=f"tokenizer.add_special_tokens({{'additional_special_tokens': [{image_token!r}]}})",
            )

    @classmethod
    def for_bridge(
        cls, config: BridgeConfig, tokenizer: PreTrainedTokenizerBase, *, image_token: str = "<image>", **options: Any
    ) -> BridgeProcessor:
        """A processor for that configuration; `options` are those of LetterboxProcessor.

        `image_size` is needed where the configuration of the vision encoder does not tell it.
        """
        if "image_size" not in options:
            if getattr(config.vision_config, "image_size", None) is None:
                kind = getattr(config.vision_config, "model_type", "")
                raise InputError(
                    f"the configuration of {kind!r} does not tell the size of its pictures",
                    hint="give image_size=(width, height)",
                )
            options["image_size"] = config.image_size
        image_processor = LetterboxProcessor(**options)
        return cls(image_processor, tokenizer, config.image_tokens, config.frame_tokens, image_token)

    @property
    def model_input_names(self) -> list[str]:
        """What `__call__` gives."""
        return ["input_ids", "attention_mask", "pixel_values", "frame_mask"]

    def encode_pieces(self, pieces: Sequence[Piece]) -> list[int]:
        """Token ids of (text, is_control) pieces; added tokens in a piece that is no control are plain text."""
        ids: list[int] = []
        for text, is_control in pieces:
            if is_control:
                ids += self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=False)
            else:
                ids += self._encode_plain(text)
        return ids

    def _encode_plain(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        if not set(ids) & self.tokenizer.added_tokens_decoder.keys():
            return ids
        # some added tokens are not called special and were found all the same: run the pipeline without any
        backend = self.tokenizer.backend_tokenizer
        text = backend.normalizer.normalize_str(text) if backend.normalizer else text
        words = [word for word, _ in backend.pre_tokenizer.pre_tokenize_str(text)] if backend.pre_tokenizer else [text]
        return [token.id for word in words for token in backend.model.tokenize(word)]

    def __call__(
        self,
        text: str | Sequence[str | Sequence[Piece]],
        images: Any = None,
        frame_mask: Sequence[bool] | None = None,
        *,
        padding: bool | Literal["longest"] = True,
        padding_side: str = "left",
        return_tensors: str | None = "pt",
    ) -> BatchFeature:
        """One row per text: `input_ids`, `attention_mask`, and of all pictures in reading order `pixel_values`.

        A text is a string, in which special tokens have power, or (text, is_control) pieces. `images` is flat, or one
        list per row; `frame_mask` says of every picture whether it is a frame of a video. Rows are padded to the
        longest; with `padding` False they must be equally long.
        Raises InputError with both counts where placeholders and pictures are not as many.
        """
        texts = [text] if isinstance(text, str) else list(text)
        rows = [self.encode_pieces([(item, True)] if isinstance(item, str) else item) for item in texts]
        pictures = _flat(images)
        is_frame = [False] * len(pictures) if frame_mask is None else [bool(value) for value in frame_mask]
        places = sum(row.count(self.image_token_id) for row in rows)
        if places != len(pictures) or len(is_frame) != len(pictures):
            raise InputError(
                f"the text has {places} {self.image_token} placeholders, and {len(pictures)} images were given"
                + (f" with a frame_mask of {len(is_frame)}" if len(is_frame) != len(pictures) else ""),
                hint="write one placeholder per image, in the order of the images",
            )
        counts = iter(self.tokens_of(frame) for frame in is_frame)
        rows = [[token for item in row for token in self._expand(item, counts)] for row in rows]
        if padding not in (True, "longest") and (padding is not False or len({len(row) for row in rows}) > 1):
            raise InputError(
                f"padding is {padding!r}, and the rows have {', '.join(str(len(row)) for row in rows[:8])} tokens",
                hint='padding=True (or "longest") makes them equally long',
            )
        data = self._pad(rows, padding_side)
        if pictures:
            data.update(self.image_processor(pictures))
        if any(is_frame):
            data["frame_mask"] = np.array(is_frame)
        return BatchFeature(data, tensor_type=return_tensors)

    def tokens_of(self, is_frame: bool = False) -> int:
        """How many tokens stand for one picture, or for one frame of a video."""
        return self.frame_tokens if is_frame and self.frame_tokens is not None else self.image_tokens

    def _expand(self, token: int, counts: Any) -> list[int]:
        return [token] * next(counts) if token == self.image_token_id else [token]

    def _pad(self, rows: list[list[int]], side: str) -> dict[str, Any]:
        longest = max(map(len, rows))
        pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else 0
        ids = np.full((len(rows), longest), pad, np.int64)
        mask = np.zeros_like(ids)
        for index, row in enumerate(rows):
            place = slice(longest - len(row), longest) if side == "left" else slice(len(row))
            ids[index, place], mask[index, place] = row, 1
        return {"input_ids": ids, "attention_mask": mask}


def _flat(images: Any) -> list[Image.Image]:
    if images is None:
        return []
    if isinstance(images, Image.Image):
        return [images]
    return [picture for item in images for picture in _flat(item)]
