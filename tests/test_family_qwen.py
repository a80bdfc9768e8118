"""Qwen2-VL, Qwen2.5-VL, Qwen3-VL beside plain transformers; three box conventions; film; what their checkpoints say."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from imglish.core.errors import ImageError, InputError
from imglish.core.frames import Resized
from imglish.core.results import Boxes, TextRegions
from imglish.core.types import ImagePart, Message, Request, Sample, TextPart, VideoPart
from imglish.engine.load import FAMILIES
from imglish.engine.vlm import VLM, load
from imglish.families._base import Loaded

NAMES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
PROCESSORS = {"qwen2_vl": "Qwen2VLProcessor", "qwen2_5_vl": "Qwen2_5_VLProcessor", "qwen3_vl": "Qwen3VLProcessor"}
REFERENCE = Path(__file__).parent / "reference"
GOLDEN = json.loads((REFERENCE / "qwen_idefics_prompts.json").read_text(encoding="utf-8"))
FILM = json.loads((REFERENCE / "qwen_film.json").read_text(encoding="utf-8"))
STILLS = [name for name in GOLDEN["conversations"] if name != "a film"]
ODD = [(231, 150), (97, 301), (1023, 641), (53, 7), (1920, 1080), (640, 480)]
LIMITED = settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))


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
    given = iter(pictures)
    parts = {"image": lambda _: ImagePart(next(given)), "video": lambda _: VideoPart(tuple(given)),
             "text": lambda part: TextPart(part["text"])}  # fmt: skip
    messages = tuple(
        Message(message["role"], tuple(parts[part["type"]](part) for part in message["content"]))
        for message in GOLDEN["conversations"][name]
    )
    return Request("chat", messages, messages[-1].text)


def pictures_of(name: str) -> list[Image.Image]:
    count = sum(part["type"] == "image" for m in GOLDEN["conversations"][name] for part in m["content"])
    return [picture(seed, [(120, 90), (97, 201)][seed % 2]) for seed in range(count)]


def processor_of(loaded: Loaded) -> Any:
    """The reference's processor, without the video processor that needs torchvision."""
    base = getattr(transformers, PROCESSORS[loaded.family.name])

    class ImageOnly(base):  # type: ignore[misc, valid-type]
        def __init__(self, image_processor: Any = None, tokenizer: Any = None, **more: Any) -> None:
            super().__init__(image_processor, tokenizer, None, **more)

    return ImageOnly(loaded.processor.image_processor, loaded.tokenizer)


@pytest.mark.parametrize("name", STILLS)
def test_prompts_are_those_of_the_published_chat_template(loaded: Loaded, name: str) -> None:
    pictures = pictures_of(name)
    pieces = loaded.family.prompt(request_of(name, pictures), [one.size for one in pictures])
    assert loaded.family.text(pieces) == GOLDEN["prompts"][loaded.family.name][name]


@pytest.mark.parametrize("name", STILLS)
def test_inputs_and_logits_equal_plain_transformers(loaded: Loaded, name: str) -> None:
    pictures = pictures_of(name)
    golden = GOLDEN["prompts"][loaded.family.name][name]
    theirs = processor_of(loaded)(text=[golden], images=pictures, return_tensors="pt")
    ours, receipts = loaded.family.inputs(loaded, [request_of(name, pictures)])
    assert ours.keys() == theirs.keys()
    for key in ours:
        assert torch.equal(ours[key], theirs[key].to(ours[key].dtype)), key
    assert receipts[0].prompt_tokens == theirs["input_ids"].shape[1]
    with torch.inference_mode():
        a, b = loaded.model(**ours).logits, loaded.model(**theirs).logits
    assert (a - b).abs().max() <= 1e-4


def test_a_padded_batch_equals_plain_transformers(loaded: Loaded) -> None:
    names = STILLS[:3]
    pictures = [pictures_of(name) for name in names]
    golden = [GOLDEN["prompts"][loaded.family.name][name] for name in names]
    flat = [one for group in pictures for one in group]
    theirs = processor_of(loaded)(text=golden, images=flat, return_tensors="pt", padding=True, padding_side="left")
    ours, _ = loaded.family.inputs(loaded, [request_of(n, group) for n, group in zip(names, pictures, strict=True)])
    with torch.inference_mode():
        a, b = loaded.model(**ours).logits[:, -1], loaded.model(**theirs).logits[:, -1]
    assert (a - b).abs().max() <= 1e-4


@pytest.mark.parametrize("size", [*ODD, (28, 28), (1, 40), (29, 5000)])
def test_a_picture_has_the_tokens_that_its_size_says(loaded: Loaded, size: tuple[int, int]) -> None:
    view = loaded.family.see(loaded, picture(0, size))
    assert len(view.ids) == loaded.family.image_tokens(loaded, size)
    pictures = loaded.processor.image_processor
    assert len(view.ids) * 4 == pictures.get_number_of_image_patches(size[1], size[0])
    frame = Resized(*loaded.family.pixels, loaded.family.patch * 2).fit(size)
    assert (view.fitted.size, view.fitted.scale) == (frame.size, frame.scale)


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 4000), st.integers(1, 4000), st.sampled_from([28, 32]), st.integers(1, 9), st.integers(9, 12000))
def test_resizing_is_the_reference_s(width: int, height: int, cell: int, least: int, most: int) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    bounds = (least * cell * cell, most * cell * cell)
    if max(width, height) <= 200 * min(width, height):
        high, wide = smart_resize(height, width, cell, *bounds)
        assert Resized(*bounds, cell).fit((width, height)).size == (wide, high)


def test_a_thread_of_a_picture_is_a_clear_error(loaded: Loaded) -> None:
    with pytest.raises(ImageError, match="at most 200 times"):
        loaded.family.inputs(loaded, [request_of("one picture", [picture(0, (2, 500))])])


@pytest.mark.parametrize("size", ODD)
def test_boxes_come_back_within_one_quantum(loaded: Loaded, size: tuple[int, int]) -> None:
    rng, codec = random.Random(str(size)), loaded.family.codec
    corners = [sorted(rng.uniform(0, side) for _ in range(2)) for side in size for _ in range(50)]
    boxes = np.array([(*x, *y) for x, y in zip(corners[:50], corners[50:], strict=True)])[:, [0, 2, 1, 3]]
    assert (
        np.abs(codec.decode(codec.encode(boxes, size), size) - boxes) <= np.tile(codec.quantum(size), 2) + 1e-9
    ).all()


ANSWERS = {
    "qwen2_vl": "<|object_ref_start|>the cat<|object_ref_end|><|box_start|>(250,500),(500,1000)<|box_end|>",
    "qwen2_5_vl": '```json\n[\n\t{"bbox_2d": [WIDTH, HEIGHT], "label": "the cat"}\n]\n```',
    "qwen3_vl": '```json\n[\n\t{"bbox_2d": [250, 500, 500, 1000], "label": "the cat"}\n]\n```',
}


def said(loaded: Loaded, size: tuple[int, int]) -> str:
    """The same box in each generation's own words: from a quarter to a half across, from half to all down."""
    width, height = Resized(*loaded.family.pixels, loaded.family.patch * 2).fit(size).size
    pixels = f"{round(width / 4)}, {round(height / 2)}, {round(width / 2)}, {height}"
    return ANSWERS[loaded.family.name].replace("WIDTH, HEIGHT", pixels)


def detect(*labels: str) -> Request:
    return Request("detect", (Message("user", (ImagePart(picture()), TextPart(""))),), "", labels)


@pytest.mark.parametrize("size", ODD)
def test_each_generation_s_own_answer_is_the_same_box(loaded: Loaded, size: tuple[int, int]) -> None:
    found = loaded.family.parse(detect("the cat"), said(loaded, size), [size])
    assert isinstance(found, Boxes)
    assert (found.labels, found.parsed) == (("the cat",), True)
    expected = np.array([size[0] / 4, size[1] / 2, size[0] / 2, size[1]])
    assert (np.abs(found.xyxy[0] - expected) <= np.tile(loaded.family.codec.quantum(size), 2) * 2 + 1e-9).all()


def test_the_same_numbers_are_three_different_boxes(models: dict[str, Loaded]) -> None:
    size, row = (640, 480), '[{"bbox_2d": [100, 100, 200, 150], "label": "x"}]'
    tags = "<|box_start|>(100,100),(200,150)<|box_end|>"
    boxes = [models[n].family.parse(detect("x"), tags if n == "qwen2_vl" else row, [size]).xyxy[0] for n in NAMES]
    assert np.allclose(boxes[0], (64, 48, 128, 72))
    assert np.allclose(boxes[2], (64, 48, 128, 72))
    width, height = models["qwen2_5_vl"].family.codec.frame.fit(size).size
    assert np.allclose(boxes[1], np.array([100 / width, 100 / height, 200 / width, 150 / height]) * [*size, *size])


def test_several_boxes_share_a_label_and_nothing_is_a_list_of_none(models: dict[str, Loaded]) -> None:
    family, size = models["qwen2_vl"].family, (100, 100)
    raw = (
        "<|object_ref_start|>łódź<|object_ref_end|><|box_start|>(0,0),(100,100)<|box_end|><|box_start|>(1,1),(9,9)"
        "<|box_end|>, <|object_ref_start|>đèn<|object_ref_end|><|box_start|>(10,10),(20,20),(30,30),(40,40)<|box_end|>"
    )
    found = family.parse(detect(), raw, [size])
    assert (found.labels, found.problems) == (("łódź", "łódź", "đèn", "đèn"), ())
    for nothing in ("None", " none.\n", "[]"):
        empty = family.parse(detect("cat"), nothing, [size])
        assert (len(empty), empty.parsed) == (0, True)
    for broken, message in (
        ("<|box_start|>(1,2),(3,4)", "not closed"),
        ("<|box_start|>(1,2),(3)<|box_end|>", "not a box"),
        ("<|object_ref_start|>cat<|object_ref_end|>", "no box"),
        ("I see no cats.", "neither a box"),
        ("<|box_end|>", "closes nothing"),
    ):
        problems = family.parse(detect("cat"), broken, [size]).problems
        assert any(message in problem.message for problem in problems), (broken, problems)


def test_each_box_has_the_probability_of_its_own_tokens(loaded: Loaded) -> None:
    size = (231, 150)
    truth = Boxes(xyxy=[(1, 2, 30, 40), (50, 60, 200, 140)], labels=("a", "b"), size=size)
    sample = Sample("s", "detect", (picture(0, size),), "", "", truth, ("a", "b"))
    ids = loaded.family.answer_ids(loaded, sample)[:-1]
    raw, tokens = loaded.tokenizer.decode(ids), loaded.tokenizer.convert_ids_to_tokens(ids)
    second = raw.rindex("<|box_start|>" if loaded.family.name == "qwen2_vl" else "bbox_2d")
    count = len(loaded.tokenizer(raw[:second])["input_ids"])
    logprobs = [-0.1] * count + [-2.0] * (len(ids) - count)
    found = loaded.family.parse(sample.request(), raw, [size], tokens=tokens, logprobs=logprobs)
    assert found.confidence == pytest.approx(np.exp([-0.1, -2.0]), abs=0.06)


def test_lines_of_text_are_called_text_content_from_the_second_generation_on(loaded: Loaded) -> None:
    key = "text" if loaded.family.name == "qwen2_vl" else "text_content"
    raw = json.dumps([{"bbox_2d": [10, 10, 30, 20], key: 'he said "text": x'}])
    found = loaded.family.parse(dataclasses.replace(detect(), skill="read"), raw, [(200, 100)])
    assert isinstance(found, TextRegions)
    assert (found.texts, found.problems, found.raw) == (('he said "text": x',), (), raw)


def test_the_thought_of_a_thinking_edition_is_not_read(models: dict[str, Loaded]) -> None:
    loaded = models["qwen3_vl"]
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=loaded.tokenizer.backend_tokenizer)
    tokenizer.chat_template = "{{- '<|im_start|>assistant\\n<think>\\n' }}"
    family = FAMILIES.get("qwen3_vl")()
    family.settle({}, type(loaded.processor)(tokenizer, loaded.processor.image_processor))
    request = request_of("one picture", [picture()])
    assert family.text(family.prompt(request, [(120, 90)])).endswith("<|im_start|>assistant\n<think>\n")
    raw = 'Is [{"bbox_2d": [1,2,3,4]}] right? No.\n</think>\n\n' + ANSWERS["qwen3_vl"]
    found = family.parse(detect("the cat"), raw, [(120, 90)])
    assert (len(found), found.raw, found.problems) == (1, raw, ())


@pytest.mark.parametrize(
    ("raw", "pixels"),
    [
        (
            {"min_pixels": 3136, "max_pixels": 12845056, "image_processor_type": "Qwen2VLImageProcessor"},
            (3136, 12845056),
        ),
        (
            {
                "size": {"longest_edge": 16777216, "shortest_edge": 65536},
                "image_processor_type": "Qwen2VLImageProcessorFast",
                "processor_class": "Qwen3VLProcessor",
            },
            (65536, 16777216),
        ),
        (
            {"size": {"min_pixels": 3136, "max_pixels": 602112}, "image_processor_type": "Qwen2_5_VLImageProcessor"},
            (3136, 602112),
        ),
        (
            {"min_pixels": 784, "max_pixels": 50176, "size": {"longest_edge": 12845056, "shortest_edge": 3136}},
            (784, 50176),
        ),
    ],
)
def test_pixel_bounds_come_from_every_published_form_of_the_checkpoint(
    loaded: Loaded, tmp_path: Path, raw: dict[str, Any], pixels: tuple[int, int]
) -> None:
    loaded.model.save_pretrained(tmp_path)
    loaded.tokenizer.save_pretrained(tmp_path)
    given = {**raw, "patch_size": loaded.family.patch, "auto_map": {"AutoProcessor": "evil.Evil"}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(given))
    again = FAMILIES.get(loaded.family.name)().load(str(tmp_path), device="cpu", dtype="float32")
    assert again.family.pixels == pixels
    count = Resized(*pixels, loaded.family.patch * 2).fit((900, 700)).size
    assert again.family.image_tokens(again, (900, 700)) == count[0] * count[1] // (2 * loaded.family.patch) ** 2


def test_pixel_bounds_can_be_set_and_boxes_follow(loaded: Loaded) -> None:
    cell, size = (2 * loaded.family.patch) ** 2, (900, 700)
    small = loaded.family.with_pixels(loaded, min_pixels=4 * cell, max_pixels=16 * cell)
    assert small.family.image_tokens(small, size) <= 16 < loaded.family.image_tokens(loaded, size)
    _, receipts = small.family.inputs(small, [request_of("one picture", [picture(0, size)])])
    assert receipts[0].images[0].image_tokens == small.family.image_tokens(small, size)
    for one in (loaded, small):
        found = one.family.parse(detect("the cat"), said(one, size), [size])
        assert np.allclose(found.xyxy[0], (225, 350, 450, 700), atol=2 * max(one.family.codec.quantum(size)))
    assert loaded.family.pixels[1] == 64 * cell
    with pytest.raises(InputError, match="min_pixels"):
        loaded.family.with_pixels(loaded, min_pixels=9 * cell, max_pixels=8 * cell)


@pytest.mark.parametrize("name", ["qwen2_vl", "qwen3_vl"])
def test_film_has_the_patches_of_the_reference(models: dict[str, Loaded], name: str) -> None:
    golden, loaded = FILM[name], models[name]
    pictures = loaded.processor.image_processor
    pictures = type(pictures)(
        size={"shortest_edge": 1, "longest_edge": 10**6}, patch_size=golden["patch"], image_mean=golden["mean"],
        image_std=golden["std"],
    )  # fmt: skip
    model = dataclasses.replace(loaded, processor=type(loaded.processor)(loaded.tokenizer, pictures))
    model = loaded.family.with_pixels(model, min_pixels=1, max_pixels=golden["size"][0] * golden["size"][1])
    frames = [
        Image.fromarray(np.random.default_rng(n).integers(0, 256, (*golden["size"][::-1], 3)).astype(np.uint8))
        for n in range(3)
    ]
    tensors, receipts = model.family.inputs(model, [request_of("a film", frames)])
    patches = tensors["pixel_values_videos"]
    grid = tensors["video_grid_thw"]
    assert [int(grid[:, 0].sum()), *grid[0, 1:].tolist()] == golden["grid"]
    assert np.allclose(patches[golden["rows"]][:, golden["columns"]], golden["values"], atol=1e-4)
    assert float((patches.double() ** 2).mean()) == pytest.approx(golden["mean_of_squares"], abs=1e-4)
    assert sum(image.image_tokens for image in receipts[0].images) == int((tensors["mm_token_type_ids"] == 2).sum())


def test_film_is_one_film_and_its_order_matters(loaded: Loaded) -> None:
    frames = [picture(seed) for seed in range(4)]
    watched = [request_of("a film", order) for order in (frames, frames[::-1])]
    tensors, _ = loaded.family.inputs(loaded, watched)
    with torch.inference_mode():
        a, b = loaded.model(**tensors).logits[:, -1]
    assert (a - b).abs().max() > 1e-3
    text = loaded.family.text(loaded.family.prompt(watched[0], [one.size for one in frames]))
    pads = "<|image_pad|>"
    told = {
        "qwen3_vl": f"<0.2 seconds><|vision_start|>{pads * 2}<|vision_end|><1.2 seconds><|vision_start|>{pads * 2}"
        "<|vision_end|>"
    }.get(loaded.family.name, f"<|vision_start|>{pads * 4}<|vision_end|>")
    golden = GOLDEN["prompts"][loaded.family.name]["a film"]
    assert text == golden.replace("<|vision_start|><|video_pad|><|vision_end|>", told)


def test_a_film_and_pictures_may_share_a_conversation_and_a_batch(loaded: Loaded) -> None:
    parts = (ImagePart(picture(0)), VideoPart((picture(1), picture(2), picture(3)), 4.0), ImagePart(picture(4)))
    mixed = Request("chat", (Message("user", (*parts, TextPart("Which?"))),), "Which?")
    other = request_of("one picture", [picture(5)])
    together, _ = loaded.family.inputs(loaded, [mixed, other])
    with torch.inference_mode():
        rows = loaded.model(**together).logits[:, -1]
        for row, request in zip(rows, (mixed, other), strict=True):
            alone = loaded.model(**loaded.family.inputs(loaded, [request])[0]).logits[0, -1]
            torch.testing.assert_close(row, alone, atol=1e-4, rtol=1e-4)


def test_seconds_reach_only_the_generation_that_counts_them(loaded: Loaded) -> None:
    request = Request("watch", (Message("user", (VideoPart((picture(), picture(1)), 8.0), TextPart("?"))),), "?")
    tensors, _ = loaded.family.inputs(loaded, [request])
    assert ("second_per_grid_ts" in tensors) == (loaded.family.name == "qwen2_5_vl")
    if "second_per_grid_ts" in tensors:
        assert tensors["second_per_grid_ts"].tolist() == [0.25]


def test_every_skill_answers_through_the_public_face(loaded: Loaded) -> None:
    vlm = VLM(loaded, max_tokens=3)
    assert vlm.detect(picture(), ["cat"]).receipt.images[0].image_tokens > 0
    assert vlm.watch([picture(), picture(1)], "What moves?").receipt.generated_tokens <= 3
    chat = vlm.chat(system="Be brief.")
    chat.say("What is it?", image=picture())
    assert chat.say("And this?", image=picture(2)).receipt.images[1].original_size == (120, 90)


def test_lora_targets_are_layers_of_the_decoder_alone(loaded: Loaded) -> None:
    layers = [name for name, module in loaded.model.named_modules() if isinstance(module, torch.nn.Linear)]
    for target in loaded.family.lora_targets:
        hit = [name for name in layers if name.rsplit(".", 1)[-1] == target]
        assert len(hit) == 2, target
        assert all("language_model" in name for name in hit), target


def test_cards_say_the_tokens_that_the_processor_gives(loaded: Loaded) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    third = loaded.family.name == "qwen3_vl"
    bounds = (
        {"shortest_edge": 65536, "longest_edge": 16777216}
        if third
        else {"shortest_edge": 3136, "longest_edge": 12845056}
    )
    pictures = Qwen2VLImageProcessorPil(size=bounds, patch_size=loaded.family.patch)
    for card in loaded.family.checkpoints:
        assert (card.family, bool(card.source), card.parameters > 10**9) == (loaded.family.name, True, True)
        for size in ODD:
            assert card.tokens_of(size) * 4 == pictures.get_number_of_image_patches(size[1], size[0])


PIECES = [
    "<|box_start|>", "<|object_ref_end|>", '"bbox_2d"', "[", "]", "{", "}", "9" * 400, "-1", "1e999", "NaN",
    "łódź\u202e🐈", "\x00", "```", "</think>", "null", '"',
]  # fmt: skip
MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(["cut", "double", "swap", "digits", "insert", "repeat", "drop"]),
        st.integers(0, 10**6),
        st.sampled_from(PIECES),
    ),
    min_size=1, max_size=4,
)  # fmt: skip


def mutated(text: str, changes: list[tuple[str, int, str]]) -> str:
    for kind, number, piece in changes:
        place = number % (len(text) + 1)
        other = (number // 7) % (len(text) + 1)
        if kind == "cut":
            text = text[:place]
        elif kind == "double":
            text = text[:place] + text[min(place, other) :]
        elif kind == "swap":
            text = text[place:] + text[:place]
        elif kind == "digits":
            text = "".join(str((int(c) + number) % 10) if c.isdecimal() and c.isascii() else c for c in text)
        elif kind == "insert":
            text = text[:place] + piece + text[place:]
        elif kind == "repeat":
            text = text[:place] + piece * (number % 3000) + text[place:]
        else:
            text = text[: min(place, other)] + text[max(place, other) :]
    return text[:200_000]


@pytest.mark.parametrize("name", NAMES)
@LIMITED
@given(changes=MUTATIONS, skill=st.sampled_from(["detect", "ground", "read", "segment", "extract", "identify"]))
def test_no_mutation_of_an_answer_raises_or_is_silent(
    models: dict[str, Loaded], name: str, changes: list[Any], skill: str
) -> None:
    family, size = models[name].family, (231, 150)
    truth = Boxes(xyxy=[(1, 2, 30, 40), (50, 60, 200, 140)], labels=("a cat", "łódź"), size=size)
    sample = Sample("s", "detect", (picture(0, size),), "", "", truth, ("a cat", "łódź"))
    good = family.text(family.answer(sample))
    request = dataclasses.replace(
        sample.request(), skill=skill, schema={"properties": {"name": {"type": "string"}}}, region=(1.0, 1.0, 9.0, 9.0)
    )
    raw = mutated(good, changes)
    result = family.parse(request, raw, [size])
    assert result.raw == raw
    if skill in ("detect", "ground", "read", "segment"):
        assert len(result) or result.problems or raw.strip().lower() in ("[]", "none", "none.")  # type: ignore[arg-type]
        places = np.asarray(getattr(result, "quads", getattr(result, "xyxy", ()))).reshape(-1, 2)
        assert ((places >= 0) & (places <= size)).all()


def test_the_longest_answers_are_read_in_bounded_time(loaded: Loaded) -> None:
    for piece in (
        "<|object_ref_start|>",
        "<|box_start|>(1,2),",
        '{"bbox_2d":',
        "[[[[",
        '[{"bbox_2d": [1,2,3,4]},',
        "(1,",
    ):
        assert not loaded.family.parse(detect("cat"), piece * 100_000, [(50, 50)]).parsed, piece


def test_load_bounds_what_is_looked_at(tmp_path: Path) -> None:
    made = FAMILIES.get("qwen2_vl")().tiny()
    made.model.save_pretrained(tmp_path)
    made.processor.save_pretrained(tmp_path)
    picture = Image.new("RGB", (640, 480))
    tokens = []
    for most in (200_000, 50_000):
        vlm = load(tmp_path, dtype="float32", max_pixels=most)
        receipt = vlm.ask(picture, "What?", max_tokens=1).receipt
        assert receipt is not None
        tokens.append(receipt.images[0].image_tokens)
    assert tokens[0] > tokens[1]
    with pytest.raises(InputError, match="sizes of its own"):
        load(max_pixels=50_000)
