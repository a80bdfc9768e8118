"""Features kept in a folder: another model in another process has them, and whoever sees otherwise does not."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

import imglish
from imglish.core.results import Text
from imglish.engine._shelf import Shelf
from imglish.engine.cache import kind_of
from imglish.engine.load import FAMILIES
from imglish.engine.vlm import VLM
from imglish.families._base import Loaded
from imglish.families._familiar import Familiarity

RULE = Familiarity(torch.linspace(-0.002, 0.002, 139), 1.0)  # it finds every picture unlike the world


def picture(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (90, 120, 3), np.uint8))


def shipped() -> Loaded:
    """A small model of the shipped family. Whatever is done to it, the next one is as new."""
    return FAMILIES.get("imglish")().tiny()


def answer(loaded: Loaded, folder: Path, image: Image.Image) -> Text:
    """What a model answers that has looked at nothing yet, and keeps its features in the folder."""
    vlm = VLM(loaded, max_tokens=6)
    vlm.keep_in(folder)
    return vlm.ask(image, "How many?")


def hits(result: Text) -> int:
    assert result.receipt is not None
    return result.receipt.cache_hits


@pytest.mark.parametrize("name", FAMILIES.names())
def test_the_features_of_every_family_are_found_again_and_answer_the_same(name: str, tmp_path: Path) -> None:
    loaded = FAMILIES.get(name)().tiny()
    first = answer(loaded, tmp_path, picture())
    again = answer(dataclasses.replace(loaded, model=copy.deepcopy(loaded.model), extra={}), tmp_path, picture())
    assert (hits(first), hits(again)) == (0, 1)
    assert again.raw == first.raw
    assert again.confidence == first.confidence


SCRIPT = """
import json, sys
from PIL import Image
import imglish
vlm = imglish.load(sys.argv[1], device="cpu")
vlm.keep_in(sys.argv[2])
said = vlm.ask(Image.open(sys.argv[3]), "How many?", max_tokens=6)
print(json.dumps([said.receipt.cache_hits, said.raw, said.confidence, [one.message for one in said.problems]]))
"""


def test_another_process_finds_the_features_of_the_shipped_family(tmp_path: Path) -> None:
    checkpoint, kept, image = tmp_path / "checkpoint", tmp_path / "kept", tmp_path / "a.png"
    loaded = shipped()
    loaded.model.save_pretrained(checkpoint)
    loaded.processor.save_pretrained(checkpoint)
    RULE.save(checkpoint)
    picture().save(image)
    vlm = imglish.load(checkpoint, device="cpu")
    vlm.keep_in(kept)
    here = vlm.ask(Image.open(image), "How many?", max_tokens=6)
    assert hits(here) == 0
    assert here.warnings  # how familiar the picture is comes back with its features
    command = [sys.executable, "-c", SCRIPT, *map(str, (checkpoint, kept, image))]
    told = subprocess.run(
        command, env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True
    )
    there = json.loads(told.stdout)
    assert there == [1, here.raw, here.confidence, [one.message for one in here.problems]]


def _pixel(loaded: Loaded, image: Image.Image) -> None:
    red, green, blue = image.getpixel((60, 45))  # type: ignore[misc]
    image.putpixel((60, 45), (255 - red, green, blue))


def _preprocessing(loaded: Loaded, image: Image.Image) -> None:
    loaded.processor.image_processor.image_mean = [0.1, 0.2, 0.3]


def _precision(loaded: Loaded, image: Image.Image) -> None:
    loaded.model.double()


def _adapter(loaded: Loaded, image: Image.Image) -> None:
    loaded.model.adapter.__dict__["_active_adapter"] = ["other"]


def _weights(loaded: Loaded, image: Image.Image) -> None:
    with torch.no_grad():
        loaded.model.adapter.project[0].bias.add_(1)


def _rule(loaded: Loaded, image: Image.Image) -> None:
    loaded.extra["familiarity"] = dataclasses.replace(RULE, bias=2.0)


CHANGES = (_pixel, _preprocessing, _precision, _adapter, _weights, _rule)


@pytest.mark.parametrize("change", [None, *CHANGES], ids=lambda change: getattr(change, "__name__", "_nothing")[1:])
def test_whatever_the_features_of_the_shipped_family_depend_on_is_a_miss(change: Any, tmp_path: Path) -> None:
    first, second, image = shipped(), shipped(), picture()
    for loaded in (first, second):
        loaded.extra["familiarity"] = RULE
    answer(first, tmp_path, image)
    if change is not None:
        change(second, image)
    assert hits(answer(second, tmp_path, image)) == (0 if change is not None else 1)


def shelved(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_a_disk_that_is_full_costs_no_answer_and_nothing_that_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loaded, image = shipped(), picture()
    first = answer(loaded, tmp_path, image)
    (kept,) = tmp_path.iterdir()
    before = kept.read_bytes()

    def half(tensors: Any, path: Path) -> None:
        Path(path).write_bytes(before[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", half)
    vlm = VLM(shipped(), max_tokens=6)
    vlm.keep_in(tmp_path)
    shelf = vlm._runner.features.shelf
    assert shelf is not None
    for seed in (1, 2):
        assert hits(vlm.ask(picture(seed), "How many?")) == 0
    assert caplog.text.count("No space left") == 1
    assert [path.name for path in tmp_path.iterdir()] == [kept.name]
    key = next(key for key in vlm._runner.features if isinstance(key, tuple))
    shelf.put((*key[:1], *_of(image, loaded)[1:]), vlm._runner.features[key])  # again under the name that is kept
    assert kept.read_bytes() == before
    assert answer(shipped(), tmp_path, image).raw == first.raw


def _of(image: Image.Image, loaded: Loaded) -> tuple[Any, ...]:
    """The key under which the features of a picture are kept."""
    vlm = VLM(loaded, max_tokens=1)
    vlm.ask(image, "How many?")
    (key,) = vlm._runner.features
    assert isinstance(key, tuple)
    return key


def test_a_folder_that_several_write_to_stays_bounded_and_files_that_go_away_are_misses(tmp_path: Path) -> None:
    loaded = shipped()
    kind = kind_of(loaded)
    value = (torch.zeros(256),)
    shelves = [Shelf(tmp_path, loaded, most_bytes=64_000) for _ in range(3)]
    for number in range(240):
        shelves[number % 3].put((kind, number), value)
        assert shelved(tmp_path) <= 64_000 * (1 + 3 / 16)
    assert shelves[0].find((kind, 239)) is not None
    assert shelves[0].find((kind, 0)) is None
    old = tmp_path / "a.1.part"
    old.write_bytes(b"half")
    os.utime(old, (1, 1))
    (tmp_path / "b.2.part").write_bytes(b"half")  # somebody is writing it
    for number in range(240, 300):
        shelves[0].put((kind, number), value)
    assert [path.name for path in tmp_path.glob("*.part")] == ["b.2.part"]


def test_threads_that_keep_the_same_picture_at_once_do_not_disturb_one_another(tmp_path: Path) -> None:
    loaded = shipped()
    key, value = (kind_of(loaded), "picture"), (torch.arange(100_000.0),)
    shelf = Shelf(tmp_path, loaded)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: shelf.put(key, value), range(64)))
    found = shelf.find(key)
    assert found is not None
    assert torch.equal(found[0], value[0])
    assert len(list(tmp_path.iterdir())) == 1
    assert not shelf._fails


def test_several_threads_ask_the_shipped_family_at_once() -> None:
    loaded = shipped()
    loaded.extra["familiarity"] = RULE
    pictures = [picture(seed) for seed in range(6)]
    alone = [VLM(loaded, max_tokens=4).ask(image, "How many?") for image in pictures]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda image: VLM(loaded, max_tokens=4).ask(image, "How many?"), pictures * 3))
    assert [one.raw for one in found] == [one.raw for one in alone] * 3
    assert [one.problems for one in found] == [one.problems for one in alone] * 3
