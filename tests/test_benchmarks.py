"""Every script in benchmarks/, found by listing the folder, and the model card written from what they measure."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from imglish.families.imglish import Family

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(path for path in (ROOT / "benchmarks").glob("*.py") if not path.name.startswith("_"))
KEYS = {"name", "value", "low", "high", "against", "ratio", "aim", "unit"}
SMALL = {"shipped": ["--rows", "ordinary/colour", "crowded/ap50", "unknown/refused", "photographs"]}
SMALL["engine"] = ["--quick", "--models", "a", "b", "--rows", "decode", "bandwidth", "chat_turn"]
SMALL["compiled"] = ["--quick", "--ways", "plain"]
SMALL["families"] = ["--families", "llava", "--steps", "3"]
NAMES = [
    *("colour", "presence", "count", "count2", "caption_f1", "ap50", "detect_one", "refer", "mask_iou", "cer"),
    *("fields", "chart", "change", "defect", "defect_box", "clip"),
]


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands beside the scripts can be imported, as when they are run."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of the shipped family, as a checkpoint folder."""
    folder = tmp_path_factory.mktemp("tiny")
    loaded = Family().tiny()
    loaded.model.save_pretrained(folder)
    loaded.processor.save_pretrained(folder)
    return folder


def run(path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(path), *arguments])
    runpy.run_path(str(path), run_name="__main__")


def options(path: Path, tiny: Path) -> list[str]:
    """As little work as the script can do."""
    model = ["--model", str(tiny)] if '"--model"' in path.read_text(encoding="utf-8") else []
    return ["--samples", "2", *model, *SMALL.get(path.stem, [])]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_prints_a_table_and_writes_its_rows(
    path: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(path, [*options(path, tiny), "--json", str(tmp_path / "rows.json")], monkeypatch)
    document = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    assert document["machine"]
    assert document["rows"]
    printed = capsys.readouterr().out
    for row in document["rows"]:
        assert set(row) == KEYS
        assert re.search(rf"^{re.escape(row['name'])} ", printed, re.MULTILINE)
        assert row["value"] is None or row["low"] is None or row["low"] <= row["value"] <= row["high"]


def test_a_stopped_run_goes_on_and_never_mixes_settings(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, file = ROOT / "benchmarks" / "shipped.py", tmp_path / "rows.json"
    common = ["--model", str(tiny), "--no-blind", "--json", str(file), "--resume"]
    run(script, [*common, "--samples", "2", "--rows", "ordinary/refer"], monkeypatch)
    marked = json.loads(file.read_text())
    marked["rows"][0]["value"] = 0.125
    file.write_text(json.dumps(marked))
    run(script, [*common, "--samples", "2", "--rows", "ordinary/refer", "ordinary/colour"], monkeypatch)
    rows = json.loads(file.read_text())["rows"]
    assert [row["name"] for row in rows] == ["ordinary/colour", "ordinary/refer"]
    assert rows[1]["value"] == 0.125
    with pytest.raises(SystemExit, match="other settings"):
        run(script, [*common, "--samples", "3", "--rows", "ordinary/refer"], monkeypatch)


def test_no_row_is_left_out() -> None:
    import _rows

    names = [job.name for job in _rows.jobs()]
    assert len(names) == len(set(names))
    for group in ("ordinary", "crowded", "wordings"):
        assert [name.rpartition("/")[2] for name in names if name.startswith(f"{group}/")] == NAMES
    assert {f"repeats/{name}" for name in NAMES} - set(names) == {"repeats/cer", "repeats/fields", "repeats/chart"}


@pytest.mark.parametrize("group", ["ordinary", "crowded", "repeats", "wordings", "languages/ru", "unknown"])
def test_whoever_says_the_truth_gets_full_marks_and_whoever_says_nothing_gets_none(group: str) -> None:
    import _rows

    family, scenes = Family(), _rows.Scenes()
    for job in sorted((job for job in _rows.jobs() if job.group == group), key=lambda job: job.source):
        cases = scenes.cases(job, 4)
        assert len(cases) == 4
        assert all(case.scene.held_out for case in cases)
        results = {}
        for who in ("truth", "nothing"):
            results[who] = []
            for case in cases:
                raw = "".join(piece.text for piece in family.answer(case.sample)) if who == "truth" else ""
                sizes = [image.size for image in case.sample.images]
                results[who].append(family.parse(case.sample.request(), raw, sizes))
        full, none = (job.row.measure(cases, results[who])[0] for who in ("truth", "nothing"))
        best, worst = (0.0, 1.0) if job.row.name == "cer" else (1.0, 0.0)
        if job.name == "unknown/refused":
            best = 0.0
        assert full == pytest.approx(best, abs=0.3 if job.row.name == "mask_iou" else 1e-9), job.name
        assert none == pytest.approx(worst), job.name


def test_asked_blind_the_question_is_the_same_and_the_pictures_are_grey() -> None:
    import _rows
    import shipped

    job = next(job for job in _rows.jobs() if job.name == "ordinary/change")
    sample = _rows.Scenes().cases(job, 1)[0].sample
    request, seen = shipped.blind(sample), sample.request()
    assert (request.text, request.skill, request.labels) == (seen.text, seen.skill, seen.labels)
    pictures = [part.image for part in request.messages[0].parts if hasattr(part, "image")]
    assert [picture.size for picture in pictures] == [image.size for image in sample.images]
    assert {colour for picture in pictures for _, colour in picture.getcolors()} == {(128, 128, 128)}


def test_the_same_blind_question_is_asked_once_and_answered_for_all() -> None:
    import _rows
    import shipped

    class Echo:
        asked = 0

        def run(self, requests: list[Any], **_: Any) -> list[str]:
            self.asked += len(requests)
            return [f"{request.text}/{request.detail}" for request in requests]

    job = next(job for job in _rows.jobs() if job.name == "ordinary/caption_f1")
    samples = [case.sample for case in _rows.Scenes().cases(job, 8)]
    echo = Echo()
    answers = shipped.asked_blind(echo, [*samples, *samples], {})
    assert answers == [f"{sample.question}/{sample.detail}" for sample in (*samples, *samples)]
    assert echo.asked == len({(sample.skill, sample.question, sample.detail) for sample in samples})


def test_a_remembered_picture_has_the_features_it_had() -> None:
    import shipped

    encoder = Family().tiny().model.vision
    remembering, seen = shipped.Remembering(encoder), []
    encoder.register_forward_hook(lambda *_: seen.append(1))
    pictures = torch.rand(3, 3, 192, 192)
    with torch.inference_mode():
        first = remembering(pixel_values=pictures, return_dict=True).last_hidden_state
        again = remembering(pixel_values=pictures[[2, 0, 0]], return_dict=True).last_hidden_state
        plain = encoder(pixel_values=pictures, return_dict=True).last_hidden_state
    assert len(seen) == 2  # once remembering, once without
    assert torch.equal(again, first[[2, 0, 0]])
    assert torch.allclose(first, plain, atol=1e-5)


def records(folder: Path) -> dict[str, Any]:
    """A run's records, with a worker's log."""
    record = {
        "parameters": {"vision": 4_000_001, "decoder": 3_000_000},
        "bytes": 14_000_123,
        "vocabulary": 2345,
        "hardware": "a machine, cpu",
        "torch": "2.13.0",
        "stages": {"polish": {"workers": 1, "last": [{"minutes": 2.5, "batches": 7, "samples": 70, "loss": 0.25}]}},
        "mixtures": {"see": [["things", "crowded", 3.0], ["text", "easy", 1.0]]},
    }
    (folder / "run.json").write_text(json.dumps(record))
    lines = [{"minutes": m, "batches": 10 * m, "samples": 320 * m, "loss": 9.0 / m} for m in (1, 2)]
    for worker in (0, 1):
        (folder / f"see.{worker}.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    return record


def test_the_card_says_what_the_records_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records(tmp_path)
    row = dict.fromkeys(KEYS) | {"name": "ordinary/colour", "value": 0.912, "low": 0.9, "high": 0.93, "against": 0.11}
    scores = {"machine": "the machine", "rows": [{**row, "aim": 0.98, "unit": "accuracy"}], "settings": {"samples": 77}}
    (tmp_path / "scores.json").write_text(json.dumps({**scores, "failures": {"ordinary/colour": 3}}))
    arguments = ["--run", str(tmp_path), "--scores", str(tmp_path / "scores.json"), "--out", str(tmp_path)]
    run(ROOT / "recipes/shipped/card.py", arguments, monkeypatch)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    for fact in ("7,000,001", "14,000,123", "2,345", "things crowded 75%", "| 2 | 2.0 | 40 | 1,280 | 9.000 to 4.500 |"):
        assert fact in card
    assert "| **0.912** | 0.900 - 0.930 | 0.110 | >= 0.98 | 3 |" in card
    assert "Aims not reached: ordinary/colour (0.912, aim 0.98)" in card
    assert "Not measured: ordinary/presence, " in card and "crowded/ap50, " in card
    assert "| 1 | 2.5 | 7 | 70 | 0.250 |" in card  # a stage of which only the export's record is there


def test_a_card_claims_no_aim_that_was_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "recipes/shipped"))
    from _rows import jobs
    from card import missed

    every = [
        {"name": job.name, "value": 0.0 if job.row.name in ("cer", "refused") else 1.0, "aim": job.row.aim}
        for job in jobs()
    ]
    assert missed(every) == ["All aims are reached.", ""]
    assert "All aims measured are reached." in missed(every[1:])
    assert f"Not measured: {every[0]['name']}." in missed(every[1:])


def test_there_is_no_card_without_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"no run\.json"):
        run(ROOT / "recipes/shipped/card.py", ["--run", str(tmp_path), "--out", str(tmp_path)], monkeypatch)
