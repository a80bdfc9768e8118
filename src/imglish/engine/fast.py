"""The lean stepper: decoders like Llama's and Qwen2's stepped as plain functions, with the logits of transformers.

What transformers does again at every token (modules within modules, masks, growing caches) is done once here. Where
a decoder is of another kind, has LoRA on it or hooks in it, `lean` gives None, and `PlainStepper` does its work.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor
from transformers import DynamicCache

from imglish.engine import _fast_choice as choice
from imglish.engine._branches import Branches
from imglish.engine._fast_branches import Tree
from imglish.engine._fast_layers import Work, run
from imglish.engine._fast_native import Native, native
from imglish.engine._fast_rows import Group, Prefix, Row
from imglish.engine._fast_turn import Angles
from imglish.engine._fast_weights import FORGOTTEN, Decoder, NotLean, read, stamp, went_away
from imglish.engine.step import Past, Slot

AT_ONCE = 2048  # tokens that compiled code reads in one call

_read: weakref.WeakKeyDictionary[Any, Decoder] = weakref.WeakKeyDictionary()


def lean(model: Any, *, two_way: bool = False) -> LeanStepper | None:
    """A lean stepper of this model, or None where its decoder does not qualify now.

    `two_way`: a prompt without a past sees itself in both directions, as PaliGemma's does. Weights are read again
    when they have changed; ask anew for each request or batch, a stepper is not told.
    """
    try:
        known = _read.get(model)
        if known is None or known.stamp != stamp(model):
            _read[model] = known = read(model, known if known and known.stamp == FORGOTTEN else None)
    except NotLean:
        if went_away(model, _read.get(model)):
            _read.pop(model, None)  # or weights would stay where the model is not any more
        return None
    if two_way and any(layer.window is not None for layer in known.layers):
        return None
    return LeanStepper(known, two_way=two_way)


def forget(model: Any) -> None:
    """What is known of a model's weights is read again: they were written to where nobody sees it."""
    if model in _read:
        _read[model] = replace(_read[model], stamp=FORGOTTEN)


class LeanStepper:
    """Rows of one decoder. The methods are those of `imglish.engine.step.Stepper`."""

    def __init__(self, decoder: Decoder, *, two_way: bool = False) -> None:
        self.decoder, self.two_way = decoder, two_way
        self.queries = decoder.heads // decoder.key_heads
        kind, self.attention = choice.attention_of(
            str(decoder.device), decoder.body.dtype, decoder.key_heads, self.queries, decoder.size,
            len(decoder.layers),
        )  # fmt: skip
        own = cast("Decoder", weakref.proxy(decoder))  # or both would stay until somebody looks for circles
        self.angles = decoder.angles.setdefault(kind, Angles(own, kind))  # its table is made once
        self.like = torch.empty(
            len(decoder.layers), decoder.key_heads, 0, decoder.size, dtype=kind, device=decoder.device
        )
        if kind not in decoder.steps:
            decoder.steps[kind] = native(decoder, kind)
        self.native: Native | None = decoder.steps[kind]
        self._windows = frozenset(layer.window for layer in decoder.layers)
        self._groups: dict[tuple[int, ...] | None, Group] = {}

    @property
    def device(self) -> torch.device:
        """Where the decoder is."""
        return self.decoder.device

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
        prefix = _prefix(past)
        given = self.decoder.embed(tokens) if tokens.dim() == 2 else tokens
        longest, begin = given.shape[1], 0 if prefix is None else prefix.position
        counts = [longest] * len(given) if mask is None else [int(count) for count in mask.sum(1)]
        embeds = [row[longest - count :] for row, count in zip(given, counts, strict=True)]
        if positions is None:
            places = [torch.arange(begin, begin + count, device=self.device) for count in counts]
        else:
            places = [_narrow(positions[..., row, longest - count :]) for row, count in enumerate(counts)]
        ends = [int(place.max()) + 1 for place in places]
        shared = 0 if prefix is None else prefix.length
        group = self._entered(prefix, len(counts), room=max(counts))
        rows = group.add(len(counts), length=shared, position=begin)
        try:
            if any(value is not None for value in more.values()):
                logits = self._read_by_model(rows, embeds, places, prefix, more)
            else:
                logits = torch.cat(self._forward(rows, embeds, places, last=True))
        except BaseException:  # out of memory, or somebody stopped it: nothing of it stays
            self.drop(rows)
            raise
        for row, end in zip(rows, ends, strict=True):
            row.position = end
        return logits, list(rows)

    @torch.inference_mode()
    def step(self, tokens: Tensor, slots: Sequence[Slot]) -> Tensor:
        rows = [_row(slot) for slot in slots]
        embeds = self.decoder.embed(tokens.to(self.device))
        if self.native is not None and len(rows) <= self.native.rows:
            return self._compiled(self.native, rows, embeds)
        first = rows[0].group
        if all(row.group is first and row.index == place for place, row in enumerate(rows)):
            positions = torch.tensor([row.position for row in rows], device=self.device)
            logits = self._logits(self._hidden([self._work(rows, 1)], embeds, positions, last=True))
            self._took(rows, [1] * len(rows))
            return logits
        places = [torch.tensor([row.position], device=self.device) for row in rows]
        return torch.cat(self._forward(rows, list(embeds[:, None]), places, last=True))

    def _compiled(self, native: Native, rows: Sequence[Row], embeds: Tensor) -> Tensor:
        for row in rows:
            self._ready([row], 1)
        angles = self.angles.of(torch.tensor([row.position for row in rows]))
        logits = native.step(embeds, rows, angles)
        self._took(rows, [1] * len(rows))
        return logits

    @torch.inference_mode()
    def extend(self, tokens: Sequence[Sequence[int]], slots: Sequence[Slot]) -> list[Tensor]:
        rows = [_row(slot) for slot in slots]
        embeds = [self.decoder.embed(torch.as_tensor(one, device=self.device)) for one in tokens]
        starts = [row.position for row in rows]
        places = [torch.arange(at, at + len(one), device=self.device) for at, one in zip(starts, embeds, strict=True)]
        return self._forward(rows, embeds, places, last=False)

    @torch.inference_mode()
    def fork(self, slot: Slot, count: int = 1) -> list[Slot]:
        row = _row(slot)
        prefix = self.past(slot)
        if row.group.kept is not None:
            self._move(row, prefix)  # all of them stand side by side
        return list(self._entered(prefix, count, room=1).add(count, length=row.length, position=row.position))

    def branches_to(self, length: int) -> bool:
        """Whether `branch` reads texts of so many tokens: those in which every token sees all before it."""
        return all(window is None or window >= length for window in self._windows)

    @torch.inference_mode()
    def branch(self, branches: Sequence[Branches]) -> list[Tensor]:
        """Logits (asked, vocab) of the asked tokens of each, all of them read at once. Nothing of it is kept."""
        pasts = [cast("Prefix", _prefix(one.past)) for one in branches]
        given = torch.tensor([token for one in branches for token in one.tokens], device=self.device)
        at = [past.position + len(path) - 1 for one, past in zip(branches, pasts, strict=True) for path in one.paths]
        embeds, places = self.decoder.embed(given), torch.tensor(at, device=self.device)
        if self.native is not None and self.native.reads and len(given) <= 2 * AT_ONCE:
            found = self.native.branch(embeds, list(zip(pasts, branches, strict=True)), self.angles.rows(places))
            return list(self._logits(found).split([len(one.asked) for one in branches]))
        works = [
            Tree.of(one, past, queries=self.queries, like=self.like) for one, past in zip(branches, pasts, strict=True)
        ]
        hidden = self._hidden(works, embeds, places, last=True)
        logits = self._logits(hidden).split([len(work.ends) for work in works])
        return [one[work.order] for one, work in zip(logits, works, strict=True)]

    @torch.inference_mode()
    def rewind(self, slot: Slot, length: int, position: int) -> None:
        row = _row(slot)
        known = row.group.prefix or row.group.kept
        if known is not None and length < known.length:  # others go on from there
            self._move(row, known.cut(length, position))
        row.length, row.position = length, position

    @torch.inference_mode()
    def past(self, slot: Slot) -> Prefix:
        row = _row(slot)
        if row.own == 0 and row.group.prefix is not None:
            return row.group.prefix
        group, before = row.group, row.group.key
        prefix = group.freeze(row)
        if group.key != before:  # the row goes on alone behind what is kept now
            self._groups[group.key] = self._groups.pop(before)
        elif group.prefix is group.kept is None:
            self._move(row, prefix)  # what it has is not kept twice
        return prefix

    @torch.inference_mode()
    def drop(self, slots: Sequence[Slot]) -> None:
        for slot in slots:
            self._leave(_row(slot))

    def _entered(self, prefix: Prefix | None, count: int, *, room: int) -> Group:
        """The group of rows that begin like this, with room for so many more; without memory for it nothing changes."""
        key = None if prefix is None else prefix.key
        group = self._groups[key] = self._groups.get(key) or Group(prefix, self.like)
        try:
            group.reserve(len(group.rows) + count, room)
        except BaseException:
            if not group.rows:
                del self._groups[key]
            raise
        return group

    def _move(self, row: Row, prefix: Prefix, *, room: int = 1) -> None:
        """The row goes on from a prefix that is all it has, with room for so many tokens."""
        group = self._entered(prefix, 1, room=room)
        self._leave(row)
        row.group, row.index, row.length = group, len(group.rows), prefix.length
        group.rows.append(row)

    def _outgrown(self, row: Row, kept: Prefix) -> Group:
        """The group in which a row goes on that has no room left behind what is kept of it: that is not copied."""
        length, position = row.length, row.position
        own = [kv[:, 0, :, kept.length : row.own] for kv in row.group.kv]
        self._move(row, kept, room=max(length - kept.length, 1))
        for kv, written in zip(row.group.kv, own, strict=True):
            kv[:, row.index, :, : written.shape[2]] = written
        row.length, row.position = length, position
        return row.group

    def _leave(self, row: Row) -> None:
        group = row.group
        group.remove(row)
        if not group.rows:
            del self._groups[group.key]

    def _ready(self, rows: Sequence[Row], count: int) -> Group:
        """The group of these rows, with room for so many tokens more of each."""
        group, most = rows[0].group, max(row.own for row in rows) + count
        if group.kept is not None and most > group.kv[0].shape[3]:
            most -= group.kept.length
            group = self._outgrown(rows[0], group.kept)
        group.reserve(len(group.rows), most)
        return group

    def _work(self, rows: Sequence[Row], count: int) -> Work:
        group = self._ready(rows, count)
        return Work(group, rows, count, self._windows, self.queries, self.decoder.dtype, self.two_way)

    def _forward(
        self, rows: Sequence[Row], embeds: Sequence[Tensor], places: Sequence[Tensor], *, last: bool
    ) -> list[Tensor]:
        """Logits (1, vocab) of the last token of each row, or (count, vocab) of all its tokens."""
        if self.native is not None and self.native.reads and not (self.two_way and any(not row.length for row in rows)):
            return self._read(self.native, rows, embeds, places, last=last)
        like: dict[tuple[int, int], list[int]] = {}
        for number, (row, one) in enumerate(zip(rows, embeds, strict=True)):
            like.setdefault((id(row.group), len(one)), []).append(number)
        for numbers in like.values():
            numbers.sort(key=lambda number: rows[number].index)
        order = [number for numbers in like.values() for number in numbers]
        works = [self._work([rows[n] for n in numbers], count) for (_, count), numbers in like.items()]
        wide = any(place.dim() == 2 for place in places)
        given = [places[n].expand(3, -1) if wide and places[n].dim() == 1 else places[n] for n in order]
        hidden = self._hidden(works, torch.cat([embeds[n] for n in order]), torch.cat(given, dim=-1), last=last)
        counts = [len(one) for one in embeds]
        self._took(rows, counts)
        logits = self._logits(hidden).split([1 if last else counts[n] for n in order])
        found: list[Any] = [None] * len(rows)
        for place, number in enumerate(order):
            found[number] = logits[place]
        return cast("list[Tensor]", found)

    def _read(
        self, native: Native, rows: Sequence[Row], embeds: Sequence[Tensor], places: Sequence[Tensor], *, last: bool
    ) -> list[Tensor]:
        """The same by compiled code, so many tokens at once that what it works in stays small."""
        wide = any(place.dim() == 2 for place in places)
        places = [place.expand(3, -1) if wide and place.dim() == 1 else place for place in places]
        for row, one in zip(rows, embeds, strict=True):
            self._ready([row], len(one))
        hidden: list[list[Tensor]] = [[] for _ in rows]
        for some in parts([len(one) for one in embeds], AT_ONCE):
            x = torch.cat([embeds[n][at : at + count] for n, at, count in some])
            angles = self.angles.rows(torch.cat([places[n][..., at : at + count] for n, at, count in some], dim=-1))
            ends = list(itertools.accumulate(count for _, _, count in some))
            ended = [end - 1 for end, (n, at, count) in zip(ends, some, strict=True) if at + count == len(embeds[n])]
            given = [(rows[n], count, at) for n, at, count in some]
            found = native.read(x, given, angles, ended if last else range(len(x)))
            taken = [1 if at + count == len(embeds[n]) else 0 for n, at, count in some] if last else None
            for (n, _, _), one in zip(some, found.split(taken or [count for *_, count in some]), strict=True):
                hidden[n].append(one)
        self._took(rows, [len(one) for one in embeds])
        logits = self._logits(torch.cat([part for one in hidden for part in one]))
        return list(logits.split([sum(map(len, one)) for one in hidden]))

    def _hidden(self, works: Sequence[Work | Tree], embeds: Tensor, positions: Tensor, *, last: bool) -> Tensor:
        turn = self.angles.at(positions)
        return run(self.decoder, works, embeds.to(self.decoder.dtype), turn, self.attention, last=last)

    def _logits(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.decoder.head(self.decoder.norm(hidden))
        return logits.float()

    @staticmethod
    def _took(rows: Sequence[Row], counts: Sequence[int]) -> None:
        for row, count in zip(rows, counts, strict=True):
            row.length += count
            row.position += count

    def _read_by_model(
        self,
        rows: Sequence[Row],
        embeds: Sequence[Tensor],
        places: Sequence[Tensor],
        prefix: Prefix | None,
        more: dict[str, Any],
    ) -> Tensor:
        """Logits (rows, vocab) by transformers' own forward: it takes what stands beside the tokens (deepstack)."""
        body, begin = self.decoder.body, 0 if prefix is None else prefix.length
        longest = max(map(len, embeds))
        tokens = embeds[0].new_zeros(len(embeds), longest, embeds[0].shape[-1])
        mask = torch.ones(len(embeds), begin + longest, dtype=torch.long, device=self.device)
        at = torch.zeros(*places[0].shape[:-1], len(embeds), longest, dtype=torch.long, device=self.device)
        for number, (one, place) in enumerate(zip(embeds, places, strict=True)):
            tokens[number, longest - len(one) :] = one
            mask[number, begin : begin + longest - len(one)] = 0
            at[..., number, longest - len(one) :] = place
        cache = DynamicCache()
        for number in range(0 if prefix is None else len(body.layers)):
            assert prefix is not None
            known = torch.cat(prefix.layer(number), dim=2).to(body.dtype)
            cache.update(*known.unsqueeze(1).expand(-1, len(embeds), -1, -1, -1), number)
        kept = body.dtype
        output = body(
            inputs_embeds=tokens.to(kept), attention_mask=mask, position_ids=at, past_key_values=cache,
            use_cache=True, **more,
        )  # fmt: skip
        for number, layer in enumerate(cache.layers):
            for row, one in zip(rows, embeds, strict=True):
                for part, state in enumerate((layer.keys, layer.values)):
                    row.group.kv[number][part, row.index, :, : len(one)] = state[
                        row.index - rows[0].index, :, -len(one) :
                    ]
            layer.keys = layer.values = None  # only one layer is there twice
        self._took(rows, [len(one) for one in embeds])
        hidden = output.last_hidden_state[:, -1]  # after the norm
        return self.decoder.head(hidden.to(self.decoder.dtype)).float()


def parts(counts: Sequence[int], most: int) -> list[list[tuple[int, int, int]]]:
    """Texts of so many tokens in parts of at most `most`: (number of the text, where it goes on, how many tokens)."""
    found: list[list[tuple[int, int, int]]] = []
    left = 0
    for number, count in enumerate(counts):
        at = 0
        while at < count:
            if not left:
                found.append([])
                left = most
            some = min(count - at, left)
            found[-1].append((number, at, some))
            at, left = at + some, left - some
    return found


def _narrow(positions: Tensor) -> Tensor:
    """Positions (3, tokens) that agree are (tokens,)."""
    return positions[0] if positions.dim() == 2 and bool((positions == positions[:1]).all()) else positions


def _prefix(past: Any) -> Prefix | None:
    if past is not None and not isinstance(past, Prefix):
        raise TypeError("this past is of another stepper")
    return past


def _row(slot: Slot) -> Row:
    if not isinstance(slot, Row):
        raise TypeError("this slot is of another stepper")
    return slot
