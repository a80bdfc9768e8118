"""How results are shown: data to stdout, everything else to stderr."""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from imglish._cli_options import Options


def note(text: str, *, kind: str = "") -> None:
    """One line for the person, on stderr: never data."""
    Console(stderr=True, highlight=False).print(
        f"{kind}: {text}" if kind else text, markup=False, soft_wrap=True, style="" if kind else "dim"
    )


class Notes(logging.Handler):
    """What the package says while it works, as notes on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        note(record.getMessage(), kind="warning" if record.levelno >= logging.WARNING else "")


def listen() -> None:
    """Show what the package says from now on."""
    said = logging.getLogger("imglish")
    if not any(isinstance(handler, Notes) for handler in said.handlers):
        said.addHandler(Notes())
        said.setLevel(logging.INFO)


def document(value: Any) -> None:
    """One JSON document, on stdout."""
    print(json.dumps(value, ensure_ascii=False, indent=None if not sys.stdout.isatty() else 2))  # noqa: T201


def line(text: str) -> None:
    """One line of data, on stdout."""
    print(text)  # noqa: T201


def flush() -> bool:
    """Write out what stdout still holds; False where its reader went away, as `head` does."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the interpreter's own flush succeeds
        return False
    return True


def warn(result: Any) -> None:
    """Say what is wrong or doubtful with a result."""
    for problem in result.problems:
        note(problem.message, kind="warning")


def show(result: Any, options: Options) -> int:
    """Print a result the way the options ask for; the exit status: 1 where the answer could not be parsed."""
    warn(result)
    if options.out is not None:
        result.draw().save(options.out)
        note(f"wrote {options.out}")
    if options.as_json:
        document(result.to_json())
    else:
        _human(result)
        tokens_table(result.tokens)
        _receipt(result.receipt)
    if not result.parsed:
        note(f"the answer could not be parsed; the model wrote: {result.raw!r}", kind="error")
        return 1
    return 0


def _human(result: Any) -> None:
    from imglish.core import results

    if isinstance(result, results.Record):
        _table(("field", "value"), [(str(key), _value(value)) for key, value in result.data.items()])
    elif isinstance(result, results.TextRegions):
        if result.text:
            line(result.text)
        elif result.parsed:
            note("found nothing")
    elif isinstance(result, (results.Boxes, results.Masks)):
        confidence = result.confidence
        rows = [
            (
                result.labels[index] if index < len(result.labels) else "",
                *(f"{float(edge):.1f}" for edge in corners),
                "" if confidence is None else f"{float(confidence[index]):.2f}",
            )
            for index, corners in enumerate(result.xyxy)
        ]
        if rows:
            _table(("label", "x1", "y1", "x2", "y2", "confidence"), rows)
        elif result.parsed:
            note("found nothing")
    else:
        line(str(result))


def tokens_table(tokens: Any) -> None:
    """A table of tokens with their log-probabilities, and the likeliest ones beside them."""
    if not tokens:
        return
    columns = 3 if any(one.top for one in tokens) else 2
    rows = [(_quoted(one), f"{one.logprob:.3f}", "  ".join(map(_sure, one.top))) for one in tokens]
    _table(("token", "log-probability", "likeliest")[:columns], [row[:columns] for row in rows])


def _quoted(token: Any) -> str:
    return json.dumps(token.text, ensure_ascii=False)


def _sure(token: Any) -> str:
    return f"{_quoted(token)} {token.logprob:.3f}"


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    table = Table()
    for name in columns:
        table.add_column(
            name,
            justify="left" if name in ("label", "field", "value", "token", "likeliest") else "right",
            overflow="fold",
        )
    for row in rows:
        table.add_row(*row)
    Console(emoji=False).print(table, markup=False)


def _receipt(receipt: Any) -> None:
    if receipt is None:
        return
    seen = ", ".join(
        f"{image.original_size[0]}x{image.original_size[1]} as {image.model_size[0]}x{image.model_size[1]}"
        for image in receipt.images
    )
    who = f"{receipt.checkpoint} at {receipt.remote}" if receipt.remote else receipt.family
    note(f"{who} saw {seen or 'no picture'}; wrote {receipt.generated_tokens} tokens")
