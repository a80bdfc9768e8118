"""Learning proves the path: small models learn scenes by heart and give the truth back through the public face."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import families

REGIONS = ("kosmos2", "minigpt_v2")  # the fastest; benchmarks/families.py runs all of them


@pytest.mark.parametrize("name", REGIONS)
def test_a_small_model_learns_boxes_and_gives_them_back_in_pixels_of_the_original(name: str) -> None:
    (learned,) = families.prove(name, count=6, steps=400)
    assert learned.skill == "detect"
    assert min(learned.values) >= 0.8, learned


def test_a_model_that_chats_learns_which_answer_belongs_to_which_picture() -> None:
    (learned,) = families.prove("llava", count=6, steps=400)
    assert learned.skill == "ask"
    assert learned.values == [1.0] * 6, learned


def test_a_model_that_learned_nothing_is_not_called_right() -> None:
    (untaught,) = families.prove("kosmos2", count=4, steps=1)
    assert max(untaught.values) < 0.5
