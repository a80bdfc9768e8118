"""KOSMOS-2: the same ids and logits as transformers' own processor and model, cells of 32 x 32, phrases with boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from imglish.core.results import Boxes
from imglish.core.types import ImagePart, Message, Request, TextPart
from imglish.families._base import Loaded
from imglish.families._kosmos2_text import CELLS, CODEC
from imglish.families.kosmos2 import Family

SIZE = (200, 100)


def picture(size: tuple[int, int] = SIZE, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8))


def ask(text: str = "", *, skill: str = "ask", **more: Any) -> Request:
    return Request(skill, (Message("user", (ImagePart(picture()), TextPart(text))),), text, **more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint laid out as the published one: XLM-R's tokenizer, CLIP's processor with `use_square_size`."""
    from transformers import (
        CLIPImageProcessorPil,
        Kosmos2Config,
        Kosmos2ForConditionalGeneration,
        Kosmos2Processor,
        XLMRobertaTokenizer,
    )

    from imglish.families._tiny import seeded

    letters = [("▁", -2.0), *((chr(n), -3.0) for n in range(33, 127)), ("▁the", -1.0), ("▁It", -1.0)]
    letters += [(f"▁{chr(n)}", -2.5) for n in range(97, 123)]
    special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    tokenizer = XLMRobertaTokenizer(vocab=[*special, *letters], add_prefix_space=True)
    processor = Kosmos2Processor(CLIPImageProcessorPil(use_square_size=True), tokenizer)
    text = {
        "vocab_size": len(tokenizer), "embed_dim": 32, "layers": 2, "ffn_dim": 64, "attention_heads": 2,
        "init_std": 0.3,
    }  # fmt: skip
    vision = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 56,
        "initializer_range": 0.3,
    }  # fmt: skip
    with seeded():
        model = Kosmos2ForConditionalGeneration(Kosmos2Config(text_config=text, vision_config=vision)).eval()
    where = tmp_path_factory.mktemp("kosmos2")
    model.save_pretrained(where)
    processor.save_pretrained(where)
    return where


@pytest.fixture(scope="module")
def loaded(folder: Path) -> Loaded:
    return Family().load(str(folder), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def plain(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoProcessor, Kosmos2ForConditionalGeneration

    return AutoProcessor.from_pretrained(folder), Kosmos2ForConditionalGeneration.from_pretrained(folder).eval()


REGION = (20.0, 30.0, 101.0, 100.0)
ASKED: dict[str, tuple[Request, str, Any]] = {
    "caption": (ask(skill="caption"), "An image of", None),
    "in full": (ask(skill="caption", detail="full"), "Describe this image in detail:", None),
    "own words": (ask("A poem: ", skill="caption"), "A poem: ", None),
    "everything": (ask(skill="detect"), "<grounding> Describe this image in detail:", None),
    "one thing": (ask(skill="detect", labels=("cup",)), "<grounding><phrase> cup</phrase>", None),
    "a phrase": (ask("the red cup", skill="ground"), "<grounding><phrase> the red cup</phrase>", None),
    "question": (ask("What is in it?"), "Question: What is in it? Answer:", None),
    "region": (
        ask(skill="identify", region=REGION),
        "<grounding><phrase> It</phrase> is",
        [tuple(value / side for value, side in zip(REGION, SIZE * 2, strict=True))],
    ),
}


@pytest.mark.parametrize("name", list(ASKED))
def test_ids_and_logits_are_those_of_transformers(loaded: Loaded, plain: tuple[Any, Any], name: str) -> None:
    request, text, boxes = ASKED[name]
    processor, model = plain
    expected = processor(images=picture(), text=text, bboxes=boxes, return_tensors="pt")
    tensors, _ = loaded.family.inputs(loaded, [request])
    assert tensors.keys() == expected.keys()
    for key in tensors:
        assert torch.equal(tensors[key], expected[key]), key
    with torch.inference_mode():
        ours, theirs = loaded.model(**tensors), model(**expected)
    torch.testing.assert_close(ours.logits, theirs.logits, atol=1e-4, rtol=0)
    made = [m.generate(**dict(given), max_new_tokens=8) for m, given in ((loaded.model, tensors), (model, expected))]
    assert torch.equal(*made)


def test_a_padded_row_is_decoded_as_alone(loaded: Loaded) -> None:
    requests = [ask("?"), ask("a longer question than the other one")]
    together, _ = loaded.family.inputs(loaded, requests)
    rows = loaded.model.generate(**together, max_new_tokens=6, min_new_tokens=6)[:, -6:]
    for row, request in zip(rows, requests, strict=True):
        single, _ = loaded.family.inputs(loaded, [request])
        assert torch.equal(row, loaded.model.generate(**single, max_new_tokens=6, min_new_tokens=6)[0, -6:])


def test_the_picture_is_squashed_whatever_the_processor_config_says(folder: Path, tmp_path: Path) -> None:
    from transformers import CLIPImageProcessorPil

    CLIPImageProcessorPil().save_pretrained(tmp_path)  # resizes the shorter side, and crops
    wide = Image.new("RGB", (400, 100))
    wide.paste((255, 255, 255), (0, 0, 20, 100))
    pixels = Family().read_image_processor(tmp_path)(images=[wide], return_tensors="pt")["pixel_values"][0]
    assert pixels.shape[1:] == (224, 224)
    assert pixels[0, 100, 0] > 1.9
    assert pixels[0, 100, 30] < -1.7


@example([1.0, 0.5, 0.0, 1.0], (83, 1))  # 0.5 of 83 pixels is a hair less than cell 16 in floating point
@settings(max_examples=300, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=4, max_size=4), st.tuples(st.integers(1, 2000), st.integers(1, 2000)))
def test_cells_are_those_of_transformers(shares: list[float], size: tuple[int, int]) -> None:
    from transformers.models.kosmos2.processing_kosmos2 import coordinate_to_patch_index, patch_index_to_coordinate

    (x1, x2), (y1, y2) = sorted(round(v, 3) for v in shares[:2]), sorted(round(v, 3) for v in shares[2:])
    if x1 >= x2 or y1 >= y2 or x1 == 1 or y1 == 1:
        return
    box = np.array([x1, y1, x2, y2]) * np.tile(size, 2)
    cells = CODEC.encode(box[None], size)[0]
    upper, lower = coordinate_to_patch_index((x1, y1, x2, y2), 32)
    assert [cells[1] * 32 + cells[0], cells[3] * 32 + cells[2]] == [upper, lower]
    expected = np.array(patch_index_to_coordinate(upper, lower, 32)) * np.tile(size, 2)
    found = CODEC.decode(cells[None], size)[0]
    assert np.allclose(found, expected)
    assert (np.abs(found - box) <= np.tile(CODEC.quantum(size), 2) * (1 + 1e-9)).all()


SNOWMAN = (
    " An image of<phrase> a snowman</phrase><object><patch_index_0044><patch_index_0863></object> warming himself by"
    "<phrase> a fire</phrase><object><patch_index_0005><patch_index_0911></object>."
)


def test_the_example_of_the_model_card_is_read_as_transformers_reads_it() -> None:
    from transformers.models.kosmos2.processing_kosmos2 import clean_text_and_extract_entities_with_bboxes

    caption, entities = clean_text_and_extract_entities_with_bboxes(SNOWMAN)
    found = Family().parse(ask(skill="detect"), SNOWMAN, [SIZE])
    assert isinstance(found, Boxes)
    assert found.problems == ()
    assert found.labels == tuple(name for name, _, _ in entities) == ("a snowman", "a fire")
    expected = np.array([box for _, _, boxes in entities for box in boxes]) * np.tile(SIZE, 2)
    assert np.allclose(found.xyxy, expected)
    assert str(Family().parse(ask(skill="caption"), SNOWMAN, [SIZE])) == caption


def test_one_phrase_may_have_several_boxes_and_spaces_between_tags_do_no_harm() -> None:
    raw = (
        "<object> <patch_index_0000> <patch_index_1023> </delimiter_of_multi_objects/> <patch_index_0033>"
        "<patch_index_0066> </object> and<phrase> a dog</phrase><object><patch_index_0001><patch_index_0040></object>"
    )
    found = Family().parse(ask("two cups", skill="ground"), raw, [SIZE])
    assert isinstance(found, Boxes)
    assert found.labels == ("two cups", "two cups")
    assert [problem.kind for problem in found.problems] == ["unasked"]


@pytest.mark.parametrize(
    ("raw", "count", "said"),
    [
        ("<object></object>", 0, ""),
        ("<object><patch_index_0001><patch_index_0040></object>", 1, ""),
        ("<object><patch_index_0001></object>", 0, "1 cells, not 2"),
        ("<object><patch_index_0001><patch_index_0040>", 1, "breaks off"),
        ("<object><patch_index_0001><patch_index_0040></delimiter_of_multi_objects/></object>", 1, "0 cells, not 2"),
        ("<object><patch_index_0001><patch_index_1024></object>", 0, "outside 0 to 1023"),
        ("<object><patch_index_0040><patch_index_0001></object>", 1, "exchanged"),
        ("<patch_index_0001><patch_index_0040>", 0, "outside an object"),
        ("<object>cup<patch_index_0001><patch_index_0040></object>", 1, "text among"),
        ("<object><patch_index_0001><patch_index_0040><patch_index_0041></object>", 1, "more than two"),
        ("</object>", 0, "has not begun"),
        ("a cup", 0, "neither a region nor"),
        ("", 0, "neither a region nor"),
    ],
)
def test_what_it_writes_for_a_phrase_is_read_strictly(raw: str, count: int, said: str) -> None:
    found = Family().parse(ask("the cup", skill="ground"), raw, [SIZE])
    assert isinstance(found, Boxes)
    assert len(found) == count
    assert any(said in problem.message for problem in found.problems) if said else found.problems == ()


SCRAPS = ("<phrase>", "</phrase>", "<object>", "</object>", "</delimiter_of_multi_objects/>", CELLS[7], CELLS[-1],
          "<patch_index_9999999>", "<patch_index_", "<grounding>", "é🐈", "<", ">")  # fmt: skip


@settings(max_examples=1000, deadline=None)
@given(st.data())
def test_mutated_answers_give_boxes_in_the_image_or_a_named_problem(data: st.DataObject) -> None:
    raw = SNOWMAN.replace(" a fire", " żółty ogień")
    for _ in range(data.draw(st.integers(0, 4))):
        start = data.draw(st.integers(0, len(raw)))
        stop = data.draw(st.integers(start, min(len(raw), start + 30)))
        new = data.draw(st.sampled_from([*SCRAPS, raw[start:stop] * 3, raw[stop:start:-1]]) | st.text(max_size=5))
        raw = raw[:start] + new + raw[stop:]
    for request in (ask(skill="detect"), ask(skill="detect", labels=("a",)), ask("a", skill="ground"), ask("?")):
        found = Family().parse(request, raw, [SIZE], tokens=list(raw), logprobs=[-1.0] * len(raw))
        assert found.raw == raw
        if isinstance(found, Boxes):
            assert len(found) or found.problems or "<object></object>" in raw
            assert ((found.xyxy >= 0) & (found.xyxy <= np.array(SIZE * 2))).all()
            assert found.confidence is None or len(found.confidence) == len(found)


def test_each_box_has_the_probability_of_its_own_cells() -> None:
    tokens = ["<object>", CELLS[1], CELLS[40], "</delimiter_of_multi_objects/>", CELLS[2], CELLS[50], "</object>"]
    found = Family().parse(
        ask("x", skill="ground"), "".join(tokens), [SIZE], tokens=tokens, logprobs=[-9, -1, -3, -9, -4, -4, -9]
    )
    assert isinstance(found, Boxes)
    assert found.confidence is not None
    assert found.confidence.tolist() == pytest.approx([np.exp(-2.0), np.exp(-4.0)])
