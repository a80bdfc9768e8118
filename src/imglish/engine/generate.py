"""Decoding: one loop for batches, single answers and streams. Greedy unless a temperature is given."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from imglish.core.errors import InputError
from imglish.families._base import Loaded


@dataclass(frozen=True)
class Options:
    """How answers are decoded. The flags of the command line have the same names."""

    max_tokens: int = 512
    """An answer ends after so many tokens; the receipt then says `truncated`."""
    temperature: float = 0.0
    """0 is greedy: the most probable token each time."""
    top_p: float = 1.0
    """Sample from the fewest tokens that together have this probability. Needs a temperature above 0."""
    stop: tuple[str, ...] = ()
    """The answer ends before any of these strings."""
    seed: int | None = None
    """The same seed gives the same samples for the same batch."""
    batch: int = 32
    """Requests that are decoded together; no answer depends on it."""

    def __post_init__(self) -> None:
        stop: Any = self.stop
        object.__setattr__(self, "stop", (stop,) if isinstance(stop, str) else tuple(stop))
        for name, least, most in (("max_tokens", 1, 1 << 20), ("batch", 1, 1 << 16)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise InputError(f"{name} is {value!r}; allowed are whole numbers from {least} to {most}")
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise InputError(f"temperature is {self.temperature!r}; allowed are 0 (greedy) and above")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p is {self.top_p!r}; allowed are numbers above 0, up to 1")
        if any(not isinstance(text, str) or not text for text in self.stop):
            raise InputError(f"stop is {self.stop!r}; allowed are strings that are not empty")


@dataclass
class Decoded:
    """One row's answer: `ids` without the end token, the log-probability of each, and how it ended."""

    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    ended: bool = False
    text: str = ""

    @property
    def truncated(self) -> bool:
        """Whether max_tokens ended it."""
        return not self.ended


def decode(loaded: Loaded, tensors: dict[str, Any], options: Options, banned: Sequence[str] = ()) -> list[Decoded]:
    """Answers to a left-padded batch; `banned` tokens are never written."""
    if loaded.family.native:
        from imglish.engine import native

        return native.decode(loaded, tensors, options, banned)
    rows = [Decoded() for _ in range(len(tensors["input_ids"]))]
    for _ in steps(loaded, tensors, options, rows, banned=banned):
        pass
    return rows


@torch.inference_mode()
def steps(
    loaded: Loaded, tensors: dict[str, Any], options: Options, rows: list[Decoded], *, banned: Sequence[str] = ()
) -> Iterator[None]:
    """Fills `rows` and yields after each token, so that whoever watches can stream. Rows that ended leave the batch."""
    model, tokenizer = loaded.model, loaded.tokenizer
    ends = {tokenizer.convert_tokens_to_ids(token) for token in loaded.family.stop}
    suppressed = list(getattr(model.generation_config, "suppress_tokens", None) or [])
    suppressed += tokenizer.convert_tokens_to_ids(list(banned))
    generator = _generator(model.device, options)
    alive = list(range(len(rows)))
    mask = tensors["attention_mask"]
    output = model(**tensors, use_cache=True, logits_to_keep=1)
    for step in range(options.max_tokens):
        logits = output.logits[:, -1].float()
        if suppressed:
            logits[:, suppressed] = -torch.inf
        chosen, logprobs = _choose(logits, options, generator)
        stay: list[int] = []
        for place, (row, token, logprob) in enumerate(zip(alive, chosen.tolist(), logprobs.tolist(), strict=True)):
            if not append(rows[row], token, logprob, ends=ends, tokenizer=tokenizer, stop=options.stop):
                stay.append(place)
        yield
        if not stay or step + 1 == options.max_tokens:
            break
        cache = output.past_key_values
        if len(stay) < len(alive):
            kept = torch.tensor(stay, device=mask.device)
            cache.batch_select_indices(kept)
            chosen, mask, alive = chosen[kept], mask[kept], [alive[place] for place in stay]
        mask = torch.cat((mask, mask.new_ones(len(mask), 1)), dim=1)
        output = model(input_ids=chosen[:, None], attention_mask=mask, past_key_values=cache, use_cache=True)
    for answer in rows:
        answer.text = answer.text or detokenize(tokenizer, answer.ids)


def append(row: Decoded, token: int, logprob: float, *, ends: set[int], tokenizer: Any, stop: Sequence[str]) -> bool:
    """Adds a token to a row; True when that ends it."""
    if token in ends:
        row.ended = True
        return True
    row.ids.append(token)
    row.logprobs.append(logprob)
    if stop:
        text = detokenize(tokenizer, row.ids)
        first = min((text.find(word) for word in stop if word in text), default=-1)
        if first >= 0:
            row.text, row.ended = text[:first], True
            while row.ids and len(detokenize(tokenizer, row.ids[:-1])) >= first:
                row.ids.pop()
                row.logprobs.pop()
            return True
    return False


def _choose(
    logits: torch.Tensor, options: Options, generator: torch.Generator | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """(tokens, their log-probabilities under the model itself: temperature and top_p do not change them)."""
    logprobs = logits.log_softmax(-1)
    if options.temperature == 0:
        chosen = logits.argmax(-1)
    else:
        weights = (logits / options.temperature).softmax(-1)
        if options.top_p < 1:
            ranked, order = weights.sort(-1, descending=True)
            ranked[ranked.cumsum(-1) - ranked >= options.top_p] = 0
            weights = torch.zeros_like(weights).scatter(-1, order, ranked)
        chosen = torch.multinomial(weights, 1, generator=generator)[:, 0]
    return chosen, logprobs.gather(-1, chosen[:, None])[:, 0]


def _generator(device: torch.device, options: Options) -> torch.Generator | None:
    if options.temperature == 0 or options.seed is None:
        return None
    return torch.Generator(device=device).manual_seed(options.seed)


def detokenize(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of ids as it stands, special tokens and all."""
    text: str = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text


def pieces(
    loaded: Loaded, tensors: dict[str, Any], options: Options, row: Decoded, *, banned: Sequence[str] = ()
) -> Iterator[str]:
    """The answer to a batch of one, piece by piece; what may still become a stop string or a letter is held back."""
    from imglish.engine import native

    given = ""
    stepped: Iterator[None] = (
        native.steps(loaded, tensors, options, row, banned=banned)
        if loaded.family.native
        else steps(loaded, tensors, options, [row], banned=banned)
    )
    longest = max((len(word) for word in options.stop), default=1) - 1
    for _ in stepped:
        text = row.text if row.ended and row.text else detokenize(loaded.tokenizer, row.ids)
        ready = text if row.ended else text[: len(text) - longest] if longest else text
        while ready.endswith("\ufffd") and not row.ended:
            ready = ready[:-1]
        if len(ready) > len(given):
            yield ready[len(given) :]
            given = ready
    if len(row.text) > len(given):
        yield row.text[len(given) :]
