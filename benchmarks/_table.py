"""What every benchmark shares: its options, its rows, the table on the terminal and the JSON file."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

KEYS = ("name", "value", "low", "high", "against", "ratio", "aim", "unit")
Row = dict[str, Any]


def parser(description: str) -> argparse.ArgumentParser:
    """A parser with the options that all scripts have: --json and --resume."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--json", type=Path, metavar="FILE", help="also write the rows to a JSON file")
    options.add_argument("--resume", action="store_true", help="keep the rows that FILE has, and go on with the others")
    return options


def row(
    name: str,
    value: float | None,
    interval: tuple[float, float] | tuple[None, None] = (None, None),
    *,
    against: float | None = None,
    ratio: float | None = None,
    aim: float | None = None,
    unit: str | None = None,
) -> Row:
    """One number: its 95 % interval, what it is to be compared with, and what it should reach. None: not applicable."""
    return dict(zip(KEYS, (name, value, *interval, against, ratio, aim, unit), strict=True))


class Report:
    """The rows of one script. With a file, it is written after every row, so that a stopped run is not lost.

    `settings` are what the numbers depend on: rows of other settings are never mixed in.
    """

    def __init__(self, options: argparse.Namespace, settings: dict[str, Any]) -> None:
        self.file: Path | None = options.json
        self.rows: list[Row] = []
        self.failures: dict[str, int] = {}
        self.settings = settings
        if options.resume and self.file and self.file.is_file():
            kept = json.loads(self.file.read_text(encoding="utf-8"))
            if kept.get("settings") != settings:
                raise SystemExit(f"{self.file} is of other settings: {kept.get('settings')}, not {settings}")
            self.rows, self.failures = kept["rows"], kept.get("failures", {})

    def has(self, name: str) -> bool:
        """Whether a row is there already."""
        return any(one["name"] == name for one in self.rows)

    def add(self, one: Row, *, failures: int | None = None) -> None:
        """A row more; `failures` is how many of its answers could not be read or were cut short."""
        self.rows.append(one)
        if failures is not None:
            self.failures[one["name"]] = failures
        self._write()
        say(f"{one['name']}  {_number(one['value'])}  {_interval(one)}  against {_number(one['against'])}")

    def order(self, names: list[str]) -> None:
        """Put the rows into the order of these names."""
        place = {name: number for number, name in enumerate(names)}
        self.rows.sort(key=lambda one: place.get(one["name"], len(place)))
        self._write()

    def show(self) -> None:
        """The table, on standard output."""
        heads = ["name", "value", "95 % interval", "against", "ratio", "aim", "unit"]
        lines = [
            [one["name"], _number(one["value"]), _interval(one)]
            + [_number(one[key]) for key in ("against", "ratio", "aim")]
            + [one["unit"] or ""]
            for one in self.rows
        ]
        if self.failures:
            heads.append("unread")
            for one, line in zip(self.rows, lines, strict=True):
                line.append(str(self.failures.get(one["name"], "")))
        widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
        for line in (heads, ["-" * width for width in widths], *lines):
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        print(f"\n{machine()}")

    def _write(self) -> None:
        if self.file is None:
            return
        document = {"machine": machine(), "rows": self.rows, "failures": self.failures, "settings": self.settings}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        part = self.file.with_name(self.file.name + ".part")
        part.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        part.replace(self.file)


def machine() -> str:
    """The processor, how many of its cores this process may use, and the versions that numbers depend on."""
    name = platform.processor() or platform.machine()
    if (cpus := Path("/proc/cpuinfo")).exists():
        models = [
            line.split(":", 1)[1].strip() for line in cpus.read_text().splitlines() if line.startswith("model name")
        ]
        name = models[0] if models else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    packages = [f"{package} {_version(package)}" for package in ("torch", "transformers", "numpy", "pillow")]
    return f"{name}, {cores} cores, {platform.system()}, Python {platform.python_version()}, {', '.join(packages)}"


def say(text: str) -> None:
    """Progress, to where it does not mix with the table."""
    print(text, file=sys.stderr, flush=True)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _interval(one: Row) -> str:
    return "" if one["low"] is None else f"{_number(one['low'])} - {_number(one['high'])}"
