"""`imglish map`: the run with its progress, and what is said at its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imglish._cli_options import Options
from imglish._cli_print import document, line, note
from imglish.core.errors import InputError

if TYPE_CHECKING:
    from imglish.engine.folder import Progress, Summary

ASKED = ("skill", "text", "labels", "box", "schema", "detail", "tone", "language")
GIVEN = {  # how the argument that a skill needs is given
    "text": "the words after the folder, or --prompt",
    "box": "--box 10,20,110,220",
    "schema": "--schema name,date,total",
}
SECONDS = 10.0  # between two lines of progress where stderr is a file


def run(folder: Path, options: Options, *, out: Path, **arguments: Any) -> int:
    """Ask every picture, tell how it goes on stderr, print the summary; the exit status: 1 where a picture failed."""
    from imglish.engine.folder import check, map_folder

    _complete(arguments)
    check(folder, **{name: arguments[name] for name in ASKED})  # before the model is loaded
    if options.max_image_pixels is not None:
        arguments["max_image_pixels"] = options.max_image_pixels
    told = Told(time.monotonic)
    try:
        summary = map_folder(options.load(), folder, out=out, progress=told.tell, **arguments, **options.writing())
    except KeyboardInterrupt:
        told.end()
        if told.now is not None:
            note(f"stopped: {described(told.now)}; the same command goes on from here", kind="error")
        raise
    finally:
        told.end()
    _say(summary)
    if options.as_json:
        document(summary.to_json())
    else:
        line(summary.out)
    return 0 if summary.good else 1


def _complete(arguments: Mapping[str, Any]) -> None:
    """Refuse a skill without what it asks, with the option that gives it."""
    from imglish.engine._folder_asking import lacks

    if missing := lacks(arguments["skill"], arguments):
        hint = f"it is asked of every picture: {GIVEN[missing]}"
        raise InputError(f"{arguments['skill']} needs a {missing}", hint=hint)


class Told:
    """Progress on stderr: one line that changes in a terminal, now and then a line where it is a file."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock, self.last = clock, clock()
        self.bar: Any = None
        self.now: Progress | None = None

    def tell(self, progress: Progress) -> None:
        """Shows it, where it is time."""
        self.now = progress
        whole = progress.done == progress.total
        if sys.stderr.isatty():
            self._bar().update(0, total=progress.total, completed=progress.done, said=described(progress))
        elif progress.rate is not None and (whole or self.clock() - self.last >= SECONDS):
            self.last = self.clock()
            note(described(progress))

    def end(self) -> None:
        """Leaves the line as it is."""
        if self.bar is not None:
            self.bar.stop()

    def _bar(self) -> Any:
        if self.bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            self.bar = Bar(BarColumn(), TextColumn("{task.fields[said]}"), console=Console(stderr=True))
            self.bar.add_task("map", said="")
            self.bar.start()
        return self.bar


def described(progress: Progress) -> str:
    """`120 of 1000 pictures, 3.1 a second, 4:44 left, 2 failed`."""
    parts = [f"{progress.done} of {progress.total} pictures"]
    if progress.rate is not None:
        slow = progress.rate < 1
        parts.append(f"{60 * progress.rate:.1f} a minute" if slow else f"{progress.rate:.1f} a second")
    if progress.left is not None and progress.done < progress.total:
        minutes, seconds = divmod(round(progress.left), 60)
        hours, minutes = divmod(minutes, 60)
        parts.append(f"{hours}:{minutes:02}:{seconds:02} left" if hours else f"{minutes}:{seconds:02} left")
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    return ", ".join(parts)


def _say(summary: Summary) -> None:
    changed = f" ({summary.changed} of them again)" if summary.changed else ""
    note(f"{summary.images} pictures: {summary.answered} asked now{changed}, {summary.kept} had their answers")
    if summary.gone:
        note(f"{summary.gone} records are of pictures that are no longer there; they stay", kind="warning")
    if summary.truncated:
        note(f"{summary.truncated} answers were cut: raise --max-tokens, with --redo", kind="warning")
    if summary.passed:
        kinds = ", ".join(f"{count} x {kind}" for kind, count in sorted(summary.passed.items()))
        note(f"passed over, no pictures by their names: {kinds}; --pattern takes what you name")
    if summary.failed:
        kinds = ", ".join(f"{count} x {kind}" for kind, count in sorted(summary.failed.items()))
        note(f"{sum(summary.failed.values())} failed: {kinds}; the records say why, --retry asks again", kind="error")
