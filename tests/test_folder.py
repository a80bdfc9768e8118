"""`imglish map`: every picture of a folder once, whatever happens in between."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

import imglish
from imglish import cli
from imglish._cli_map import described
from imglish.core.errors import CheckpointError, ImglishError, InputError, RemoteError, SkillError, UnknownName
from imglish.core.results import PARSE, TRUNCATED, Problem, Text
from imglish.core.types import SKILLS, Request
from imglish.engine import _folder_file, folder
from imglish.engine._folder_asking import Asking, asked, fingerprint
from imglish.engine._folder_pictures import pictures
from imglish.engine.folder import Progress, map_folder
from imglish.engine.generate import Options
from imglish.engine.vlm import VLM
from imglish.families.imglish import Family


class Fake:
    """A model that answers with the colour of a picture's first pixel, and writes down which it saw."""

    def __init__(self, checkpoint: str = "fake") -> None:
        self.options = Options()
        self.loaded = SimpleNamespace(
            family=SimpleNamespace(max_frames=3), model=SimpleNamespace(), checkpoint=checkpoint
        )
        self.seen: list[int] = []
        self.batches: list[int] = []
        self.fails: dict[int, Exception] = {}
        self.cuts: dict[int, str] = {}

    def check(self, request: Request) -> None:
        if request.skill == "segment":
            raise SkillError("the family 'fake' has no skill 'segment'")

    def run(self, requests: Sequence[Request], **options: Any) -> list[Text]:
        dataclasses.replace(self.options, **options)
        numbers = [number_of(request) for request in requests]
        self.batches.append(len(numbers))
        for number in numbers:
            if number in self.fails:
                raise self.fails[number]
        self.seen += numbers
        unread = {99: (Problem(PARSE, "no words"),)}
        cut = {number: (Problem(TRUNCATED, why), Problem(PARSE, "no end")) for number, why in self.cuts.items()}
        return [Text(text=f"{number} {r.text}", problems=(unread | cut).get(number, ()))
                for number, r in zip(numbers, requests, strict=True)]  # fmt: skip


def number_of(request: Request) -> int:
    parts = request.messages[0].parts[0]
    frames = getattr(parts, "frames", None) or (parts.image,)
    return int(frames[0].getpixel((0, 0))[0])


def paint(path: Path, number: int, size: tuple[int, int] = (4, 3)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (number, 0, 0)).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six pictures in three folders; in the order of their names they show 0 to 5."""
    root = tmp_path / "photos"
    for number, name in enumerate(("a.png", "b.PNG", "z.png", "m/a.png", "m/deep/x.bmp", "n/a.png")):
        paint(root / name, number)
    (root / "notes.txt").write_text("no picture")
    (root / ".hidden.png").write_bytes(b"")
    return root


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def go(vlm: Fake, photos: Path, **more: Any) -> folder.Summary:
    more.setdefault("skill", "caption")
    return map_folder(vlm, photos, out=photos.parent / "out.jsonl", **{"batch": 2, **more})


def test_every_picture_gets_one_record_in_the_order_of_names(photos: Path) -> None:
    vlm = Fake()
    summary = go(vlm, photos, batch=4)
    records = lines(photos.parent / "out.jsonl")
    names = [record["image"] for record in records]
    assert names == ["a.png", "b.PNG", "z.png", "m/a.png", "m/deep/x.bmp", "n/a.png"]
    assert [record["result"]["text"].split()[0] for record in records] == list("012345")
    assert vlm.seen == [0, 1, 2, 3, 4, 5]
    assert vlm.batches == [4, 2]
    assert (summary.images, summary.answered, summary.kept, summary.good) == (6, 6, 0, True)
    assert summary.passed == {".txt": 1}
    found = list(folder.results(photos.parent / "out.jsonl"))
    assert [(name, str(result), why) for name, result, why in found][1] == ("b.PNG", "1 Describe the picture.", "")


def test_a_second_run_asks_nothing(photos: Path) -> None:
    go(Fake(), photos)
    before = (photos.parent / "out.jsonl").read_bytes()
    vlm = Fake()
    summary = go(vlm, photos)
    assert vlm.seen == []
    assert (summary.answered, summary.kept) == (0, 6)
    assert (photos.parent / "out.jsonl").read_bytes() == before


def test_a_file_cut_anywhere_is_completed_without_a_second_record(photos: Path) -> None:
    """At every byte: what was whole before the cut stays as it is, the rest is asked again, nothing twice."""
    go(Fake(), photos)
    out = photos.parent / "out.jsonl"
    whole = out.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    edges = [at for at in range(len(whole)) if whole[at - 1 : at] == b"\n"]
    for cut in (0, 1, *edges, *(edge - 1 for edge in edges if edge), *range(last, len(whole), 41), len(whole) - 1):
        out.write_bytes(whole[:cut])
        vlm = Fake()
        go(vlm, photos)
        assert out.read_bytes() == whole, cut
        kept = whole[:cut].count(b"\n") + (whole[cut : cut + 1] == b"\n")  # only the end of the line was missing
        assert vlm.seen == list(range(6))[kept:], cut


def test_changed_new_and_vanished_pictures_are_noticed(photos: Path) -> None:
    go(Fake(), photos)
    status = (photos / "z.png").stat()
    paint(photos / "z.png", 7)
    os.utime(photos / "z.png", ns=(status.st_atime_ns, status.st_mtime_ns))  # as if nothing had happened
    paint(photos / "c.png", 8)
    (photos / "a.png").unlink()
    vlm = Fake()
    summary = go(vlm, photos)
    assert vlm.seen == [8, 7]
    assert (summary.answered, summary.changed, summary.kept, summary.gone) == (2, 1, 4, 1)
    names = [record["image"] for record in lines(photos.parent / "out.jsonl")]
    assert (
        sorted(names) == sorted({*names}) == ["a.png", "b.PNG", "c.png", "m/a.png", "m/deep/x.bmp", "n/a.png", "z.png"]
    )


def test_a_touched_picture_is_the_same_picture(photos: Path) -> None:
    go(Fake(), photos)
    os.utime(photos / "a.png", (1, 1))
    vlm = Fake()
    go(vlm, photos)
    assert vlm.seen == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"max_tokens": 7}, "max_tokens was not given and is 7"),
        ({"text": "Be brief."}, "text was not given and is 'Be brief.'"),
        ({"skill": "read"}, "skill was 'caption' and is 'read'"),
        ({"language": "pl"}, "language was 'en' and is 'pl'"),
    ],
)
def test_another_question_is_refused_by_name_and_asked_on_request(
    change: dict[str, Any], told: str, photos: Path
) -> None:
    go(Fake(), photos)
    out = photos.parent / "out.jsonl"
    before = out.read_bytes()
    with pytest.raises(InputError, match="another question") as refused:
        go(Fake(), photos, **change)
    assert told in refused.value.message
    assert out.read_bytes() == before
    vlm = Fake()
    assert go(vlm, photos, **change, redo=True).changed == 6
    assert len(lines(out)) == 6
    assert go(Fake(), photos, **change).kept == 6


def test_another_model_is_another_question_and_the_batch_is_not(photos: Path) -> None:
    go(Fake(), photos)
    assert go(Fake(), photos, batch=5).kept == 6
    with pytest.raises(InputError, match="model was 'fake' and is 'other'"):
        go(Fake("other"), photos)


def test_one_changed_weight_is_another_model() -> None:
    loaded = Family().tiny()
    first = fingerprint(loaded.model)
    assert fingerprint(Family().tiny().model) == first
    weight = next(iter(loaded.model.parameters())).data.view(-1)
    weight[3] += 1e-3
    assert fingerprint(loaded.model) != first
    assert asked(VLM(loaded), Asking("caption"), {})["weights"] == fingerprint(loaded.model)


def test_a_picture_that_fails_has_a_record_with_the_reason(photos: Path) -> None:
    (photos / "z.png").write_bytes(b"no picture at all")
    vlm = Fake()
    vlm.fails = {1: InputError("too thin", hint="crop it"), 4: RuntimeError("odd shapes")}
    summary = go(vlm, photos, batch=6)
    errors = {record["image"]: record["error"] for record in lines(photos.parent / "out.jsonl") if "error" in record}
    assert errors["b.PNG"] == {"type": "InputError", "message": "too thin", "hint": "crop it"}
    assert errors["m/deep/x.bmp"]["type"] == "RuntimeError"
    assert "z.png" in errors["z.png"]["message"]
    assert vlm.seen == [0, 3, 5]  # the others of its batch are answered
    assert summary.failed == {"InputError": 1, "RuntimeError": 1, "ImageError": 1}
    assert not summary.good
    again = Fake()
    assert go(again, photos).failed == summary.failed  # told again, not asked again
    assert again.seen == []
    assert go(again, photos, retry=True).failed == {"ImageError": 1}
    assert again.seen == [1, 4]
    assert len(lines(photos.parent / "out.jsonl")) == 6


def test_an_answer_that_cannot_be_read_counts_as_failed(photos: Path) -> None:
    paint(photos / "a.png", 99)
    summary = go(Fake(), photos)
    assert summary.failed == {"unparsed": 1}
    assert go(Fake(), photos).failed == {"unparsed": 1}


def test_a_cancelled_run_ends_and_records_only_what_was_answered(photos: Path) -> None:
    stop, vlm, out = threading.Event(), Fake(), photos.parent / "out.jsonl"
    vlm.cuts = {3: "the answer was cut after 2 tokens: it was cancelled"}
    run = vlm.run
    vlm.run = lambda requests, **more: (3 in map(number_of, requests) and stop.set()) or run(requests, **more)  # type: ignore[method-assign]
    summary = go(vlm, photos, cancel=stop)
    assert (summary.answered, summary.left, summary.good) == (3, 3, False)
    assert [record["result"]["text"].split()[0] for record in lines(out)] == list("012")
    assert vlm.seen == [0, 1, 2, 3]
    assert go(vlm, photos, cancel=stop).left == 3  # nothing is asked once it is set
    vlm.cuts = {}
    summary = go(vlm, photos)
    assert (summary.answered, summary.left, summary.kept, summary.good) == (3, 0, 3, True)


def test_an_answer_that_its_deadline_cut_is_an_error_that_is_asked_again_on_request(photos: Path) -> None:
    vlm, out = Fake(), photos.parent / "out.jsonl"
    vlm.cuts = {4: "the answer was cut after 0 tokens: its deadline had passed"}
    summary = go(vlm, photos, deadline=0.1)
    assert (summary.failed, summary.good, lines(out)[0]["asked"]["deadline"]) == ({"deadline": 1}, False, 0.1)
    (error,) = [record["error"] for record in lines(out) if "error" in record]
    assert error["type"] == "deadline" and "its deadline had passed" in error["message"]
    vlm.cuts, vlm.seen = {}, []
    assert go(vlm, photos, deadline=0.1).kept == 6
    assert go(vlm, photos, deadline=0.1, retry=True).good
    assert vlm.seen == [4]


def test_a_deadline_and_a_cancellation_of_a_real_model_are_known(photos: Path) -> None:
    vlm, stop, out = VLM(Family().tiny()), threading.Event(), photos.parent / "out.jsonl"
    summary = map_folder(vlm, photos, skill="caption", out=out, deadline=1e-6)
    assert summary.failed == {"deadline": 6}
    out.unlink()
    asked_of = vlm.run
    vlm.run = lambda *given, **more: stop.set() or asked_of(*given, **more)  # type: ignore[method-assign]
    summary = map_folder(vlm, photos, skill="caption", out=out, cancel=stop)
    assert (summary.answered, summary.left, out.read_bytes()) == (0, 6, b"")


def test_answers_that_max_tokens_cut_are_counted_and_are_not_good(photos: Path) -> None:
    vlm = Fake()
    vlm.cuts = {2: "the answer was cut after 3 tokens; raise max_tokens"}
    for summary in (go(vlm, photos), go(vlm, photos)):  # what an earlier run wrote counts, too
        assert (summary.truncated, summary.failed, summary.good) == (1, {"truncated": 1}, False)
        assert summary.to_json()["truncated"] == 1
    assert go(Fake(), photos, redo=True).to_json()["truncated"] == 0


def test_a_full_disk_is_an_error_that_names_the_file_which_stays_whole(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, vlm, free, write = photos.parent / "out.jsonl", Fake(), 700, os.write

    def to_a_small_disk(descriptor: int, data: Any) -> int:
        nonlocal free
        if free == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(descriptor, bytes(data)[:free])
        free -= written
        return written

    monkeypatch.setitem(vars(imglish), "load", lambda *_, **__: vlm)
    monkeypatch.setattr(_folder_file.os, "write", to_a_small_disk)
    command = ["map", str(photos), "--skill", "caption", "--out", str(out), "--batch", "1"]
    assert cli.main(command) == 2
    told = capsys.readouterr().err
    assert f"cannot write '{out}': No space left on device" in told and "Traceback" not in told
    whole = out.read_bytes()
    assert 0 < len(lines(out)) < 6 and whole.endswith(b"\n")
    paint(photos / "a.png", 7)  # its record is to go, and there is no room for the file without it
    assert cli.main(command) == 2
    assert out.read_bytes() == whole
    assert sorted(path.name for path in photos.parent.iterdir()) == ["out.jsonl", "photos"]
    free = 1 << 30
    assert cli.main(command) == 0
    assert len(lines(out)) == 6


def test_what_is_refused_of_every_picture_is_refused_before_any_is_asked(photos: Path) -> None:
    vlm, out = VLM(Family().tiny()), photos.parent / "out.jsonl"
    refused = {"type": "object", "properties": {"name": {"type": "string", "pattern": "[A-Z]+"}}}
    with pytest.raises(InputError, match="pattern"):
        map_folder(vlm, photos, skill="extract", schema=refused, out=out)
    with pytest.raises(InputError, match=r"no option 'max_tokes'. Did you mean 'max_tokens'\?"):
        map_folder(vlm, photos, skill="caption", out=out, max_tokes=5)
    assert not out.exists()


def test_what_is_no_pictures_fault_ends_the_run_and_loses_nothing(photos: Path) -> None:
    vlm = Fake()
    vlm.fails = {4: CheckpointError("the weights are gone")}
    with pytest.raises(CheckpointError):
        go(vlm, photos)
    assert len(lines(photos.parent / "out.jsonl")) == 4
    assert go(Fake(), photos).answered == 2


def test_on_a_server_one_refusal_costs_no_other_request(photos: Path) -> None:
    vlm = Fake()
    vlm.loaded.model = None
    vlm.fails = {1: RemoteError("it is too large", status=413)}
    assert go(vlm, photos, batch=6).failed == {"RemoteError": 1}
    assert sorted(vlm.seen) == [0, 2, 3, 4, 5]
    assert vlm.batches == [1] * 6
    vlm.fails = {1: RemoteError("nobody answers")}
    with pytest.raises(RemoteError, match="nobody"):
        go(vlm, photos, retry=True)
    assert len(lines(photos.parent / "out.jsonl")) == 5


def test_many_strange_failures_in_a_row_end_the_run(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "MOST_IN_A_ROW", 3)
    vlm = Fake()
    vlm.fails = {number: RuntimeError("the device is lost") for number in (1, 2, 3, 4, 5)}
    with pytest.raises(ImglishError, match="in a row failed, the last with RuntimeError: the device is lost"):
        go(vlm, photos)
    assert len(lines(photos.parent / "out.jsonl")) == 4
    vlm.fails = {}
    assert go(vlm, photos, retry=True).good


def test_a_foreign_file_is_left_as_it_is(photos: Path) -> None:
    out = photos.parent / "out.jsonl"
    for content in (b"my notes", b'{"name": 1}\n', b'{"image": "a.png"}\n', b"\x89PNG\n"):
        out.write_bytes(content)
        with pytest.raises(InputError, match=r"line 1 of .* is no record"):
            go(Fake(), photos)
        assert out.read_bytes() == content


def test_two_processes_never_write_one_file(photos: Path) -> None:
    pytest.importorskip("fcntl")
    out = photos.parent / "out.jsonl"
    go(Fake(), photos, limit=2)
    whole = lines(out)[0]["asked"]
    with _folder_file.Records(out).open(whole) as records:
        for _ in range(2):
            with pytest.raises(InputError, match="another process"):
                go(Fake(), photos)
            records.keep({"a.png"})  # a new file under the old name is held, too
    assert go(Fake(), photos).answered == 5


def test_a_limit_takes_the_first_and_the_rest_follows(photos: Path) -> None:
    vlm = Fake()
    assert go(vlm, photos, limit=2).answered == 2
    summary = go(vlm, photos)
    assert (summary.answered, summary.kept, summary.gone) == (4, 2, 0)
    assert vlm.seen == [0, 1, 2, 3, 4, 5]
    assert go(vlm, photos, limit=1).gone == 0


def test_a_pattern_decides_instead_of_the_ending(photos: Path) -> None:
    (photos / "scan.dat").write_bytes((photos / "a.png").read_bytes())
    assert pictures(photos, pattern="*.dat")[0] == ["scan.dat"]
    assert pictures(photos, pattern="m/*")[0] == ["m/a.png", "m/deep/x.bmp"]
    with pytest.raises(InputError, match="no pictures"):
        pictures(photos, pattern="*.xyz")


def test_names_that_are_no_text_survive(photos: Path) -> None:
    name = b"\xff\xfe.png".decode("utf-8", "surrogateescape")
    try:
        paint(photos / name, 9)
    except (OSError, UnicodeError):
        pytest.skip("this file system has only names that are text")
    paint(photos / "żółw\u2028.png", 10)
    go(Fake(), photos)
    vlm = Fake()
    assert go(vlm, photos).kept == 8
    assert {record["image"] for record in lines_of_bytes(photos.parent / "out.jsonl")} >= {name, "żółw\u2028.png"}


def lines_of_bytes(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_bytes().split(b"\n")[:-1]]


def test_links_to_folders_are_not_entered_and_are_told(photos: Path) -> None:
    (photos / "loop").symlink_to(photos, target_is_directory=True)
    assert go(Fake(), photos).passed == {".txt": 1, "link to a folder": 1}


def test_pictures_of_one_batch_stay_within_the_bound_of_pixels(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imglish.engine._folder_pictures.MOST_PIXELS", 2 * 4 * 3)
    vlm = Fake()
    go(vlm, photos, batch=6)
    assert vlm.batches == [2, 2, 2]


def test_progress_tells_the_rate_and_the_time_left(photos: Path) -> None:
    go(Fake(), photos, limit=2)
    told: list[Progress] = []
    ticks = iter(range(0, 1000, 2))
    go(Fake(), photos, batch=1, progress=told.append, clock=lambda: float(next(ticks)))
    assert [(one.done, one.total) for one in told] == [(2, 6), (3, 6), (4, 6), (5, 6), (6, 6)]
    assert told[0].rate is None  # what earlier runs did is not this run's rate
    assert [one.rate for one in told[1:]] == [0.5] * 4
    assert told[1].left == 6.0
    assert described(dataclasses.replace(told[1], failed=1)) == "3 of 6 pictures, 30.0 a minute, 0:06 left, 1 failed"
    assert described(Progress(10, 36010, 0, 2.5)) == "10 of 36010 pictures, 2.5 a second, 4:00:00 left"


ARGUMENTS: dict[str, dict[str, Any]] = {
    "ask": {"text": "How many?"}, "caption": {"text": "Be brief.", "detail": "brief", "tone": "positive"},
    "detect": {"labels": ("cat", "dog")}, "ground": {"text": "the cat"}, "segment": {"text": "the cat"}, "read": {},
    "identify": {"box": (1.0, 1.0, 3.0, 2.0)}, "count": {"text": "cats"}, "extract": {"schema": ["name"]},
    "watch": {"text": "What moved?"}, "chat": {"text": "Hello"},
}  # fmt: skip


@pytest.mark.parametrize("skill", SKILLS)
def test_a_request_is_the_one_that_the_skill_makes(skill: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Request] = []
    vlm = VLM(Family().tiny())
    monkeypatch.setattr(vlm, "run", lambda requests, **_: [made.append(r) or Text() for r in requests])
    picture, given = Image.new("RGB", (9, 9)), dict(ARGUMENTS[skill])
    image: Any = [picture] * 2 if skill == "watch" else picture
    if skill == "chat":
        made.append(imglish.engine.vlm.chat_request((imglish.Message("user", (
            imglish.core.types.ImagePart(picture), imglish.core.types.TextPart("Hello"))),)))  # fmt: skip
    else:
        first = [given.pop(name) for name in ("text", "labels", "box", "schema") if name in given]
        getattr(vlm, skill)(image, *first, **given)
    own = Asking(skill, **ARGUMENTS[skill]).request(image if isinstance(image, list) else [image])
    assert own == made[0]


def test_arguments_that_do_not_go_together_are_refused(photos: Path) -> None:
    for given, told in (
        ({"skill": "detect", "schema": ["name"]}, "schema is given"),
        ({"skill": "ask"}, "ask needs a text"),
        ({"skill": "identify"}, "identify needs a box"),
        ({"skill": "identify", "box": (3, 1, 1, 2)}, "the box is"),
        ({"skill": "identify", "box": (1, 1, float("inf"), 2)}, "the box is"),
        ({"skill": "extract", "schema": []}, "no properties"),
        ({"skill": "segment", "text": "the cat"}, "no skill 'segment'"),
        ({"batch": 0}, "batch is 0"),
    ):
        with pytest.raises(InputError, match=told):
            go(Fake(), photos, **given)
    with pytest.raises(UnknownName, match="'detect'"):
        go(Fake(), photos, skill="detct")
    assert not (photos.parent / "out.jsonl").exists()


def test_an_animation_is_watched_frame_by_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), (n, 0, 0)) for n in (50, 100, 150, 200)]
    (tmp_path / "clips").mkdir()
    frames[0].save(tmp_path / "clips" / "a.gif", save_all=True, append_images=frames[1:])
    vlm = Fake()
    asked_of: list[Request] = []
    run = vlm.run
    vlm.run = lambda requests, **options: asked_of.extend(requests) or run(requests, **options)  # type: ignore[method-assign]
    go(vlm, tmp_path / "clips", skill="watch", text="What moves?")
    assert len(asked_of[0].messages[0].parts[0].frames) == 3  # type: ignore[union-attr]


def test_the_command_prints_a_summary_and_its_status(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(vars(imglish), "load", lambda *_, **__: Fake())
    out = photos.parent / "o.jsonl"
    arguments = ["map", str(photos), "cat", "dog", "--skill", "detect", "--out", str(out)]
    assert cli.main([*arguments, "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["answered"] == 6
    assert "6 of 6 pictures" in printed.err
    assert lines(out)[0]["asked"]["labels"] == ["cat", "dog"]
    (photos / "z.png").write_bytes(b"nothing")
    assert cli.main(arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == f"{out}\n"
    assert "1 failed: 1 x ImageError" in printed.err
    assert cli.main(["map", str(photos), "--skill", "read", "--out", str(out)]) == 2
    assert "another question" in capsys.readouterr().err
    assert cli.main(["map", str(photos / "none"), "--skill", "read", "--out", str(out)]) == 2
    assert cli.main(["map", str(photos), "a", "b", "--skill", "ask", "--out", str(out)]) == 2


def test_an_interrupted_command_says_how_far_it_came_and_goes_on(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Stopped(Fake):
        def run(self, requests: Any, **options: Any) -> Any:
            if len(lines(out)) >= 2:
                raise KeyboardInterrupt
            return super().run(requests, **options)

    out = photos.parent / "o.jsonl"
    out.touch()
    monkeypatch.setitem(vars(imglish), "load", lambda *_, **__: Stopped())
    arguments = ["map", str(photos), "cat", "--skill", "detect", "--out", str(out), "--batch", "2"]
    assert cli.main(arguments) == 130
    assert "stopped: 2 of 6 pictures" in capsys.readouterr().err
    monkeypatch.setitem(vars(imglish), "load", lambda *_, **__: Fake())
    assert cli.main(arguments) == 0
    assert len(lines(out)) == 6


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("checkpoint")
    loaded = Family().tiny()
    loaded.model.save_pretrained(path)
    loaded.processor.save_pretrained(path)
    return path


def test_a_killed_process_goes_on_where_it_was(checkpoint: Path, tmp_path: Path) -> None:
    """A real process, killed with SIGKILL as soon as it has written some records, then started again."""
    count, out = 60, tmp_path / "out.jsonl"
    for number in range(count):
        paint(tmp_path / "photos" / f"{number:03}.png", number, (40, 30))
    command = [sys.executable, "-m", "imglish.cli", "map", "photos", "--skill", "caption", "--out", out.name]
    command += ["--model", str(checkpoint), "--max-tokens", "40", "--batch", "2"]
    first = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)
    while first.poll() is None and not (out.exists() and out.read_bytes().count(b"\n") >= 4):
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    _, told = first.communicate()
    assert first.returncode == -signal.SIGKILL, told.decode()
    before = out.read_bytes()
    assert 4 <= before.count(b"\n") < count
    out.write_bytes(before + b'{"image": "0')  # as if it had died a moment later
    done = subprocess.run([*command, "--json"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert out.read_bytes().startswith(before)
    assert [record["image"] for record in lines(out)] == [f"{number:03}.png" for number in range(count)]
    summary = json.loads(done.stdout)
    assert (summary["kept"], summary["answered"]) == (before.count(b"\n"), count - before.count(b"\n"))
