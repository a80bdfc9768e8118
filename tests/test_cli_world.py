"""`imglish world`: what it writes, what it leaves alone, what its help says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from imglish import cli, world


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    "bad",
    [["thing"], ["things", "--difficulty", "harder"], ["things", "--size", "9x9"], ["text"], ["things"]],
    ids=["kind", "difficulty", "size", "another kind", "again"],
)
def test_a_data_set_survives_a_command_that_is_refused(
    bad: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["world", "things", "--seed", "7", "--count", "2", "--out", str(tmp_path)]) == 0
    before = content(tmp_path)
    assert before["samples.jsonl"]
    assert cli.main(["world", *bad, "--out", str(tmp_path)]) == 2
    assert content(tmp_path) == before
    assert "hint:" in capsys.readouterr().err


def test_a_data_set_is_replaced_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["world", "things", "--seed", "7", "--count", "2", "--out", str(tmp_path)]) == 0
    assert cli.main(["world", "text", "--count", "1", "--out", str(tmp_path)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert cli.main(["world", "text", "--count", "1", "--out", str(tmp_path), "--overwrite"]) == 0
    assert sorted(content(tmp_path)) == ["samples.jsonl", "text-000000-00.png"]


def test_a_refused_command_leaves_no_folder(tmp_path: Path) -> None:
    for bad in (["thing"], ["things", "--difficulty", "harder"], ["things", "--size", "9x9"]):
        assert cli.main(["world", *bad, "--out", str(tmp_path / "new" / "scenes")]) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_kind_of_ones_own_is_written_under_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my").mkdir()
    own = tmp_path / "my" / "kind.py"
    own.write_text(Path(world.__file__).with_name("things.py").read_text(encoding="utf-8"), encoding="utf-8")
    assert cli.main(["world", str(own), "--seed", "7", "--count", "1", "--out", str(tmp_path / "own")]) == 0
    assert sorted(content(tmp_path / "own")) == ["kind-000007-00.png", "samples.jsonl"]


def test_the_help_lists_every_kind_and_every_difficulty() -> None:
    told = CliRunner().invoke(cli.app, ["world", "--help"], terminal_width=300).stdout.split()
    every = {difficulty for kind in world.kinds() for difficulty in world._kind(kind).DIFFICULTIES}
    assert {word.strip(".:,") for word in told} >= every | set(world.kinds())


def test_nothing_but_the_path_is_printed_where_there_is_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["world", "things", "--count", "1", "--out", str(tmp_path / "scenes")]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    rows = Path(shown.out.strip()).read_text(encoding="utf-8").splitlines()
    assert all((tmp_path / "scenes" / name).is_file() for row in rows for name in json.loads(row)["images"])
