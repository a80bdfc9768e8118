"""Guides: whatever a model would rather write, the answer can be read, lies in the picture and satisfies the schema."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from PIL import Image

from imglish.core.results import PARSE, RANGE, Boxes, Masks, TextRegions
from imglish.core.types import ImagePart, Message, Request, TextPart
from imglish.engine import constrain
from imglish.engine.guide import Guide
from imglish.engine.load import FAMILIES
from imglish.engine.vlm import VLM
from imglish.families._base import Loaded

SIZES = [(640, 480), (53, 31)]
BUDGETS = [1, 12, 40, 120]


@pytest.fixture(scope="module", params=FAMILIES.names())
def loaded(request: pytest.FixtureRequest) -> Loaded:
    return FAMILIES.get(request.param)().tiny()


def asked(skill: str, size: tuple[int, int] = (640, 480), text: str = "", **more: Any) -> Request:
    parts = (ImagePart(Image.new("RGB", size)), TextPart(text))
    return Request(skill, (Message("user", parts),), text, **more)


def walk(guide: Guide, seed: int, budget: int) -> list[int]:
    """A model of random taste, which prefers some tokens to others; the tokens it writes, the end token included."""
    chance, ids = random.Random(seed), []
    while not guide.ended:
        forced = guide.forced()
        if forced and budget - len(ids) > len(forced) and chance.random() < 0.7:
            tokens = forced
        else:
            mask = guide.closing(budget - len(ids))
            assert mask is not None
            tokens = [chance.choice(mask.nonzero().flatten().tolist())]
        for token in tokens:
            guide.accept(token)
        ids += tokens
    return ids


def answered(loaded: Loaded, request: Request, ids: Sequence[int]) -> Any:
    """What the family reads in the tokens."""
    ids = ids[:-1]
    text = loaded.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    tokens = loaded.tokenizer.convert_ids_to_tokens(ids)
    sizes = [constrain.image_size(part.image) for part in request.messages[0].parts if isinstance(part, ImagePart)]
    return loaded.family.parse(request, text, sizes, tokens=tokens, logprobs=[-0.5] * len(ids))


def region_requests(loaded: Loaded, size: tuple[int, int]) -> list[Request]:
    known = {
        "detect": [asked("detect", size, labels=("cat", "red cup")), asked("detect", size)],
        "ground": [asked("ground", size, "the red cup")],
        "segment": [asked("segment", size, "the red cup")],
        "read": [asked("read", size)],
    }
    if loaded.family.name == "paligemma":
        known["detect"].pop()
    return [request for skill, some in known.items() if skill in loaded.family.skills for request in some]


@pytest.mark.parametrize("size", SIZES)
def test_regions_are_always_readable_and_in_the_picture(loaded: Loaded, size: tuple[int, int]) -> None:
    for request in region_requests(loaded, size):
        for seed, budget in enumerate(BUDGETS):
            guide = constrain.guide_for(request, loaded)
            assert guide is not None, request.skill
            least = guide.shortest  # type: ignore[attr-defined]
            ids = walk(guide, seed, budget)
            assert len(ids) <= max(budget, least)
            result = answered(loaded, request, ids)
            wrong = [problem for problem in result.problems if problem.kind in (PARSE, RANGE, "unasked")]
            assert not wrong, (request.skill, budget, result.raw, wrong)
            check_places(result, size)
            if request.labels and isinstance(result, Boxes):
                assert set(result.labels) <= set(request.labels)


def check_places(result: Any, size: tuple[int, int]) -> None:
    if isinstance(result, Boxes):
        for x1, y1, x2, y2 in result.xyxy:
            assert 0 <= x1 < x2 <= size[0] and 0 <= y1 < y2 <= size[1], result.raw
    elif isinstance(result, Masks):
        points = [point for parts in result.polygons for part in parts for point in part]
        assert all(0 <= x <= size[0] and 0 <= y <= size[1] for x, y in points)
    elif isinstance(result, TextRegions):
        assert ((result.quads >= 0) & (result.quads <= [float(side) for side in size])).all()
        assert all(result.texts)


@pytest.mark.parametrize("budget", [1, 12, 40])
def test_a_search_with_beams_keeps_to_the_form_and_tells_the_models_own_probabilities(budget: int) -> None:
    loaded = FAMILIES.get("florence2")().tiny()
    assert loaded.model.generation_config.num_beams > 1
    size = (64, 48)
    for request in region_requests(loaded, size):
        result = VLM(loaded).run([request], max_tokens=budget)[0]
        assert not [problem for problem in result.problems if problem.kind != "truncated"], result.raw
        check_places(result, size)
        if len(result):  # type: ignore[arg-type]
            sure = result.confidence  # type: ignore[attr-defined]
            assert sure is not None and (sure < 0.2).all()  # a random model over 1286 tokens is sure of nothing
