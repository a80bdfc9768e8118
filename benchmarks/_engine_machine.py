"""What the machine itself can do, measured beside the rows of benchmarks/engine.py: reading memory, multiplying."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

BYTES, SIDE, ROUNDS = 1 << 29, 1536, 5  # more bytes than caches hold: some have hundreds of megabytes
_clock = [time.perf_counter]


def now() -> float:
    """Seconds on the clock that is used."""
    return _clock[0]()


def count_processor_time() -> None:
    """From now on seconds are those that this process was on a processor: what else runs there does not count."""
    _clock[0] = time.process_time


def bandwidth(device: str, *, size: int = BYTES, quick: bool = False) -> float:
    """Bytes that are read from memory in a second, `size` of them, by the product of a long vector with itself."""
    numbers = torch.ones((size >> (6 if quick else 0)) // 4, device=device)
    return numbers.nbytes / statistics.median(seconds(lambda: torch.dot(numbers, numbers), device))


def rate(device: str, kind: torch.dtype, *, quick: bool = False) -> float:
    """Floating-point operations in a second, of a product of square matrices."""
    side = SIDE // 8 if quick else SIDE
    matrix = torch.ones(side, side, device=device, dtype=kind)
    return 2 * side**3 / min(seconds(lambda: matrix @ matrix, device))


def seconds(work: Callable[[], object], device: str) -> list[float]:
    """Of each of a few rounds; the first, which is not counted, brings in what was never used."""
    found = []
    for _ in range(ROUNDS + 1):
        wait(device)
        began = now()
        work()
        wait(device)
        found.append(now() - began)
    return found[1:]


def wait(device: str) -> None:
    """Until everything that was asked of a device is done."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
