"""LLaVA 1.5 and LLaVA-NeXT against plain transformers, used as its documentation shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import LlavaNextProcessor, LlavaProcessor

from imglish.core.types import ImagePart, Message, Request, TextPart
from imglish.engine.load import FAMILIES
from imglish.families import _llava
from imglish.families._base import Control, Loaded, Plain

PROCESSORS: dict[str, Any] = {"llava": LlavaProcessor, "llava_next": LlavaNextProcessor}
SIZES = [(64, 64), (231, 150), (97, 301), (640, 480), (300, 90), (57, 56), (1000, 31)]


def picture(size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(np.random.default_rng(size[0]).integers(0, 256, (size[1], size[0], 3), np.uint8))


@pytest.fixture(scope="module", params=list(PROCESSORS))
def loaded(request: pytest.FixtureRequest) -> Loaded:
    return FAMILIES.get(request.param)().tiny()


def reference(loaded: Loaded, image: Image.Image, text: str) -> dict[str, torch.Tensor]:
    """What the documented processor makes of it."""
    processor = PROCESSORS[loaded.family.name](
        loaded.processor.image_processor, loaded.tokenizer, patch_size=14, num_additional_image_tokens=1,
        vision_feature_select_strategy="default",
    )  # fmt: skip
    pad = {"do_pad": True} if loaded.family.name == "llava" else {}
    return dict(processor(images=image, text=text, return_tensors="pt", **pad))


@pytest.mark.parametrize("size", SIZES)
def test_tensors_and_logits_equal_the_processors(loaded: Loaded, size: tuple[int, int]) -> None:
    image, question = picture(size), "What is shown, and where?"
    text = f"{_llava.SYSTEM} USER: <image>\n{question} ASSISTANT:"
    request = Request("ask", (Message("user", (ImagePart(image), TextPart(question))),), question)
    ours, receipts = loaded.family.inputs(loaded, [request])
    theirs = reference(loaded, image, text)
    assert ours.keys() == theirs.keys()
    assert ours["input_ids"].tolist() == theirs["input_ids"].tolist()
    assert torch.equal(ours["pixel_values"], theirs["pixel_values"])
    count = (theirs["input_ids"] == loaded.tokenizer.convert_tokens_to_ids("<image>")).sum()
    assert receipts[0].images[0].image_tokens == loaded.family.image_tokens(loaded, size) == count
    with torch.inference_mode():
        difference = loaded.model(**ours).logits - loaded.model(**theirs).logits
    assert difference.abs().max() <= 1e-4


@pytest.mark.parametrize("size", SIZES)
def test_boxes_lie_where_the_padded_square_has_the_picture(size: tuple[int, int]) -> None:
    """A picture that is white in its right half: the half is found in the model's own pixels."""
    loaded = FAMILIES.get("llava")().tiny()
    half = np.zeros((size[1], size[0], 3), np.uint8)
    half[:, size[0] // 2 :] = 255
    view = loaded.family.see(loaded, Image.fromarray(half))
    (x1, y1), (x2, y2) = view.fitted.forward([(size[0] // 2, 0), size])
    pixels = view.tensors["pixel_values"][0, 0].numpy()
    bright = np.zeros(pixels.shape, bool)
    bright[round(y1) : max(round(y2), round(y1) + 1), round(x1) : round(x2)] = True
    white = pixels > pixels.max() - 0.5
    assert (white != bright).mean() < 0.06


def test_a_conversation_is_written_as_the_reference_writes_it() -> None:
    turns = [("user", [Plain("One?")]), ("assistant", [Plain("Yes.")]), ("user", [Plain("Two?")])]
    said = {name: "".join(p.text for p in template(turns)) for name, template in _llava.TEMPLATES.items()}  # type: ignore[union-attr]
    assert said["vicuna"] == f"{_llava.SYSTEM} USER: One? ASSISTANT: Yes.</s>USER: Two? ASSISTANT:"
    assert said["mistral"] == "[INST] One? [/INST] Yes.</s>[INST] Two? [/INST]"
    assert said["chatml"] == (
        "<|im_start|>system\nAnswer the questions.<|im_end|><|im_start|>user\nOne?<|im_end|>\n<|im_start|>assistant\n"
        "Yes.<|im_end|><|im_start|>user\nTwo?<|im_end|><|im_start|>assistant\n"
    )
    told = [("system", [Control("Be brief.")]), *turns]
    assert "".join(p.text for p in _llava.mistral(told)).startswith("[INST] Be brief.\nOne?")  # type: ignore[union-attr]
    assert "".join(p.text for p in _llava.vicuna(told)).startswith("Be brief. USER: One?")  # type: ignore[union-attr]


def test_the_template_follows_the_checkpoints_decoder() -> None:
    family = FAMILIES.get("llava_next")()
    processor = family.tiny().processor
    for text, template in (({"model_type": "mistral"}, "mistral"), ({"model_type": "llama"}, "vicuna")):
        family.settle({"text_config": text}, processor)
        assert family.template == template


def test_published_tile_counts() -> None:
    """Counts that the reference code gives for the published grid and 336-pixel tiles."""
    family = FAMILIES.get("llava_next")()
    loaded = family.tiny()
    config = loaded.model.config
    config.image_grid_pinpoints = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
    config.vision_config.image_size = 336
    counts = {size: family.image_tokens(loaded, size) for size in ((640, 480), (1344, 336), (300, 1200))}
    assert counts == {(640, 480): 2340, (1344, 336): 1890, (300, 1200): 1944}
