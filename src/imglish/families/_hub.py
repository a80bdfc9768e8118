"""What families of published checkpoints share: from a request to tensors, and from a folder to a model.

The prompt is one string in which each image is `image_token` once. It is encoded by the checkpoint's own tokenizer, so
that its ids equal those of the reference's processor; then each image id becomes the ids that stand for that image.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from imglish.core.errors import CheckpointError, InputError
from imglish.core.frames import Fitted
from imglish.core.images import content_hash
from imglish.core.results import ImageReceipt, Receipt
from imglish.core.types import Request, Sample, Size
from imglish.families._base import Control, Family, Frames, Loaded, Picture, Piece, Plain, plain_ids, request_images
from imglish.families._tiny import HubProcessor

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from transformers import PretrainedConfig

    from imglish.families._card import Card


@dataclass(frozen=True)
class View:
    """One image as its model sees it: where its pixels went, the token ids that stand for it, its tensors."""

    fitted: Fitted
    ids: Sequence[int]
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    tiles: int = 1

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors and ids."""
        return 8 * len(self.ids) + sum(tensor.nbytes for tensor in self.tensors.values())


@dataclass(frozen=True)
class Row:
    """One request: its token ids, the views in the order they stand there, and the hash of each one's picture."""

    ids: list[int]
    views: list[View]
    receipt: Receipt
    digests: list[str]
    order: list[int]
    pictures: list[Image.Image]
    frames: list[bool]


class HubFamily(Family):
    """A family of checkpoints that somebody else trained."""

    native: ClassVar[bool] = True  # decoded by the model's own `generate`
    also: ClassVar[tuple[str, ...]] = ()  # other model_types of this family: older layouts
    prompted: ClassVar[frozenset[str]] = frozenset()  # skills that it was not trained for and is told in words
    model_class: ClassVar[str]
    image_processor_class: ClassVar[str]
    special_frame: ClassVar[bool] = True  # whether the tokenizer puts its own <s> and </s> around a prompt
    apart: ClassVar[bool] = False  # whether the text between images is encoded chunk by chunk, as the reference does
    two_way: ClassVar[bool] = False  # whether a prompt sees itself in both directions: no part of it stands for itself
    together: ClassVar[int] = 1  # pictures of several prompts that are encoded at once: all of one size, and small
    generation: ClassVar[Mapping[str, Any]] = {}  # where the checkpoint says nothing else
    lora_targets: ClassVar[tuple[str, ...]] = ("q_proj", "k_proj", "v_proj", "o_proj")
    checkpoints: ClassVar[tuple[Card, ...]] = ()
    pitfalls: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def see(self, loaded: Loaded, picture: Image.Image) -> View:
        """One image as the model sees it."""

    @abstractmethod
    def image_tokens(self, loaded: Loaded, size: Size) -> int:
        """How many tokens an image of this size takes in the prompt."""

    def views(self, loaded: Loaded, pictures: Sequence[Image.Image], frames: Sequence[bool]) -> list[View]:
        """All images of one request; `frames` says which belong to a video."""
        return [self.see(loaded, picture) for picture in pictures]

    def join(self, loaded: Loaded, views: Sequence[View]) -> dict[str, torch.Tensor]:
        """The image tensors of a batch, in the order of the prompts."""
        import torch

        names = views[0].tensors if views else {}
        return {name: torch.cat([view.tensors[name] for view in views]) for name in names}

    def complete(self, loaded: Loaded, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What else the model's forward needs, made of the batch's own tensors."""
        return tensors

    def row(self, loaded: Loaded, request: Request, *, kept: MutableMapping[Any, Any] | None = None) -> Row:
        """One request as token ids and views. Views that are `kept` by what their pictures show are not made again.

        What is kept has no pixels: it says how long a picture is and where its pixels went.
        """
        pictures, frames = request_images(request)
        digests = [content_hash(picture) for picture in pictures]
        key = ("views", tuple(digests), tuple(frames))
        views = kept.get(key) if kept is not None and not any(frames) else None
        if views is None:
            views = self.views(loaded, pictures, frames)
            if kept is not None and not any(frames):
                kept[key] = tuple(_light(view) for view in views)
        views = list(views)
        ids, order = self.encode(loaded, self.prompt(request, [picture.size for picture in pictures]), views)
        seen = tuple(
            _receipt(picture, view, frame, digest)
            for picture, view, frame, digest in zip(pictures, views, _numbered(frames), digests, strict=True)
        )
        receipt = Receipt(
            self.name, loaded.checkpoint, seen, prompt_tokens=len(ids), prompted=request.skill in self.prompted
        )
        return Row(ids, [views[i] for i in order], receipt, [digests[i] for i in order], order, pictures, frames)

    def items(self, views: Sequence[View]) -> list[list[View]]:
        """Views that are encoded together: a picture each, or all frames of a film."""
        return [[view] for view in views]

    def places(self, loaded: Loaded, ids: torch.Tensor) -> torch.Tensor:
        """Of a prompt's `ids` (length,), which are not words but features of images: (length,) bool."""
        return ids == loaded.tokenizer.convert_tokens_to_ids(self.image_token)

    def features(self, loaded: Loaded, views: Sequence[View]) -> list[torch.Tensor]:
        """What the encoder makes of one item: (places, hidden), and for some what is added in later layers."""
        import torch

        tensors = self.join(loaded, views)
        look = getattr(loaded.model, "get_image_features", None) or loaded.model.model.get_image_features
        found = look(**self.on_device(loaded, tensors), return_dict=True).pooler_output
        rows = list(found) if isinstance(found, (list, tuple)) else [found]
        return [torch.cat([row.reshape(-1, row.shape[-1]) for row in rows])]

    def positions(self, loaded: Loaded, ids: torch.Tensor, views: Sequence[View]) -> torch.Tensor:
        """Positions of a prompt's tokens: (length,), or (3, length) for M-RoPE."""
        import torch

        return torch.arange(len(ids), device=ids.device)

    def regime(self, loaded: Loaded, length: int) -> int:
        """Texts of different regimes share no keys: some decoders turn them otherwise where the text is long."""
        return 0

    def on_device(self, loaded: Loaded, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The tensors where the model is, and in its precision."""
        kind = loaded.model.dtype
        return {
            name: tensor.to(loaded.model.device, kind if tensor.is_floating_point() else None)
            for name, tensor in tensors.items()
        }

    def config(self, raw: Mapping[str, Any]) -> PretrainedConfig:
        """The configuration of a config.json, older layouts included. Code that it names is never run."""
        known = {name: value for name, value in raw.items() if name != "auto_map"}
        config: PretrainedConfig = self.model_kind().config_class.from_dict(known)
        return config

    def model_kind(self) -> Any:
        """The class of the model: transformers' own, or ours where it has none."""
        import transformers

        return getattr(transformers, self.model_class)

    def rename(self, tensors: dict[str, torch.Tensor], config: PretrainedConfig) -> dict[str, torch.Tensor] | None:
        """Weights of an older layout under the names of this one; None where transformers reads the layout itself."""
        return None

    def settle(self, raw: Mapping[str, Any], processor: HubProcessor) -> None:
        """Takes over what differs between checkpoints of this family: the chat template, limits."""

    def read_tokenizer(self, folder: Path) -> Any:
        """The checkpoint's tokenizer."""
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)

    def read_image_processor(self, folder: Path) -> Any:
        """The checkpoint's image processor."""
        import transformers

        return getattr(transformers, self.image_processor_class).from_pretrained(folder, local_files_only=True)

    def load(self, checkpoint: str, *, device: str, dtype: str, revision: str | None = None) -> Loaded:
        import json

        from imglish.families._weights import load_weights

        folder = Path(checkpoint)
        raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config = self.config(raw)
        try:
            processor = HubProcessor(self.read_tokenizer(folder), self.read_image_processor(folder))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"cannot read the tokenizer or the image processor in {folder}: {error}") from error
        self.settle(raw, processor)
        renames = type(self).rename is not HubFamily.rename
        rename = (lambda tensors: self.rename(tensors, config)) if renames else None
        model = load_weights(self.model_kind(), folder, config=config, dtype=dtype, rename=rename)
        return Loaded(model.to(device).eval(), processor, self, checkpoint)

    def inputs(self, loaded: Loaded, requests: Sequence[Request]) -> tuple[dict[str, Any], list[Receipt]]:
        rows, shown, receipts = self._rows(loaded, requests)
        return self._tensors(loaded, rows, shown), receipts

    def taught(self, loaded: Loaded, samples: Sequence[Sample]) -> dict[str, Any]:
        """Tensors of samples with their answers; `labels` are -100 wherever the model is not to learn to write."""
        import torch

        rows, shown, _ = self._rows(loaded, [sample.request() for sample in samples])
        answers = [self.answer_ids(loaded, sample) for sample in samples]
        if loaded.model.config.is_encoder_decoder:
            longest = max(map(len, answers))
            labels = [answer + [-100] * (longest - len(answer)) for answer in answers]
            return {**self._tensors(loaded, rows, shown), "labels": torch.tensor(labels, device=loaded.model.device)}
        whole = [row + answer for row, answer in zip(rows, answers, strict=True)]
        longest = max(map(len, whole))
        labels = [[-100] * (longest - len(answer)) + answer for answer in answers]
        return {**self._tensors(loaded, whole, shown), "labels": torch.tensor(labels, device=loaded.model.device)}

    def answer_ids(self, loaded: Loaded, sample: Sample) -> list[int]:
        """Token ids of the sample's answer, with the end token."""
        text = self.text(self.answer(sample))
        ids = list(loaded.tokenizer(text, add_special_tokens=False)["input_ids"])
        return [*ids, loaded.tokenizer.convert_tokens_to_ids(self.stop[0])]

    def _rows(self, loaded: Loaded, requests: Sequence[Request]) -> tuple[list[list[int]], list[View], list[Receipt]]:
        """(token ids of each request, views of all images in the order they stand there, receipts)."""
        rows: list[list[int]] = []
        shown: list[View] = []
        receipts: list[Receipt] = []
        for request in requests:
            row = self.row(loaded, request)
            rows.append(row.ids)
            shown += row.views
            receipts.append(row.receipt)
        return rows, shown, receipts

    def _tensors(self, loaded: Loaded, rows: Sequence[Sequence[int]], views: Sequence[View]) -> dict[str, Any]:
        import torch

        longest = max(map(len, rows))
        pad = loaded.tokenizer.pad_token_id
        pad = loaded.tokenizer.eos_token_id if pad is None else pad
        ids = torch.tensor([[pad] * (longest - len(row)) + list(row) for row in rows])
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
        tensors = self.complete(loaded, {"input_ids": ids, "attention_mask": mask, **self.join(loaded, views)})
        return self.on_device(loaded, tensors)

    def encode(self, loaded: Loaded, pieces: Sequence[Piece], views: Sequence[View]) -> tuple[list[int], list[int]]:
        """(token ids of a prompt with its images, indices of the images in the order they stand there)."""
        tokenizer = loaded.tokenizer
        order = [i for piece in pieces for i in _indices(piece)]
        image = tokenizer.convert_tokens_to_ids(self.image_token)
        powers = sorted(tokenizer.get_added_vocab(), key=len, reverse=True)
        typed = [piece.text for piece in pieces if isinstance(piece, Plain)]
        if self.apart:
            ids = self._chunks(tokenizer, pieces, image)
        elif any(power in text for text in typed for power in powers):
            ids = self._piecewise(tokenizer, pieces, powers)
        else:
            ids = list(tokenizer(self.text(pieces), add_special_tokens=self.special_frame)["input_ids"])
        count = ids.count(image)
        if count != len(order):
            raise InputError(f"the prompt has {count} places for images, and there are {len(order)} images")
        shown = iter(order)
        return [token for one in ids for token in (views[next(shown)].ids if one == image else (one,))], order

    def text(self, pieces: Sequence[Piece]) -> str:
        """The prompt as one string, each image written as `image_token` once."""
        return "".join(
            piece.text if isinstance(piece, (Control, Plain)) else self.image_token * len(_indices(piece))
            for piece in pieces
        )

    def _piecewise(self, tokenizer: Any, pieces: Sequence[Piece], powers: Sequence[str]) -> list[int]:
        """Ids of a prompt in which somebody typed the spelling of a special token: it gets no power."""
        ids: list[int] = []
        for piece in pieces:
            if isinstance(piece, Plain):
                ids += powerless(tokenizer, piece.text, powers)
            else:
                ids += tokenizer(self.text([piece]), add_special_tokens=False)["input_ids"]
        if not self.special_frame:
            return ids
        around = list(tokenizer("")["input_ids"])
        first = next((n for n, token in enumerate(around) if token == tokenizer.eos_token_id), len(around))
        return around[:first] + ids + around[first:]

    def _chunks(self, tokenizer: Any, pieces: Sequence[Piece], image: int) -> list[int]:
        """Ids where every stretch of text between images is encoded for itself."""
        powers = sorted(tokenizer.get_added_vocab(), key=len, reverse=True)
        ids: list[int] = []
        chunk: list[Piece] = []
        for piece in [*pieces, Frames(())]:
            if isinstance(piece, (Control, Plain)):
                chunk.append(piece)
                continue
            typed = [one.text for one in chunk if isinstance(one, Plain)]
            if any(power in text for text in typed for power in powers):
                ids += self._piecewise(tokenizer, chunk, powers)
            elif chunk:
                ids += tokenizer(self.text(chunk), add_special_tokens=self.special_frame)["input_ids"]
            ids += [image] * len(_indices(piece))
            chunk = []
        return ids


def powerless(tokenizer: Any, text: str, powers: Sequence[str]) -> list[int]:
    """Ids of a person's text in which no added token is recognised, special or not."""
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    ids = plain_ids(backend, text)
    backend.encode_special_tokens = False
    given = {tokenizer.convert_tokens_to_ids(power) for power in powers}
    found = next((power for power in powers if power in text), None)
    if found is None or not given & set(ids):
        return ids
    cut = text.index(found) + 1  # a spelling cut in two is no spelling
    return powerless(tokenizer, text[:cut], powers) + powerless(tokenizer, text[cut:], powers)


def _indices(piece: Piece) -> tuple[int, ...]:
    if isinstance(piece, Picture):
        return (piece.index,)
    return piece.indices if isinstance(piece, Frames) else ()


def _numbered(frames: Sequence[bool]) -> list[int | None]:
    numbers = iter(range(len(frames)))
    return [next(numbers) if frame else None for frame in frames]


def _light(view: View) -> View:
    """The view without its pixels."""
    small = {name: tensor for name, tensor in view.tensors.items() if not name.startswith("pixel")}
    return dataclasses.replace(view, tensors={n: t for n, t in small.items() if not n.endswith("pixel_values")})


def _receipt(picture: Image.Image, view: View, frame: int | None, digest: str) -> ImageReceipt:
    fitted = view.fitted
    return ImageReceipt(
        original_size=picture.size, model_size=fitted.size, scale=fitted.scale, pad=fitted.pad, tiles=view.tiles,
        image_tokens=len(view.ids), content_hash=digest, frame=frame,
    )  # fmt: skip
