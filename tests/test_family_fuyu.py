"""Fuyu: the same ids, patches and logits as transformers' own, halved coordinates y first, numbers read from tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from imglish.core.results import Boxes, Text
from imglish.core.types import ImagePart, Message, Request, Sample, TextPart
from imglish.families._base import Loaded
from imglish.families._fuyu_text import CODEC
from imglish.families.fuyu import Family

SIZE = (200, 100)
BYTES = [f"<0x{n:02X}>" for n in range(256)]


def picture(size: tuple[int, int] = SIZE, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8))


def ask(text: str = "", *, skill: str = "ask", size: tuple[int, int] = SIZE, **more: Any) -> Request:
    return Request(skill, (Message("user", (ImagePart(picture(size)), TextPart(text))),), text, **more)


def save_tokenizer(folder: Path) -> None:
    """As the published one: unigram pieces, controls and bytes among them, each number one, a space before a text."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    special = ["<unk>", "<s>", "</s>", "|SPEAKER|", "|NEWLINE|", "|ENDOFTEXT|"]
    plain = ["▁", "\n", *map(chr, range(33, 127)), "▁the", *map(str, range(10, 400))]
    pieces = [(token, 0.0) for token in [*special, *BYTES]] + [(token, -5.0) for token in plain]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.save(str(folder / "tokenizer.json"))
    told = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "|ENDOFTEXT|", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint in the published layout: flat config.json, `language_model.` names, stock processor."""
    from safetensors.torch import save_file
    from transformers import FuyuConfig, FuyuForCausalLM, FuyuImageProcessorPil, PreTrainedTokenizerFast

    from imglish.families._tiny import seeded

    where = tmp_path_factory.mktemp("fuyu")
    save_tokenizer(where)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(where)
    flat = {
        "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": 16384, "hidden_act": "relu2", "qk_layernorm": True,
        "image_token_id": tokenizer.convert_tokens_to_ids("|SPEAKER|"), "initializer_range": 0.05,
        "rope_theta": 25000.0,
    }  # fmt: skip
    with seeded():
        model = FuyuForCausalLM(FuyuConfig(**flat))
    names = {"model.language_model.": "language_model.model.", "lm_head.": "language_model.lm_head."}
    weights = {}
    for name, tensor in model.state_dict().items():
        old = next((new + name.removeprefix(start) for start, new in names.items() if name.startswith(start)), name)
        weights[old.removeprefix("model.")] = tensor.contiguous()
    save_file(weights, where / "model.safetensors", metadata={"format": "pt"})
    told = {"model_type": "fuyu", "architectures": ["FuyuForCausalLM"], "tie_word_embeddings": False, **flat}
    (where / "config.json").write_text(json.dumps(told))
    FuyuImageProcessorPil().save_pretrained(where)
    return where


@pytest.fixture(scope="module")
def loaded(folder: Path) -> Loaded:
    return Family().load(str(folder), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def plain(folder: Path) -> tuple[Any, Any]:
    """transformers' own processor, with the one method that fails in it set right, and its model."""
    from transformers import FuyuForCausalLM, FuyuProcessor, PreTrainedTokenizerFast

    from imglish.families._fuyu_pictures import Pictures

    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    return FuyuProcessor(Pictures(), tokenizer), FuyuForCausalLM.from_pretrained(folder).eval()


ASKED = {
    "caption": (ask(skill="caption"), "Generate a coco-style caption.\n"),
    "question": (ask("What is żółty in the picture?"), "What is żółty in the picture?\n"),
    "large": (ask("What is 12 + 30?", size=(2400, 700)), "What is 12 + 30?\n"),
    "thin": (ask("Why?", size=(31, 1200)), "Why?\n"),
}


@pytest.mark.parametrize("name", list(ASKED))
def test_ids_patches_and_logits_are_those_of_transformers(loaded: Loaded, plain: tuple[Any, Any], name: str) -> None:
    request, text = ASKED[name]
    processor, model = plain
    image = request.messages[0].images[0]
    expected = processor(images=[image], text=text, return_tensors="pt", return_legacy_image_output=False)
    tensors, receipts = loaded.family.inputs(loaded, [request])
    assert torch.equal(tensors["input_ids"], expected["input_ids"])
    assert torch.equal(tensors["attention_mask"], expected["attention_mask"])
    torch.testing.assert_close(tensors["pixel_values"], expected["pixel_values"].float(), atol=1e-6, rtol=0)
    assert receipts[0].images[0].image_tokens == loaded.family.image_tokens(loaded, image.size)
    names = ("input_ids", "attention_mask", "pixel_values")
    given = {name: expected[name].float() if name == "pixel_values" else expected[name] for name in names}
    with torch.inference_mode():
        ours, theirs = loaded.model(**tensors).logits, model(**given).logits
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    made = [m.generate(**values, max_new_tokens=6) for m, values in ((loaded.model, tensors), (model, given))]
    assert torch.equal(*made)


def test_the_stock_processor_still_fails_where_ours_does_not(folder: Path) -> None:
    """If this fails, transformers has been repaired and `Pictures.patchify_image` can go."""
    from transformers import FuyuImageProcessorPil, FuyuProcessor, PreTrainedTokenizerFast

    processor = FuyuProcessor(FuyuImageProcessorPil(), PreTrainedTokenizerFast.from_pretrained(folder))
    with pytest.raises(TypeError, match="transpose"):
        processor(images=[picture()], text="a\n", return_tensors="pt")


def test_patches_are_cut_in_reading_order_and_rows_end_with_a_newline(loaded: Loaded) -> None:
    view = loaded.family.see(loaded, picture((70, 40)))
    patch, newline = loaded.tokenizer.convert_tokens_to_ids(["|SPEAKER|", "|NEWLINE|"])
    assert list(view.ids) == [patch, patch, patch, newline] * 2
    pixels = np.asarray(picture((70, 40)), np.float32)[:30, 30:60] / 255 * 2 - 1
    assert np.allclose(view.tensors["pixel_values"][1].numpy(), pixels.reshape(-1), atol=1e-5)


@pytest.mark.parametrize("size", [(1, 40), (40000, 1), (1920, 1080), (1921, 1080), (3000, 5000)])
def test_pictures_of_any_shape_are_seen_as_the_frame_says(loaded: Loaded, size: tuple[int, int]) -> None:
    view = loaded.family.see(loaded, Image.new("RGB", size))
    assert len(view.ids) == loaded.family.image_tokens(loaded, size)
    assert len(view.tensors["pixel_values"]) == (view.fitted.size[0] // 30) * (view.fitted.size[1] // 30)


def test_the_box_of_a_prompt_is_one_token_for_each_number(loaded: Loaded) -> None:
    tensors, _ = loaded.family.inputs(loaded, [ask(skill="identify", region=(20.0, 30.0, 101.0, 100.0))])
    tokens = loaded.tokenizer.convert_ids_to_tokens(tensors["input_ids"][0])
    assert tokens[-7:] == ["<0x00>", "15", "10", "50", "50", "<0x01>", "<0x04>"]


def test_a_typed_control_has_no_power_though_it_stands_in_the_vocabulary(loaded: Loaded) -> None:
    counts = []
    for text in ("Where?", "<0x00>1<0x01><0x04>|SPEAKER|<s> Where?"):
        tensors, _ = loaded.family.inputs(loaded, [ask(text)])
        ids = loaded.tokenizer.convert_tokens_to_ids(list(Family.special_tokens))
        counts.append(sum(int(token) in ids for token in tensors["input_ids"][0]))
    assert counts[0] == counts[1]


def test_an_answer_with_boxes_comes_back_from_its_tokens(loaded: Loaded) -> None:
    truth = Boxes(xyxy=[(20, 30, 101, 98), (0, 0, 200, 100)], labels=("cup", "mug"), size=SIZE)
    sample = Sample("a", "detect", (picture(),), "", "", truth, labels=("cup", "mug"))
    ids = loaded.family.answer_ids(loaded, sample)[:-1]
    raw = loaded.tokenizer.decode(ids, skip_special_tokens=False)
    assert "\x0015104950\x01" in raw.replace(" ", "")
    tokens = loaded.tokenizer.convert_ids_to_tokens(ids)
    found = loaded.family.parse(sample.request(), raw, [SIZE], tokens=tokens, logprobs=[-1.0] * len(ids))
    assert isinstance(found, Boxes)
    assert found.problems == ()
    assert found.labels == ("mug", "cup")
    assert np.allclose(found.xyxy, [(0, 0, 200, 100), (20, 30, 101, 98)], atol=1.001)
    blind = loaded.family.parse(sample.request(), raw, [SIZE])
    assert any("told apart" in problem.message for problem in blind.problems)


def test_the_published_example_is_read() -> None:
    """What the model of the hub writes for "Williams" (tests/models/fuyu of transformers)."""
    tokens = ["<0x00>", "194", "213", "202", "244", "<0x01>"]
    found = Family().parse(ask("Williams", skill="ground"), "\x00194213202244\x01", [(1200, 800)], tokens=tokens)
    assert isinstance(found, Boxes)
    assert found.xyxy.tolist() == [[426, 388, 488, 404]]
    assert found.labels == ("Williams",)


def test_boxes_are_shrunk_with_the_picture() -> None:
    size = (3840, 1080)  # made half as large
    assert CODEC.encode([(400, 200, 800, 600)], size).tolist() == [[50, 100, 150, 200]]
    assert CODEC.decode([(50, 100, 150, 200)], size).tolist() == [[400, 200, 800, 600]]


def test_boxes_and_points_in_an_answer_are_told_in_pixels() -> None:
    found = Family().parse(ask("Where?"), "It is at <box>10, 20, 30, 40</box> or <point>5, 6</point>.", [SIZE])
    assert isinstance(found, Text)
    assert found.text == "It is at [40, 20, 80, 60] or (10, 12)."
    broken = Family().parse(ask("Where?"), "It is at <box>10, 20", [SIZE])
    assert not broken.parsed


@pytest.mark.parametrize(
    ("raw", "count", "said"),
    [
        ("<box>10, 20, 30, 40</box>", 1, ""),
        ("<0x00>10 20 30 40<0x01>", 1, ""),
        ("none", 0, ""),
        ("<box>10, 20, 30</box>", 0, "told apart"),
        ("<box>10203040</box>", 0, "told apart"),
        ("<box>10, 20, 30, -4</box>", 0, "told apart"),
        ("<box>10, 20, 30, 40", 0, "breaks off"),
        ("<box><box>10, 20, 30, 40</box>", 1, "breaks off"),
        ("</box>", 0, "breaks off"),
        ("<box>30, 20, 10, 40</box>", 1, "exchanged"),
        ("<box>10, 20, 30, 4000</box>", 0, "outside the image"),
        ("<point>10, 20</point>", 0, "a point"),
        ("Williams", 0, "neither a box nor"),
        ("", 0, "neither a box nor"),
    ],
)
def test_what_it_writes_for_a_text_is_read_strictly(raw: str, count: int, said: str) -> None:
    found = Family().parse(ask("Williams", skill="ground"), raw, [SIZE])
    assert isinstance(found, Boxes)
    assert len(found) == count
    assert any(said in problem.message for problem in found.problems) if said else found.problems == ()


GOOD = "cup<box>10, 20, 30, 40</box>, żółta łódź<0x00>1 2 3 4<0x01>"
SCRAPS = (
    "<box>",
    "</box>",
    "<0x00>",
    "<0x01>",
    "\x00",
    "\x01",
    "<point>1, 2</point>",
    "<0x03>",
    "9" * 30,
    ", ",
    "é🐈",
    " " * 90,
)


@settings(max_examples=1000, deadline=None)
@given(st.data())
def test_mutated_answers_give_boxes_in_the_image_or_a_named_problem(data: st.DataObject) -> None:
    raw = GOOD
    for _ in range(data.draw(st.integers(0, 4))):
        start = data.draw(st.integers(0, len(raw)))
        stop = data.draw(st.integers(start, min(len(raw), start + 20)))
        new = data.draw(st.sampled_from([*SCRAPS, raw[start:stop] * 3, raw[stop:start:-1]]) | st.text(max_size=5))
        raw = raw[:start] + new + raw[stop:]
    for request in (ask(skill="detect", labels=("cup",)), ask("cup", skill="ground"), ask("?")):
        found = Family().parse(request, raw, [SIZE], tokens=list(raw), logprobs=[-1.0] * len(raw))
        assert found.raw == raw
        if isinstance(found, Boxes):
            assert len(found) or found.problems
            assert ((found.xyxy >= 0) & (found.xyxy <= np.array(SIZE * 2))).all()
            assert found.confidence is None or len(found.confidence) == len(found)


def test_the_card_counts_the_parameters_and_tokens_of_the_published_model() -> None:
    from transformers import FuyuConfig, FuyuForCausalLM

    card = Family.checkpoints[0]
    with torch.device("meta"):
        model = FuyuForCausalLM(FuyuConfig())
    assert sum(weight.numel() for weight in model.parameters()) == card.parameters
    assert card.tokens_of((1920, 1080)) == 36 * 65
    assert card.tokens_of((640, 480)) == 16 * 23
