"""The demo: what it asks, how it marks, and that its page stands alone."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import imglish
from imglish import world
from imglish.core.errors import InputError
from imglish.core.results import OUT_OF_WORLD, Boxes, Masks, Problem, Record, Result, Text, TextRegions
from imglish.core.types import SKILLS, Sample
from imglish.engine.vlm import VLM
from imglish.families.imglish import Family
from imglish.world._scene import HELD_OUT, LANGUAGES

RECIPES = Path(__file__).parent.parent / "recipes"
EMPTY: dict[type, Result] = {kind: kind() for kind in (Text, Boxes, Masks, TextRegions, Record)}


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands beside the script can be imported, as when it is run."""
    monkeypatch.syspath_prepend(str(RECIPES))


class Teller:
    """Has every skill, and gives prepared results in the order in which it is asked."""

    def __init__(self, results: Sequence[Result]) -> None:
        self.results: Iterator[Result] = iter(results)

    def __getattr__(self, skill: str) -> Any:
        if skill not in SKILLS:
            raise AttributeError(skill)
        return self if skill == "chat" else self.say

    def __call__(self, **options: Any) -> Teller:  # vlm.chat()
        return self

    def say(self, *arguments: Any, **options: Any) -> Result:
        return next(self.results)


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(RECIPES))
        import _demo_cases

        return [sample for _, sample in _demo_cases.questions(0, 1)]


def answered(samples: Sequence[Sample], results: Sequence[Result]) -> list[Any]:
    import _demo_cases

    vlm: Any = Teller(results)
    return [_demo_cases.ask(vlm, sample) for sample in samples]


def no_answer(sample: Sample) -> Result:
    """Found something where nothing is, and nothing where something is."""
    if isinstance(sample.truth, Boxes) and not len(sample.truth):
        return Boxes(xyxy=[[1, 1, 9, 9]], labels=["cat"], size=sample.truth.size)
    return EMPTY[type(sample.truth)]


class Page(HTMLParser):
    """What of a page matters here: where it links to, its articles' marks, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.marks: list[str] = []
        self.tags: set[str] = set()
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        self.sources += [value for name in ("src", "href") if (value := given.get(name))]
        self.marks += [(given.get("class") or "").split()[0]] if tag == "article" else []
        self.open += [] if tag in ("img", "meta", "br") else [tag]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_skill_kind_and_language_is_asked_about_held_out_scenes(samples: list[Sample]) -> None:
    import _demo_cases

    assert len(samples) == len(_demo_cases.WISHES)
    assert {sample.skill for sample in samples} == set(SKILLS) - {"chat"}
    assert {sample.id.split("/")[0] for sample in samples} == set(world.kinds())
    assert {sample.language for sample in samples} == set(LANGUAGES)
    assert all(int(sample.id.split("/")[3]) >= HELD_OUT for sample in samples)
    assert {"train", "held"} < {tag for sample in samples for tag in sample.tags}
    assert any(len(sample.images) == 2 and sample.skill == "ask" for sample in samples)


def test_another_seed_asks_about_other_scenes() -> None:
    import _demo_cases

    first, second = ([sample.id for sample in _three(_demo_cases.questions(seed, 2))] for seed in (0, 1))
    assert not set(first) & set(second)
    assert len(set(first)) == 3


def _three(pairs: Iterator[Any]) -> list[Sample]:
    return [next(pairs)[1] for _ in range(3)]


def test_the_truth_is_right_and_no_answer_is_wrong(samples: list[Sample]) -> None:
    for case in answered(samples, [sample.truth for sample in samples]):
        assert case.right, case.sample
    for case in answered(samples, [no_answer(sample) for sample in samples]):
        assert not case.right, case.sample


def test_a_box_of_another_name_and_an_unread_answer_are_wrong(samples: list[Sample]) -> None:
    (sample,) = [one for one in samples if one.skill == "detect" and "crowded" in one.tags]
    for labels, right in ((sample.truth.labels, True), (["spoon"] * len(sample.truth), False)):
        named = dataclasses.replace(sample.truth, labels=tuple(labels))
        assert answered([sample], [named])[0].right is right
    (absent,) = [one for one in samples if "absent" in one.tags and one.skill == "detect"]
    unread = Boxes(size=(192, 192), problems=(Problem("parse", "no box"),))
    assert not answered([absent], [unread])[0].right
    assert answered([absent], [Boxes(size=(192, 192))])[0].right


def test_a_call_that_fails_is_one_wrong_case(samples: list[Sample]) -> None:
    import _demo_cases
    from _demo_page import page

    class Failing:
        def ask(self, *arguments: Any, **options: Any) -> Result:
            raise InputError("nothing works <today>")

    vlm: Any = Failing()
    case = _demo_cases.ask(vlm, samples[0])
    assert (case.right, case.result) == (False, None)
    assert "nothing works &lt;today&gt;" in page([case], about="")


def test_the_page_stands_alone_and_counts_what_is_right(samples: list[Sample]) -> None:
    import _demo_cases
    from _demo_page import page

    given = [sample.truth if number % 3 else no_answer(sample) for number, sample in enumerate(samples)]
    cases = answered(samples, given)
    scene, turns = next(iter(_demo_cases.talks(0, 1)))
    told: Any = Teller([turns[0].truth, turns[1].truth, Text(text="<script>alert(1)</script>")])
    cases += _demo_cases.talk(told, scene, turns)
    text = page(cases, about="a <machine>")
    found = Page(text)
    assert found.open == []
    assert found.tags.isdisjoint({"script", "link", "iframe", "object"})
    assert all(source.startswith(("data:image/webp;base64,", "#")) for source in found.sources)
    assert not re.search(r"url\(|@import", text)
    right = sum(case.right for case in cases)
    assert f"{right} of {len(cases)}" in found.text
    for skill in SKILLS:
        own = [case for case in cases if case.skill == skill]
        assert f"{skill}{sum(case.right for case in own)} of {len(own)}" in found.text
    ordered = [case.right for skill in SKILLS for case in cases if case.skill == skill != "chat"]
    chat_at = sum(case.skill in SKILLS[: SKILLS.index("chat")] for case in cases)
    assert found.marks == ["yes" if one else "no" for one in [*ordered[:chat_at], False, *ordered[chat_at:]]]
    assert "<script>alert(1)</script>" in found.text


def test_a_photograph_is_right_where_the_warning_is_seen() -> None:
    import _demo_cases
    from _demo_page import page

    warning = Problem(OUT_OF_WORLD, "this looks like nothing I know")
    for problems, right in (((warning,), True), ((), False)):
        vlm: Any = Teller([Text(text="a cat", problems=problems)])
        case = _demo_cases.photograph(vlm)
        assert case is not None
        assert case.right is right
        assert ("out of world: this looks like nothing I know" in page([case], about="")) is right


def test_the_script_writes_a_page_and_prints_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import _demo_cases
    import demo

    monkeypatch.setattr(imglish, "load", lambda model: VLM(Family().tiny(), max_tokens=3))
    monkeypatch.setattr(_demo_cases, "WISHES", _demo_cases.WISHES[::6])
    out = tmp_path / "deep" / "page.html"
    shown = tmp_path / "shown.png"
    assert demo.main(["--out", str(out), "--count", "1", "--seed", "3", "--picture", str(shown)]) == 0
    with Image.open(shown) as picture:
        assert min(picture.size) > 100
    printed = capsys.readouterr()
    assert printed.out == f"{out.resolve()}\n"
    assert "chat: " in printed.err
    assert "tiny model" in out.read_text(encoding="utf-8")


def test_without_a_checkpoint_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import demo

    assert demo.main(["--model", str(tmp_path / "nowhere"), "--out", str(tmp_path / "page.html")]) == 2
    assert "nowhere" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


def test_a_place_that_cannot_be_written_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import demo

    (tmp_path / "file").touch()
    monkeypatch.setattr(imglish, "load", lambda model: pytest.fail("the model was loaded"))
    assert demo.main(["--out", str(tmp_path / "file" / "page.html")]) == 2
    assert "cannot write" in capsys.readouterr().err
