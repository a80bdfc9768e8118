"""The command line, with a model that writes down what it was asked: parsing, printing, exit statuses."""

from __future__ import annotations

import io
import json
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

import imglish
from imglish import _cli_input as given
from imglish import cli
from imglish.core.errors import SkillError
from imglish.core.results import Boxes, ImageReceipt, Masks, Problem, Receipt, Record, Text, TextRegions, Token
from imglish.core.types import Message, to_messages
from imglish.engine.load import FAMILIES
from imglish.engine.vlm import VLM

SKILLS = {
    "ask": ["a.png", "How many?"],
    "caption": ["a.png"],
    "detect": ["a.png", "cat"],
    "ground": ["a.png", "the cat"],
    "segment": ["a.png", "the cat"],
    "read": ["a.png"],
    "identify": ["a.png", "--box", "1,2,30,40"],
    "count": ["a.png", "cats"],
    "extract": ["a.png", "--schema", "name,date"],
    "watch": ["a.png", "a.png", "What moved?"],
}


class FakeStream:
    """Iterate for the pieces; `result` is there when they have ended."""

    def __init__(self, number: int, problems: tuple[Problem, ...], picture: Image.Image | None) -> None:
        self.pieces = ("Turn ", f"{number}.")
        self.result = Text(text="".join(self.pieces), problems=problems, picture=picture)

    def __iter__(self) -> Iterator[str]:
        return iter(self.pieces)


class FakeVLM:
    """Every skill returns a result of its type and is written down with what it was given."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.loaded: list[tuple[Any, dict[str, Any]]] = []
        self.problems: tuple[Problem, ...] = ()
        self.empty = False
        self.picture: Image.Image | None = None
        self.turns: list[tuple[Message, ...]] = []

    def load(self, model: Any = None, **options: Any) -> FakeVLM:
        self.loaded.append((model, options))
        return self

    def stream(self, messages: Any, **options: Any) -> FakeStream:
        messages = to_messages(messages)
        if messages[-1].text == "fail":
            raise SkillError("the family 'fake' cannot do that")
        self.turns.append(messages)
        self.calls.append(("chat", messages, options))
        return FakeStream(len(self.turns), self.problems, self.picture)

    def __getattr__(self, skill: str) -> Any:
        def call(images: Any, *arguments: Any, **options: Any) -> Any:
            self.calls.append((skill, (images, *arguments), options))
            return self.result(skill, images[0] if isinstance(images, list) else images)

        return call

    def result(self, skill: str, picture: Image.Image) -> Any:
        seen = ImageReceipt(original_size=picture.size, model_size=(192, 192), image_tokens=36)
        common: dict[str, Any] = {
            "receipt": Receipt(family="fake", images=(seen,), generated_tokens=5),
            "problems": self.problems,
            "raw": "raw words",
            "picture": picture,
        }
        square = ((1.0, 2.0), (30.0, 2.0), (30.0, 40.0), (1.0, 40.0))
        if skill in ("detect", "ground"):
            boxes = [] if self.empty else [(1, 2, 30, 40)]
            return Boxes(xyxy=boxes, labels=["cat"][: len(boxes)], size=picture.size, **common)
        if skill == "segment":
            return Masks(polygons=((square,),), labels=("cat",), size=picture.size, **common)
        if skill == "read":
            found = 0 if self.empty else 1
            return TextRegions(texts=("ŁÓDŹ 7",)[:found], quads=[square][:found], size=picture.size, **common)
        if skill == "extract":
            return Record(data={"name": "Zoë", "date": None}, **common)
        return Text(text="three", **common)


@pytest.fixture
def vlm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeVLM:
    fake = FakeVLM()
    monkeypatch.setitem(vars(imglish), "load", fake.load)
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 48), "white").save("a.png")
    return fake


@pytest.mark.parametrize("skill", SKILLS)
def test_json_is_one_document_that_names_its_type(skill: str, vlm: FakeVLM, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([skill, *SKILLS[skill], "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["type"] == {
        "detect": "boxes",
        "ground": "boxes",
        "segment": "masks",
        "read": "text_regions",
        "extract": "record",
    }.get(skill, "text")
    assert document["receipt"]["images"][0]["original_size"] == [64, 48]


@pytest.mark.parametrize("skill", SKILLS)
def test_data_goes_to_stdout_and_the_receipt_to_stderr(
    skill: str, vlm: FakeVLM, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([skill, *SKILLS[skill]]) == 0
    shown = capsys.readouterr()
    assert {"detect": "cat", "ground": "cat", "segment": "cat", "read": "ŁÓDŹ 7", "extract": "Zoë"}.get(
        skill, "three"
    ) in shown.out
    assert "192x192" in shown.err
    assert "192x192" not in shown.out


@pytest.mark.parametrize("skill", SKILLS)
def test_every_skill_draws_its_answer(skill: str, vlm: FakeVLM) -> None:
    assert cli.main([skill, *SKILLS[skill], "--out", "o.png"]) == 0
    with Image.open("o.png") as drawn:
        assert drawn.width >= 64


@pytest.mark.parametrize("skill", [*SKILLS, "chat", "world", "models", "version"])
def test_help_teaches_with_an_example(skill: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([skill, "--help"]) == 0
    shown = capsys.readouterr().out
    assert skill in ("models", "version") or f"imglish {skill} " in shown.split("Usage")[1].split("\n", 1)[1]


def test_several_pictures_come_before_the_question(vlm: FakeVLM) -> None:
    Image.new("RGB", (10, 20)).save("b.png")
    assert cli.main(["ask", "a.png", "b.png", "What changed?"]) == 0
    ((skill, (pictures, question), options),) = vlm.calls
    assert (skill, [picture.size for picture in pictures], question, options) == (
        "ask",
        [(64, 48), (10, 20)],
        "What changed?",
        {},
    )


def test_image_and_prompt_are_the_same_as_arguments(vlm: FakeVLM) -> None:
    assert cli.main(["ask", "--image", "a.png", "--prompt", "How many?"]) == 0
    assert cli.main(["ask", "a.png", "How many?"]) == 0
    first, second = vlm.calls
    assert first[1][1] == second[1][1]
    assert [picture.tobytes() for picture in first[1][0]] == [picture.tobytes() for picture in second[1][0]]


@pytest.mark.parametrize("join", ["-", "_"])
def test_dashes_and_underscores_are_the_same(join: str, vlm: FakeVLM) -> None:
    flags = ["max-tokens 7", "top-p 0.5", "temperature 0.3", "seed 4", "stop .", "stop !", "max-image-pixels 99999"]
    words = [word for flag in flags for word in ("--" + flag.split()[0].replace("-", join), flag.split()[1])]
    assert cli.main(["ask", "a.png", "Why?", *words, "--model", "some_hub/a_model", "--device", "cpu"]) == 0
    assert vlm.calls[0][2] == {"max_tokens": 7, "top_p": 0.5, "temperature": 0.3, "seed": 4, "stop": [".", "!"]}
    assert vlm.loaded == [("some_hub/a_model", {"device": "cpu"})]


def test_arguments_reach_their_skill(vlm: FakeVLM) -> None:
    for skill, arguments in SKILLS.items():
        assert cli.main([skill, *arguments]) == 0
    got = {skill: values[1:] for skill, values, _ in vlm.calls}
    assert list(got["detect"][0]) == ["cat"]
    assert got["ground"] == got["segment"] == ("the cat",)
    assert got["identify"] == ((1.0, 2.0, 30.0, 40.0),)
    assert got["count"] == ("cats",)
    assert list(got["extract"][0]["properties"]) == ["name", "date"]
    assert got["watch"] == ("What moved?",)


@pytest.mark.parametrize("said", [["pencil,house"], ["pencil, house"], ["pencil,", "house"], [" pencil ", "house"]])
def test_labels_may_be_separated_by_commas(said: list[str], vlm: FakeVLM) -> None:
    assert cli.main(["detect", "a.png", *said]) == 0
    assert vlm.calls[0][1][1] == ("pencil", "house")
    assert given.words("detect", said, prompt=None)["labels"] == ("pencil", "house")


def animation(frames: int) -> str:
    first, *others = [Image.new("RGB", (8, 8), (20 * number, 0, 0)) for number in range(1, frames + 1)]
    first.save("clip.gif", save_all=True, append_images=others)
    return "clip.gif"


@pytest.mark.parametrize(("frames", "seen"), [(3, [20, 40, 60]), (7, [20, 60, 100, 140]), (1, [20])])
def test_an_animation_is_watched_as_its_frames(
    frames: int, seen: list[int], vlm: FakeVLM, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded: Any = SimpleNamespace(family=SimpleNamespace(max_frames=4))
    monkeypatch.setattr(vlm, "load", lambda *_, **__: vlm)
    monkeypatch.setitem(vars(imglish), "load", vlm.load)
    monkeypatch.setattr(vlm, "loaded", loaded)
    assert cli.main(["watch", animation(frames), "What moves?"]) == 0
    assert [picture.getpixel((0, 0))[0] for picture in vlm.calls[0][1][0]] == seen
    told = capsys.readouterr().err
    assert ("more than 4 frames" in told) == (frames > 4)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(Path("clip.gif").read_bytes())))
    assert cli.main(["watch", "-", "What moves?"]) == 0
    assert len(vlm.calls[1][1][0]) == len(seen)


FORMS = {
    "number": "number",
    "yes or no": "yes or no",
    "0..99": range(100),
    "-3..-1": range(-3, 0),
    "red, green,blue": ["red", "green", "blue"],
    '["a, b", "c"]': ["a, b", "c"],
    r"/[A-Z]{2}-\d{4}/": re.compile(r"[A-Z]{2}-\d{4}"),
    "/a,b/": re.compile("a,b"),
}


@pytest.mark.parametrize("said", FORMS)
def test_the_form_of_an_answer_is_said_in_one_word(said: str, vlm: FakeVLM) -> None:
    assert cli.main(["ask", "a.png", "How many?", "--form", said]) == 0
    assert cli.main(["ask", "a.png", "How many?"]) == 0
    assert [options for _, _, options in vlm.calls] == [{"form": FORMS[said]}, {}]


def test_the_form_of_an_answer_may_be_a_schema(vlm: FakeVLM) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    Path("card.json").write_text(json.dumps(schema), encoding="utf-8")
    for said in ("card.json", json.dumps(schema)):
        assert cli.main(["ask", "a.png", "Who?", "--form", said]) == 0
    assert [options["form"] for _, _, options in vlm.calls] == [schema, schema]


def test_a_form_that_is_none_names_the_nearest(vlm: FakeVLM, capsys: pytest.CaptureFixture[str]) -> None:
    assert "perhaps --form number" in fails(["ask", "a.png", "?", "--form", "numbr"], capsys)
    assert "perhaps --form 1..9" in fails(["ask", "a.png", "?", "--form", "9..1"], capsys)
    assert vlm.loaded == []  # it is told before a model is loaded


def test_the_answer_of_a_model_has_the_form(
    monkeypatch: pytest.MonkeyPatch, vlm: FakeVLM, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = VLM(FAMILIES.get("imglish")().tiny())
    monkeypatch.setitem(vars(imglish), "load", lambda *_, **__: tiny)
    for said, wanted in (("0..9", r"\d"), ("red,green", "red|green"), ("/[ab]{3}/", "[ab]{3}")):
        assert cli.main(["ask", "a.png", "What?", "--form", said]) == 0
        assert re.fullmatch(wanted, capsys.readouterr().out.strip())


def test_a_picture_may_come_from_standard_input(vlm: FakeVLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(Path("a.png").read_bytes())))
    assert cli.main(["caption", "-", "--detail", "brief"]) == 0
    assert vlm.calls[0][1][0].size == (64, 48)
    assert vlm.calls[0][2] == {"detail": "brief", "tone": "factual", "language": "en"}


def test_warnings_go_to_stderr_and_change_no_status(vlm: FakeVLM, capsys: pytest.CaptureFixture[str]) -> None:
    vlm.problems = (Problem("out_of_world", "this looks like a photograph"),)
    assert cli.main(["ask", "a.png", "Why?", "--json"]) == 0
    shown = capsys.readouterr()
    assert "warning: this looks like a photograph" in shown.err
    assert json.loads(shown.out)["problems"][0]["kind"] == "out_of_world"


def test_nothing_found_is_success_and_unreadable_is_failure(vlm: FakeVLM, capsys: pytest.CaptureFixture[str]) -> None:
    vlm.empty = True
    assert cli.main(["detect", "a.png", "cat"]) == 0
    assert "found nothing" in capsys.readouterr().err
    assert cli.main(["read", "a.png"]) == 0
    shown = capsys.readouterr()
    assert "found nothing" in shown.err
    assert shown.out == ""
    vlm.problems = (Problem("parse", "no box in it", "raw words"),)
    assert cli.main(["detect", "a.png", "cat"]) == 1
    assert "raw words" in capsys.readouterr().err


# What people get wrong: a clear error, exit status 2, nothing on stdout, no traceback.


def header_bomb() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0"))


def truncated_jpeg() -> bytes:
    content = io.BytesIO()
    Image.effect_noise((200, 200), 50).convert("RGB").save(content, "JPEG")
    return content.getvalue()[:-2000]


BAD_PICTURES = {
    "text.png": b"these are only words\n" * 20,
    "truncated.jpg": truncated_jpeg(),
    "bomb.png": header_bomb(),
    "empty.png": b"",
    "short.png": b"hi\n",
    "one.png": b"\n",
}
BAD_CALLS = {
    "no question": ["ask", "a.png"],
    "no picture": ["ask", "How many cats?"],
    "nothing": ["ask"],
    "bad box": ["identify", "a.png", "--box", "1,2,3"],
    "box turned round": ["identify", "a.png", "--box", "30,40,1,2"],
    "schema that is no JSON": ["extract", "a.png", "--schema", "{name"],
    "schema without properties": ["extract", "a.png", "--schema", '{"type": "object"}'],
    "form that is none": ["ask", "a.png", "?", "--form", "sonnet"],
    "empty form": ["ask", "a.png", "?", "--form", ""],
    "range turned round": ["ask", "a.png", "?", "--form", "9..1"],
    "pattern that is none": ["ask", "a.png", "?", "--form", "/[A-/"],
    "pattern that cannot be held": ["ask", "a.png", "?", "--form", "/(?=a)b/"],
    "choices that are no texts": ["ask", "a.png", "?", "--form", "[1, 2]"],
    "choices that are no JSON": ["ask", "a.png", "?", "--form", '["a'],
    "form of a missing schema": ["ask", "a.png", "?", "--form", "missing.json"],
    "missing schema": ["extract", "a.png", "--schema", "missing.json"],
    "unknown option": ["caption", "a.png", "--nonsense"],
    "overlay of no picture type": ["caption", "a.png", "--out", "o.xyz"],
    "overlay in no folder": ["caption", "a.png", "--out", "no/where/o.png"],
    "URL while they are off": ["caption", "https://example.com/a.png"],
    "label that is empty": ["detect", "a.png", "cat,,dog"],
    "label of blanks": ["detect", "a.png", " "],
    "chat with every picture": ["map", ".", "Hello", "--skill", "chat", "--out", "m.jsonl"],
    "no tokens": ["caption", "a.png", "--max-tokens", "0"],
}


def fails(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The message of a call that must end with status 2 and nothing on stdout."""
    assert cli.main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Traceback" not in shown.err
    return " ".join(shown.err.split())


def test_a_missing_file_is_named(vlm: FakeVLM, capsys: pytest.CaptureFixture[str]) -> None:
    assert "missing.png" in fails(["caption", "missing.png"], capsys)
    assert vlm.loaded == []  # found out before a model was loaded


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_a_bad_picture_is_named_and_explained(name: str, vlm: FakeVLM, capsys: pytest.CaptureFixture[str]) -> None:
    Path(name).write_bytes(BAD_PICTURES[name])
    message = fails(["ask", name, "What is it?", "--json"], capsys)
    assert message.startswith("error: ")
    assert name in message


def test_a_file_of_a_few_bytes_is_one_failure_of_a_folder(
    vlm: FakeVLM, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(vars(imglish), "load", lambda *_, **__: VLM(FAMILIES.get("imglish")().tiny(), max_tokens=2))
    Path("folder").mkdir()
    Path("folder/note.png").write_bytes(b"hi\n")
    Path("a.png").rename("folder/b.png")
    assert cli.main(["map", "folder", "--skill", "caption", "--out", "o.jsonl"]) == 1
    assert "Traceback" not in capsys.readouterr().err
    records = [json.loads(line) for line in Path("o.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(one["image"], one.get("error", {}).get("type")) for one in records] == [
        ("b.png", None),
        ("note.png", "ImageError"),
    ]


def test_a_limit_on_pixels_can_be_set(vlm: FakeVLM, capsys: pytest.CaptureFixture[str]) -> None:
    assert "64" in fails(["caption", "a.png", "--max-image-pixels", "100"], capsys)


def test_an_unknown_skill_gets_the_nearest_name(vlm: FakeVLM, capsys: pytest.CaptureFixture[str]) -> None:
    assert "segment" in fails(["segmnt", "a.png", "cat"], capsys)


def test_an_unknown_family_gets_the_nearest_name(
    vlm: FakeVLM, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(vars(imglish), "load")  # the real one
    assert "Did you mean 'shipped'" in fails(["caption", "a.png", "--model", "imglsh"], capsys)


def test_a_folder_is_no_picture(vlm: FakeVLM, capsys: pytest.CaptureFixture[str]) -> None:
    Path("folder").mkdir()
    assert "folder" in fails(["caption", "folder"], capsys)


def test_a_folder_that_cannot_be_read_is_named(
    vlm: FakeVLM, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(model: str, **_: Any) -> None:  # what reading a folder without permission raises
        raise PermissionError(13, "Permission denied", model)

    monkeypatch.setitem(vars(imglish), "load", refuse)
    message = fails(["caption", "a.png", "--model", "locked"], capsys)
    assert "locked" in message
    assert "Permission denied" in message


def test_a_folder_without_a_model_is_named(
    vlm: FakeVLM, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(vars(imglish), "load")  # the real one
    Path("hollow").mkdir()
    message = fails(["caption", "a.png", "--model", "hollow"], capsys)
    assert "hollow" in message
    assert "config.json" in message


@pytest.mark.parametrize(
    ("skill", "hint"), [("ask", "--prompt"), ("count", "--prompt"), ("identify", "--box"), ("extract", "--schema")]
)
def test_what_a_folder_is_asked_is_given_with_an_option(
    skill: str, hint: str, vlm: FakeVLM, capsys: pytest.CaptureFixture[str]
) -> None:
    message = fails(["map", ".", "--skill", skill, "--out", "m.jsonl"], capsys)
    assert hint in message
    assert "=..." not in message


def test_a_question_to_begin_a_chat_with_is_explained(vlm: FakeVLM, capsys: pytest.CaptureFixture[str]) -> None:
    for question in ("question", "What is it?", "Tell me. " * 50):
        assert "typed in the chat" in fails(["chat", "a.png", question], capsys)
    assert "typed in the chat" not in fails(["chat", "a.pgn"], capsys)


@pytest.mark.parametrize("name", BAD_CALLS)
def test_a_bad_call_is_explained(name: str, vlm: FakeVLM, capsys: pytest.CaptureFixture[str]) -> None:
    assert fails(BAD_CALLS[name], capsys)
    assert vlm.calls == []


def test_what_the_family_cannot_do_is_status_2(
    vlm: FakeVLM, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def caption(*_: Any, **__: Any) -> None:
        raise SkillError("the family 'fake' has no skill 'caption'", hint="families that have it: imglish")

    monkeypatch.setattr(vlm, "caption", caption, raising=False)
    assert "families that have it: imglish" in fails(["caption", "a.png"], capsys)


# The conversation.


def talk(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(lines) + "\n"))


def test_a_chat_streams_its_answers(
    vlm: FakeVLM, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    talk(monkeypatch, "Describe this", "", "And now?")
    assert cli.main(["chat", "a.png"]) == 0
    assert capsys.readouterr().out == "Turn 1.\nTurn 2.\n"
    first, second = vlm.turns
    assert [(message.role, message.text) for message in second] == [
        ("user", "Describe this"),
        ("assistant", "Turn 1."),
        ("user", "And now?"),
    ]
    assert [picture.size for message in second for picture in message.images] == [(64, 48)]
    assert first == second[:1]


def test_a_chat_writes_as_the_options_say_and_warns(
    vlm: FakeVLM, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    vlm.problems = (Problem("out_of_world", "this looks like a photograph"),)
    talk(monkeypatch, "Describe this")
    assert cli.main(["chat", "a.png", "--max-tokens", "9"]) == 0
    assert vlm.calls[0][2] == {"max_tokens": 9}
    shown = capsys.readouterr()
    assert shown.out == "Turn 1.\n"
    assert "photograph" in shown.err


def test_log_probabilities_are_a_table_and_stand_in_the_document(
    vlm: FakeVLM, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = (Token("thr", -0.25, 3, (Token("thr", -0.25, 3), Token('"', -2.5, 1))), Token(":cat: [/b]", 0.0, 4))
    monkeypatch.setattr(vlm, "result", lambda *_: Text(text="three", tokens=told))
    assert cli.main(["ask", "a.png", "How many?", "--logprobs", "2"]) == 0
    assert vlm.calls[0][2] == {"logprobs": 2}
    shown = capsys.readouterr().out
    assert shown.startswith("three\n") and "-0.250" in shown and '":cat: [/b]"' in shown and '"\\"" -2.500' in shown
    assert cli.main(["ask", "a.png", "How many?", "--logprobs", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tokens"][0]["top"][1] == {
        "text": '"',
        "logprob": -2.5,
        "id": 1,
        "top": [],
    }
    assert cli.main(["ask", "a.png", "How many?", "--logprobs", "21"]) == 2
    assert cli.main(["chat", "a.png", "--logprobs", "1", "--json"]) == 2
    assert "no place for log-probabilities" in capsys.readouterr().err


def test_image_goes_with_the_next_message(vlm: FakeVLM, monkeypatch: pytest.MonkeyPatch) -> None:
    talk(monkeypatch, "Hello", "/image a.png", "What is it?", "/quit", "never read")
    assert cli.main(["chat"]) == 0
    assert [(turn[-1].text, len(turn[-1].images)) for turn in vlm.turns] == [("Hello", 0), ("What is it?", 1)]


@pytest.mark.parametrize("end", ["/quit now", "/QUIT", "/Exit", "/q"])
def test_a_chat_ends_however_it_is_written(end: str, vlm: FakeVLM, monkeypatch: pytest.MonkeyPatch) -> None:
    talk(monkeypatch, "Hello", end, "never read")
    assert cli.main(["chat"]) == 0
    assert len(vlm.turns) == 1


@pytest.mark.parametrize("path", ['"a b.png"', "'a b.png'", "a b.png"])
def test_a_path_in_a_chat_may_have_quotes_around_it(path: str, vlm: FakeVLM, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.png").rename("a b.png")
    talk(monkeypatch, f"/Image {path}", "What is it?", '/save "talk 1.json"')
    assert cli.main(["chat"]) == 0
    assert len(vlm.turns[0][0].images) == 1
    assert Path("talk 1.json").is_file()


def test_a_chat_draws_its_last_answer(
    vlm: FakeVLM, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    vlm.picture = Image.new("RGB", (64, 48))
    talk(monkeypatch, "What is it?", "And now?")
    assert cli.main(["chat", "a.png", "--out", "o.png"]) == 0
    assert "wrote o.png" in capsys.readouterr().err
    with Image.open("o.png") as drawn:
        assert drawn.width >= 64
    talk(monkeypatch, "/quit")
    assert cli.main(["chat", "a.png", "--out", "p.png"]) == 0
    assert "'p.png' is not written" in capsys.readouterr().err


def test_a_chat_without_a_picture_says_how_to_show_one(
    vlm: FakeVLM, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = VLM(FAMILIES.get("imglish")().tiny())
    monkeypatch.setitem(vars(imglish), "load", lambda *_, **__: tiny)
    talk(monkeypatch, "Hello")
    assert cli.main(["chat"]) == 0
    assert "/image PATH" in capsys.readouterr().err
    monkeypatch.setitem(vars(imglish), "load", vlm.load)
    talk(monkeypatch, "fail")
    assert cli.main(["chat"]) == 0
    assert "/image PATH" not in capsys.readouterr().err


def test_save_writes_messages_that_can_be_read_again(vlm: FakeVLM, monkeypatch: pytest.MonkeyPatch) -> None:
    talk(monkeypatch, "/image a.png", "Cześć", "/save talk.json")
    assert cli.main(["chat"]) == 0
    question, answer = to_messages(json.loads(Path("talk.json").read_text(encoding="utf-8"))["messages"])
    assert (question.role, question.text, question.images) == ("user", "Cześć", ("a.png",))
    assert (answer.role, answer.text) == ("assistant", "Turn 1.")


def test_reset_forgets(vlm: FakeVLM, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    talk(monkeypatch, "One", "/reset", "Two")
    assert cli.main(["chat", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [message["role"] for message in document["messages"]] == ["user", "assistant"]
    assert [len(turn) for turn in vlm.turns] == [1, 1]


@pytest.mark.parametrize("bad", ["/image missing.png", "/image", "/save", "/save no/where/f.json", "/dance", "fail"])
def test_a_mistake_in_a_chat_is_said_and_the_chat_goes_on(
    bad: str, vlm: FakeVLM, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    talk(monkeypatch, bad, "Still there?")
    assert cli.main(["chat"]) == 0
    shown = capsys.readouterr()
    assert "error: " in shown.err
    assert shown.out == "Turn 1.\n"


def test_help_in_a_chat_lists_the_commands(
    vlm: FakeVLM, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    talk(monkeypatch, "/help")
    assert cli.main(["chat"]) == 0
    shown = capsys.readouterr().err
    assert all(command in shown for command in ("/image", "/save", "/reset", "/quit", "/help"))


# The rest.


def test_models_lists_families(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "--json"]) == 0
    assert "imglish" in json.loads(capsys.readouterr().out)["families"]
    assert cli.main(["models"]) == 0
    assert "imglish" in capsys.readouterr().out.split()


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["imglish"] == imglish.__version__


@pytest.mark.parametrize("bad", [["things", "--size", "12"], ["thngs"], ["things", "--count", "0"]])
def test_a_world_that_cannot_be_drawn_is_explained(
    bad: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fails(["world", *bad, "--out", str(tmp_path / "scenes")], capsys)


def test_a_world_is_written_and_pointed_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "scenes"
    assert cli.main(["world", "things", "--seed", "7", "--count", "2", "--out", str(folder), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["scenes"] == 2
    rows = [json.loads(row) for row in Path(summary["samples"]).read_text(encoding="utf-8").splitlines()]
    assert rows
    assert len(list(folder.rglob("*.png"))) == 2


def test_a_reader_that_stops_reading_is_no_traceback(tmp_path: Path) -> None:
    command = f"'{sys.executable}' -m imglish.cli --help | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.strip() in ("0", "1")
