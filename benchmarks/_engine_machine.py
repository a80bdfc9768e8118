"""What the machine itself can do, measured beside the rows of benchmarks/engine.py: reading memory, multiplying."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

BYTES, SIDE, ROUNDS = 1 << 28, 1536, 5


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
        began = time.perf_counter()
        work()
        wait(device)
        found = min(found, time.perf_counter() - began)
    return found


def wait(device: str) -> None:
    """Until everything that was asked of a device is done."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
