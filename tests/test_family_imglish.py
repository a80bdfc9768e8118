"""How the shipped family writes what it is asked."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

import imglish
from imglish.core.types import ImagePart, Message, Request, TextPart
from imglish.families._base import Control, Plain, encode_pieces
from imglish.families._imglish_text import flowing, prompt_pieces


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
