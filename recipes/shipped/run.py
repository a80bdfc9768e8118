"""Train the shipped model from nothing, stage by stage: `python recipes/shipped/run.py --out runs/shipped`.

Stop it at any time; the same command goes on where it was. To go on from the shipped model, in a new folder:
`python recipes/shipped/run.py --out runs/next --start src/imglish/families/data --stages see instruct export`. Stages:
  words     a byte-level tokenizer from the world's own questions and answers
  see       pretrain the vision encoder on dense truth
  talk      pretrain the decoder on scenes told as text
  align     teach the adapter to speak to the decoder
  point     lay the heads that go from what a list just said to what it says next
  instruct  all skills, encoder frozen
  polish    all skills, everything trains, at a tenth of the rate
  export    the checkpoint, its familiarity and its model card
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import time
from pathlib import Path

from start import start

MINUTES = {
    "words": 0.0,
    "see": 75.0,
    "talk": 25.0,
    "align": 2.0,
    "point": 0.0,
    "instruct": 90.0,
    "polish": 10.0,
    "export": 0.0,
}
RATES = {"see": 1.2e-3, "talk": 2.5e-3, "align": 2.5e-3, "instruct": 2.5e-3, "polish": 3e-4}  # of Muon
MALLOC = {  # glibc would map every large tensor anew and fault its pages in; read when a worker starts
    "MALLOC_MMAP_THRESHOLD_": "8589934592", "MALLOC_TRIM_THRESHOLD_": "17179869184", "MALLOC_TOP_PAD_": "268435456",
}  # fmt: skip


def work(stage: str, options: argparse.Namespace, rank: int, meeting: str) -> None:
    """One worker of one stage, on a core of its own."""
    import torch
    from loop import Plan

    if options.device == "cpu":
        cores = options.cores or sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[rank % len(cores)]})
        torch.set_num_threads(1)
        if rank > 0:
            os.nice(options.nice)
    minutes = options.minutes if options.minutes is not None else MINUTES[stage] * options.scale
    plan = Plan(
        stage,
        options.out,
        minutes,
        rank,
        options.workers,
        lr=RATES.get(stage, 0.0),
        device=options.device,
        meeting=meeting,
    )
    importlib.import_module(stage if stage in ("words", "see", "point", "export") else "speak").run(plan)


def main() -> None:
    """Parse the command and run the stages in order, each in processes of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/shipped"))
    parser.add_argument("--stages", nargs="*", default=list(MINUTES), choices=list(MINUTES), metavar="STAGE")
    parser.add_argument("--minutes", type=float, help="training time of each stage named, instead of its default")
    parser.add_argument("--scale", type=float, default=1.0, help="multiply the default times, for example 0.1 or 4")
    parser.add_argument("--workers", type=int, default=1, help="processes that train side by side and average weights")
    parser.add_argument("--cores", type=int, nargs="*", help="cores that the workers are bound to, in order")
    parser.add_argument("--nice", type=int, default=0, help="niceness of the workers after the first")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda for the same command with a bigger budget")
    parser.add_argument("--start", type=Path, metavar="CHECKPOINT", help="begin from a checkpoint, not from nothing")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.start:
        start(options.out, options.start)
    for name, value in MALLOC.items():
        os.environ.setdefault(name, value)
    context = multiprocessing.get_context("spawn")
    for stage in options.stages:
        meeting = str(options.out / f"{stage}.{time.time_ns()}.meet")
        count = options.workers if MINUTES[stage] else 1
        workers = [context.Process(target=work, args=(stage, options, rank, meeting)) for rank in range(count)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        Path(meeting).unlink(missing_ok=True)
        if any(worker.exitcode for worker in workers):
            raise SystemExit(f"stage {stage} stopped; run the same command again to go on from its last save")


if __name__ == "__main__":
    main()
