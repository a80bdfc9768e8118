"""From a request to what a decoder begins with: token ids, positions, features of images, and all of that by content.

A prompt's `symbols` are its token ids where there are words, and in the places of an image numbers made of its pixels
and of everything else that its features depend on. Two prompts whose first n symbols are equal have equal keys and
values for these n tokens; two images whose placeholders are equal have different symbols.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from imglish.core.errors import InputError
from imglish.core.results import Receipt
from imglish.core.types import Request
from imglish.engine._fast_looking import quick_looks
from imglish.engine.cache import Kind, kind_of
from imglish.families._base import Loaded, Seen
from imglish.families._hub import HubFamily, Row, View

_MASK = (1 << 63) - 1


@dataclass(eq=False)
class Item:
    """What is encoded at once: a picture, or a film."""

    key: tuple[Any, ...]
    count: int
    """Places that it takes in the prompt."""
    views: Callable[[], Sequence[View]]
    """Its pictures as the model takes them."""
    ready: tuple[Tensor, ...] | None = None
    """Its features, where they were made with the prompt."""
    fresh: bool = False
    """Whether they were made for this prompt, and nobody has taken them yet."""

    @property
    def number(self) -> int:
        """A number made of the key."""
        return int.from_bytes(hashlib.blake2b(repr(self.key).encode(), digest_size=8).digest()) & _MASK


@dataclass(eq=False)
class Prompt:
    """One request on its way. `kept` holds features; `hits` counts those that were there."""

    request: Request
    ids: Tensor
    places: Tensor
    positions: Tensor
    items: list[Item]
    receipt: Receipt
    kind: Kind
    regime: int = 0
    seen: Seen = field(default_factory=Seen)
    looked: int | None = None
    """How many of the images were known when the prompt was made, where they were looked at then."""
    symbols: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if int(self.places.sum()) != sum(item.count for item in self.items):
            raise InputError(
                f"the prompt has {int(self.places.sum())} places for images, and they fill "
                f"{sum(item.count for item in self.items)}"
            )
        symbols = self.ids.tolist()
        where = self.places.nonzero()[:, 0].tolist()
        start = 0
        for item in self.items:
            number = item.number
            for offset, place in enumerate(where[start : start + item.count]):
                symbols[place] = -1 - ((number + offset) & _MASK)
            start += item.count
        self.symbols = tuple(symbols)

    def __len__(self) -> int:
        return len(self.ids)

    def extended(self, ids: Sequence[int]) -> Prompt:
        """The same prompt with an answer's first tokens."""
        if not ids:
            return self
        more = torch.tensor(list(ids), device=self.ids.device)
        last = int(self.positions.max()) + 1 if len(self) else 0
        steps = torch.arange(last, last + len(more), device=self.ids.device)
        positions = torch.cat((self.positions, steps.expand(*self.positions.shape[:-1], -1)), dim=-1)
        none = torch.zeros(len(more), dtype=torch.bool, device=self.ids.device)
        return Prompt(
            self.request, torch.cat((self.ids, more)), torch.cat((self.places, none)), positions, self.items,
            self.receipt, self.kind, self.regime, self.seen, self.looked,
        )  # fmt: skip

    def shown(self, start: int) -> Iterator[tuple[Item, int]]:
        """Images that have a place among the tokens from `start` on, and how many of their places come before."""
        before = int(self.places[:start].sum())
        for item in self.items:
            if before < item.count:
                yield item, before
            before = max(before - item.count, 0)

    def embeddings(
        self, loaded: Loaded, start: int, kept: MutableMapping[Any, Any]
    ) -> tuple[Tensor, dict[str, Any], int]:
        """(embeddings (1, rest, hidden) of the tokens from `start` on, what else forward takes, images encoded for it).

        Only images that have a place there are looked at.
        """
        places = self.places[start:]
        embeds = loaded.model.get_input_embeddings()(self.ids[start:].masked_fill(places, 0))[None]
        found, encoded = [], 0
        for item, before in self.shown(start):
            features = kept.get(item.key) if item.ready is None else item.ready
            if features is None:
                ((_, features),) = look_at(loaded, [item])
                kept[item.key] = features
            encoded += item.fresh
            item.fresh = False
            found.append([one[before:] for one in features])
        if not found:
            return embeds, {}, encoded
        first, *deeper = (torch.cat(layer).to(embeds) for layer in zip(*found, strict=True))
        embeds = embeds.masked_scatter(places[None, :, None], first)
        more = {"visual_pos_masks": places[None], "deepstack_visual_embeds": deeper} if deeper else {}
        return embeds, more, encoded


def prompts(
    loaded: Loaded, requests: Sequence[Request], kept: MutableMapping[Any, Any], *, in_turn: bool = False
) -> list[Prompt]:
    """Prompts of opened requests. Raises InputError for one that is longer than the model reads.

    `in_turn`: each is looked at after those before it, so that a picture of several is looked at once.
    """
    kind = kind_of(loaded)
    family = loaded.family
    if isinstance(family, HubFamily):
        made = [_of_hub(loaded, family, request, kind, kept) for request in requests]
    elif in_turn:
        made = [prompt for request in requests for prompt in _of_bridge(loaded, [request], kind, kept)]
    else:
        made = _of_bridge(loaded, requests, kind, kept)
    most = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None)
    longest = max(len(prompt) for prompt in made)
    if most is not None and longest >= most:
        raise InputError(
            f"the prompt has {longest} tokens, and this model takes fewer than {most}",
            hint="give fewer images, a shorter text or a shorter conversation",
        )
    return made


def _of_hub(loaded: Loaded, family: HubFamily, request: Request, kind: Kind, kept: MutableMapping[Any, Any]) -> Prompt:
    row = family.row(loaded, request, kept=Under(kept, kind))
    ids = torch.tensor(row.ids, device=loaded.model.device)
    items, place = [], 0
    for views in family.items(row.views):
        count = sum(int(family.places(loaded, torch.tensor(list(v.ids))).sum()) for v in views if len(v.ids))
        key = (kind, *_key(views, row.digests[place : place + len(views)], row.frames[:1]))
        items.append(Item(key, count, _viewer(loaded, family, row, place, place + len(views))))
        place += len(views)
    return Prompt(
        request, ids, family.places(loaded, ids), family.positions(loaded, ids, row.views), items, row.receipt, kind,
        family.regime(loaded, len(ids)),
    )  # fmt: skip


def _viewer(loaded: Loaded, family: HubFamily, row: Row, first: int, last: int) -> Callable[[], list[View]]:
    def seen() -> list[View]:
        views = row.views[first:last]
        if not any(name.endswith("pixel_values") or name.startswith("pixel") for v in views for name in v.tensors):
            again = family.views(loaded, row.pictures, row.frames)
            views = [again[index] for index in row.order[first:last]]
        return views

    return seen


def look_at(loaded: Loaded, items: Sequence[Item]) -> list[tuple[Item, tuple[Tensor, ...]]]:
    """Items and what the encoder makes of them, all at once; several only where the family's pictures are alike."""
    views = [view for item in items for view in item.views()]
    with torch.inference_mode(), quick_looks(loaded.model):
        layers = loaded.family.features(loaded, views)  # type: ignore[attr-defined]  # only families of checkpoints
        parts = [layer.split([item.count for item in items]) for layer in layers]
        made = [tuple(part.clone() for part in one) for one in zip(*parts, strict=True)]
    for item in items:
        item.fresh = True
    return list(zip(items, made, strict=True))


def _key(views: Sequence[View], digests: Sequence[str], frames: Sequence[bool]) -> tuple[Any, ...]:
    """All that the features of these views depend on beside the model and its preprocessing."""
    small = [
        (name, tuple(tensor.flatten().tolist()))
        for view in views
        for name, tensor in sorted(view.tensors.items())
        if "pixel" not in name
    ]
    return tuple(digests), tuple((v.fitted, len(v.ids)) for v in views), tuple(small), tuple(frames)


def _of_bridge(loaded: Loaded, requests: Sequence[Request], kind: Kind, kept: MutableMapping[Any, Any]) -> list[Prompt]:
    """For a family that encodes a whole batch itself, in `look`."""
    family = loaded.family
    tensors, receipts = family.inputs(loaded, requests)
    tensors, seen = family.look(loaded, tensors, receipts, kept=Under(kept, kind))
    features = iter(tensors.get("image_features", ()))
    made: list[Prompt] = []
    for ids, mask, receipt, what in zip(tensors["input_ids"], tensors["attention_mask"], receipts, seen, strict=True):
        own = ids[mask.bool()]
        items = []
        for image in receipt.images:
            one = next(features)
            key = (kind, image.content_hash, image.frame is not None, len(one))
            items.append(Item(key, len(one), list, (one,)))
        places = own == loaded.model.config.image_token_id
        positions = torch.arange(len(own), device=own.device)
        request = requests[len(made)]
        made.append(Prompt(request, own, places, positions, items, receipt, kind, seen=what, looked=what.cache_hits))
    return made


class Under(MutableMapping[Any, Any]):
    """A mapping whose keys all stand under one more: nothing is found that was kept under another."""

    def __init__(self, kept: MutableMapping[Any, Any], under: Any) -> None:
        self.kept, self.under = kept, under

    def __getitem__(self, key: Any) -> Any:
        return self.kept[self.under, key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self.kept[self.under, key] = value

    def __delitem__(self, key: Any) -> None:
        del self.kept[self.under, key]

    def __iter__(self) -> Any:
        return (key[1] for key in self.kept if isinstance(key, tuple) and len(key) == 2 and key[0] == self.under)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, key: object) -> bool:
        return (self.under, key) in self.kept
