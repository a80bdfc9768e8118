"""How much memory is free: on the GPU, on the machine, and within what a container may have."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

GROUPS = Path("/sys/fs/cgroup")
MEMORY = Path("/proc/meminfo")
_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def room(device: Any) -> int | None:
    """Bytes that can still be taken on a device; None where the system does not tell."""
    if str(device).startswith("cuda"):
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    known = [free for free in (_machine(), _group()) if free is not None]
    return min(known, default=None)


def told(count: float) -> str:
    """`3.2 GB`."""
    unit, name = next(((unit, name) for unit, name in _UNITS if count >= unit), (1.0, "bytes"))
    return f"{count / unit:.{0 if unit == 1 else 1}f} {name}"


def _machine() -> int | None:
    """What the kernel says can be had without swapping; where it does not, pages that nobody uses."""
    try:
        lines = MEMORY.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def _group() -> int | None:
    """What is left of a container's limit; pages of files that it could drop are not counted as used."""
    try:
        limit = int((GROUPS / "memory.max").read_text(encoding="ascii"))
        used = int((GROUPS / "memory.current").read_text(encoding="ascii"))
        lines = (GROUPS / "memory.stat").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):  # no such limit: "max" is no number
        return None
    files = next((int(line.split()[1]) for line in lines if line.startswith("inactive_file ")), 0)
    return max(limit - used + files, 0)
