"""The engine against plain transformers used well: the same weights, precision, threads and work, in one run.

The peer is `generate` with the attention and the cache that are the quickest for the row, in batches of eight where
there is more than one request. Rows are named `b/chat_turn`; `value` is the engine's, `against` the peer's (for `json`
and `int8/own` the engine's own without), `ratio` is above 1 where the engine is quicker, and both take turns. Logits
are compared before anything is timed. A folder is measured part by part, eight pictures each. `b/chat_turn/memory` is
the most bytes that tensors hold at once beside the weights.

    python benchmarks/engine.py --models b --rows chat_turn decode --json out/engine.json --resume
    python benchmarks/engine.py --page docs/performance.md --of out/engine.json       # the page, from what was measured
"""

from __future__ import annotations

import gc
import itertools
import statistics
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from _engine_machine import bandwidth, count_processor_time, rate
from _engine_models import TITLES, parameters
from _engine_page import page
from _engine_plain import TRIED
from _engine_rows import QUICK, ROWS, Bench, Lengths, agree, read_bytes
from _peak import Peak
from _table import Report, parser, row, say

FEW = ("int8", "int8/own")  # they hold a second model, and come last
NAMES = [*(name for name in ROWS if name not in FEW), "bandwidth", *FEW]
SHARE = 0.8  # of what reading the weights takes; the aim of `bandwidth` for b


def main() -> None:
    """Measure the rows that were asked for, or write the page."""
    options = parser(__doc__ or "")
    options.add_argument("--samples", type=int, default=5, help="runs of each, in turns; the median counts (default 5)")
    options.add_argument("--models", nargs="*", default=list(TITLES), choices=list(TITLES), metavar="LETTER")
    options.add_argument("--rows", nargs="*", default=NAMES, choices=NAMES, metavar="ROW")
    options.add_argument("--model", help="checkpoint of the model a, the shipped one if not given")
    options.add_argument("--device", default="cpu")
    options.add_argument("--threads", type=int, help="of torch")
    options.add_argument(
        "--processor-time", action="store_true",
        help="count the seconds on the processor, on a machine that does other things too; with --threads 1",
    )  # fmt: skip
    options.add_argument("--quick", action="store_true", help="tiny models and answers: whether everything runs")
    options.add_argument("--no-memory", action="store_true", help="leave out the rows of memory")
    options.add_argument("--page", type=Path, metavar="FILE", help="write the page of the files after --of")
    options.add_argument("--of", type=Path, nargs="*", default=[], metavar="JSON")
    given = options.parse_args()
    if given.page is not None:
        given.page.write_text(page(given.of), encoding="utf-8")
        return
    if given.threads:
        torch.set_num_threads(given.threads)
    if given.processor_time:
        count_processor_time()
    lengths = QUICK if given.quick else Lengths()
    settings = {
        "device": name_of(given.device), "threads": torch.get_num_threads(), "samples": given.samples,
        "processor_time": given.processor_time, "quick": given.quick, "model": given.model, "lengths": vars(lengths),
    }  # fmt: skip
    report = Report(given, settings)
    machine(report, given.device, quick=given.quick)
    for letter in given.models:
        wanted = [f"{letter}/{name}" for name in given.rows]
        if all(report.has(name) for name in wanted):
            continue
        measure(report, Bench(letter, given.device, given.quick, given.model, lengths), given)
        gc.collect()
    report.show()


def machine(report: Report, device: str, *, quick: bool) -> None:
    """Rows of what the machine can do."""
    if not report.has("machine/bandwidth"):
        report.add(row("machine/bandwidth", bandwidth(device, quick=quick) / 1e9, unit="GB / s"))
    for kind in (torch.float32, torch.bfloat16):
        name = f"machine/{str(kind).removeprefix('torch.')}"
        if not report.has(name):
            report.add(row(name, rate(device, kind, quick=quick) / 1e9, unit="GFLOP / s"))


def measure(report: Report, bench: Bench, given: Any) -> None:
    """All rows of one model; each is warmed up once, and then measured."""
    letter = bench.letter
    bench.plain.settle("first", [bench.ask(bench.fresh(), "What is it?")], TRIED)
    far = agree(bench)
    say(f"{letter}: {parameters(bench.loaded) / 1e6:.0f} M parameters; logits {far:.1g}")
    if not report.has(f"{letter}/logits"):
        report.add(row(f"{letter}/logits", far, unit="of their spread"))
    for name in given.rows:
        if report.has(f"{letter}/{name}") or (name in ROWS and ROWS[name].skill not in bench.loaded.family.skills):
            continue
        if name == "bandwidth":
            report.add(share(report, bench, given.samples))
        else:
            report.add(compared(bench, name, given.samples))
        if name == "int8":
            found = bench.quantised[1]
            report.add(row(f"{letter}/int8/agreement", found.same, unit="of the most probable tokens the same"))
        if name in ROWS and name not in FEW:
            say(f"{letter}/{name}: the peer has {bench.plain.setting}")
        if name in ROWS and name not in FEW and not given.no_memory:
            report.add(memory(bench, name))


def compared(bench: Bench, name: str, samples: int) -> dict[str, Any]:
    """One row: medians of what both took; who begins changes from run to run."""
    parts = ROWS[name].parts
    list(itertools.islice(run(bench, name, 0), 1 if parts else None))  # what a first call prepares is not counted
    for kept in (*bench.decoding, bench.reading):
        kept.clear()
    bench.vlm.forget()
    return result(bench, name, [pair for number in range(1 if parts else samples) for pair in run(bench, name, number)])


def run(bench: Bench, name: str, number: int) -> Iterator[tuple[float, float]]:
    """Seconds of the engine and of the peer for a row's work."""
    for place, (ours, theirs) in enumerate(ROWS[name].work(bench), number):
        if place % 2:
            second = theirs()
            yield ours(), second
        else:
            yield ours(), theirs()


def result(bench: Bench, name: str, pairs: Iterable[tuple[float, float]]) -> dict[str, Any]:
    """The row of pairs of seconds (engine, peer); the interval is from the slowest run to the quickest."""
    kind = ROWS[name]
    units = kind.units(bench.lengths)
    ours, theirs = ([value if kind.is_time else units / value for value in one] for one in zip(*pairs, strict=True))
    value, against = statistics.median(ours), statistics.median(theirs)
    ratio = against / value if kind.is_time else value / against
    return row(
        f"{bench.letter}/{name}", value, (min(ours), max(ours)), against=against, ratio=ratio,
        aim=kind.aims.get(bench.letter), unit=kind.unit,
    )  # fmt: skip


def share(report: Report, bench: Bench, samples: int) -> dict[str, Any]:
    """What share of a token's time reading the weights once would take; `against` is the peer's share."""
    if len(bench.decoding[0]) < samples:
        compared(bench, "decode", samples)
    size = read_bytes(bench.loaded)
    ours, theirs = (
        [size * speed / reading for speed, reading in zip(kept, bench.reading, strict=True)] for kept in bench.decoding
    )
    value, against = statistics.median(ours), statistics.median(theirs)
    return row(
        f"{bench.letter}/bandwidth", value, (min(ours), max(ours)), against=against, ratio=value / against,
        aim=SHARE if bench.letter == "b" else None, unit="of the memory bandwidth",
    )  # fmt: skip


def memory(bench: Bench, name: str) -> dict[str, Any]:
    """The most bytes of tensors, beside the weights, that each held at once while it did a row's work."""
    most = [0, 0]
    bench.weighing = True
    for side in (0, 1):
        bench.vlm.forget()
        for pair in itertools.islice(ROWS[name].work(bench), 1 if ROWS[name].parts else None):
            with Peak(bench.loaded.model) as peak:
                pair[side]()
            most[side] = max(most[side], peak.most)
    bench.weighing = False
    ratio = most[1] / max(most[0], 1)
    return row(f"{bench.letter}/{name}/memory", most[0] / 1e6, against=most[1] / 1e6, ratio=ratio, unit="MB")


def name_of(device: str) -> str:
    """The device as it is called."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


if __name__ == "__main__":
    main()
