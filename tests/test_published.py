"""The names of tutorials, from a hub to an answer: the checkpoint's layout is an old one, its code is never run."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from PIL import Image

import imglish
from hub_server import Hub, hub
from imglish.engine.load import _say_once
from published import FAMILIES, PUBLISHED, publish

__all__ = ["hub"]

PICTURE = Image.effect_noise((70, 50), 90).convert("RGB")


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_name_is_a_model_with_the_weights_and_answers_of_its_files(
    name: str, hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    publish(hub, name)
    _say_once.cache_clear()
    with hub.environment(tmp_path), caplog.at_level(logging.INFO, "imglish"):
        vlm = imglish.load(name, device="cpu", dtype="float32")
    files = hub.repositories[name].revisions["main"]
    code = sorted(file for file in files if file.endswith(".py"))
    assert not [file for file in hub.downloaded() if file.endswith((".py", ".bin"))]
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".py", ".bin")]
    assert [file for file in code if file not in caplog.text] == []
    assert ("asks to run code of its own" in caplog.text) == bool(code)

    tiny = FAMILIES.get(vlm.loaded.family.name)().tiny()
    wanted, vocabulary = tiny.model.state_dict(), len(tiny.tokenizer)
    for key, value in vlm.loaded.model.state_dict().items():
        rows = vocabulary - 1 if name.endswith("Florence-2-base") and len(value) == vocabulary else len(value)
        assert torch.equal(value[:rows], wanted[key][:rows]), key  # the original layout has no row for <image>
    answer, expected = (model.caption(PICTURE, max_tokens=6) for model in (vlm, imglish.VLM(tiny)))
    assert answer.raw == expected.raw
    assert answer.receipt is not None and expected.receipt is not None
    assert answer.receipt.images == expected.receipt.images
    assert answer.receipt.checkpoint == name
