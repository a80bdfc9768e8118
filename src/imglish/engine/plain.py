"""The stepper that every family has: transformers' own forward, over rows that share what they have in common.

Sequences that begin with the same kept tokens stand side by side in one row, each of them sees those and its own, so
that thirty-two questions about one picture read its keys and values once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from imglish.engine._rows import Begun, Columns, Kept, Ledger, Place, Rows, adopted, gathered, leave
from imglish.engine.step import Past, Slot


class PlainStepper:
    """Steps a causal decoder: `model.model.language_model` with its head, or a whole causal language model.

    `two_way`: a prompt sees itself in both directions, near or far, as PaliGemma's does.
    """

    def __init__(self, model: Any, *, two_way: bool = False) -> None:
        self.model, self.two_way = model, two_way
        self.text, self.head = decoder_of(model)
        config = model.config.get_text_config()
        self.cap = getattr(config, "final_logit_softcapping", None) if self.head is not None else None
        kinds = set(getattr(config, "layer_types", None) or ())
        window = getattr(config, "sliding_window", None)
        self.window = window if window and (not kinds or "sliding_attention" in kinds) else None
        self.mixed = (self.window is not None and len(kinds) > 1) or (bool(kinds) and self._takes_kinds())
        self.kinds = kinds
        self.embedding = model.get_input_embeddings()

    def _takes_kinds(self) -> bool:
        """Whether the decoder takes one mask for each kind of layer; with one kind only it need not."""
        return self.window is not None

    @property
    def device(self) -> torch.device:
        """Where the decoder is."""
        device: torch.device = self.embedding.weight.device
        return device

    @torch.inference_mode()
    def prefill(
        self,
        tokens: Tensor,
        *,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        past: Past | None = None,
        **more: Any,
    ) -> tuple[Tensor, list[Slot]]:
        if past is not None and not isinstance(past, Begun):
            raise TypeError("this start is of another stepper")
        begun = past
        given = self.embedding(tokens) if tokens.dim() == 2 else tokens
        first = 0 if begun is None else begun.position
        lengths = [given.shape[1]] * len(given) if mask is None else mask.sum(1).tolist()
        rows = [row[given.shape[1] - n :] for row, n in zip(given, lengths, strict=True)]
        if positions is None:
            places = [torch.arange(first, first + n, device=given.device) for n in lengths]
        else:
            places = [positions[..., row, given.shape[1] - n :] for row, n in enumerate(lengths)]
        root = begun.kept if begun is not None and begun.length else None
        slots = [Place(0, 0, root, 0 if begun is None else begun.length) for _ in rows]
        for slot in slots:
            slot.length = slot.shared
            slot.encoded = None if begun is None else begun.kept.encoded
        buffer = gathered(slots, given.device)
        logits = self._run(buffer, slots, rows, places, last=True, both=self.two_way, **more)
        return torch.stack([one[-1] for one in logits]), list(slots)

    @torch.inference_mode()
    def step(self, tokens: Tensor, slots: Sequence[Slot]) -> Tensor:
        return torch.stack([one[-1] for one in self._more(tokens[:, None].to(self.device), slots, last=True)])

    @torch.inference_mode()
    def extend(self, tokens: Sequence[Sequence[int]], slots: Sequence[Slot]) -> list[Tensor]:
        return self._more([torch.tensor(one, device=self.device) for one in tokens], slots, last=False)

    @torch.inference_mode()
    def fork(self, slot: Slot, count: int = 1) -> list[Slot]:
        kept = self.past(slot).kept
        one = _place(slot)
        return [Place(one.length, one.position, kept, one.length, encoded=one.encoded) for _ in range(count)]

    @torch.inference_mode()
    def rewind(self, slot: Slot, length: int, position: int) -> None:
        one = _place(slot)
        if one.rows is not None:
            numbers = one.rows.index[one.number]
            numbers[numbers >= length] = -1
        one.length, one.position, one.shared = length, position, min(one.shared, length)

    @torch.inference_mode()
    def past(self, slot: Slot) -> Begun:
        one = _place(slot)
        if one.root is not None and one.shared >= one.length:
            return Begun(one.root, one.length, one.position)
        if one.rows is None:
            raise ValueError("this slot was dropped")
        buffer, row = one.rows, one.rows.row_of[one.number]
        columns = buffer.own(one, 0)
        alone = len(buffer.used) == 1 and bool((columns == torch.arange(one.length, device=columns.device)).all())
        keys, values = (
            [layer[row : row + 1, :, : one.length] if alone else layer[row : row + 1, :, columns] for layer in layers]
            for layers in (buffer.keys, buffer.values)
        )
        one.root, one.shared = Kept(keys, values, encoded=one.encoded), one.length
        return Begun(one.root, one.length, one.position)

    def drop(self, slots: Sequence[Slot]) -> None:
        for slot in slots:
            leave(_place(slot))
            _place(slot).root = None

    def _more(self, tokens: Any, slots: Sequence[Slot], *, last: bool) -> list[Tensor]:
        places = [_place(slot) for slot in slots]
        given = [self.embedding(one) for one in tokens]
        steps = [
            torch.arange(p.position, p.position + len(g), device=g.device) for p, g in zip(places, given, strict=True)
        ]
        buffer = self._together(places)
        return self._run(buffer, places, given, steps, last=last)

    def _together(self, places: list[Place]) -> Rows:
        """The buffer that has just these places, made where there is none."""
        largest = max((p.rows for p in places if p.rows is not None), key=lambda rows: len(rows.alive), default=None)
        here = {id(place) for place in places}
        if largest is None or not {id(place) for place in largest.alive} <= here:
            return gathered(places, self.device)
        if all(place.rows is largest or adopted(largest, place) for place in places) and not largest.wasted():
            return largest
        return gathered(places, self.device)

    def _run(
        self,
        buffer: Rows,
        places: Sequence[Place],
        given: Sequence[Tensor],
        steps: Sequence[Tensor],
        *,
        last: bool,
        both: bool = False,
        **more: Any,
    ) -> list[Tensor]:
        """Logits of each place's new tokens: of the last only, or of all. `both`: they also see those after them."""
        starts = [0] * len(places)
        counts = [0] * len(buffer.used)
        for n, (place, one) in enumerate(zip(places, given, strict=True)):
            row = buffer.row_of[place.number]
            starts[n] = counts[row]
            counts[row] += len(one)
        longest = max(counts)
        buffer.reserve(max(u + c for u, c in zip(buffer.used, counts, strict=True)))
        device = given[0].device
        embeds = given[0].new_zeros(len(counts), longest, given[0].shape[-1])
        wide = steps[0].dim() == 2 or any(step.dim() == 2 for step in steps)
        positions = torch.zeros((*((3,) if wide else ()), len(counts), longest), dtype=torch.long, device=device)
        row_i: list[int] = []
        token_i: list[int] = []
        column_i: list[int] = []
        for place, one, step, start in zip(places, given, steps, starts, strict=True):
            row, end = buffer.row_of[place.number], start + len(one)
            embeds[row, start:end] = one
            positions[..., row, start:end] = step
            first = buffer.used[row] + start
            buffer.index[place.number, first : first + len(one)] = torch.arange(
                place.length, place.length + len(one), device=device
            )
            row_i += [row] * len(one)
            token_i += range(start, end)
            column_i += range(first, first + len(one))
        columns = self._columns(buffer, counts, longest, row_i, token_i, column_i)
        mask = self._mask(buffer, places, given, starts, columns, (len(counts), longest), embeds.dtype, both)
        ends = sorted({start + len(one) - 1 for one, start in zip(given, starts, strict=True)})
        keep = torch.tensor(ends if last else range(longest), device=device)
        logits = self.forward(buffer, embeds, positions, mask, Ledger(buffer, columns), keep, **more)
        found = []
        for place, one, step, start in zip(places, given, steps, starts, strict=True):
            row, end = buffer.row_of[place.number], start + len(one)
            found.append(logits[row, ends.index(end - 1)][None] if last else logits[row, start:end])
            place.length += len(one)
            place.position = int(step.max()) + 1
        for row, count in enumerate(counts):
            buffer.used[row] += count
        return [one.float() for one in found]

    def _columns(
        self, buffer: Rows, counts: list[int], longest: int, row: list[int], token: list[int], column: list[int]
    ) -> Columns:
        device = buffer.index.device
        even = len(set(buffer.used)) == 1
        fresh = even and buffer.used[0] == 0 and not buffer.keys
        most = max(u + c for u, c in zip(buffer.used, counts, strict=True))
        start = buffer.used[0] if even and (fresh or all(count == longest for count in counts)) else None
        if start is not None:
            none = torch.empty(0, dtype=torch.long, device=device)
            return Columns(none, none, none, most, start, fresh)
        rows, tokens, places = (torch.tensor(one, device=device) for one in (row, token, column))
        return Columns(rows, tokens, places, most)

    def _mask(
        self, buffer: Rows, places: Sequence[Place], given: Sequence[Tensor], starts: Sequence[int], columns: Columns,
        shape: tuple[int, int], dtype: torch.dtype, both: bool,
    ) -> Any:  # fmt: skip
        """What each new token sees, added to the scores: (rows, 1, new, columns); None where that is all before it."""
        window = self.window if self.window is not None and columns.most > self.window else None
        simple = columns.fresh and not both and len(places) == len(buffer.used)
        alone = len(places) == 1 == len(buffer.used) and shape[1] == 1 and columns.most == places[0].length + 1
        if (simple or alone) and window is None:
            return None
        least = torch.finfo(dtype).min
        mask = torch.full((shape[0], 1, shape[1], columns.most), 0.0, dtype=dtype, device=buffer.index.device)
        near = mask.clone() if window is not None else None
        for place, one, start in zip(places, given, starts, strict=True):
            row = buffer.row_of[place.number]
            own = buffer.index[place.number, : columns.most]
            now = torch.arange(place.length, place.length + len(one), device=own.device)[:, None]
            seen = (own >= 0) if both else (own >= 0) & (own <= now)
            area = (row, 0, slice(start, start + len(one)))
            mask[area] = mask[area].masked_fill(~seen, least)
            if near is not None and window is not None:
                close = seen if both else seen & (own > now - window)
                near[area] = near[area].masked_fill(~close, least)
        if near is None:
            return mask
        return {"full_attention": mask, "sliding_attention": near} if self.kinds else near

    def forward(
        self, buffer: Rows, embeds: Tensor, positions: Tensor, mask: Any, ledger: Ledger, keep: Tensor, **more: Any
    ) -> Tensor:
        """Logits (rows, kept, vocab) of the tokens in the places `keep` of each row."""
        told = {
            "inputs_embeds": embeds, "attention_mask": mask, "position_ids": positions, "past_key_values": ledger,
            "use_cache": True, **more,
        }  # fmt: skip
        if self.head is None:
            logits: Tensor = self.text(**told, logits_to_keep=keep).logits
            return logits
        hidden = self.text(**told).last_hidden_state[:, keep]
        logits = self.head(hidden)
        return logits if self.cap is None else torch.tanh(logits / self.cap) * self.cap


def decoder_of(model: Any) -> tuple[Any, Any]:
    """(the decoder, its head), or (a causal language model that takes embeddings, None)."""
    inner = getattr(getattr(model, "model", None), "language_model", None)
    if inner is not None:
        return inner, model.get_output_embeddings()
    return getattr(model, "text_model", model), None


def _place(slot: Slot) -> Place:
    if not isinstance(slot, Place):
        raise TypeError("this slot is of another stepper")
    return slot
