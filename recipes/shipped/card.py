"""Write the model card from the records of a run and of the benchmark, and from nothing else.

    python recipes/shipped/card.py --run runs/shipped --scores out/bench/shipped.json --out src/imglish/families/data

The run's folder holds `<stage>.<worker>.jsonl`, a line of figures every few seconds; `run.json`, which the export
wrote, lies there or beside the weights. A `notes.md` in the folder says what a person did to the run by hand.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

STAGES = {
    "see_warm": "the same as `see`, tried at other rates; `see` began from its weights",
    "see": "the vision encoder names every cell of every picture: thing, colour, box, outline, letters",
    "talk": "the decoder learns to answer from scenes told as text",
    "align": "the adapter learns to speak to the decoder; both ends stay as they are",
    "instruct": "all skills; the encoder stays as it is",
    "polish": "all skills; everything learns",
}
ASKED = {
    "colour": "what colour something is",
    "presence": "whether something is there; as often yes as no",
    "count": "how many there are, one to five",
    "count2": "how many there are, two and more, beyond five as well",
    "caption_f1": "the things that a caption names, each as often as it is there",
    "ap50": "detection of everything or of a list, pycocotools",
    "detect_one": "one named thing, in one case of three absent; IoU 0.5",
    "refer": "the box of what a phrase means; IoU 0.5",
    "mask_iou": "the outline of what a phrase means, against true pixels",
    "cer": "reading all lines of a short text; less is better",
    "fields": "the fields of receipts and identity cards",
    "chart": "values, extremes, differences and trends of charts",
    "change": "what changed between two pictures, in words",
    "defect": "whether a surface has a defect",
    "defect_box": "where the defect is; IoU 0.5",
    "clip": "which way something moves in a film",
    "honest": 'questions from outside the world, newly worded, answered with "I don\'t know"',
    "refused": "questions that the picture answers, answered so all the same; less is better",
    "world": "held-out pictures of all kinds without the warning that they are strange",
    "photographs": "views of photographs that do get that warning",
}
GROUPS = {
    "ordinary": "Ordinary scenes",
    "crowded": "Crowded scenes",
    "repeats": "Scenes with repeated things",
    "wordings": "Ordinary scenes, questions worded in ways that training never used",
    "languages/pl": "Polish",
    "languages/vi": "Vietnamese",
    "languages/ru": "Russian",
    "unknown": "Knowing what it does not know",
    "familiar": "Telling the world from photographs",
}
LESS = ("cer", "refused")  # rows in which less is better


CARD = """---
license: apache-2.0
library_name: imglish
pipeline_tag: image-text-to-text
language: [en, pl, vi, ru]
---

# The shipped model of imglish

A small vision-language model that this project trained itself, from nothing, on pictures that it draws itself. It
answers, captions, detects, grounds, segments, reads, counts, extracts and watches, offline and on a CPU. It knows the
drawn world of `imglish.world` and nothing else: a photograph is answered with a warning in the result, and for
photographs a published checkpoint is the right choice.

<!-- Written by recipes/shipped/card.py from the run's records. Do not edit: run it again. -->

## Sizes

Every picture is fitted into 192 x 192 pixels. Boxes, quads and outlines are written with location tokens.

{sizes}
## Data

Scenes of `imglish.world`, drawn while training; no photograph, no artwork and no text of others. The seeds of training
lie below 2^31; those from 2^31 on are held out, and the scores are of them. Some wordings of every question are held
out as well.

{data}
## Training

`python recipes/shipped/run.py --out runs/shipped` does all of it, and goes on where it was stopped. torch {torch}.

{stages}
## Scores

{samples} held-out samples a row, greedy. *Blind* is the same model and the same questions, every picture blanked to mid
grey: what the words alone give away. *Unread* counts the answers that could not be read or were cut short; they stand
in the score as they are. Shares have Wilson's interval, all else the bootstrap's.

{scores}
{machine}
"""


def read_json(path: Path) -> Any:
    """A JSON file, or an end with its name."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SystemExit(f"cannot read {path}: {error}") from error


def logs(run: Path, stage: str, record: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(first, last) line of each worker's log of a stage; the last alone where only the export's record is there."""
    files = [path.read_text(encoding="utf-8").splitlines() for path in sorted(run.glob(f"{stage}.*.jsonl"))]
    if lines := [[json.loads(line) for line in (file[0], file[-1])] for file in files if file]:
        return [(first, last) for first, last in lines]
    return [({}, last) for last in record.get("stages", {}).get(stage, {}).get("last", ())]


def table(heads: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(line)} |" for line in (heads, ["---"] * len(heads), *rows)] + [""]


def number(value: Any, digits: int = 3) -> str:
    """A number as the card shows it; nothing where there is none."""
    return "" if value is None else f"{value:.{digits}f}" if isinstance(value, float) else f"{value:,}"


def stages(run: Path, record: dict[str, Any]) -> list[str]:
    """What each stage did, and the sum of the time."""
    rows, total = [], 0.0
    for stage, what in STAGES.items():
        workers = logs(run, stage, record)
        if not workers:
            continue
        minutes = [float(last["minutes"]) for _, last in workers]
        total += sum(minutes)
        samples, batches = (sum(int(last[key]) for _, last in workers) for key in ("samples", "batches"))
        begun, ended = (
            sum(float(line["loss"]) for line in lines) / len(workers) if all(lines) else None
            for lines in zip(*workers, strict=True)
        )
        loss = f"{number(begun)} to {number(ended)}" if begun is not None else number(ended)
        row = [stage, what, str(len(workers)), number(max(minutes), 1), number(batches), number(samples), loss]
        rows.append(row)
    heads = ["stage", "what learns", "workers", "minutes", "batches", "scenes", "loss, first to last"]
    notes = run / "notes.md"  # what a person did to the run that its figures do not say
    said = [notes.read_text(encoding="utf-8").strip(), ""] if notes.is_file() else []
    return [*table(heads, rows), f"Together {total:.0f} worker minutes on {record['hardware']}.", "", *said]


def sizes(record: dict[str, Any]) -> list[str]:
    """Parameters of the parts, tokens and bytes."""
    parts = record["parameters"]
    rows = [[name.replace("_", " "), number(count)] for name, count in parts.items()]
    rows += [["**together**", f"**{number(sum(parts.values()))}**"], ["tokens known", number(record["vocabulary"])]]
    return table(["part", "parameters"], [*rows, ["bytes of weights", number(record["bytes"])]])


def data(record: dict[str, Any]) -> list[str]:
    """The mixtures of scenes that the stages looked at, as shares."""
    lines = []
    for name, mixture in record.get("mixtures", {}).items():
        total = sum(weight for _, _, weight in mixture)
        shares = ", ".join(f"{kind} {level} {weight / total:.0%}" for kind, level, weight in mixture)
        lines.append(f"- {'seeing' if name == 'see' else 'speaking'}: {shares}")
    return [*lines, ""]


def scores(rows: list[dict[str, Any]], failures: dict[str, int]) -> list[str]:
    """A table for each group, in the order of the benchmark."""
    lines: list[str] = []
    for group, title in GROUPS.items():
        members = [row for row in rows if row["name"].rpartition("/")[0] == group]
        if not members:
            continue
        cells = []
        for row in members:
            name = row["name"].rpartition("/")[2]
            interval = "" if row["low"] is None else f"{number(row['low'])} - {number(row['high'])}"
            value = "none" if row["value"] is None else f"**{number(row['value'])}**"
            cell = [name, ASKED.get(name, ""), row["unit"] or "", value, interval]
            aim = number(row["aim"], 2) and f"{'<=' if name in LESS else '>='} {row['aim']}"
            cells.append([*cell, number(row["against"]), aim, str(failures.get(row["name"], ""))])
        heads = ["row", "what is asked", "score", "value", "95 % interval", "blind", "aim", "unread"]
        lines += [f"### {title}", "", *table(heads, cells)]
    return lines


def missed(rows: list[dict[str, Any]]) -> list[str]:
    """The aims that were not reached, in one sentence."""
    short = []
    for row in rows:
        if row["aim"] is None or row["value"] is None:
            continue
        if row["value"] > row["aim"] if row["name"].rpartition("/")[2] in LESS else row["value"] < row["aim"]:
            short.append(f"{row['name']} ({number(row['value'])}, aim {row['aim']})")
    unmeasured = left_out(rows)
    reached = "All aims are reached." if not any(aimed for _, aimed in unmeasured) else "All aims measured are reached."
    told = [f"Aims not reached: {', '.join(short)}." if short else reached, ""]
    names = ", ".join(name for name, _ in unmeasured)
    return [*told, *([f"Not measured: {names}.", ""] if names else [])]


def left_out(rows: list[dict[str, Any]]) -> list[tuple[str, bool]]:
    """Rows of benchmarks/shipped.py of which there is no value, and whether they have an aim."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    from _rows import jobs

    there = {row["name"] for row in rows if row["value"] is not None}
    return [(job.name, job.group == "ordinary" and job.row.aim is not None) for job in jobs() if job.name not in there]


def card(run: Path, record: dict[str, Any], results: list[dict[str, Any]]) -> str:
    """The whole card."""
    rows = [row for result in results for row in result["rows"]]
    failures = {name: count for result in results for name, count in result.get("failures", {}).items()}
    settings = next((result["settings"] for result in results if "settings" in result), {})
    return CARD.format(
        sizes="\n".join(sizes(record)),
        data="\n".join(data(record)),
        torch=record["torch"],
        stages="\n".join(stages(run, record)),
        samples=settings.get("samples", "Some"),
        scores="\n".join([*missed(rows), *scores(rows, failures)]) if rows else "Not measured yet.\n",
        machine=f"Measured on: {results[0]['machine']}." if results else "",
    )


def main() -> None:
    """Read the records, write the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of the training run")
    parser.add_argument(
        "--scores", type=Path, nargs="*", default=[], help="what benchmarks/shipped.py wrote with --json"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the weights")
    options = parser.parse_args()
    record = next((path for path in (options.run / "run.json", options.out / "run.json") if path.is_file()), None)
    if record is None:
        raise SystemExit(f"no run.json in {options.run} or {options.out}: run the stage export first")
    text = card(options.run, read_json(record), [read_json(path) for path in options.scores])
    (options.out / "README.md").write_text(text.rstrip() + "\n", encoding="utf-8")
    print(options.out / "README.md")


if __name__ == "__main__":
    main()
