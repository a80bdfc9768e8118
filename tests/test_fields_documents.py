"""What a model wrote as JSON: a document that satisfies its schema stays as it is, any other is mended or wrong."""

from __future__ import annotations

import json
from typing import Any, Literal, Optional, Union

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from imglish.core.results import PARSE, Record
from imglish.engine import constrain
from imglish.engine.load import FAMILIES
from imglish.families._base import Loaded
from imglish.families._documents import fill
from imglish.families._validity import Validity
from test_guides import answered, asked, walk

QUICK = settings(deadline=None, suppress_health_check=list(HealthCheck))


class Address(BaseModel):
    zip: int
    city: str


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    breed: str


class Line(BaseModel):
    name: str
    tags: list[str]
    parts: list[Address]


class Lines(BaseModel):
    lines: list[Line]


class Person(BaseModel):
    name: str
    address: Optional[Address] = None  # noqa: UP045
    others: list[Address | None] = []


class Owner(BaseModel):
    pet: Union[Cat, Dog]  # noqa: UP007
    pets: list[Cat | Dog] = []


class Tagged(BaseModel):
    pet: Cat | Dog = Field(discriminator="kind")


class Choices(BaseModel):
    size: int | str
    flag: Literal[True, False]
    title: Literal["MR", "Mr"]
    number: Literal[1, 2]


class Tables(BaseModel):
    matrix: list[list[int]]
    scores: dict[str, float]
    rows: list[dict[str, int]] | None = None


class Tree(BaseModel):
    value: int
    kids: list[Tree] = []
    next: Tree | None = None


ADDRESS, DOG = {"zip": 1, "city": "c"}, {"kind": "dog", "breed": "b"}
VALID: list[tuple[type[BaseModel], dict[str, Any]]] = [
    (Person, {"name": "x"}),
    (Person, {"name": " x \n", "address": None}),
    (Person, {"others": [None, ADDRESS], "address": ADDRESS, "name": ""}),
    (Lines, {"lines": [{"name": "a", "tags": ["x", "y"], "parts": [ADDRESS]}]}),
    (Owner, {"pet": DOG, "pets": [DOG, {"kind": "cat", "lives": 3}]}),
    (Tagged, {"pet": DOG}),
    (Choices, {"size": "hello", "flag": True, "title": "Mr", "number": 2}),
    (Choices, {"size": 5, "flag": False, "title": "MR", "number": 1}),
    (Tables, {"matrix": [[1, 2], []], "scores": {"a": 1.5}, "rows": [{"a": 1}]}),
    (Tables, {"matrix": [], "scores": {}, "rows": None}),
    (Tree, {"value": 1, "kids": [{"value": 2, "kids": [{"value": 3}], "next": None}]}),
]  # fmt: skip


def read(schema: Any, raw: str) -> Record:
    schema = schema if isinstance(schema, dict) else schema.model_json_schema()
    record = CHAT.family.parse(asked("extract", schema=schema), raw, [(9, 9)])
    assert isinstance(record, Record)
    return record


CHAT = FAMILIES.get("llava")().tiny()


@pytest.mark.parametrize(("model", "document"), VALID)
def test_a_document_that_satisfies_its_schema_stays_as_it_is(model: type[BaseModel], document: dict[str, Any]) -> None:
    model.model_validate(document)
    record = read(model, json.dumps(document))
    assert json.dumps(record.data) == json.dumps(document)
    assert record.problems == ()


def test_a_fence_within_a_text_is_text() -> None:
    assert read({"properties": {"a": {"type": "string"}}}, '{"a": "x ```json y``` z"}').data == {
        "a": "x ```json y``` z"
    }


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl"])
@pytest.mark.parametrize("model", [Person, Lines, Owner, Tagged, Choices, Tables, Tree])
def test_a_guided_document_is_the_record(name: str, model: type[BaseModel]) -> None:
    loaded: Loaded = FAMILIES.get(name)().tiny()
    request = asked("extract", schema=model.model_json_schema())
    for seed in range(4):
        guide = constrain.guide_for(request, loaded)
        assert guide is not None
        record = answered(loaded, request, walk(guide, seed, (1, 40, 90, 200)[seed]))
        assert record.data == json.loads(record.raw)
        assert record.problems == ()
        model.model_validate(record.data)


@pytest.mark.parametrize("model", [Person, Owner, Choices])
def test_a_sampled_record_is_what_was_written(model: type[BaseModel]) -> None:
    from imglish.engine.vlm import VLM

    vlm = VLM(CHAT)
    picture = asked("extract").messages[0].parts[0].image  # type: ignore[union-attr]
    for seed in range(3):
        record = vlm.extract(picture, model, max_tokens=60, temperature=1.0, seed=seed)
        assert record.parsed and record.data == json.loads(record.raw)


NUMBER = {"type": "number"}


@pytest.mark.parametrize(
    ("fields", "written", "found", "parsed"),
    [
        ({"t": NUMBER}, {"t": "3,5"}, {"t": 3.5}, True),
        ({"t": NUMBER}, {"t": "3.5x"}, {"t": "N/A"}, False),
        ({"t": NUMBER}, {"t": "nan"}, {"t": "N/A"}, False),
        ({"t": NUMBER}, {}, {"t": "N/A"}, False),
        ({"t": {"type": ["number", "null"]}}, {"t": "N/A"}, {"t": None}, True),
        ({"t": {"type": "string"}}, {}, {"t": "N/A"}, True),
        ({"t": {"type": "string"}}, {"t": 5, "more": 1}, {"t": "5"}, True),
        ({"t": {"type": "string", "pattern": "^a"}}, {"t": " b  b"}, {"t": " b  b"}, False),
        ({"t": {"type": "integer", "maximum": 3}}, {"t": "7"}, {"t": 7}, False),
        ({"t": {"type": "boolean"}}, {"t": "yes"}, {"t": True}, True),
        ({"t": {"enum": ["MR", "Mr"]}}, {"t": "mr"}, {"t": "MR"}, True),
        ({"t": {"enum": ["red", None]}}, {"t": "blue"}, {"t": None}, True),
        ({"t": {"anyOf": [{"type": "integer"}, NUMBER, {"type": "null"}]}}, {"t": "2.5"}, {"t": 2.5}, True),
        ({"t": {"type": "array", "items": NUMBER}}, {"t": ["1", 2, "3,5"]}, {"t": [1.0, 2, 3.5]}, True),
        ({"t": {"type": "array", "items": NUMBER}}, {"t": "7"}, {"t": [7.0]}, True),
        ({"t": {"type": "array", "items": NUMBER}}, {}, {"t": []}, True),
        ({"t": Address.model_json_schema()}, {"t": {"zip": "12", "way": "x"}}, {"t": {"zip": 12, "city": "N/A"}}, True),
        ({"t": {"anyOf": [Cat.model_json_schema(), Dog.model_json_schema()]}}, {"t": {"kind": "dog"}},
         {"t": {"kind": "dog", "breed": "N/A"}}, True),
        ({"t": {"anyOf": [Cat.model_json_schema(), {"type": "null"}]}}, {"t": {"kind": "cat", "lives": "9"}},
         {"t": {"kind": "cat", "lives": 9}}, True),
    ],
)  # fmt: skip
def test_what_can_be_read_is_mended_and_the_rest_is_a_problem(
    fields: dict[str, Any], written: dict[str, Any], found: dict[str, Any], parsed: bool
) -> None:
    schema = {"type": "object", "properties": fields, "required": ["t"]}
    record = read(schema, json.dumps(written))
    assert record.data == found
    assert record.parsed is parsed
    assert parsed is Validity(schema).fits(record.data, schema)
    assert parsed or any("'t'" in problem.message for problem in record.problems if problem.kind == PARSE)


@pytest.mark.parametrize("raw", ["", "no", "[]", "[1]", '{"name": "x"', '[{"name": "x"}, {"name": "y"}]'])
def test_an_answer_that_is_no_document_is_a_problem(raw: str) -> None:
    record = read(Person, raw)
    assert not record.parsed and record["name"] in ("N/A", "x")


def test_a_schema_that_contains_itself_ends() -> None:
    node: dict[str, Any] = {"type": "object", "properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}}, "required": ["a"]}
    assert not read(node, "{}").parsed and not read(node, "what").parsed
    assert not read(
        {"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"$ref": "#/$defs/a"}}}, '{"a": 1}'
    ).parsed
    depth = 900
    assert isinstance(read(Tree, '{"value": 1, "kids": [' * depth + "]}" * depth), Record)


def test_choices_within_choices_are_told_apart_in_time() -> None:
    one, other = ({"type": "object", "properties": {"k": {"$ref": "#/$defs/n"}, name: NUMBER}} for name in "ab")
    schema = {"type": "object", "properties": {"t": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"anyOf": [one, other]}}}
    innermost = '{"a": "x", "b": "x"}'
    record = read(schema, '{"t": ' + '{"k": ' * 60 + innermost + "}" * 61)
    assert Validity(schema).fits(record.data, schema) is record.parsed


TEXTS = st.text(max_size=5)
NAMES = st.sampled_from(["a", "b", "c_d", "e f"])


def _plain(draw: st.DrawFn) -> tuple[dict[str, Any], Any]:
    kind = draw(st.sampled_from(["string", "integer", "number", "boolean", "null", "enum"]))
    values: dict[str, st.SearchStrategy[Any]] = {
        "string": TEXTS | st.sampled_from(["", "N/A", "1", "yes"]), "integer": st.integers(-99, 99),
        "number": st.floats(allow_nan=False, allow_infinity=False) | st.integers(0, 9), "boolean": st.booleans(),
        "null": st.none(),
    }  # fmt: skip
    if kind == "enum":
        choices = draw(st.lists(TEXTS | st.integers(0, 3) | st.booleans() | st.none(), min_size=1, max_size=4))
        return {"enum": choices}, draw(st.sampled_from(choices))
    return {"type": kind}, draw(values[kind])


@st.composite
def pairs(draw: st.DrawFn, depth: int = 3, kind: str = "") -> tuple[dict[str, Any], Any]:
    """(a schema, a value that satisfies it)"""
    kind = kind or draw(st.sampled_from(["plain", "plain", "object", "array", "anyOf", "types", "map"]))
    if kind == "plain" or not depth:
        return _plain(draw)
    inner = pairs(depth - 1)
    if kind == "object":
        fields = draw(st.dictionaries(NAMES, inner, min_size=1, max_size=4))
        required = [name for name in fields if draw(st.booleans())]
        kept = {name: value for name, (_, value) in fields.items() if name in required or draw(st.booleans())}
        named = {name: schema for name, (schema, _) in fields.items()}
        return {"type": "object", "properties": named, "required": required}, kept
    if kind == "array":
        schema, value = draw(inner)
        return {"type": "array", "items": schema}, [value] * draw(st.integers(0, 2))
    if kind == "anyOf":
        some = draw(st.lists(inner, min_size=1, max_size=3))
        return {"anyOf": [schema for schema, _ in some]}, draw(st.sampled_from([value for _, value in some]))
    if kind == "map":
        schema, value = draw(inner)
        return {"type": "object", "additionalProperties": schema}, dict.fromkeys(draw(st.sets(TEXTS)), value)
    value = draw(st.none() | st.integers() | TEXTS)
    return {"type": ["null", "integer", "string"]}, value


@given(pairs(kind="object"))
@QUICK
def test_any_document_that_satisfies_its_schema_stays_as_it_is(pair: tuple[dict[str, Any], Any]) -> None:
    schema, document = pair
    assert Validity(schema).fits(document, schema)
    data, problems = fill(schema, document)
    assert json.dumps(data) == json.dumps(document) and problems == []


@given(pairs(kind="object"), pairs(kind="object"))
@QUICK
def test_any_other_document_is_mended_or_a_problem(
    pair: tuple[dict[str, Any], Any], other: tuple[dict[str, Any], Any]
) -> None:
    schema = pair[0]
    for given_ in (other[1], None):
        data, problems = fill(schema, given_)
        assert any(problem.kind == PARSE for problem in problems) is not Validity(schema).fits(data, schema)
