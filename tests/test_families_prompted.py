"""Region skills by instruction: what comes back is read strictly, and no text of a model raises."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imglish.core.codecs import Codec, Normalised, Pixels
from imglish.core.frames import Identity, PaddedSquare
from imglish.core.results import Boxes, Masks, Record, TextRegions
from imglish.core.types import Message, Request, TextPart
from imglish.families import _prompted

SIZE = (231, 150)
CODEC = Codec(PaddedSquare(336), Normalised(decimals=2))
SCHEMA = {"properties": {"name": {"type": "string"}, "total": {"type": "number"}, "on": {"type": "boolean"}}}
GOOD = [
    '[{"bbox_2d": [0.1, 0.3, 0.5, 0.6], "label": "cat"}, {"bbox_2d": [0.2, 0.4, 0.9, 0.7], "label": "żółta łódź"}]',
    '```json\n[{"polygon": [[0.1, 0.3], [0.5, 0.3], [0.3, 0.6]], "label": "cat"}]\n```',
    '[{"bbox_2d": [0.1, 0.3, 0.5, 0.6], "text": "Đèn"}]',
    "[0.1, 0.3, 0.5, 0.6]",
    '{"name": "Zoë", "total": "12,5", "on": true}',
]


def request(skill: str) -> Request:
    more: dict[str, Any] = {"schema": SCHEMA} if skill == "extract" else {}
    return Request(skill, (Message("user", (TextPart("the cat"),)),), "the cat", ("cat",), **more)


def parse(skill: str, raw: str, codec: Codec = CODEC) -> Any:
    return _prompted.parse(request(skill), raw, codec, SIZE, logprobs=[-0.5])


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A valid answer, cut, doubled, turned round, with numbers out of range, odd letters, or endless repetition."""
    raw = draw(st.sampled_from(GOOD))
    for _ in range(draw(st.integers(0, 4))):
        start, end = sorted(draw(st.tuples(*[st.integers(0, len(raw))] * 2)))
        piece = draw(
            st.sampled_from([raw[start:end] * 2, "", "9" * 400, "-1", "NaN", "1e999", "]", "[", "{", '"', "\x00"])
        )
        raw = raw[:start] + draw(st.one_of(st.just(piece), st.text(max_size=6))) + raw[end:]
    return raw * draw(st.sampled_from([1, 1, 1, 500]))


@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(mutated(), st.sampled_from(["detect", "ground", "segment", "read", "extract", "identify", "count"]))
def test_every_mutation_gives_a_result_or_a_named_problem(raw: str, skill: str) -> None:
    result = parse(skill, raw)
    assert result.raw == raw
    if isinstance(result, (Boxes, TextRegions)):
        places = np.asarray(result.xyxy).reshape(-1, 2)
        assert ((places >= 0) & (places <= SIZE)).all()
    if isinstance(result, (Boxes, Masks, TextRegions)) and not len(result):
        assert result.problems or raw.strip().startswith(("[", "{", "```"))


@pytest.mark.parametrize("number", range(3))
def test_what_is_valid_is_read_without_problems(number: int) -> None:
    skill = ("detect", "segment", "read")[number]
    result = parse(skill, GOOD[number])
    assert len(result) == (2, 1, 1)[number]
    assert result.problems == ()


def test_a_cut_list_keeps_what_was_whole_and_says_that_it_was_cut() -> None:
    result = parse("detect", GOOD[0][:-20])
    assert result.labels == ("cat",)
    assert not result.parsed


def test_nothing_is_an_empty_list_and_words_are_not() -> None:
    assert parse("detect", "[]").parsed
    assert not parse("detect", "There is no cat.").parsed


def test_what_lies_outside_the_picture_is_left_out_and_named() -> None:
    result = parse("detect", '[{"bbox_2d": [0.1, 0.0, 0.5, 0.05], "label": "cat"}]')  # on the padding
    assert len(result) == 0
    assert [problem.kind for problem in result.problems] == ["range"]


def test_a_record_takes_the_types_of_its_schema() -> None:
    result = parse("extract", GOOD[4])
    assert isinstance(result, Record)
    assert result.data == {"name": "Zoë", "total": 12.5, "on": True}


def test_the_instruction_says_which_numbers_are_meant() -> None:
    shares = _prompted.instruction(request("detect"), CODEC, SIZE)
    assert "from 0 to 1" in shares
    assert "231 wide" in _prompted.instruction(request("detect"), Codec(Identity(), Pixels()), SIZE)
    assert json.dumps(SCHEMA) in _prompted.instruction(request("extract"), CODEC, SIZE)
