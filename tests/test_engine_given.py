"""What people give a skill by mistake: an InputError that says what was given and what is allowed."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import imglish
from imglish import cli
from imglish.core.errors import ImageError, InputError, SkillError
from imglish.core.results import Text
from imglish.core.types import Message, Request, TextPart
from imglish.engine.vlm import VLM
from imglish.families.imglish import Family

PICTURE = Image.new("RGB", (64, 48), "white")


@pytest.fixture(scope="module")
def vlm() -> VLM:
    return VLM(Family().tiny(), max_tokens=2)


MISTAKES: dict[str, tuple[Callable[[VLM], object], str]] = {
    "no question": (lambda vlm: vlm.ask(PICTURE, None), "the question is None; a string is allowed"),  # type: ignore[arg-type]
    "a number": (lambda vlm: vlm.ask(PICTURE, 7), "the question is 7"),  # type: ignore[arg-type]
    "turned round": (lambda vlm: vlm.ask("How many?", PICTURE), "(?s)64 x 48 pixels.*pictures come first"),  # type: ignore[arg-type]
    "a path for a question": (lambda vlm: vlm.ask("Why?", Path("a.png")), "(?s)a.png.*pictures come first"),  # type: ignore[arg-type]
    "empty question": (lambda vlm: vlm.ask(PICTURE, ""), "the question is empty"),
    "spaces": (lambda vlm: vlm.ask(PICTURE, " \n"), "the question is empty"),
    "empty phrase": (lambda vlm: vlm.ground(PICTURE, ""), "the phrase is empty"),
    "nothing to outline": (lambda vlm: vlm.segment(PICTURE, ""), "the phrase is empty"),
    "nothing to count": (lambda vlm: vlm.count(PICTURE, ""), "the thing is empty"),
    "nothing to watch for": (lambda vlm: vlm.watch([PICTURE], ""), "the question is empty"),
    "no instruction": (lambda vlm: vlm.caption(PICTURE, None), "the instruction is None"),  # type: ignore[arg-type]
    "no turn": (lambda vlm: vlm.chat().say(None, image=PICTURE), "the turn is None"),  # type: ignore[arg-type]
    "no labels": (lambda vlm: vlm.detect(PICTURE, None), "(?s)the labels are None; .*leave them out"),  # type: ignore[arg-type]
    "numbers for labels": (lambda vlm: vlm.detect(PICTURE, [1]), "label 0 is 1; a label is a string"),  # type: ignore[list-item]
    "an empty label": (lambda vlm: vlm.detect(PICTURE, ["cat", ""]), "label 1 is ''"),
    "a picture for labels": (lambda vlm: vlm.detect(PICTURE, PICTURE), "64 x 48 pixels; allowed are a string"),  # type: ignore[arg-type]
    "a box in words": (lambda vlm: vlm.identify(PICTURE, "10,10,50,50"), "the box is '10,10,50,50'; a box is x1"),  # type: ignore[arg-type]
    "digits for a box": (lambda vlm: vlm.identify(PICTURE, "1234"), "the box is '1234'"),  # type: ignore[arg-type]
    "no box": (lambda vlm: vlm.identify(PICTURE, None), "the box is None"),  # type: ignore[arg-type]
    "a box of words": (lambda vlm: vlm.identify(PICTURE, ["a", "b", "c", "d"]), "the box is .'a', 'b'"),  # type: ignore[list-item]
    "a box without end": (lambda vlm: vlm.identify(PICTURE, (0, 0, math.inf, 9)), "the box is .0, 0, inf, 9"),
    "words for requests": (lambda vlm: vlm.run(["x"]), "request 0 is 'x'; each is an imglish.Request"),  # type: ignore[list-item]
    "a word for requests": (lambda vlm: vlm.run("x"), "the requests are 'x'"),  # type: ignore[arg-type]
    "no requests": (lambda vlm: vlm.run(None), "the requests are None"),  # type: ignore[arg-type]
    "one request": (lambda vlm: vlm.run(Request("ask", ())), r"vlm\.run\(\[request\]\)"),  # type: ignore[arg-type]
    "no frames": (lambda vlm: vlm.watch(None, "?"), "the frames are None; allowed are a list of pictures"),
    "a number of frames": (lambda vlm: vlm.watch(7, "?"), "the frames are 7"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_an_input_error_that_says_what_is_allowed(name: str, vlm: VLM) -> None:
    make, told = MISTAKES[name]
    with pytest.raises(InputError, match=told):
        make(vlm)


def test_labels_and_boxes_may_come_in_any_container(vlm: VLM) -> None:
    for labels in ("cat", ["cat"], ("cat", "dog"), {"cat"}, np.array(["cat"]), (name for name in ["cat"]), ()):
        vlm.detect(PICTURE, labels)
    for box in ((3, 4, 30, 40), [3.5, 4, 30, 40], np.array([3, 4, 30, 40])):
        vlm.identify(PICTURE, box)
    message = Message("user", (TextPart("What?"),))
    with pytest.raises(SkillError, match="given no image"):
        vlm.run(iter([Request("ask", (message,), "What?")]))


def test_nothing_to_count_is_status_2_on_the_command_line(
    vlm: VLM, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(vars(imglish), "load", lambda *_, **__: vlm)
    PICTURE.save(tmp_path / "a.png")
    assert cli.main(["count", str(tmp_path / "a.png"), ""]) == 2
    assert "the thing is empty" in capsys.readouterr().err


def test_what_the_hint_of_a_refused_picture_names_is_taken(vlm: VLM, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"imglish\.open_image"):
        vlm.ask("https://example.com/a.png", "What?")
    PICTURE.save(tmp_path / "a.png")
    assert isinstance(vlm.ask(imglish.open_image(tmp_path / "a.png", max_pixels=64 * 48), "What?"), Text)


def clip(path: Path, count: int = 4, **options: Any) -> Path:
    shades = [Image.new("RGB", (64, 48), (255 * number // count, 0, 0)) for number in range(count)]
    shades[0].save(path, save_all=True, append_images=shades[1:], **options)
    return path


@pytest.mark.parametrize("ending", ["gif", "png", "webp"])
def test_an_animation_is_watched_as_its_frames(ending: str, vlm: VLM, tmp_path: Path) -> None:
    path = clip(tmp_path / f"clip.{ending}")
    with Image.open(path) as opened:
        sources = (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), opened)
        for source in sources:
            receipt = vlm.watch(source, "What moved?").receipt
            assert receipt is not None
            assert [image.frame for image in receipt.images] == [0, 1, 2, 3]


def test_of_a_long_animation_so_many_frames_are_watched_as_the_model_takes(vlm: VLM, tmp_path: Path) -> None:
    receipt = vlm.watch(clip(tmp_path / "long.gif", 30, optimize=False), "What moved?").receipt
    assert receipt is not None
    assert len(receipt.images) == Family.max_frames


def test_a_still_is_a_clip_of_one_frame(vlm: VLM, tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "a.png")
    for source in (tmp_path / "a.png", PICTURE, np.asarray(PICTURE), [PICTURE]):
        receipt = vlm.watch(source, "What moved?").receipt
        assert receipt is not None
        assert len(receipt.images) == 1
    receipt = vlm.watch(np.stack([np.asarray(PICTURE)] * 3), "What moved?").receipt
    assert receipt is not None
    assert len(receipt.images) == 3


def test_what_cannot_be_watched_is_named_whole(vlm: VLM, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"no file .*nowhere\.gif"):
        vlm.watch(str(tmp_path / "nowhere.gif"), "What moved?")
    (tmp_path / "film.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(20))
    with pytest.raises(ImageError, match=r"film\.mp4.*a video"):
        vlm.watch(tmp_path / "film.mp4", "What moved?")
    with pytest.raises(SkillError, match="no frames"):
        vlm.watch([], "What moved?")
