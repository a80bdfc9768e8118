"""What is kept of prompts and images: found by content, bounded, and never a lie."""

from __future__ import annotations

import copy
import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from imglish.core.types import ImagePart, Message, Request, TextPart, VideoPart
from imglish.engine._sampling import Rules
from imglish.engine._shelf import Shelf
from imglish.engine.cache import FeatureCache, kind_of
from imglish.engine.generate import Options
from imglish.engine.load import FAMILIES
from imglish.engine.loop import Job
from imglish.engine.prefix import PrefixTree
from imglish.engine.prompt import prompts
from imglish.engine.runner import Runner
from imglish.engine.vlm import VLM
from imglish.families._base import Loaded


@pytest.fixture(scope="module", params=FAMILIES.names())
def loaded(request: pytest.FixtureRequest) -> Loaded:
    return FAMILIES.get(request.param)().tiny()


@pytest.fixture
def llava() -> Loaded:
    return FAMILIES.get("llava")().tiny()


def picture(seed: int = 0, size: tuple[int, int] = (120, 90)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8))


def ask(*images: Image.Image, skill: str = "ask", text: str = "How many?") -> Request:
    parts = [VideoPart(images)] if skill == "watch" else [ImagePart(image) for image in images]
    return Request(skill, (Message("user", (*parts, TextPart(text))),), text)


@dataclasses.dataclass(frozen=True)
class Fake:
    length: int
    nbytes: int = 10
    symbols: tuple[int, ...] = ()

    def cut(self, length: int, position: int) -> Fake:
        return Fake(length)


def logits(runner: Runner, loaded: Loaded, request: Request, *, cache: bool = True) -> tuple[torch.Tensor, Any]:
    """Logits after the prompt, and its receipt's counts."""
    options = Options(cache=cache)
    loop = runner.loop(options, loaded)
    (prompt,) = runner.prompts([request], options)
    job = Job(0, prompt, options, Rules())
    ((_, slot, found),) = list(loop.starts.begin([job]))
    loop.stepper.drop([slot])
    return found, job.row


def shared(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    return next((n for n, (one, two) in enumerate(zip(a, b, strict=False)) if one != two), min(len(a), len(b)))


symbols = st.lists(st.integers(0, 3), min_size=1, max_size=24).map(tuple)


@given(st.lists(symbols, max_size=12), symbols)
@settings(max_examples=150, deadline=None)
def test_the_longest_known_start_is_found(kept: list[tuple[int, ...]], asked: tuple[int, ...]) -> None:
    tree = PrefixTree(most_bytes=1 << 30)
    for one in kept:
        tree.keep("kind", one, Fake(len(one), symbols=one))
    best = max((shared(one, asked) for one in kept), default=0)
    past, length = tree.find("kind", asked)
    if best < 8:
        assert (past, length) == (None, 0)
    else:
        assert length == best
        assert past.symbols[:best] == asked[:best]
    assert tree.find("another", asked) == (None, 0)
    whole, _ = tree.find("kind", asked, whole=True)
    assert whole is None or asked in kept


def test_the_tree_is_bounded_and_forgets_what_was_used_longest_ago() -> None:
    tree = PrefixTree(most_bytes=30)
    for number in range(3):
        tree.keep("kind", [number] * 10, Fake(10))
    tree.find("kind", [0] * 10)
    tree.keep("kind", [7] * 10, Fake(10))
    assert tree.bytes == 30
    assert [tree.find("kind", [n] * 10)[1] for n in (0, 1, 2, 7)] == [10, 0, 10, 10]
    tree.keep("kind", [9] * 10, Fake(10, nbytes=31))
    assert tree.find("kind", [9] * 10) == (None, 0)
    tree.clear()
    assert (len(tree), tree.bytes) == (0, 0)


def test_what_goes_on_from_a_start_takes_its_place() -> None:
    tree = PrefixTree()
    tree.keep("kind", range(20), Fake(20))
    assert tree.is_worth("kind", range(21))
    tree.keep("kind", range(21), Fake(21))
    assert len(tree) == 1
    assert not tree.is_worth("kind", range(20))
    assert not tree.is_worth("kind", [*range(20), 99])  # one token of twenty-one is new
    assert tree.is_worth("kind", [*range(10), *range(50, 60)])


def test_with_and_without_what_is_kept_logits_are_equal(loaded: Loaded) -> None:
    image, more = picture(0), picture(1)
    first = ask(image, text="How many cats are here, and of which colours?")
    cases = [
        first,
        ask(image, text="How many dogs?"),
        ask(more, text="How many dogs?"),
        ask(image, text="How many dogs?"),
    ]
    turns = (*first.messages, Message("assistant", (TextPart("three"),)), Message("user", (TextPart("And which?"),)))
    if "chat" in loaded.family.skills:
        cases += [Request("chat", turns, "And which?")]
    if loaded.family.max_images > 1:
        cases += [ask(image, more), ask(more, image)]
    if loaded.family.max_frames:
        cases += [ask(image, more, skill="watch"), ask(image, more, more, skill="watch")]
    runner, cold = Runner(), Runner()
    reused = 0
    for case in cases:
        warm, row = logits(runner, loaded, case)
        fresh, none = logits(cold, loaded, case, cache=False)
        torch.testing.assert_close(warm, fresh, atol=1e-4, rtol=1e-4)
        assert none.prefix_tokens == 0
        reused += row.prefix_tokens
    assert reused > 0


def test_images_of_equal_placeholders_are_told_apart(loaded: Loaded) -> None:
    """The token ids are equal; the pixels are not, by one value of one pixel."""
    a = picture(0)
    b = a.copy()
    b.putpixel((60, 45), tuple(255 - value for value in a.getpixel((60, 45))))  # type: ignore[union-attr]
    runner = Runner()
    one, two = prompts(loaded, [ask(a)], {})[0], prompts(loaded, [ask(b)], {})[0]
    assert torch.equal(one.ids, two.ids)
    places = one.places.nonzero()[:, 0].tolist()
    assert all(one.symbols[place] != two.symbols[place] for place in places)
    first, _ = logits(runner, loaded, ask(a))
    second, row = logits(runner, loaded, ask(b))
    assert row.prefix_tokens <= places[0]
    assert row.cache_hits == 0
    assert not torch.equal(first, second)


def test_the_same_image_is_not_encoded_again(loaded: Loaded) -> None:
    image = picture(0)
    runner = Runner()
    _, fresh = logits(runner, loaded, ask(image, text="How many?"))
    _, known = logits(runner, loaded, ask(image.copy(), text="Which colour has the largest of them?"))
    assert (fresh.cache_hits, fresh.prefix_tokens) == (0, 0)
    assert known.cache_hits == 1


def switched(module: torch.nn.Module) -> None:
    module.__dict__["_active_adapter"] = ["other"]


def test_whatever_features_depend_on_is_a_miss(llava: Loaded) -> None:
    request, runner = ask(picture(0)), Runner()

    def known() -> tuple[int, int]:
        _, row = logits(runner, llava, request)
        return row.cache_hits, row.prefix_tokens

    assert known()[0] == 0
    assert known()[0] == 1
    with torch.no_grad():
        next(llava.model.parameters()).add_(0.01)
    assert known() == (0, 0)  # trained on
    assert known()[0] == 1
    llava.processor.image_processor.image_mean = [0.1, 0.2, 0.3]
    assert known() == (0, 0)  # preprocessed otherwise
    assert known()[0] == 1
    switched(llava.model.get_submodule("model.language_model.layers.0"))
    assert known() == (0, 0)  # another adapter
    assert known()[0] == 1
    llava.model.double()
    assert known() == (0, 0)  # in another precision
    assert known()[0] == 1


def test_features_on_disk_serve_another_process_and_no_other_model(llava: Loaded, tmp_path: Path) -> None:
    key = (kind_of(llava), "picture")
    first = FeatureCache(shelf=Shelf(tmp_path, llava))
    first[key] = (torch.arange(6.0).view(2, 3),)
    again = copy.deepcopy(llava.model)
    other = dataclasses.replace(llava, model=again)
    found = FeatureCache(shelf=Shelf(tmp_path, other)).get((kind_of(other), "picture"))
    assert found is not None
    assert torch.equal(found[0], first[key][0])
    with torch.no_grad():
        next(again.parameters()).add_(1)
    assert FeatureCache(shelf=Shelf(tmp_path, other)).get((kind_of(other), "picture")) is None
    for path in tmp_path.glob("*.safetensors"):
        path.write_bytes(b"damaged")
    assert FeatureCache(shelf=Shelf(tmp_path, llava)).get(key) is None
    small = FeatureCache(shelf=Shelf(tmp_path, llava, most_bytes=300))
    for number in range(8):
        small[kind_of(llava), number] = (torch.zeros(16),)
    assert 0 < sum(path.stat().st_size for path in tmp_path.glob("*.safetensors")) <= 300


def test_features_on_disk_are_told_apart_and_those_used_longest_ago_go_first(llava: Loaded, tmp_path: Path) -> None:
    kind = kind_of(llava)
    first = FeatureCache(shelf=Shelf(tmp_path, llava))
    keys = [(kind, "one"), (kind, "two"), (kind._replace(preprocessing="other"), "one")]
    for number, key in enumerate(keys):
        first[key] = (torch.full((16,), float(number)),)
    first[kind, "list"] = [torch.zeros(16)]  # is none of what an encoder makes: kept here, and not there
    files = sorted(tmp_path.iterdir())
    assert len(files) == len(keys)
    size = files[0].stat().st_size
    again = FeatureCache(shelf=Shelf(tmp_path, llava, most_bytes=3 * size))
    assert [int(again[key][0][0]) for key in keys] == [0, 1, 2]
    for path in files:
        path.rename(tmp_path / f"{path.stem}.away")
    assert int(again[keys[1]][0][0]) == 1  # found once, it is in memory
    for path in tmp_path.glob("*.away"):
        path.rename(path.with_suffix(".safetensors"))
    third = FeatureCache(shelf=Shelf(tmp_path, llava, most_bytes=3 * size))
    assert third.shelf is not None
    for age, key in enumerate(keys):
        path_of_key = third.shelf._path(key)
        assert path_of_key is not None
        os.utime(path_of_key, (1 + age, 1 + age))
    assert int(third[keys[0]][0][0]) == 0  # used now
    third[kind, "new"] = (torch.full((16,), 9.0),)
    last = FeatureCache(shelf=Shelf(tmp_path, llava))
    assert last.get(keys[0]) is not None
    assert last.get((kind, "new")) is not None
    assert [last.get(key) is None for key in keys] == [False, True, False]
    for path in tmp_path.iterdir():
        path.write_bytes(b"damaged")
    assert FeatureCache(shelf=Shelf(tmp_path, llava)).get(keys[0]) is None
    assert len(list(tmp_path.iterdir())) == 2  # what cannot be read is gone


def test_a_model_finds_the_features_that_another_process_kept_in_a_folder(llava: Loaded, tmp_path: Path) -> None:
    answers = []
    for _ in range(2):
        vlm = VLM(FAMILIES.get("llava")().tiny(), max_tokens=4)
        vlm.keep_in(tmp_path)
        (result,) = vlm.run([ask(picture(0))])
        assert result.receipt is not None
        answers.append((result.raw, result.receipt.cache_hits))
    assert answers == [(answers[0][0], 0), (answers[0][0], 1)]


def test_a_chat_reads_only_what_is_new(llava: Loaded) -> None:
    chat = VLM(llava, max_tokens=6).chat()
    first = chat.say("What is this?", image=picture(0)).receipt
    second = chat.say("And which colour?").receipt
    third = chat.say("Why?").receipt
    assert first is not None
    assert second is not None
    assert third is not None
    assert first.prefix_tokens == 0
    assert second.prefix_tokens >= first.prompt_tokens - 8
    assert third.prefix_tokens >= second.prompt_tokens - 8
    assert second.cache_hits == third.cache_hits == 1


def test_many_questions_about_one_image_read_it_once(llava: Loaded) -> None:
    vlm = VLM(llava, max_tokens=4)
    results = vlm.run([ask(picture(0), text=f"question number {n}?") for n in range(6)])
    known = [result.receipt.prefix_tokens for result in results if result.receipt]
    assert sorted(known)[0] == 0
    assert sorted(known)[1] > 150  # what stands before the question, and the image
    cold = vlm.run([ask(picture(0), text=f"question number {n}?") for n in range(6)], cache=False)
    assert [result.raw for result in cold] == [result.raw for result in results]
