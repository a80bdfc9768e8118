"""What the machine itself can do, measured beside the rows of benchmarks/engine.py: reading memory, multiplying."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

BYTES, SIDE, ROUNDS = 1 << 28, 1536, 5
_clock = [time.perf_counter]


def now() -> float:
    """Seconds on the clock that is used."""
    return _clock[0]()


def count_processor_time() -> None:
    """From now on seconds are those that this process was on a processor: what else runs there does not count."""
    _clock[0] = time.process_time


def bandwidth(device: str, *, quick: bool = False) -> float:
    """Bytes that are read from memory in a second, by the product of a long vector with itself."""
    numbers = torch.ones((BYTES >> (6 if quick else 0)) // 4, device=device)
    return numbers.nbytes / best(lambda: torch.dot(numbers, numbers), device)


def rate(device: str, kind: torch.dtype, *, quick: bool = False) -> float:
    """Floating-point operations in a second, of a product of square matrices."""
    side = SIDE // 8 if quick else SIDE
    matrix = torch.ones(side, side, device=device, dtype=kind)
    return 2 * side**3 / best(lambda: matrix @ matrix, device)


def best(work: Callable[[], object], device: str) -> float:
    """Seconds of the quickest of a few rounds."""
    found = float("inf")
    for _ in range(ROUNDS):
        wait(device)
        began = now()
        work()
        wait(device)
        found = min(found, now() - began)
    return found


def wait(device: str) -> None:
    """Until everything that was asked of a device is done."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
