"""Documents, fields, choices, numbers, dates, patterns: random walks end in what was asked for, at any budget."""

from __future__ import annotations

import datetime
import json
import random
import re
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from imglish.core.errors import InputError
from imglish.engine import constrain
from imglish.engine.forms import as_grammar
from imglish.engine.guide import Guide
from imglish.engine.guides._numeral import after, shortest, value
from imglish.engine.guides.pattern import pattern_grammar
from imglish.engine.guides.vocabulary import Vocabulary, vocabulary
from imglish.engine.load import FAMILIES
from imglish.families._base import Loaded
from test_guides import answered, asked, walk

QUICK = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


class Item(BaseModel):
    name: str = Field(min_length=1, max_length=12)
    price: float = Field(ge=0, le=999)


class Receipt(BaseModel):
    shop: str
    total: float = Field(ge=0, le=5000)
    count: int = Field(ge=2, le=17)
    paid: bool
    kind: Literal["cash", "card"]
    day: datetime.date
    note: str | None
    table: int | None = Field(ge=1)
    tip: int = Field(default=0, ge=0)
    items: list[Item] = Field(max_length=3)


@pytest.fixture(scope="module", params=["imglish", "qwen2_5_vl", "llava"])
def loaded(request: pytest.FixtureRequest) -> Loaded:
    return FAMILIES.get(request.param)().tiny()


@pytest.fixture(scope="module")
def chat() -> Loaded:
    return FAMILIES.get("llava")().tiny()


def written(loaded: Loaded, form: Any, seed: int, budget: int) -> str:
    """The text of a random walk through a form."""
    ids = walk(constrain.guide_of(as_grammar(form), loaded), seed, budget)
    return str(loaded.tokenizer.decode(ids[:-1])).strip()


@pytest.mark.parametrize("budget", [1, 60, 150, 300])
def test_a_record_satisfies_its_schema_at_any_budget(loaded: Loaded, budget: int) -> None:
    request = asked("extract", schema=Receipt.model_json_schema())
    for seed in range(3):
        guide = constrain.guide_for(request, loaded)
        assert guide is not None
        least = guide.shortest  # type: ignore[attr-defined]
        ids = walk(guide, seed, budget)
        assert len(ids) <= max(budget, least)
        record = answered(loaded, request, ids)
        Receipt.model_validate(record.data)
        assert not [problem for problem in record.problems if problem.kind == "parse"], record.raw


def test_a_document_that_the_budget_ends_says_which_texts_were_not_reached(chat: Loaded) -> None:
    request = asked("extract", schema={"properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                                       "required": ["a", "b"]})  # fmt: skip
    guide = constrain.guide_for(request, chat)
    assert guide is not None
    assert answered(chat, request, walk(guide, 0, 1)).data == {"a": "N/A", "b": "N/A"}


@pytest.mark.parametrize("budget", [1, 4, 8])
def test_lines_that_the_budget_ends_invent_nothing(budget: int) -> None:
    names = ["name", "surname", "note", "count", "size"]
    kinds: dict[str, Any] = {**{name: {"type": "string"} for name in names}, "count": {"type": "integer"}}
    kinds["note"] = {"type": "string", "minLength": 4}
    request = asked("extract", schema={"type": "object", "properties": kinds, "required": [*names[:3], "size"]})
    loaded = FAMILIES.get("imglish")().tiny()
    for seed in range(6):
        guide = constrain.guide_for(request, loaded)
        assert guide is not None
        least = guide.shortest
        ids = walk(guide, seed, budget)
        assert len(ids) == least
        record = answered(loaded, request, ids)
        assert record.data.pop("note")  # N/A is too short for it
        assert record.data == {"name": "N/A", "surname": "N/A", "size": "N/A"}
        assert "count: N/A" in record.raw


@pytest.mark.parametrize("spare", [0, 1, 2, 5, 20])
def test_lines_always_end_in_the_budget(spare: int) -> None:
    kinds = {name: {"type": "string"} for name in ("name", "surname", "number")}
    request = asked("extract", schema={"type": "object", "properties": kinds, "required": list(kinds)})
    loaded = FAMILIES.get("imglish")().tiny()
    for seed in range(20):
        guide = constrain.guide_for(request, loaded)
        assert guide is not None
        budget = guide.shortest + spare
        assert len(walk(guide, seed, budget)) <= budget


def escaping(guide: Guide, words: Vocabulary, seed: int, budget: int) -> list[int]:
    """As `walk`, by a model that likes backslashes and what follows them."""
    chance, ids = random.Random(seed), []
    while not guide.ended:
        tokens = guide.forced()
        if not tokens:
            mask = guide.closing(budget - len(ids))
            assert mask is not None
            allowed = mask.nonzero().flatten().tolist()
            liked = [token for token in allowed if token < len(words.bytes) and words.bytes[token].endswith(b"\\")]
            begun = [token for token in allowed if token < len(words.bytes) and words.bytes[token][:1] == b"u"]
            tokens = [chance.choice(chance.choice([liked, begun, allowed]) or allowed)]
        for token in tokens:
            guide.accept(token)
        ids += tokens
    return ids


NOTE = {"type": "string"}


@pytest.mark.parametrize(
    "schema",
    [
        {"total": {"type": "number"}, "note": NOTE},
        {"notes": {"type": "array", "items": NOTE}, "rest": NOTE},
        {"words": {"type": "object", "additionalProperties": NOTE}},
    ],
)
def test_a_document_of_escapes_ends_within_its_budget(loaded: Loaded, schema: dict[str, Any]) -> None:
    form = {"type": "object", "properties": schema, "required": list(schema)}
    words, grammar = vocabulary(loaded), as_grammar(form)
    for seed in range(40):
        guide = constrain.guide_of(grammar, loaded)
        least = guide.shortest
        ids = escaping(guide, words, seed, budget := 16 + seed % 30)
        assert len(ids) <= max(budget, least)
        text = b"".join(words.bytes[token] for token in ids[:-1])
        assert json.loads(text).keys() == schema.keys()


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"type": "foo"}}, "required": ["a"]},
        {"properties": {"a": {"type": "string", "pattern": "("}}},
        {"properties": {"a": {"type": "integer", "minimum": 5, "maximum": 3}}, "required": ["a"]},
        {"properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"properties": {"a": {"not": {"type": "string"}}}, "required": ["a"]},
        {"properties": {"a": {"type": "array", "uniqueItems": True}}},
    ],
)
def test_a_schema_that_cannot_be_promised_is_refused(loaded: Loaded, schema: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"schema|field") as caught:
        constrain.guide_for(asked("extract", schema={"type": "object", **schema}), loaded)
    assert len(str(caught.value)) < 600  # no dump of a matcher


@given(st.integers(-500, 500), st.integers(0, 400), st.integers(0, 3), st.integers(0, 2**32))
@settings(deadline=None)
def test_digits_always_end_in_the_bounds(low: int, span: int, decimals: int, seed: int) -> None:
    chance, text = random.Random(seed), ""
    while True:
        following, done = after(text, low, low + span, decimals)
        assert following or done
        if done and (not following or chance.random() < 0.3):
            break
        text += chance.choice(following)
        end = text + shortest(text, low, low + span, decimals)
        assert low <= value(end, decimals) <= low + span
    assert low <= round(float(text) * 10**decimals) <= low + span
    assert text == "0" or not re.match(r"-?0\d|-0(\.0*)?$", text)


@pytest.mark.parametrize("number", [-500, -1, 0, 7, 10, 99, 412])
def test_every_number_can_be_written(number: int) -> None:
    text = ""
    for char in str(number):
        assert char in after(text, -500, 412)[0]
        text += char
    assert after(text, -500, 412)[1]


@given(st.lists(st.text(st.characters(categories=("L", "N")), min_size=1, max_size=9), min_size=1, max_size=5),
       st.integers(0, 99), st.integers(1, 40))  # fmt: skip
@QUICK
def test_a_choice_is_one_of_the_choices(chat: Loaded, choices: list[str], seed: int, budget: int) -> None:
    assert written(chat, choices, seed, budget) in choices


@given(st.integers(0, 999), st.integers(1, 30))
@QUICK
def test_dates_exist_and_numbers_are_numbers(chat: Loaded, seed: int, budget: int) -> None:
    datetime.date.fromisoformat(written(chat, "date", seed, budget))
    float(written(chat, "number", seed, budget))
    assert int(written(chat, range(3, 120), seed, budget)) in range(3, 120)


@pytest.mark.parametrize(
    "source",
    [r"[A-Z]{2}-\d{3,5}", r"(ab|cd)*x?", r"^[^\d ]+ \w{2}$", r"\+?(\d\d ){2,3}\d\d", "żó(ł|w)", r"[^\D]{3}", r"[^\W_]+",
     r"\S\D\W[^\s]", "[^,;]+,"],
)  # fmt: skip
@given(st.integers(0, 999), st.integers(1, 30))
@QUICK
def test_a_pattern_is_matched_whole(chat: Loaded, source: str, seed: int, budget: int) -> None:
    ids = walk(constrain.guide_of(as_grammar(re.compile(source)), chat), seed, budget)
    assert re.fullmatch(source, chat.tokenizer.decode(ids[:-1]))


@pytest.mark.parametrize("source", ["(", r"(a)\1", "(?=a)b", "(?i)a", "a{1,5000}", "a*+a", r"[^\D\d]"])
def test_a_pattern_that_no_grammar_says_is_refused(source: str) -> None:
    with pytest.raises(InputError, match="pattern"):
        pattern_grammar(source)


@pytest.mark.parametrize("form", ["colour", [], [""], range(0), 3, ["a\nb"]])
def test_a_form_that_is_none_is_refused(form: Any) -> None:
    with pytest.raises(InputError, match=r"form|choices"):
        as_grammar(form)


def test_a_token_that_the_mask_forbids_is_not_taken(chat: Loaded) -> None:
    for form in (["yes", "no"], {"properties": {"a": {"type": "integer"}}, "required": ["a"]}):
        guide = constrain.guide_of(as_grammar(form), chat)
        mask = guide.mask()
        assert mask is not None
        for token in ((~mask).nonzero()[0].item(), chat.tokenizer.eos_token_id, 10**6):
            with pytest.raises(InputError, match=r"token|complete"):
                guide.accept(int(token))


def test_a_fork_goes_its_own_way(chat: Loaded) -> None:
    for form in (["yes", "no"], {"properties": {"a": {"type": "string"}}, "required": ["a"]}):
        guide = constrain.guide_of(as_grammar(form), chat)
        other = guide.fork()
        walk(other, 0, 20)
        assert other.ended and not guide.ended
        walk(guide, 1, 20)
        assert guide.ended


def test_the_whole_json_of_a_document_is_free_of_needless_blanks(chat: Loaded) -> None:
    form = {"properties": {"a": {"type": "integer"}, "b": {"type": "boolean"}}, "required": ["a", "b"]}
    for seed in range(8):
        text = written(chat, form, seed, 80)
        assert text == json.dumps(json.loads(text))
        assert list(json.loads(text)) == ["a", "b"]  # an object, though the schema does not say so, and no other fields


def test_each_field_has_the_probability_of_its_own_value(loaded: Loaded) -> None:
    schema = {"properties": {"shop": {"type": "string"}, "count": {"type": "integer"}}, "required": ["shop", "count"]}
    lines = loaded.family.name == "imglish"
    parts = ["shop: ", "Ada", "<sep>" if lines else '", ', "count: ", "12"]
    if not lines:
        parts = ['{"shop": ', '"Ada"', ', "count": ', "12", "}"]
    tokens = [letter for part in parts for letter in ([part] if part == "<sep>" else part)]
    places = [place for place, part in enumerate(parts) for _ in ([part] if part == "<sep>" else part)]
    chances = {1: -0.1, 3: -1.0} if not lines else {1: -0.1, 4: -1.0}
    logprobs = [chances.get(place, -9.0) for place in places]
    request = asked("extract", schema=schema)
    record = loaded.family.parse(request, "".join(parts), [(9, 9)], tokens=tokens, logprobs=logprobs)
    assert record.data == {"shop": "Ada", "count": 12}
    assert record.confidence is not None
    assert {name: round(value, 3) for name, value in record.confidence.items()} == {"shop": 0.905, "count": 0.368}


def test_what_is_missing_satisfies_the_schema_or_is_left_out(loaded: Loaded) -> None:
    schema = {
        "properties": {"a": {"type": "string"}, "b": {"type": "number"}, "c": {"type": ["integer", "null"]}},
        "required": ["c"],
    }
    raw = "a: N/A<sep>b: N/A<sep>c: N/A" if loaded.family.name == "imglish" else '{"a": "N/A", "c": null}'
    assert loaded.family.parse(asked("extract", schema=schema), raw, [(9, 9)]).data == {"a": "N/A", "c": None}
