"""Peak memory of a request, predicted before it runs: from the sizes of its pictures, its text and the longest answer.

    peak = weights + pictures + their pixels and features + the largest of looking, reading the prompt, and writing

What torch holds is counted, and what Pillow holds of open pictures; the interpreter and kernels' own scratch space are
not. `benchmarks/budget.py` sets the prediction beside measured peaks. A prediction costs one look at two grey pictures
for a model, and arithmetic for a request.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from imglish.core.errors import InputError, MemoryLimitError
from imglish.core.types import Request, Size
from imglish.engine._budget_room import room, told
from imglish.engine._budget_sizes import Sizes, sizes_of
from imglish.engine.catalogue import parse_bytes
from imglish.families._base import Loaded, request_images

GROWN = 1.5  # bytes of buffers of keys and values for each that is used: they grow by a quarter, and are copied then
LOGITS = 5  # numbers of four bytes for each entry of the vocabulary: as they come, in float32, logarithms, the draw
SEARCHED = 3  # the same for every step of a search with beams, which keeps the scores of all
FREE_SHARE = 0.9  # of the free memory that may be taken where no limit is given
ENOUGH = 64  # tokens of an answer below which fewer tokens are no way out


@dataclass(frozen=True)
class Need:
    """Bytes at the worst moment, by what they are for."""

    weights: int = 0
    pictures: int = 0
    """Decoded pictures, their pixels as the model takes them, and what the encoder made of them."""
    looking: int = 0
    """Activations of the encoder over what is encoded together."""
    reading: int = 0
    """Activations of the decoder over the prompt."""
    cache: int = 0
    """Keys and values of prompt and answer, and their copy for the next prompt that begins alike."""
    logits: int = 0

    @property
    def total(self) -> int:
        """All that is there at once: looking, reading and writing come one after the other."""
        return self.weights + self.pictures + max(self.looking, self.reading + self.cache, self.cache + self.logits)

    @property
    def extra(self) -> int:
        """Of it, what is not there before the request."""
        return self.total - self.weights


@dataclass(frozen=True)
class Asked:
    """What of a request takes memory. Lists are over its images."""

    sizes: tuple[Size, ...]
    tokens: tuple[float, ...]
    """Of each image in the prompt."""
    frames: tuple[int, ...]
    """Of each image: how many frames the request has where it is one, else 0."""
    text: int
    """Tokens of the prompt beside the images."""
    answer: int
    """The longest answer, in tokens, without the prompt."""
    rows: int = 1
    """Answers that are decoded at once: samples, or beams."""
    searched: bool = False
    """Whether they are beams."""

    @property
    def prompt(self) -> int:
        """Tokens of the prompt."""
        return int(self.text + sum(self.tokens))


def asked_of(loaded: Loaded, request: Request, options: Any) -> Asked:
    """What an opened request asks for. The text is counted, pictures are not looked at."""
    model = sizes_of(loaded)
    pictures, frames = request_images(request)
    sizes = tuple(picture.size for picture in pictures)
    films = tuple(sum(frames) if frame else 0 for frame in frames)
    tokens = tuple(model.tokens(loaded, *one) for one in zip(sizes, films, strict=True))
    words = " ".join((*(message.text for message in request.messages), *request.labels))
    text = model.overhead + len(loaded.tokenizer(words, add_special_tokens=False)["input_ids"])
    beams = _beams(loaded, options)
    return Asked(sizes, tokens, films, text, options.max_tokens, max(options.n, beams), searched=beams > 1)


def predict(model: Sizes, asked: Asked) -> Need:
    """The peak of one request on its own."""
    width, prompt, end = model.width, asked.prompt, asked.prompt + asked.answer
    features = int(sum(asked.tokens)) * model.hidden * width
    pixels = sum(model.pixels(count) for count in asked.tokens)
    most = max(asked.tokens, default=0.0)
    own = asked.answer + prompt // 2 if model.encoder_decoder else end  # of the encoder's output, half as many layers
    looked_at = min(model.together, len(asked.tokens))
    return Need(
        weights=model.weights,
        pictures=int(sum(3 * wide * high for wide, high in asked.sizes) + pixels + features),
        looking=int(looked_at * (model.pixels(most) * (2 + width / 4) + model.looking(most))),
        reading=int(prompt * model.reading + model.scores * prompt**2 + 3 * features),
        cache=int(model.cell * (GROWN * own * asked.rows + prompt)),
        logits=model.vocabulary * 4 * asked.rows * (LOGITS + (SEARCHED * asked.answer if asked.searched else 0)),
    )


def check(loaded: Loaded, request: Request, options: Any) -> Need:
    """The prediction for an opened request. Where it is over the limit, MemoryLimitError says what would fit."""
    model, asked = sizes_of(loaded), asked_of(loaded, request, options)
    need = predict(model, asked)
    limit = limit_of(loaded, options)
    if limit is None or need.total <= limit:
        return need
    parts = [(name, value) for name, value in dataclasses.asdict(need).items() if value >= need.total / 50]
    listed = ", ".join(f"{name} {told(value)}" for name, value in parts)
    given = "this machine has room for" if options.memory_limit is None else "memory_limit is"
    raise MemoryLimitError(
        f"this request takes about {told(need.total)} at its peak ({listed}), and {given} {told(limit)}",
        hint=_advice(loaded, model, asked, limit),
    )


def together(loaded: Loaded, needs: Sequence[Need]) -> int:
    """Bytes at the worst moment of requests that run at once. Pictures are looked at `Sizes.together` at a time."""
    looking = sorted((need.looking for need in needs), reverse=True)[: sizes_of(loaded).together]
    reading, cache, logits = (sum(getattr(need, name) for need in needs) for name in ("reading", "cache", "logits"))
    held = needs[0].weights + sum(need.pictures for need in needs)
    return held + max(sum(looking), reading + cache, cache + logits)


def tokens_within(loaded: Loaded, options: Any) -> int:
    """How many tokens fit at once beside the weights and one request, with what each takes; at least one.

    A token takes its keys and values, and its share of the pixels and features of its picture.
    """
    limit = limit_of(loaded, options)
    if limit is None:
        return int(options.tokens)
    model = sizes_of(loaded)
    one = predict(model, Asked((), (max(seen[0] for seen in model.seen),), (0,), model.overhead, 0))
    share = max(pixels / max(tokens, 1) for tokens, pixels, _ in model.seen) + model.hidden * model.width
    return int(max(min((limit - one.total) / ((GROWN + 1) * model.cell + share), options.tokens), 1))


def limit_of(loaded: Loaded, options: Any) -> int | None:
    """Bytes that the model may take with its weights: as the options say, else what is free; None: nobody knows."""
    if options.memory_limit is not None:
        return int(options.memory_limit)
    free = room(loaded.model.device)
    return None if free is None else sizes_of(loaded).weights + int(FREE_SHARE * free)


def parse(given: Any) -> int:
    """A limit as bytes: a whole number, or text as `4GB`, `500MB`, `2GiB`. Raises InputError for anything else."""
    if isinstance(given, str):
        return parse_bytes(given)
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise InputError(f"memory_limit is {given!r}; allowed are bytes, and text as '4GB'")
    return given


def _advice(loaded: Loaded, model: Sizes, asked: Asked, limit: int) -> str:
    """What would fit: fewer images, smaller ones, a shorter answer."""
    fits: Callable[[Asked], bool] = lambda other: predict(model, other).total <= limit  # noqa: E731
    if model.weights >= limit:
        return (
            f"the weights alone are {told(model.weights)}: load them with dtype bfloat16, or a smaller checkpoint "
            "(imglish models --fits)"
        )
    ways = []
    count = _most(lambda n: fits(_with(asked, n)), len(asked.tokens))
    if 0 < count < len(asked.tokens):
        ways.append(f"at most {count} of these {len(asked.tokens)} images")
    if hasattr(loaded.family, "with_pixels") and asked.tokens:
        pixels = _pixels(loaded, model, asked, fits)
        if pixels:
            ways.append(f"max_pixels={pixels}")
    answer = _most(lambda n: fits(dataclasses.replace(asked, answer=n)), asked.answer)
    if ENOUGH <= answer < asked.answer:
        ways.append(f"max_tokens={answer}")
    if asked.rows > 1 and fits(dataclasses.replace(asked, rows=1)):
        ways.append("one answer at a time")
    if not ways:
        return "fewer and smaller images with a shorter answer, together; or a higher memory_limit"
    return f"what would fit: {', or '.join(ways)}"


def _with(asked: Asked, count: int) -> Asked:
    return dataclasses.replace(
        asked, sizes=asked.sizes[:count], tokens=asked.tokens[:count], frames=asked.frames[:count]
    )


def _pixels(loaded: Loaded, model: Sizes, asked: Asked, fits: Callable[[Asked], bool]) -> int:
    """The largest bound of pixels, to a 64th, with which it fits; 0 where none does."""
    family: Any = loaded.family
    least = max(family.pixels[0], (2 * family.patch) ** 2)
    bound = min(family.pixels[1], max(wide * high for wide, high in asked.sizes))

    def fit(share: int) -> bool:
        bounded = family.with_pixels(loaded, max_pixels=max(bound * share // 64, least))
        seen = zip(asked.sizes, asked.frames, strict=True)
        return fits(dataclasses.replace(asked, tokens=tuple(model.tokens(bounded, *one) for one in seen)))

    share = _most(fit, 64)
    return bound * share // 64 if 0 < share < 64 and bound * share // 64 >= least else 0


def _most(holds: Callable[[int], bool], most: int) -> int:
    """The largest number up to `most` for which it holds, where it holds for all smaller ones; 0 where for none."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _beams(loaded: Loaded, options: Any) -> int:
    from imglish.engine import beams

    return int(beams.count(loaded, options))
