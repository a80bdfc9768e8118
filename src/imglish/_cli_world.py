"""`imglish world`: the command, with its progress bar."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from imglish import _cli_input as given
from imglish._cli_print import document, line


def world(
    kind: Annotated[str, typer.Argument(help="things text receipt card chart part pair clip probe.")],
    out: Annotated[Path, typer.Option(help="The folder to write to; made if missing.")],
    seed: Annotated[int, typer.Option(help="Of the first scene; the next ones follow.", min=0)] = 0,
    count: Annotated[int, typer.Option(help="How many scenes.", min=1)] = 10,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Of the pictures; the kind's own if not given.")
    ] = None,
    difficulty: Annotated[
        str, typer.Option(help="easy ordinary hard crowded repeats: each kind has some of them.")
    ] = "ordinary",
    language: Annotated[str, typer.Option(help="Of questions and answers: en, pl, vi, ru.")] = "en",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the data set that is in the folder already.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Draw scenes with exact truth: pictures, and a samples.jsonl of questions and answers.

    \b
    imglish world things --seed 7 --count 100 --out data/things
    imglish world receipt --size 240x320 --language pl --out data/receipts
    """
    summary = write(
        kind,
        out,
        seed=seed,
        count=count,
        size=None if size is None else given.size(size),
        difficulty=difficulty,
        language=language,
        overwrite=overwrite,
    )
    if as_json:
        document(summary)
    else:
        line(summary["samples"])


def write(kind: str, out: Path, *, count: int, **scene: Any) -> dict[str, Any]:
    """Write the scenes and return where they are; progress goes to stderr where that is a terminal."""
    from imglish import world as scenes

    console = Console(stderr=True)
    if not console.is_terminal:
        samples = scenes.write(kind, out, count=count, **scene)
    else:
        with Progress(console=console, transient=True) as progress:
            bar = progress.add_task(kind, total=count)
            samples = scenes.write(
                kind, out, count=count, progress=lambda done: progress.update(bar, completed=done), **scene
            )
    return {"kind": kind, "scenes": count, "folder": str(out), "samples": str(samples)}
