"""Idefics3 and SmolVLM beside plain transformers: tiles, prompts, film, token counts, region skills by instruction."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from imglish.core.results import Boxes
from imglish.core.types import ImagePart, Message, Request, Sample, TextPart, VideoPart
from imglish.engine.load import FAMILIES
from imglish.engine.vlm import VLM
from imglish.families import _idefics_cards, _idefics_family
from imglish.families._base import Loaded
from imglish.families._idefics_family import grid_of
from imglish.families._tiny import HubProcessor
from imglish.families.smolvlm import number_word

NAMES = ("idefics3", "smolvlm")
GOLDEN = json.loads((Path(__file__).parent / "reference/qwen_idefics_prompts.json").read_text(encoding="utf-8"))
STILLS = [name for name in GOLDEN["conversations"] if name != "a film"]
SIZES = [(120, 90), (231, 150), (97, 301), (56, 56), (1, 40), (1023, 641), (53, 7), (700, 20)]


@pytest.fixture(scope="module")
def models() -> dict[str, Loaded]:
    return {name: FAMILIES.get(name)().tiny() for name in NAMES}


@pytest.fixture(params=NAMES)
def loaded(request: pytest.FixtureRequest, models: dict[str, Loaded]) -> Loaded:
    return models[request.param]


def picture(seed: int = 0, size: tuple[int, int] = (120, 90)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8))


def request_of(name: str, pictures: list[Image.Image]) -> Request:
    """The conversation as a chat request; its pictures are taken in order."""
    given_ = iter(pictures)
    messages = tuple(
        Message(
            message["role"],
            tuple(
                ImagePart(next(given_)) if part["type"] == "image"
                else VideoPart(tuple(given_)) if part["type"] == "video"
                else TextPart(part["text"])
                for part in message["content"]
            ),
        )
        for message in GOLDEN["conversations"][name]
    )  # fmt: skip
    return Request("chat", messages, messages[-1].text)


def pictures_of(name: str) -> list[Image.Image]:
    count = sum(part["type"] == "image" for m in GOLDEN["conversations"][name] for part in m["content"])
    return [picture(seed, [(120, 90), (97, 201)][seed % 2]) for seed in range(count)]


def processor_of(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The reference's processor, without the video processor that needs torchvision."""
    count = _idefics_family.tile_tokens(loaded.model.config)
    pictures, tokenizer = loaded.processor.image_processor, loaded.tokenizer
    if loaded.family.name == "idefics3":
        return transformers.Idefics3Processor(pictures, tokenizer, image_seq_len=count)
    from transformers.models.smolvlm import processing_smolvlm

    monkeypatch.setattr(processing_smolvlm, "num2words", str)

    class ImageOnly(transformers.SmolVLMProcessor):  # type: ignore[misc]
        def __init__(self, image_processor: Any, tokenizer: Any, **more: Any) -> None:
            super().__init__(image_processor, tokenizer, None, **more)

    return ImageOnly(pictures, tokenizer, image_seq_len=count)


@pytest.mark.parametrize("name", STILLS)
def test_prompts_are_those_of_the_published_chat_template(loaded: Loaded, name: str) -> None:
    pictures = pictures_of(name)
    pieces = loaded.family.prompt(request_of(name, pictures), [one.size for one in pictures])
    assert loaded.family.text(pieces) == GOLDEN["prompts"][loaded.family.name][name]


@pytest.mark.parametrize("name", STILLS)
def test_inputs_and_logits_equal_plain_transformers(loaded: Loaded, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = pictures_of(name)
    golden = GOLDEN["prompts"][loaded.family.name][name]
    processor = processor_of(loaded, monkeypatch)
    theirs = processor(text=[golden], images=[pictures], add_special_tokens=False, return_tensors="pt")
    ours, receipts = loaded.family.inputs(loaded, [request_of(name, pictures)])
    assert torch.equal(ours["input_ids"], theirs["input_ids"])
    for key in ("pixel_values", "pixel_attention_mask"):
        assert torch.equal(ours[key], theirs[key].to(ours[key].dtype)), key
    assert receipts[0].prompt_tokens == theirs["input_ids"].shape[1]
    theirs = {key: theirs[key] for key in ours}
    with torch.inference_mode():
        a, b = loaded.model(**ours).logits, loaded.model(**theirs).logits
    assert (a - b).abs().max() <= 1e-4


def test_a_padded_batch_equals_plain_transformers(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    names = STILLS[:3]
    pictures = [pictures_of(name) for name in names]
    golden = [GOLDEN["prompts"][loaded.family.name][name] for name in names]
    theirs = processor_of(loaded, monkeypatch)(
        text=golden, images=pictures, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False
    )
    ours, _ = loaded.family.inputs(loaded, [request_of(n, group) for n, group in zip(names, pictures, strict=True)])
    assert ours["pixel_values"].shape == theirs["pixel_values"].shape
    theirs = {key: theirs[key] for key in ours}
    with torch.inference_mode():
        a, b = loaded.model(**ours).logits[:, -1], loaded.model(**theirs).logits[:, -1]
    assert (a - b).abs().max() <= 1e-4


def test_beams_take_their_tiles_along(loaded: Loaded) -> None:
    requests = [request_of("one picture", [picture(n, size)]) for n, size in enumerate([(120, 90), (56, 56)])]
    options: dict[str, Any] = {"num_beams": 3, "max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
    together, _ = loaded.family.inputs(loaded, requests)
    rows = loaded.model.generate(**together, **options)[:, -4:]
    for row, request in zip(rows, requests, strict=True):
        alone = loaded.model.generate(**loaded.family.inputs(loaded, [request])[0], **options)[0, -4:]
        assert row.tolist() == alone.tolist()


@pytest.mark.parametrize("size", SIZES)
def test_a_picture_has_the_tokens_that_its_size_says(loaded: Loaded, size: tuple[int, int]) -> None:
    view = loaded.family.see(loaded, picture(0, size))
    assert len(view.ids) == loaded.family.image_tokens(loaded, size)
    assert view.tiles == len(view.tensors["pixel_values"])
    image = loaded.tokenizer.convert_tokens_to_ids("<image>")
    assert list(view.ids).count(image) == view.tiles * _idefics_family.tile_tokens(loaded.model.config)
    columns, rows = view.fitted.grid
    assert view.fitted.size == (columns * 56, rows * 56)
    assert view.fitted.scale == (columns * 56 / size[0], rows * 56 / size[1])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 900), st.integers(1, 900), st.sampled_from([(112, 56), (120, 56), (56, 56), (200, 64)]))
def test_the_grid_of_tiles_is_the_reference_s(width: int, height: int, sizes: tuple[int, int]) -> None:
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    longest, tile = sizes
    pictures = Idefics3ImageProcessorPil(size={"longest_edge": longest}, max_image_size={"longest_edge": tile})
    blank = Image.new("RGB", (width, height))
    found = pictures(images=[[blank]], return_row_col_info=True, do_normalize=False, do_rescale=False)
    assert grid_of((width, height), longest=longest, tile=tile) == (found["rows"][0][0], found["cols"][0][0])


def test_pictures_are_not_cut_where_the_checkpoint_says_so(loaded: Loaded) -> None:
    kind = type(loaded.processor.image_processor)
    whole = kind(size={"longest_edge": 112}, max_image_size={"longest_edge": 56}, do_image_splitting=False)
    model = dataclasses.replace(loaded, processor=HubProcessor(loaded.tokenizer, whole))
    view = loaded.family.see(model, picture())
    assert (view.tiles, len(view.ids), loaded.family.image_tokens(model, (120, 90))) == (1, 7, 7)


def test_a_row_of_tiles_is_named_and_the_whole_comes_last(loaded: Loaded) -> None:
    view = loaded.family.see(loaded, picture(0, (200, 90)))
    image = "<image>" * 4
    assert loaded.tokenizer.decode(list(view.ids)) == (
        f"<fake_token_around_image><row_1_col_1>{image}<fake_token_around_image><row_1_col_2>{image}\n\n"
        f"<fake_token_around_image><global-img>{image}<fake_token_around_image>"
    )


def test_the_prompt_begins_with_the_first_token_of_its_checkpoint(models: dict[str, Loaded]) -> None:
    """SmolVLM of 2024 has model_type idefics3 and the first token of SmolVLM."""
    smol = models["smolvlm"]
    family = FAMILIES.get("idefics3")()
    family.settle({}, smol.processor)
    pieces = family.prompt(request_of("one picture", [picture()]), [(120, 90)])
    assert family.text(pieces) == GOLDEN["prompts"]["smolvlm"]["one picture"]


def test_film_is_told_as_the_reference_tells_it(models: dict[str, Loaded], monkeypatch: pytest.MonkeyPatch) -> None:
    """`SmolVLMProcessor.replace_video_token` beside ours; its number words are another package's."""
    from transformers.models.smolvlm import processing_smolvlm
    from transformers.video_utils import VideoMetadata

    loaded, frames = models["smolvlm"], [picture(seed) for seed in range(3)]
    processor = processor_of(loaded, monkeypatch)
    monkeypatch.setattr(processing_smolvlm, "num2words", number_word)
    told = {
        "pixel_values": np.zeros((1, 3, 3, 56, 56)),
        "video_metadata": [VideoMetadata(total_num_frames=3, fps=0.5, duration=4.0, frames_indices=[0, 1, 2])],
    }
    golden = GOLDEN["prompts"]["smolvlm"]["a film"].replace("<video>", processor.replace_video_token(told, 0))
    request = request_of("a film", frames)
    part = dataclasses.replace(request.messages[0].parts[0], fps=0.5)
    message = Message("user", (part, *request.messages[0].parts[1:]))
    tensors, receipts = loaded.family.inputs(loaded, [dataclasses.replace(request, messages=(message,))])
    assert loaded.tokenizer.decode(tensors["input_ids"][0]) == golden
    assert [image.image_tokens for image in receipts[0].images] == [7, 7, 7]


def test_a_film_beside_pictures_and_in_a_batch(models: dict[str, Loaded]) -> None:
    loaded = models["smolvlm"]
    parts = (ImagePart(picture(0)), VideoPart((picture(1), picture(2)), 4.0), ImagePart(picture(4, (56, 56))))
    mixed = Request("chat", (Message("user", (*parts, TextPart("Which?"))),), "Which?")
    other = request_of("one picture", [picture(5)])
    together, _ = loaded.family.inputs(loaded, [mixed, other])
    with torch.inference_mode():
        rows = loaded.model(**together).logits[:, -1]
        for row, request in zip(rows, (mixed, other), strict=True):
            alone = loaded.model(**loaded.family.inputs(loaded, [request])[0]).logits[0, -1]
            torch.testing.assert_close(row, alone, atol=1e-4, rtol=1e-4)


def test_numbers_are_written_as_people_say_them() -> None:
    said = {0: "zero", 7: "seven", 13: "thirteen", 20: "twenty", 21: "twenty-one", 64: "sixty-four", 99: "ninety-nine"}
    assert {number: number_word(number) for number in said} == said


def test_every_skill_answers_through_the_public_face(loaded: Loaded) -> None:
    vlm = VLM(loaded, max_tokens=3)
    receipt = vlm.detect(picture(), ["cat"]).receipt
    assert (receipt.prompted, receipt.images[0].tiles) == (True, 5)
    assert vlm.ask([picture(), picture(1)], "What changed?").receipt.prompted is False
    chat = vlm.chat(system="Be brief.")
    chat.say("What is it?", image=picture())
    assert len(chat.say("And this?", image=picture(2)).receipt.images) == 2


def test_cards_say_the_tokens_that_the_processor_gives(loaded: Loaded) -> None:
    """The sum is `Idefics3Processor._get_num_multimodal_tokens`; a blank line is one token once published."""
    kind = type(loaded.processor.image_processor)
    for *_, tile, _patch, each, longest, _context in _idefics_cards._SIZES.values():
        pictures = kind(size={"longest_edge": longest}, max_image_size={"longest_edge": tile})
        for width, height in ((640, 480), (1920, 1080), (300, 301), (90, 1000)):
            _, rows, columns = pictures.get_number_of_image_patches(height, width)
            tokens = _idefics_cards.picture_tokens(longest, tile, each, (width, height))
            assert tokens == each + 3 + ((each + 2) * columns + 1) * rows, (tile, width, height)
    for card in loaded.family.checkpoints:
        assert (card.family, bool(card.source)) == (loaded.family.name, True)
        assert card.views_of((640, 480)) > 1


def test_lora_targets_are_layers_of_the_model(loaded: Loaded) -> None:
    layers = {name.rsplit(".", 1)[-1] for name, _ in loaded.model.named_modules()}
    assert set(loaded.family.lora_targets) <= layers


def mutated(text: str, changes: list[tuple[str, int, str]]) -> str:
    for kind, number, piece in changes:
        place = number % (len(text) + 1)
        text = {
            "cut": text[:place],
            "swap": text[place:] + text[:place],
            "insert": text[:place] + piece + text[place:],
            "repeat": text[:place] + piece * (number % 999) + text[place:],
            "drop": text[:place] + text[place + number % 17 :],
        }[kind]
    return text[:200_000]


PIECES = [
    "<end_of_utterance>",
    '"bbox_2d"',
    "[",
    "]",
    "{",
    "}",
    "9" * 400,
    "-1",
    "1e999",
    "NaN",
    "łódź\u202e🐈",
    "\x00",
    "```",
]
KINDS = ["cut", "swap", "insert", "repeat", "drop"]


@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    changes=st.lists(
        st.tuples(st.sampled_from(KINDS), st.integers(0, 10**6), st.sampled_from(PIECES)), min_size=1, max_size=4
    ),
    skill=st.sampled_from(["detect", "ground", "read", "segment", "extract", "identify"]),
)
def test_no_mutation_of_an_answer_raises_or_is_silent(
    models: dict[str, Loaded], changes: list[tuple[str, int, str]], skill: str
) -> None:
    family, size = models["smolvlm"].family, (231, 150)
    truth = Boxes(xyxy=[(1, 2, 30, 40), (50, 60, 200, 140)], labels=("a cat", "łódź"), size=size)
    sample = Sample("s", "detect", (Image.new("RGB", size),), "", "", truth, ("a cat", "łódź"))
    request = dataclasses.replace(
        sample.request(), skill=skill, schema={"properties": {"name": {"type": "string"}}}, region=(1.0, 1.0, 9.0, 9.0)
    )
    raw = mutated(family.text(family.answer(sample)), changes)
    result = family.parse(request, raw, [size])
    assert result.raw == raw
    if skill in ("detect", "ground", "read", "segment"):
        assert len(result) or result.problems or raw.strip() == "[]"  # type: ignore[arg-type]
