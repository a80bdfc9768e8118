"""Which precision a processor is best asked for: bfloat16 where it computes that itself and faster, else float32."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

WIDTH, PROMPT, STEPS = 1024, 64, 16  # of the matrix; tokens read at once; tokens written one by one
CLEARLY = 1.1  # times faster: less is not worth eight bits of precision


@functools.cache
def natural_dtype(device: str) -> str:
    """ "bfloat16" or "float32" for a device: `cpu`, `cuda:1`, `mps`.

    Measured once in a process where instructions alone do not tell; where they do, all processes agree, so that what
    one keeps another finds.
    """
    if not _is_native(device):
        return "float32"
    if _is_sure(device):
        return "bfloat16"
    best = {"float32": float("inf"), "bfloat16": float("inf")}
    for _ in range(3):  # in turns, so that what else the machine does hits both
        for dtype in best:
            best[dtype] = min(best[dtype], _seconds(device, dtype))
    return "bfloat16" if best["bfloat16"] * CLEARLY < best["float32"] else "float32"


def _is_native(device: str) -> bool:
    """Whether the processor has instructions for bfloat16, rather than an emulation of them."""
    import torch

    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.startswith("mps"):
        return bool(torch.backends.mps.is_macos_or_newer(14, 0))
    capabilities: Callable[[], dict[str, Any]] | None = getattr(torch.cpu, "get_capabilities", None)
    return capabilities is not None and any("bf16" in name and has for name, has in capabilities().items())


def _is_sure(device: str) -> bool:
    """Whether two products of bfloat16 take one instruction: x86 with AVX-512 BF16 or AMX, NVIDIA's GPUs."""
    import torch

    if device.startswith("cuda"):
        return True
    has = torch.cpu.get_capabilities()
    return device == "cpu" and any(has.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def _seconds(device: str, dtype: str) -> float:
    """How long it takes to read a prompt and to write an answer, in small: matrix times matrix, then times vectors."""
    import torch
    from torch.nn.functional import linear

    kind = getattr(torch, dtype)
    weight = torch.ones(WIDTH, WIDTH, device=device, dtype=kind)
    prompt, token = (
        torch.ones(PROMPT, WIDTH, device=device, dtype=kind),
        torch.ones(1, WIDTH, device=device, dtype=kind),
    )
    with torch.inference_mode():
        _wait(device)
        began = time.perf_counter()
        linear(prompt, weight)
        for _ in range(STEPS):
            linear(token, weight)
        _wait(device)
        return time.perf_counter() - began


def _wait(device: str) -> None:
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device.startswith("mps"):
        torch.mps.synchronize()
