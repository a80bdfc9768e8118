"""Florence-2: its fifteen tasks, both layouts of its checkpoints, and how what it writes is read."""

from __future__ import annotations

import copy
import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file

from imglish.core.errors import CheckpointError, InputError, UnknownName
from imglish.core.results import PARSE, RANGE, Boxes, Masks, Result, Text, TextRegions
from imglish.core.types import ImagePart, Message, Request, TextPart
from imglish.families import _florence2_layout as layout
from imglish.families._base import Control, Loaded, Plain
from imglish.families._florence2_parse import BANNED_PHRASES
from imglish.families._florence2_tasks import ADDED_TOKENS, MARKS, TASKS
from imglish.families.florence2 import Family

SIZE = (200, 100)
REFERENCE = json.loads((Path(__file__).parent / "reference/florence2_original.json").read_text(encoding="utf-8"))
REGION = "<loc_52><loc_332><loc_932><loc_774>"
INPUTS = {"nothing": "", "text": "a green car", "region": REGION}


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return Family().tiny()


def picture(seed: int = 0, size: tuple[int, int] = (120, 90)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8))


def ask(text: str = "", skill: str = "ask", **more: Any) -> Request:
    return Request(skill, (Message("user", (ImagePart(picture()), TextPart(text))),), text, **more)


def said(request: Request) -> str:
    return "".join(piece.text for piece in Family().prompt(request, [SIZE]) if isinstance(piece, (Control, Plain)))


def read(text: str, raw: str, **more: Any) -> Any:
    return Family().parse(ask(text, **more), raw, [SIZE])


def processor_of(loaded: Loaded) -> Any:
    """transformers' own processor around the same parts."""
    from transformers import Florence2Processor

    tokenizer = copy.deepcopy(loaded.tokenizer)
    tokenizer.image_token = "<image>"
    tokenizer.image_token_id = tokenizer.convert_tokens_to_ids("<image>")
    kinds = ("ocr", "phrase_grounding", "pure_text", "description_with_bboxes", "polygons", "bboxes")
    config: dict[str, Any] = {kind: {} for kind in (*kinds, "description_with_bboxes_or_polygons")}
    config["phrase_grounding"] = {"banned_grounding_tokens": sorted(BANNED_PHRASES)}
    return Florence2Processor(loaded.processor.image_processor, tokenizer, post_processor_config=config)


# --- prompts


@pytest.mark.parametrize("name", TASKS)
def test_every_task_that_is_typed_is_said_as_the_reference_says_it(loaded: Loaded, name: str) -> None:
    typed = f"<{name}>{INPUTS[TASKS[name].takes]}"
    expected = processor_of(loaded)._construct_prompts([typed])[0]
    assert said(ask(typed)) == f"<s>{expected}</s>"
    assert said(ask(f" <{name} > {INPUTS[TASKS[name].takes]}", skill="caption")) == f"<s>{expected}</s>"


@pytest.mark.parametrize("name", TASKS)
def test_ids_pixels_and_logits_equal_those_of_transformers(loaded: Loaded, name: str) -> None:
    typed = f"<{name}>{INPUTS[TASKS[name].takes]}"
    expected = processor_of(loaded)(text=typed, images=picture(), return_tensors="pt")
    tensors, receipts = loaded.family.inputs(loaded, [ask(typed)])
    assert torch.equal(tensors["input_ids"], expected["input_ids"])
    assert torch.equal(tensors["pixel_values"], expected["pixel_values"])
    assert receipts[0].prompt_tokens == tensors["input_ids"].shape[1]
    start = torch.tensor([[loaded.tokenizer.eos_token_id, loaded.tokenizer.bos_token_id, 70, 71]])
    with torch.inference_mode():
        ours = loaded.model(**tensors, decoder_input_ids=start).logits
        theirs = loaded.model(**expected, decoder_input_ids=start).logits
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_skills_choose_their_tasks() -> None:
    assert said(ask("Describe.", "caption", detail="brief")) == "<s>What does the image describe?</s>"
    assert said(ask("Describe.", "caption")) == "<s>Describe in detail what is shown in the image.</s>"
    assert said(ask(skill="detect")) == "<s>Locate the objects with category name in the image.</s>"
    assert said(ask(skill="detect", labels=("cat",))) == "<s>Locate cat in the image.</s>"
    two = said(ask(skill="detect", labels=("cat", "red dog")))
    assert two == "<s>Locate cat <and> red dog in the image.</s>"
    assert two == said(ask("<OPEN_VOCABULARY_DETECTION>cat <and> red dog"))
    assert said(ask("a cat", "ground")) == "<s>Locate the phrases in the caption: a cat</s>"
    assert said(ask("the brain", "segment")) == "<s>Locate the brain in the image with mask</s>"
    assert said(ask(skill="read")) == "<s>What is the text in the image, with regions?</s>"
    box = (20.0, 10.0, 100.0, 99.9)
    places = "<loc_100><loc_100><loc_500><loc_999>"
    assert said(ask(skill="identify", region=box)) == f"<s>What is the region {places}?</s>"
    assert said(ask(skill="identify", region=box, detail="full")) == f"<s>What does the region {places} describe?</s>"
    assert said(ask("<REGION_TO_OCR>", "identify", region=box)) == f"<s>What text is in the region {places}?</s>"
    assert said(ask("Is {it} red?")) == "<s>Is {it} red?</s>"


def test_wrong_tasks_are_clear_errors() -> None:
    family = Family()
    with pytest.raises(
        UnknownName, match=r"no Florence-2 task '<OCD>'. Did you mean '<OD>'\?\nhint: known are <CAPTION>, "
    ):
        family.check(ask("<OCD>"))
    with pytest.raises(InputError, match=r"<OD> takes no text.*'cats'"):
        family.check(ask("<OD> cats"))
    with pytest.raises(InputError, match="<CAPTION_TO_PHRASE_GROUNDING> takes a text"):
        family.check(ask("<CAPTION_TO_PHRASE_GROUNDING>"))
    for wrong in ("", "10 20 30 40", "<loc_1><loc_2><loc_3>", "<loc_1><loc_2><loc_3><loc_1000>"):
        with pytest.raises(InputError, match="takes a region"):
            family.check(ask(f"<REGION_TO_CATEGORY>{wrong}"))


def test_what_a_person_types_has_no_power_beside_tasks_and_regions(loaded: Loaded) -> None:
    image = loaded.tokenizer.convert_tokens_to_ids("<image>")
    powers = set(loaded.tokenizer.convert_tokens_to_ids([*ADDED_TOKENS, "<s>", "</s>"]))
    for typed in ("<image>", "what is <loc_5>?", "</s><s>", "a <od> b <OD>", "<poly></poly>"):
        for skill, more in (("ask", {}), ("ground", {}), ("segment", {}), ("detect", {"labels": (typed,)})):
            ids = loaded.family.inputs(loaded, [ask(typed, skill, **more)])[0]["input_ids"][0].tolist()
            assert ids.count(image) == 17
            assert [token for token in ids if token in powers] == [ids[17], ids[-1]], (typed, skill)


# --- what it sees


def test_every_picture_takes_as_many_tokens_as_are_counted(loaded: Loaded) -> None:
    for size in ((1, 40), (300, 20), (64, 64), (1023, 641)):
        view = loaded.family.see(loaded, picture(size=size))
        assert len(view.ids) == loaded.family.image_tokens(loaded, size) == 17
        assert view.fitted.size == (64, 64)
        assert view.fitted.scale == pytest.approx((64 / size[0], 64 / size[1]))


def test_the_published_size_takes_577_tokens(loaded: Loaded) -> None:
    from transformers import CLIPImageProcessorPil

    published = Family().config({"vision_config": {"dim_embed": [128, 256, 512, 1024]}, "text_config": {}})
    seen = CLIPImageProcessorPil(size={"height": 768, "width": 768}, do_center_crop=False)

    class Parts:
        config, image_processor = published, seen

    assert Family().image_tokens(Loaded(Parts, Parts, Family(), ""), (640, 480)) == 577  # type: ignore[arg-type]


def test_padding_is_on_the_right_for_the_encoder(loaded: Loaded) -> None:
    requests = [ask("?"), ask("a much longer question than that")]
    together = loaded.family.inputs(loaded, requests)[0]
    assert together["attention_mask"][0].tolist() == sorted(together["attention_mask"][0].tolist(), reverse=True)
    with torch.inference_mode():
        both = loaded.model(**together).logits
        for row, request in zip(both, requests, strict=True):
            alone = loaded.model(**loaded.family.inputs(loaded, [request])[0]).logits[0]
            torch.testing.assert_close(row, alone, atol=1e-4, rtol=1e-4)


# --- layouts


def original_weights(model: Any, vocabulary: int) -> dict[str, torch.Tensor]:
    """The weights that the golden numbers were made with; `how` says the rule."""
    tensors = {name: tensor.clone() for name, tensor in layout.to_original(model.state_dict(), vocabulary).items()}
    generator = torch.Generator().manual_seed(7)
    tied = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
    for name in sorted(name for name in tensors if not name.endswith(tied)):
        if name.endswith(("pos_idx_to_embed", "final_logits_bias")):
            continue
        value = torch.randn(tensors[name].shape, generator=generator)
        if "norm" in name and name.endswith("weight"):
            value = 1 + 0.2 * value
        elif value.dim() < 2 or "embed" in name or "shared" in name:
            value = 0.4 * value
        else:
            value = value * (2 / value[0].numel()) ** 0.5
        tensors[name] = value
    for name in tensors:
        if name.endswith(tied):
            tensors[name] = tensors["language_model.model.shared.weight"].clone()
    return tensors


def golden_model() -> tuple[Any, dict[str, torch.Tensor]]:
    from transformers import Florence2ForConditionalGeneration

    model = Florence2ForConditionalGeneration(Family().config(REFERENCE["config"])).eval()
    return model, original_weights(model, 1290)


def test_logits_equal_those_of_the_original_implementation() -> None:
    model, weights = golden_model()
    model.load_state_dict(layout.to_native(weights, 1291), strict=False)
    generator = torch.Generator().manual_seed(8)
    pixels = torch.randn(2, 3, 96, 96, generator=generator)
    prompt = torch.randint(3, 1290, (2, 9), generator=generator)
    answer = torch.randint(3, 1290, (2, 12), generator=generator)
    prompt[:, 0], prompt[:, -1], answer[:, 0], answer[:, 1] = 0, 2, 2, 0
    ids = torch.cat((torch.full((2, 10), 1290), prompt), 1)
    with torch.inference_mode():
        logits = model(
            input_ids=ids, pixel_values=pixels, attention_mask=torch.ones_like(ids), decoder_input_ids=answer
        ).logits
    found = logits[:, ::4, :1290:43].reshape(6, -1)
    torch.testing.assert_close(found, torch.tensor(REFERENCE["logits"]), atol=1e-4, rtol=0)


def test_both_directions_of_the_key_map_are_exact() -> None:
    model, weights = golden_model()
    native = layout.to_native(weights, 1291)
    assert native.keys() <= model.state_dict().keys()
    assert all(native[name].shape == model.state_dict()[name].shape for name in native)
    back = layout.to_original(native, 1290)
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], weights[name]) for name in weights)
    assert native["model.multi_modal_projector.image_projection.weight"].shape == (32, 32)
    assert torch.equal(native["model.multi_modal_projector.image_projection.weight"], weights["image_projection"].T)


def test_the_original_configuration_is_translated() -> None:
    config = Family().config(REFERENCE["config"])
    assert config.vision_config.embed_dim == [8, 16, 24, 32]
    assert config.vision_config.max_temporal_embeddings == 7
    assert config.vision_config.max_position_embeddings == 9
    assert config.text_config.model_type == "bart"
    assert (config.text_config.vocab_size, config.image_token_id) == (1291, 1290)
    assert config.text_config.forced_eos_token_id is None
    strange = copy.deepcopy(REFERENCE["config"])
    strange["vision_config"]["image_feature_source"] = ["last_frame"]
    with pytest.raises(CheckpointError, match="image_feature_source"):
        Family().config(strange)


def original_folder(loaded: Loaded, folder: Path) -> dict[str, torch.Tensor]:
    """The tiny model as microsoft/ lays its checkpoints out; the tokenizer lacks what the tasks add."""
    from imglish.families._tiny import tiny_tokenizer

    text, vision = loaded.model.config.text_config, loaded.model.config.vision_config
    frame = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    rows = text.vocab_size - 1
    config = copy.deepcopy(REFERENCE["config"])
    config["text_config"] |= {name: getattr(text, name) for name in config["text_config"] if hasattr(text, name)}
    config["text_config"] |= {"vocab_size": rows, "model_type": "florence2_language", "forced_bos_token_id": 256}
    config["vision_config"] |= {
        name: getattr(vision, name)
        for name in ("patch_stride", "num_heads", "num_groups", "depths", "window_size", "projection_dim")
    }
    config["vision_config"]["dim_embed"] = vision.embed_dim
    config["vision_config"]["image_pos_embed"]["max_pos_embeddings"] = 50
    config["vision_config"]["visual_temporal_embedding"]["max_temporal_embeddings"] = 100
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": rows}))
    (folder / "generation_config.json").write_text('{"num_beams": 3, "early_stopping": false}')
    bart = tiny_tokenizer(frame, bos="<s>", eos="</s>", pad="<pad>", unk="<unk>")
    bart.backend_tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 1024}')
    loaded.processor.image_processor.save_pretrained(folder)
    tensors = {name: t.clone() for name, t in layout.to_original(loaded.model.state_dict(), rows).items()}
    save_file(tensors, folder / "model.safetensors")
    return tensors


def test_a_folder_of_the_original_layout_is_the_same_model(loaded: Loaded, tmp_path: Path) -> None:
    original_folder(loaded, tmp_path / "original")
    again = Family().load(str(tmp_path / "original"), device="cpu", dtype="float32")
    requests = [ask("<OD>"), ask("<REGION_TO_OCR>" + REGION), ask("a <image> żółta", "ground")]
    ours, theirs = (part.family.inputs(part, requests)[0] for part in (loaded, again))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    with torch.inference_mode():
        first, second = loaded.model(**ours).logits, again.model(**theirs).logits
    assert torch.equal(first[..., :-1], second[..., :-1])
    chosen = again.model.generation_config
    assert (chosen.num_beams, chosen.no_repeat_ngram_size, chosen.forced_bos_token_id) == (3, 3, 256)
    assert chosen.forced_eos_token_id is None


def test_tied_weights_that_differ_are_told_and_the_shared_ones_hold(
    loaded: Loaded, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tensors = original_folder(loaded, tmp_path / "original")
    path = tmp_path / "original/model.safetensors"
    assert set(load_file(path)) == set(tensors)
    save_file(
        tensors | {"language_model.lm_head.weight": torch.zeros(tensors["language_model.lm_head.weight"].shape)}, path
    )
    with caplog.at_level(logging.WARNING):
        again = Family().load(str(tmp_path / "original"), device="cpu", dtype="float32")
    assert "lm_head.weight differ from model.language_model.shared.weight" in caplog.text
    assert torch.equal(again.model.lm_head.weight[:-1], loaded.model.lm_head.weight[:-1])
    alone = {
        name: tensor for name, tensor in tensors.items() if not name.endswith(("embed_tokens.weight", "lm_head.weight"))
    }
    save_file(alone, path)
    once = Family().load(str(tmp_path / "original"), device="cpu", dtype="float32")
    assert torch.equal(once.model.lm_head.weight, again.model.lm_head.weight)
    assert once.model.lm_head.weight is once.model.model.language_model.shared.weight


def test_what_is_wrong_with_the_weights_is_named(loaded: Loaded, tmp_path: Path) -> None:
    tensors = original_folder(loaded, tmp_path / "original")
    path = tmp_path / "original/model.safetensors"
    save_file({name: tensor for name, tensor in tensors.items() if name != "image_projection"}, path)
    with pytest.raises(CheckpointError, match="image_projection"):
        Family().load(str(tmp_path / "original"), device="cpu", dtype="float32")
    save_file(tensors | {"language_model.final_logits_bias": torch.ones(1, 5)}, path)
    with pytest.raises(CheckpointError, match="final_logits_bias"):
        Family().load(str(tmp_path / "original"), device="cpu", dtype="float32")


# --- what it writes


def places(*numbers: int) -> str:
    return "".join(f"<loc_{number}>" for number in numbers)


def test_boxes_are_float_pixels_and_a_label_may_have_several() -> None:
    found = read("<OD>", f"<s>car{places(0, 0, 499, 999)}{places(500, 500, 999, 999)}red door{places(1, 2, 3, 4)}")
    assert isinstance(found, Boxes)
    assert found.parsed
    assert found.labels == ("car", "car", "red door")
    np.testing.assert_allclose(found.xyxy[0], [0.1, 0.05, 99.9, 99.95])


@pytest.mark.parametrize(
    "label", ["café", "黄色的车", "a < b", "x <5> y", "żółta łódź 🐈", "<loc_>", "</od", "a&amp;b"]
)
def test_labels_come_back_in_any_script(label: str) -> None:
    assert read("<OD>", f"<s>{label}{places(1, 2, 3, 4)}</s>").labels == (label,)
    lines = read("", f"<s>{label}{places(1, 2, 3, 4, 5, 6, 7, 8)}", skill="read")
    assert isinstance(lines, TextRegions)
    assert lines.texts == (label,)


def test_an_answer_that_was_cut_keeps_what_was_whole() -> None:
    for cut in ("<loc_30><loc_40>", "<loc_30", "bus<loc_1><loc_2><loc_3>", "bus"):
        found = read("<OD>", f"<s>car{places(1, 2, 3, 4)}{cut}")
        assert found.labels == ("car",)
        assert not found.parsed, cut
    assert read("", "<s>", skill="read").parsed
    assert len(read("", "<s>", skill="read")) == 0


def test_lines_of_text_have_quads_and_keep_what_stands_before_a_newline() -> None:
    found = read("<OCR_WITH_REGION>", f"<s>Total\n{places(0, 0, 99, 0, 99, 99, 0, 99)}12.50{places(*range(8))}</s>")
    assert found.texts == ("Total", "12.50")
    np.testing.assert_allclose(found.quads[0], [[0.1, 0.05], [19.9, 0.05], [19.9, 9.95], [0.1, 9.95]])


def test_outlines_have_parts_and_instances() -> None:
    one = read("the brain", f"<s>{places(*range(8))}<sep>{places(*range(10, 17))}</s>", skill="segment")
    assert isinstance(one, Masks)
    assert one.labels == ("the brain",)
    assert [len(part) for part in one.polygons[0]] == [4, 3]
    assert {problem.kind for problem in one.problems} == {PARSE}  # seven numbers: the last was left out
    two = read(
        "<OPEN_VOCABULARY_DETECTION>cat", f"<s>cat<poly>{places(*range(6))}</poly><poly>{places(*range(6, 12))}</poly>"
    )
    assert isinstance(two, Masks)
    assert two.labels == ("cat", "cat")
    assert two.parsed
    region = read(f"<REGION_TO_SEGMENTATION>{REGION}", f"<s><poly>{places(*range(6))}")
    assert len(region) == 1
    boxes = read("", f"<s>cat<poly>{places(10, 10, 20, 10, 20, 30)}</poly>", skill="detect", labels=("cat",))
    assert isinstance(boxes, Boxes)
    np.testing.assert_allclose(boxes.xyxy, [[2.1, 1.05, 4.1, 3.05]])
    assert boxes.problems[0].kind == "unasked"


def test_phrases_that_name_nothing_are_left_out_and_told() -> None:
    found = read("a cat on the image", f"<s>A cat{places(1, 2, 3, 4)}the image{places(0, 0, 999, 999)}", skill="ground")
    assert found.labels == ("A cat",)
    assert [problem.text for problem in found.problems] == ["the image"]
    assert found.parsed


def test_places_outside_the_grammar_are_told() -> None:
    turned = read("<OD>", f"<s>car{places(30, 40, 10, 20)}")
    assert turned.problems[0].kind == RANGE
    np.testing.assert_allclose(turned.xyxy, [[2.1, 2.05, 6.1, 4.05]])
    beyond = read("<OD>", f"<s>car{places(1, 2, 3, 1000)}bus{places(1, 2, 3, 4)}")
    assert beyond.labels == ("bus",)
    assert not beyond.parsed


def test_words_are_words() -> None:
    assert read("", "</s><s>A lynx walks.</s>", skill="caption").text == "A lynx walks."
    assert isinstance(read("<OCR>", "<s></s>"), Text)
    assert read("<OCR>", "<s></s>").parsed
    assert not read("<CAPTION>", "<s></s>").parsed
    assert not read("<CAPTION>", f"<s>A lynx{places(1)}</s>").parsed


def test_confidence_is_that_of_the_tokens_of_the_item() -> None:
    tokens = [
        "<s>",
        "car",
        *(f"<loc_{n}>" for n in (1, 2, 3, 4)),
        "Ġred",
        "Ġbus",
        *(f"<loc_{n}>" for n in (5, 6, 7, 8)),
    ]
    logprobs = [0.0, -0.1, -0.1, -0.1, -0.1, -0.1, *[-0.7] * 6]
    raw = f"<s>car{places(1, 2, 3, 4)} red bus{places(5, 6, 7, 8)}"
    found = Family().parse(ask("<OD>"), raw, [SIZE], tokens=tokens, logprobs=logprobs)
    assert isinstance(found, Boxes)
    assert found.confidence is not None
    assert found.confidence[1] == pytest.approx(np.exp(-0.7))
    assert found.confidence[0] > 0.9


names = st.text(st.characters(codec="ascii", categories=("L", "N", "Zs")), min_size=1, max_size=12).filter(str.strip)
boxes = st.lists(st.lists(st.integers(0, 999), min_size=4, max_size=4).map(sorted), min_size=1, max_size=3)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(st.tuples(names, boxes), min_size=1, max_size=4))
def test_plain_answers_are_read_as_transformers_reads_them(loaded: Loaded, items: list[Any]) -> None:
    raw = "<s>" + "".join(name + "".join(places(b[0], b[1], b[2], b[3]) for b in some) for name, some in items) + "</s>"
    theirs = processor_of(loaded).post_process_generation(raw, task="<OD>", image_size=(2000, 1000))["<OD>"]
    ours = Family().parse(ask("<OD>"), raw, [(2000, 1000)])
    assert isinstance(ours, Boxes)
    assert list(ours.labels) == theirs["labels"]
    np.testing.assert_array_equal(np.floor(ours.xyxy + 1e-6), theirs["bboxes"])  # it drops the fractions of pixels


VALID = {
    "<OD>": f"<s>car{places(1, 2, 30, 40)}{places(5, 6, 70, 80)}wheel{places(9, 9, 12, 12)}</s>",
    "<OCR_WITH_REGION>": f"<s>Zażółć{places(*range(8))}gęślą\njaźń{places(*range(10, 18))}</s>",
    "<REFERRING_EXPRESSION_SEGMENTATION>x": f"<s>{places(*range(12))}<sep>{places(*range(40, 50))}</s>",
    "<OPEN_VOCABULARY_DETECTION>x": f"<s>cat<poly>{places(*range(6))}</poly><poly>{places(*range(6, 14))}</poly></s>",
    "<CAPTION_TO_PHRASE_GROUNDING>x": f"<s>a cat{places(1, 2, 30, 40)}the image{places(0, 0, 999, 999)}</s>",
    "<REGION_PROPOSAL>": f"<s>{places(1, 2, 30, 40)}{places(5, 6, 70, 80)}</s>",
    "<CAPTION>": "<s>A green car < a bus.</s>",
}
MARK = re.compile("|".join(re.escape(mark) for mark in sorted(MARKS)))
noise = st.one_of(
    st.text(max_size=8),
    st.sampled_from([*ADDED_TOKENS[:8], "<loc_1000>", "<loc_", "<", ">", "<sep>", "<poly>", "</s>", "é"]),
)


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, str]:
    """A task and its valid answer after cutting, doubling, exchanging and inserting."""
    task = draw(st.sampled_from(sorted(VALID)))
    raw = VALID[task]
    for _ in range(draw(st.integers(1, 4))):
        a, b = sorted((draw(st.integers(0, len(raw))), draw(st.integers(0, len(raw)))))
        how = draw(st.integers(0, 4))
        middle = {0: "", 1: raw[a:b] * 2, 2: raw[a:b][::-1], 3: draw(noise), 4: raw[a:b] * draw(st.integers(1, 30))}[
            how
        ]
        raw = (raw[:a] + middle + raw[b:])[:5000]
    return task, raw


@settings(max_examples=1000, deadline=None)
@given(case=mutated())
def test_no_mutation_of_an_answer_raises_or_is_silently_nothing(case: tuple[str, str]) -> None:
    task, raw = case
    found: Result = Family().parse(ask(task), raw, [SIZE])
    assert found.raw == raw
    if isinstance(found, Text):
        assert found.text or found.problems
        return
    count = len(found)  # type: ignore[arg-type]
    assert count or found.problems or not MARK.sub("", raw).strip(), "something was written, and nothing is told of it"
    for name in ("xyxy", "quads"):
        points = np.asarray(getattr(found, name, np.zeros((0, 2)))).reshape(-1, 2)
        assert ((points >= 0) & (points <= SIZE)).all()


def test_the_public_face_takes_typed_tasks(loaded: Loaded) -> None:
    from imglish.engine.vlm import VLM

    vlm = VLM(loaded, max_tokens=8)
    found: Any = vlm.ask(picture(), "<OD>")
    assert isinstance(found, Boxes)
    assert found.receipt is not None
    assert found.receipt.images[0].image_tokens == 17
    assert not found.receipt.prompted
    assert isinstance(vlm.caption(picture(), "<MORE_DETAILED_CAPTION>"), Text)
    assert isinstance(vlm.segment(picture(), "<REFERRING_EXPRESSION_SEGMENTATION> the brain"), Masks)
    with pytest.raises(UnknownName):
        vlm.ask(picture(), "<VQA>")


def test_answers_of_beams_are_those_that_generate_gives() -> None:
    """Also where the best beam ended long before the search did."""
    from imglish.engine.vlm import VLM

    loaded = Family().tiny()
    end = loaded.tokenizer.eos_token_id
    with torch.no_grad():
        loaded.model.lm_head.weight[end] *= 10
    expected = processor_of(loaded)(text="<CAPTION>", images=picture(), return_tensors="pt")
    banned = loaded.tokenizer.convert_tokens_to_ids(["<image>", "<pad>"])
    ids = loaded.model.generate(**expected, num_beams=3, early_stopping=True, max_new_tokens=20, suppress_tokens=banned)
    written = ids[0, 1:].tolist()
    assert end in written
    assert len(written) < 20
    found = VLM(loaded, max_tokens=20).ask(picture(), "<CAPTION>")
    assert found.raw == loaded.tokenizer.decode(written[: written.index(end)], skip_special_tokens=False)
    assert found.receipt is not None
    assert not found.receipt.truncated
