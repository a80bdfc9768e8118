"""How the shipped family writes what it is asked."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

import imglish
from imglish.core.results import Boxes
from imglish.core.types import ImagePart, Message, Request, Sample, TextPart
from imglish.families._base import Control, Plain, encode_pieces
from imglish.families._grammar import Many, Or, Seq
from imglish.families._imglish_grammar import grammar
from imglish.families._imglish_parse import parse
from imglish.families._imglish_text import answer_pieces, flowing, prompt_pieces
from imglish.world import draw


def asked(text: str, skill: str = "ask", **more: object) -> Request:
    parts = (ImagePart(Image.new("RGB", (64, 64))), TextPart(text))
    return Request(skill, (Message("user", parts),), text, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return imglish.load().loaded.tokenizer


def tokens(tokenizer: Any, request: Request) -> list[int]:
    """Token ids of what stands behind the skill, without `<assistant>`."""
    pieces = prompt_pieces(request, [(64, 64)])
    start = next(i for i, piece in enumerate(pieces) if isinstance(piece, Control) and "<user>" in piece.text)
    return encode_pieces(tokenizer, pieces[start + 1 : -1], image_token="<image>")


@pytest.mark.parametrize(
    ("written", "flows"),
    [
        ("Queen: color?", " queen: color?"),
        ("What is it?", " what is it?"),
        ("USA or UK?", " USA or UK?"),
        ("I see a cat.", " I see a cat."),
        (" As it stands", " As it stands"),
        ("Żółw?", " żółw?"),
        ("", ""),
    ],
)
def test_only_the_first_letter_of_a_sentence_becomes_small(written: str, flows: str) -> None:
    assert flowing(written) == flows


@pytest.mark.parametrize("skill", ["ask", "ground", "segment", "count"])
@pytest.mark.parametrize("noun", ["Queen", "Umbrella", "Fish"])
def test_a_noun_has_the_same_tokens_wherever_it_stands(tokenizer: Any, skill: str, noun: str) -> None:
    first = tokens(tokenizer, asked(f"{noun}: color?", skill))
    later = tokens(tokenizer, asked(f"The {noun.lower()}: color?", skill))
    assert later[-len(first) :] == first


def test_labels_have_the_same_tokens_wherever_they_stand(tokenizer: Any) -> None:
    both = tokens(tokenizer, asked("", "detect", labels=("Queen", "fish")))
    other = tokens(tokenizer, asked("", "detect", labels=("fish", "queen")))
    assert sorted(both) == sorted(other)


def test_turns_of_the_past_are_written_as_the_last() -> None:
    picture = ImagePart(Image.new("RGB", (64, 64)))
    turns = (
        Message("user", (picture, TextPart("Fish: color?"))),
        Message("assistant", (TextPart("red"),)),
        Message("user", (TextPart("Fish: color?"),)),
    )
    pieces = prompt_pieces(Request("chat", turns, "Fish: color?"), [(64, 64)])
    assert [piece for piece in pieces if isinstance(piece, Plain) and "color" in piece.text] == [
        Plain(" fish: color?"),
        Plain(" fish: color?"),
    ]


@pytest.mark.parametrize("written", ["Pencil", "PENCIL", "a pencil", "The  Pencil", " pencil ", "A PENCIL"])
def test_a_name_is_looked_for_however_it_is_written(written: str) -> None:
    plain, given = (asked("", "detect", labels=(label,)) for label in ("pencil", written))
    assert prompt_pieces(given, [(64, 64)]) == prompt_pieces(plain, [(64, 64)])
    assert names_of(given) == names_of(plain)
    found = parse(given, "pencil<loc_3><loc_9><loc_40><loc_51><eos>", [(64, 64)], tokens=None, logprobs=None)
    assert isinstance(found, Boxes)
    assert (found.labels, found.problems) == ((written.strip(),), ())


def names_of(request: Request) -> str:
    """The names that the grammar of an answer lets through."""
    found = grammar(request, [(64, 64)])
    assert isinstance(found, Or)
    first = found.parts[0]
    assert isinstance(first, Many)
    assert isinstance(first.part, Seq)
    return repr(first.part.parts[0])


def test_a_name_that_was_written_twice_is_looked_for_once() -> None:
    both = asked("", "detect", labels=("Pencil", "the pencil", "house", ""))
    assert Plain(" pencil, house") in prompt_pieces(both, [(64, 64)])


def test_what_only_looks_like_an_article_is_kept() -> None:
    for name in ("a", "the", "anchor", "theatre"):
        assert Plain(f" {name}") in prompt_pieces(asked("", "detect", labels=(name,)), [(64, 64)])
    polish = asked("", "detect", labels=("A kot",), language="pl")
    assert Plain(" a kot") in prompt_pieces(polish, [(64, 64)])


def test_a_label_that_nobody_asked_for_is_told() -> None:
    given = asked("", "detect", labels=("Pencil ",))
    found = parse(given, "house<loc_3><loc_9><loc_40><loc_51><eos>", [(64, 64)], tokens=None, logprobs=None)
    assert [problem.message for problem in found.problems] == ["'house' is not one of Pencil"]


@pytest.mark.parametrize(
    ("skill", "written", "said"),
    [
        ("count", "HOUSES", " houses"),
        ("count", "the Houses", " houses"),
        ("ground", "The RED house", " the red house"),
        ("ground", "I am looking for the House", " I am looking for the house"),
        ("segment", "HOUSE", " house"),
        ("ask", "USA or UK?", " USA or UK?"),
    ],
)
def test_a_phrase_is_written_small_and_a_question_as_it_is(skill: str, written: str, said: str) -> None:
    assert Plain(said) in prompt_pieces(asked(written, skill), [(64, 64)])


def test_a_sample_with_capitals_is_answered_in_the_grammar() -> None:
    image = Image.new("RGB", (64, 64))
    truth = Boxes(xyxy=[[1.0, 2.0, 30.0, 40.0]], labels=("The Pencil",), size=(64, 64))  # type: ignore[arg-type]
    sample = Sample("1", "detect", (image,), "", "", truth, labels=("The Pencil",))
    assert answer_pieces(sample, [(64, 64)])[0] == Plain("pencil")


def test_the_shipped_model_finds_a_name_however_it_is_written() -> None:
    scene = next(one for one in (draw("things", seed) for seed in range(50)) if len(one.things) == 1)
    image, name = scene.images[0], scene.things[0].name
    vlm = imglish.load(device="cpu")
    plain = vlm.detect(image, [name])
    assert len(plain)
    for written in (name.upper(), f"the {name}"):
        found = vlm.detect(image, [written])
        assert found.xyxy.tolist() == plain.xyxy.tolist()
        assert set(found.labels) == {written}


def test_a_system_message_is_left_out_and_told() -> None:
    image = Image.new("RGB", (64, 64))
    turns = (
        Message("system", (TextPart("Be brief."),)),
        Message("user", (ImagePart(image), TextPart("Describe this"))),
    )
    with_it, without = (Request("chat", some, "Describe this") for some in (turns, turns[1:]))
    assert prompt_pieces(with_it, [(64, 64)]) == prompt_pieces(without, [(64, 64)])
    told = parse(with_it, "a house<eos>", [(64, 64)], tokens=None, logprobs=None)
    assert [problem.kind for problem in told.problems] == ["system"]
    assert "takes no system message" in told.problems[0].message
    assert told.parsed
    assert parse(without, "a house<eos>", [(64, 64)], tokens=None, logprobs=None).problems == ()
