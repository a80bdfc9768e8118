"""How answers are decoded: the options, one answer on its way, its pieces for whoever watches. The loop is `loop`."""

from __future__ import annotations

import functools
import logging
import math
import numbers
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from imglish.core.errors import InputError
from imglish.families._base import Loaded

TOGETHER = ("batch", "cache", "memory_limit", "tokens")  # options of all requests that run together, not of one
MOST_TOP = 20  # of the most probable tokens that are told beside one, as servers of the OpenAI protocol have it
LARGEST_SEED = (1 << 63) - 1  # sample k has seed + k, and torch takes no more

_log = logging.getLogger(__name__)


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
    """The same seed gives the same samples, whatever else is in the batch; sample k of a request has seed + k."""
    batch: int = 32
    """Requests that are decoded together; no answer depends on it."""
    top_k: int = 0
    """Sample from so many of the most probable tokens; 0 is all of them."""
    min_p: float = 0.0
    """Sample from tokens that have at least this share of the most probable one's probability."""
    repetition_penalty: float | None = None
    """Above 1, tokens that were there before become less probable; None is the checkpoint's own."""
    n: int = 1
    """Answers to each request; `run` gives them one after the other."""
    beams: int | None = None
    """Beams of the search for the most probable answer; 1 is greedy, None what the checkpoint was published with."""
    deadline: float | None = None
    """Seconds from the call; an answer that is not there by then ends as it is, and says so."""
    cancel: Any = None
    """Whatever has `is_set()`, as threading.Event: once it is set, answers end as they are, and say so."""
    cache: bool = True
    """Whether keys and values of prompts, and features of images, are kept and looked for."""
    guided: bool = True
    """Whether answers that have a form (boxes, numbers, JSON) can only be written in it."""
    tokens: int = 32768
    """Tokens whose keys and values are held at once; a request that does not fit waits until others have ended."""

    memory_limit: int | str | None = None
    """Bytes, or text as "4GB", that a request may take at its peak, with the weights; None is what is free."""
    logprobs: int | None = None
    """Results tell their `tokens`, each with its log-probability and those of so many of the most probable ones."""

    def __post_init__(self) -> None:
        if self.memory_limit is not None:
            from imglish.engine.budget import parse  # it knows models, which imports torch

            object.__setattr__(self, "memory_limit", parse(self.memory_limit))
        stop: Any = self.stop
        if not isinstance(stop, str) and not (isinstance(stop, Iterable) and all(isinstance(one, str) for one in stop)):
            raise InputError(f"stop is {stop!r}; allowed are a string, or several")
        object.__setattr__(self, "stop", (stop,) if isinstance(stop, str) else tuple(stop))
        most = 1 << 20
        whole = (
            ("max_tokens", 1, most),
            ("batch", 1, 1 << 16),
            ("top_k", 0, most),
            ("n", 1, 4096),
            ("tokens", 1, 1 << 40),
            ("beams", 1, 64),
            ("logprobs", 0, MOST_TOP),
        )
        for name, least, limit in whole:
            value = getattr(self, name)
            if value is None and name in ("beams", "logprobs"):
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= limit:
                raise InputError(f"{name} is {value!r}; allowed are whole numbers from {least} to {limit}")
        seed: Any = self.seed
        top = LARGEST_SEED - self.n
        if seed is not None:
            if isinstance(seed, bool) or not isinstance(seed, numbers.Integral) or not 0 <= int(seed) <= top:
                raise InputError(f"seed is {seed!r}; allowed are whole numbers from 0 to {top}")
            object.__setattr__(self, "seed", int(seed))
        if not (_is_number(self.temperature) and self.temperature >= 0):
            raise InputError(f"temperature is {self.temperature!r}; allowed are 0 (greedy) and above")
        if not (_is_number(self.top_p) and 0 < self.top_p <= 1):
            raise InputError(f"top_p is {self.top_p!r}; allowed are numbers above 0, up to 1")
        if not (_is_number(self.min_p) and 0 <= self.min_p <= 1):
            raise InputError(f"min_p is {self.min_p!r}; allowed are numbers from 0 to 1")
        for name in ("repetition_penalty", "deadline"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and value > 0):
                raise InputError(f"{name} is {value!r}; allowed are numbers above 0")
        if (self.beams or 1) > 1 and self.temperature > 0:
            raise InputError(
                "beams and a temperature were given; beams search, a temperature samples", hint="leave one out"
            )
        if (self.beams or 1) > 1 and self.n > 1:
            raise InputError(
                "beams and n were given; a search with beams finds one answer",
                hint="for several answers leave beams out and give a temperature",
            )
        if any(not text for text in self.stop):
            raise InputError(f"stop is {self.stop!r}; allowed are strings that are not empty")
        if self.temperature == 0:
            idle = (("top_p", self.top_p < 1), ("top_k", self.top_k > 0), ("min_p", self.min_p > 0))
            _say_idle(tuple(name for name, given in idle if given))


def _is_number(value: Any) -> bool:
    """Whether it is a number, and a finite one; NumPy's count, too."""
    return not isinstance(value, bool) and isinstance(value, numbers.Real) and math.isfinite(value)


@functools.cache
def _say_idle(names: tuple[str, ...]) -> None:
    """Once for each: what cuts the choice of a sample is nothing where no sample is drawn."""
    if names:
        said = f"{', '.join(names)} {'changes' if len(names) == 1 else 'change'} nothing at temperature 0"
        _log.warning("%s: give a temperature above 0 to sample", said)


@dataclass
class Decoded:
    """One answer: `ids` without the end token, the log-probability of each, and how it ended.

    `logprobs` are the model's own, `masked` those among the tokens that a guide allowed (equal where there is none).
    """

    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    ended: bool = False
    text: str = ""
    masked: list[float] = field(default_factory=list)
    stopped: str = ""
    """ "deadline" or "cancelled" where one of these ended it."""
    top: list[tuple[tuple[int, float], ...]] = field(default_factory=list)
    """For each token the most probable ones at its place and their log-probabilities, where these were asked for."""
    hurried: bool = False
    """Whether its guide closed it because max_tokens was near, where the model would have gone on."""
    prefix_tokens: int = 0
    """Tokens of the prompt whose keys and values were known."""
    cache_hits: int = 0
    """Images that were not encoded again."""

    @property
    def truncated(self) -> bool:
        """Whether it is not a whole answer: max_tokens, a deadline or a cancellation ended it."""
        return not self.ended or self.hurried


def append(
    row: Decoded, token: int, logprob: float, *, ends: set[int], tokenizer: Any, stop: Sequence[str],
    masked: float | None = None, top: tuple[tuple[int, float], ...] = (),
) -> bool:  # fmt: skip
    """Adds a token to a row; True when that ends it."""
    if token in ends:
        row.ended = True
        return True
    row.ids.append(token)
    row.logprobs.append(logprob)
    row.masked.append(logprob if masked is None else masked)
    row.top.append(top)
    if stop:
        text = detokenize(tokenizer, row.ids)
        first = min((text.find(word) for word in stop if word in text), default=-1)
        if first >= 0:
            row.text, row.ended = text[:first], True
            while row.ids and detokenize(tokenizer, row.ids[:-1]).startswith(row.text):
                for values in (row.ids, row.logprobs, row.masked, row.top):
                    values.pop()
            return True
    return False


def longest(loaded: Loaded) -> int | None:
    """Tokens of the longest answer that an encoder-decoder has places for; None where an answer has no such end."""
    if not loaded.model.config.is_encoder_decoder:
        return None
    most: int | None = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None)
    return most


def bounded(loaded: Loaded, options: Options) -> Options:
    """The options with as many `max_tokens` as the model has places for."""
    most = longest(loaded)
    return options if most is None or options.max_tokens <= most else replace(options, max_tokens=most)


def detokenize(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of ids as it stands, special tokens and all."""
    text: str = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text


def ends_of(loaded: Loaded) -> set[int]:
    """Tokens that end an answer: the checkpoint's and the family's."""
    given = loaded.model.generation_config.eos_token_id
    known = {given} if isinstance(given, int) else set(given or ())
    ids = loaded.tokenizer.convert_tokens_to_ids(list(loaded.family.stop))
    return known | {token for token in ids if token is not None}


def pieces(tokenizer: Any, steps: Iterable[Any], row: Decoded, stop: Sequence[str] = ()) -> Iterator[str]:
    """The answer in `row` piece by piece, as `steps` fill it; what may still become a stop string or a letter waits."""
    given = ""
    longest = max((len(word) for word in stop), default=1) - 1
    for _ in steps:
        text = row.text if row.ended and row.text else detokenize(tokenizer, row.ids)
        ready = text if row.ended else text[: len(text) - longest] if longest else text
        while ready.endswith("\ufffd") and not row.ended:
            ready = ready[:-1]
        if len(ready) > len(given):
            yield ready[len(given) :]
            given = ready
    if len(row.text) > len(given):
        yield row.text[len(given) :]
