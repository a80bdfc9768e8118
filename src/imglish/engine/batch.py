"""Which requests run together: their order, a budget of tokens, pictures opened ahead, what to do without memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import torch

from imglish.core.types import Request
from imglish.families._base import count_images, request_images

MOST_IMAGES = 96  # pictures encoded in one batch: bounds the memory that a batch takes
AHEAD = 4  # requests whose pictures are opened while others are computed

T = TypeVar("T")
U = TypeVar("U")


@dataclass
class Budget:
    """How much runs at once: answers, and tokens whose keys and values are held."""

    rows: int
    tokens: int

    def takes(self, more: int, *, rows: int, tokens: int) -> bool:
        """Whether a request of `more` tokens may join so many; one alone always may."""
        return rows == 0 or (rows < self.rows and tokens + more <= self.tokens)

    def halve(self, rows: int) -> None:
        """At most half of what ran when memory ran out, one at least."""
        self.rows = max(min(self.rows, rows) // 2, 1)


def order(requests: Sequence[Request]) -> list[int]:
    """Indices of requests: those about one picture side by side, then those of like skill, images and length."""

    def likeness(index: int) -> tuple[str, int, int]:
        request = requests[index]
        length = sum(len(message.text) for message in request.messages) + sum(map(len, request.labels))
        return request.skill, sum(count_images(request)), length

    ranked = sorted(range(len(requests)), key=likeness)
    first: dict[Any, int] = {}
    for place, index in enumerate(ranked):
        first.setdefault(_pictures(requests[index]), place)
    return sorted(ranked, key=lambda index: first[_pictures(requests[index])])


def _pictures(request: Request) -> Any:
    """The pictures of a request as they were named: equal where they are surely the same."""
    images = request_images(request)[0]
    return tuple(image if isinstance(image, str) else id(image) for image in images)


def opened(items: Iterable[T], function: Callable[[T], U], *, ahead: int = AHEAD) -> Iterator[U]:
    """`function` of each item, in order, made in another thread while whoever takes them computes."""
    given = iter(items)
    pool = ThreadPoolExecutor(1, thread_name_prefix="opening")
    try:
        waiting: list[Future[U]] = [pool.submit(function, item) for item in islice(given, ahead)]
        while waiting:
            done = waiting.pop(0).result()
            waiting += [pool.submit(function, item) for item in islice(given, 1)]
            yield done
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def chunks(requests: Iterable[Request], most: int) -> Iterator[list[Request]]:
    """Up to `most` requests together, of one skill and with at most MOST_IMAGES images."""
    chunk: list[Request] = []
    images = 0
    for request in requests:
        count = sum(count_images(request))
        apart = bool(chunk) and request.skill != chunk[0].skill
        if chunk and (apart or len(chunk) == most or images + count > MOST_IMAGES):
            yield chunk
            chunk, images = [], 0
        chunk.append(request)
        images += count
    if chunk:
        yield chunk


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was no memory, on the CPU or on a GPU."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in said or "can't allocate memory" in said)
