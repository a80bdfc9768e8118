"""docs/performance.md, written from what benchmarks/engine.py measured: one table for each machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _engine_models import TITLES

WHAT = {
    "chat_turn": "time to first token, second and third turn about one picture",
    "questions32": "32 questions about one picture",
    "rotations": "32 four-option questions about one picture in four rotations, scored; the peer generates",
    "rotation": "the same for one question about one picture",
    "folder": "captions of 64 pictures of mixed size",
    "decode": "one request, after the first token",
    "bandwidth": "one request: what reading the weights takes, measured beside each answer, as a share of a token",
    "int8": "one request in int8; the peer in the model's precision",
    "int8/own": "the same, against the engine in the model's precision",
    "int8/agreement": "int8: most probable tokens that stay the same",
    "compiled/plain": "the decoder alone, one token after another; the peer has a static cache",
    "compiled/default": "the same, the peer made by torch.compile",
    "compiled/tuned": "the same, the peer made by torch.compile with max-autotune",
    "cold": "a request that shares nothing with any other",
    "json": "JSON that satisfies a schema, against free text by the engine",
}
HEAD = """# Performance

Written by `python benchmarks/engine.py --page docs/performance.md --of ...`; do not edit by hand.

The peer is transformers' own `generate` on the same weights, in the same precision, with the same threads, the same
code before it and the attention and cache that are the quickest for the row; several requests go through it in batches
of eight, of which one is timed where they are alike. Both take turns within one run; each number is the median of at
least five; a folder is measured in eight parts. *ratio* is above 1 where the engine is quicker. *memory* is the most
bytes that tensors held at once beside the weights, the engine's and the peer's. Before anything is timed, the logits of
both are compared.
"""


def page(files: Sequence[Path]) -> str:
    """The page of these JSON files, in their order."""
    parts = [HEAD]
    for file in files:
        document = json.loads(file.read_text(encoding="utf-8"))
        rows = {one["name"]: one for one in document["rows"]}
        settings = document["settings"]
        where = settings["device"] if settings["device"] != "cpu" else "CPU"
        clock = "; seconds are the processor's own" if settings["processor_time"] else ""
        parts.append(f"\n## {where}\n\n{document['machine']}; {settings['threads']} threads of torch{clock}.\n")
        parts += _machine(rows)
        parts += [f"{settings['note']}\n"] if "note" in settings else []  # what was different in this run
        parts += [part for letter in TITLES for part in _model(letter, rows)]
    return "".join(parts)


def _machine(rows: dict[str, Any]) -> list[str]:
    names = {"bandwidth": "memory is read at", "float32": "float32 is multiplied at", "bfloat16": "bfloat16 at"}
    told = [
        f"{text} {rows[f'machine/{name}']['value']:.0f} {rows[f'machine/{name}']['unit']}"
        for name, text in names.items()
        if f"machine/{name}" in rows
    ]
    return [f"Measured beside the rows: {', '.join(told)}.\n"] if told else []


def _model(letter: str, rows: dict[str, Any]) -> list[str]:
    lines = [_line(letter, name, rows) for name in WHAT if f"{letter}/{name}" in rows]
    if not lines:
        return []
    logits = rows.get(f"{letter}/logits")
    told = ""
    if logits is not None:
        told = f"Logits differ by {logits['value']:.1g} {logits['unit']}.\n\n"
    head = "| row | what | engine | peer | ratio | aim | memory, MB |\n|---|---|---|---|---|---|---|\n"
    return [f"\n### {letter}: {TITLES[letter]}\n\n{told}{head}", *lines]


def _line(letter: str, name: str, rows: dict[str, Any]) -> str:
    one, memory = rows[f"{letter}/{name}"], rows.get(f"{letter}/{name}/memory")
    held = f"{memory['value']:.0f} / {memory['against']:.0f}" if memory is not None else ""
    against = "" if one["against"] is None else _number(one["against"])
    ratio = "" if one["ratio"] is None else f"{one['ratio']:.2f}"
    aim = "" if one["aim"] is None else f"{one['aim']:g}"
    value = f"{_number(one['value'])} {one['unit']}"
    return f"| `{letter}/{name}` | {WHAT[name]} | {value} | {against} | {ratio} | {aim} | {held} |\n"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"
