"""How answers begin: the longest known start of each prompt, the rest of it read, alike prompts together."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from imglish.engine.batch import is_out_of_memory
from imglish.engine.prefix import LEAST, WORTH, PrefixTree
from imglish.engine.prompt import Item, Prompt, look_at
from imglish.engine.step import Past, Slot, Stepper
from imglish.families._base import Loaded

if TYPE_CHECKING:
    from imglish.engine.loop import Job

TOGETHER = 1024  # tokens of prompts that are read at once: longer ones keep a processor busy alone
NEAR = 4  # a prompt joins others where it reads again at most one token for so many that it must read

Embedded = tuple[Tensor, dict[str, Any], int]  # as `Prompt.embeddings`, and how many images were known
Start = tuple["Job", Past | None, int]  # what is known of a prompt, and how many of its tokens these are


class Starts:
    """Begins prompts on a stepper; `first` are the tokens that an encoder-decoder's answers begin with."""

    def __init__(
        self, loaded: Loaded, stepper: Stepper, kept: MutableMapping[Any, Any], prefixes: PrefixTree | None
    ) -> None:
        self.loaded, self.stepper, self.kept, self.prefixes = loaded, stepper, kept, prefixes
        self.two_way = bool(getattr(loaded.family, "two_way", False))
        self.encodes = bool(loaded.model.config.is_encoder_decoder)
        start = getattr(loaded.model.generation_config, "decoder_start_token_id", None)
        self.first = (
            [int(loaded.model.config.get_text_config().bos_token_id if start is None else start)]
            if self.encodes
            else []
        )

    def begin(self, jobs: Sequence[Job], aside: list[Start] | None = None) -> Iterator[tuple[Job, Slot, Tensor]]:
        """(job, its slot, logits (vocab,) of the next token) of each; what the answers have already is read, too.

        A slot belongs to the caller once it is given; what is left where all ends early is dropped. `aside`: gets the
        prompts of which a few words alone are not known, with what is; these are not begun.
        """
        done: dict[int, tuple[Slot, Tensor]] = {}
        try:
            self._begin(jobs, done, aside)
            for job in jobs:
                if id(job) in done:
                    yield job, *done.pop(id(job))
        finally:  # out of memory, or somebody stopped it: what was begun is not known to anybody else
            self.stepper.drop([slot for slot, _ in done.values()])

    def _begin(
        self, jobs: Sequence[Job], done: dict[int, tuple[Slot, Tensor]], aside: list[Start] | None = None
    ) -> None:
        """Fills in (slot, logits) by the id of each job."""
        leaders = {id(job.prompt): job for job in reversed(jobs) if not job.row.ids}
        alike: list[Start] = []
        for place, job in enumerate(jobs):
            if not job.row.ids and leaders[id(job.prompt)] is not job:
                continue  # another sample of a prompt that is read once
            self._look_ahead(jobs[place:])
            past, length = self._find(job)
            if alike and not self._joins(alike, job, past, length):
                self._read(alike, done)
                alike = []
                past, length = self._find(job)
            if aside is not None and self._is_short(job, past, length):
                aside.append((job, past, length))
            else:
                alike = self.cut([*alike, (job, past, length)])
        self._read(alike, done)
        for job in jobs:
            if id(job) not in done and id(leaders[id(job.prompt)]) in done:
                slot, logits = done[id(leaders[id(job.prompt)])]
                done[id(job)] = (self.stepper.fork(slot)[0], logits)
                job.row.prefix_tokens, job.row.cache_hits = len(job.prompt), len(job.prompt.items)

    def _joins(self, alike: Sequence[Start], job: Job, past: Past | None, length: int) -> bool:
        """Whether a prompt is read together with others: they go on from the same memory, at nearly the same place."""
        _, first, begun = alike[0]
        if self.encodes or past is None or first is None:
            return past is first is None and not self.encodes and self._fits(alike, job)
        lengths = [len(other.prompt) for other in (*(other for other, *_ in alike), job)]
        if sum(lengths) - min(length, begun) * len(lengths) > TOGETHER:
            return False
        return self.is_near(alike, job, past, length)

    @staticmethod
    def is_near(alike: Sequence[Start], job: Job, past: Past | None, length: int) -> bool:
        """Whether a prompt goes on from the same memory as others, at nearly the same place."""
        leader, first, begun = alike[0]
        least, most = sorted((length, begun))
        shortest = min(len(job.prompt), *(len(other.prompt) for other, *_ in alike))
        if past is None or first is None or NEAR * (most - least) > shortest - most:
            return False  # what would be read again is not little beside what must be read
        return _same(_at(first, least, begun, leader), _at(past, least, length, job))

    def _is_short(self, job: Job, past: Past | None, length: int) -> bool:
        """Whether a few words alone are not known of a prompt, which nobody will go on from."""
        prompt = job.prompt
        if past is None or job.row.ids or self.two_way or self.encodes or len(prompt) - length > TOGETHER:
            return False
        rest = prompt.positions[..., length:]
        counted = torch.arange(past.position, past.position + rest.shape[-1], device=rest.device)
        return not (bool(prompt.places[length:].any()) or bool((rest != counted).any()) or self._is_worth(prompt))

    @staticmethod
    def cut(alike: list[Start]) -> list[Start]:
        """All of them begun where the one that knows least begins."""
        least = min(length for *_, length in alike)
        return [(job, None if past is None else _at(past, least, length, job), least) for job, past, length in alike]

    def regime(self, prompt: Prompt, written: int) -> int:
        """The regime of a prompt with so many tokens of its answer."""
        regime = getattr(self.loaded.family, "regime", None)
        return 0 if regime is None else int(regime(self.loaded, len(prompt) + written))

    def remember(self, prompt: Prompt, ids: Sequence[int], slot: Slot) -> None:
        """Keeps a prompt with what was written, for a prompt that goes on from there."""
        if self.prefixes is None or self.two_way or self.encodes or self.regime(prompt, len(ids)) != prompt.regime:
            return
        symbols = (*prompt.symbols, *ids)
        if self.prefixes.is_worth(self._kind(prompt), symbols):
            self.prefixes.keep(self._kind(prompt), symbols, self.stepper.past(slot))

    def forget(self) -> bool:
        """Lets go of all that is kept; whether there was anything."""
        held = bool(self.kept) or bool(self.prefixes)
        self.kept.clear()
        if self.prefixes is not None:
            self.prefixes.clear()
        return held

    def _kind(self, prompt: Prompt) -> Any:
        return prompt.kind, prompt.regime, type(self.stepper).__name__

    def _find(self, job: Job) -> tuple[Past | None, int]:
        """What is known of a prompt; its last token is always read, for its logits."""
        prompt = self._prompt(job)
        if self.prefixes is None or not job.options.cache:
            return None, 0
        past, length = self.prefixes.find(self._kind(prompt), prompt.symbols, whole=self.two_way or self.encodes)
        if past is None or self.encodes:
            return past, length
        length = min(length, len(prompt) - 1)
        if length < min(LEAST, len(prompt) - 1) or WORTH * length < len(prompt):
            return None, 0  # what goes on from a prefix is kept as a copy of both: a few words do not pay for that
        return past.cut(length, int(prompt.positions[..., length].min())), length

    def _prompt(self, job: Job) -> Prompt:
        """The prompt, with what was written where that is all read again in another regime."""
        if not job.row.ids or self.regime(job.prompt, len(job.row.ids)) == job.prompt.regime:
            return job.prompt
        prompt = job.prompt.extended(job.row.ids)
        prompt.regime = self.regime(job.prompt, len(job.row.ids))
        return prompt

    def _fits(self, alike: Sequence[Start], job: Job) -> bool:
        """Whether an unknown prompt is read with others: they are short, and it begins unlike all of them."""
        if sum(len(other.prompt) for other, *_ in alike) + len(job.prompt) > TOGETHER:
            return False
        if self.prefixes is None or not job.options.cache:
            return True
        shared = max(_common(job.prompt.symbols, other.prompt.symbols) for other, *_ in alike)
        return self.two_way or shared < LEAST or WORTH * shared < len(job.prompt)

    def _read(self, alike: Sequence[Start], done: dict[int, tuple[Slot, Tensor]]) -> None:
        """Reads what is not known of prompts that begin with the same kept tokens, and fills in slots and logits."""
        if self.encodes:
            for job, past, _ in alike:
                self._encoded(job, past, done)
            return
        if not alike:
            return
        length = alike[0][2]
        given = [self._prompt(job) for job, *_ in alike]
        made = [self._embeddings(prompt, length) for prompt in given]
        if any(more for _, more, _ in made):  # what later layers add stands in places of one prompt
            for one in zip(alike, given, made, strict=True):
                self._read_embedded([one], done)
        else:
            self._read_embedded(list(zip(alike, given, made, strict=True)), done)

    def _read_embedded(
        self, rows: Sequence[tuple[Start, Prompt, Embedded]], done: dict[int, tuple[Slot, Tensor]]
    ) -> None:
        (_, past, length), _, (_, more, _) = rows[0]
        made = [embeds for _, _, (embeds, _, _) in rows]
        longest = max(one.shape[1] for one in made)
        embeds = torch.cat([torch.nn.functional.pad(one, (0, 0, longest - one.shape[1], 0)) for one in made])
        positions = torch.stack([
            torch.nn.functional.pad(p.positions[..., length:], (longest - (len(p) - length), 0)) for _, p, _ in rows
        ], dim=-2)  # fmt: skip
        mask = None
        if len({one.shape[1] for one in made}) > 1:
            mask = torch.tensor(
                [[n >= longest - one.shape[1] for n in range(longest)] for one in made], device=embeds.device
            )
        logits, slots = self.stepper.prefill(embeds, positions=positions, mask=mask, past=past, **more)
        begun = list(zip(slots, logits.float(), strict=True))
        done.update((id(job), one) for ((job, *_), *_), one in zip(rows, begun, strict=True))
        for ((job, *_), prompt, (*_, hits)), (slot, one) in zip(rows, begun, strict=True):
            if not job.row.ids:
                job.row.prefix_tokens, job.row.cache_hits = length, hits
            if self.prefixes is not None and job.options.cache and self._is_worth(prompt):
                self.prefixes.keep(self._kind(prompt), prompt.symbols, self.stepper.past(slot))
            done[id(job)] = (slot, self._caught_up(job, prompt, slot, one))

    def _is_worth(self, prompt: Prompt) -> bool:
        assert self.prefixes is not None
        if self.two_way:
            return self.prefixes.find(self._kind(prompt), prompt.symbols, whole=True)[0] is None
        return self.prefixes.is_worth(self._kind(prompt), prompt.symbols)

    def _caught_up(self, job: Job, prompt: Prompt, slot: Slot, logits: Tensor) -> Tensor:
        """Logits after what a job has written already, where the prompt does not have it."""
        rest = job.row.ids if prompt is job.prompt else []
        return self.stepper.extend([rest], [slot])[0][-1].float() if rest else logits

    def _encoded(self, job: Job, past: Past | None, done: dict[int, tuple[Slot, Tensor]]) -> None:
        prompt = job.prompt
        job.row.prefix_tokens, job.row.cache_hits = (0, 0) if past is None else (len(prompt), len(prompt.items))
        is_new = past is None
        if past is None:
            embeds, _, job.row.cache_hits = self._embeddings(prompt, 0)
            past = self.stepper.encode(embeds)  # type: ignore[attr-defined]  # only encoder-decoders have it
        logits, (slot,) = self.stepper.prefill(torch.tensor([self.first], device=prompt.ids.device), past=past)
        done[id(job)] = (slot, logits[0])
        if is_new and self.prefixes is not None and job.options.cache:  # with all that is kept: its bytes are counted
            self.prefixes.keep(self._kind(prompt), prompt.symbols, past)
        done[id(job)] = (slot, self._caught_up(job, prompt, slot, logits[0].float()))

    def _look_ahead(self, jobs: Sequence[Job]) -> None:
        """Where nobody looked at the pictures of the first, they are encoded with those of the next ones."""
        few = getattr(self.loaded.family, "together", 1)
        if few == 1 or self.prefixes is None:
            return
        items: dict[Any, Item] = {}
        for job in jobs:
            for item in self._unseen(job):
                if len(items) < few:
                    items.setdefault(item.key, item)
            if not items or len(items) == few:
                break
        if len(items) > 1:
            try:
                self.kept.update((item.key, made) for item, made in look_at(self.loaded, list(items.values())))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise  # else each is looked at alone, when its turn comes

    def _unseen(self, job: Job) -> list[Item]:
        """Pictures that reading the prompt needs, and that nobody has looked at."""
        past, known = self._find(job)
        if not job.options.cache or (self.encodes and past is not None):
            return []
        shown = (item for item, _ in job.prompt.shown(known) if item.ready is None)
        return [item for item in shown if self.kept.get(item.key) is None]

    @torch.inference_mode()
    def _embeddings(self, prompt: Prompt, start: int) -> Embedded:
        """As Prompt.embeddings, and how many of the images were not encoded for it."""
        kept = self.kept if self.prefixes is not None else {}
        embeds, more, encoded = prompt.embeddings(self.loaded, start, kept)
        return embeds, more, prompt.looked if prompt.looked is not None else len(prompt.items) - encoded


def _at(past: Past, least: int, length: int, job: Job) -> Past:
    """A past of `length` tokens of a prompt, shortened to `least`."""
    return past if least == length else past.cut(least, int(job.prompt.positions[..., least].min()))


def _same(past: Past | None, other: Past | None) -> bool:
    """Whether two starts have the same memory."""
    if past is None or other is None:
        return False
    return _memory(past) == _memory(other)


def _memory(past: Past) -> Any:
    key = getattr(past, "key", None)
    return id(getattr(past, "kept", past)) if key is None else key


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    return next((n for n, (one, two) in enumerate(zip(a, b, strict=False)) if one != two), min(len(a), len(b)))
