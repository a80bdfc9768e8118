"""`imglish world` with its progress bar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress


def write(kind: str, out: Path, *, count: int, **scene: Any) -> dict[str, Any]:
    """Write the scenes and return where they are; progress goes to stderr."""
    from imglish import world

    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(kind, total=count)
        samples = world.write(
            kind, out, count=count, progress=lambda done: progress.update(bar, completed=done), **scene
        )
    return {"kind": kind, "scenes": count, "folder": str(out), "samples": str(samples)}
