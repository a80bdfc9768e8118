"""PaliGemma: how it is asked, what it sees of its prompt, how boxes and masks are read."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from imglish.core.errors import CheckpointError, InputError, SkillError
from imglish.core.results import PARSE, RANGE, Boxes, Masks, Result, Text
from imglish.core.types import ImagePart, Message, Request, Sample, TextPart
from imglish.families._base import Control, Loaded, Plain
from imglish.families._paligemma_masks import MaskCodec, read_mask_codec
from imglish.families._paligemma_parse import NO_DECODER
from imglish.families._paligemma_tasks import LOCATIONS, SEGMENTS
from imglish.families.paligemma import Family

SIZE = (200, 100)
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # transformers' processor


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return Family().tiny()


def picture(seed: int = 0, size: tuple[int, int] = (120, 90)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8))


def ask(text: str = "", skill: str = "ask", *images: Image.Image, **more: Any) -> Request:
    parts = [ImagePart(image) for image in images or (picture(),)]
    return Request(skill, (Message("user", (*parts, TextPart(text))),), text, **more)


def said(request: Request) -> str:
    return "".join(piece.text for piece in Family().prompt(request, [SIZE]) if isinstance(piece, (Control, Plain)))


def read(text: str, raw: str, *, family: Family | None = None, **more: Any) -> Any:
    return (family or Family()).parse(ask(text, more.pop("skill", "ask"), **more), raw, [SIZE])


def locs(*numbers: int) -> str:
    return "".join(LOCATIONS[number] for number in numbers)


def processor_of(loaded: Loaded) -> Any:
    """transformers' own processor around the same parts."""
    from transformers import PaliGemmaProcessor

    tokenizer = copy.deepcopy(loaded.tokenizer)
    tokenizer.image_token = "<image>"
    tokenizer.image_token_id = tokenizer.convert_tokens_to_ids("<image>")
    return PaliGemmaProcessor(loaded.processor.image_processor, tokenizer)


# --- prompts


def test_skills_are_said_in_the_syntax_of_the_model() -> None:
    assert said(ask("What is it?")) == "<bos>answer en What is it?\n"
    assert said(ask("Co to jest?", language="pl")) == "<bos>answer pl Co to jest?\n"
    assert said(ask("Describe.", "caption")) == "<bos>caption en\n"
    assert said(ask("Describe.", "caption", detail="brief", language="vi")) == "<bos>cap vi\n"
    assert said(ask("Describe.", "caption", detail="full")) == "<bos>describe en\n"
    assert said(ask(skill="detect", labels=("cat", "red dog"))) == "<bos>detect cat ; red dog\n"
    assert said(ask("the cat", "ground")) == "<bos>detect the cat\n"
    assert said(ask("the cat", "segment")) == "<bos>segment the cat\n"


@pytest.mark.parametrize(
    "typed",
    ["ocr", "caption es", "cap zh", "describe en", "answer fr Qui ?", "question en two", "detect a ; b", "segment x"],
)
def test_the_syntax_itself_may_be_typed(typed: str) -> None:
    assert said(ask(f" {typed} ")) == f"<bos>{typed}\n"


def test_words_that_only_look_like_syntax_are_a_question() -> None:
    for typed in ("ocr?", "caption", "caption xx", "describe the cat", "answer me", "Detect cats"):
        assert said(ask(typed)) == f"<bos>answer en {typed}\n"


def test_nothing_to_look_for_is_a_clear_error() -> None:
    for request in (
        ask(skill="detect"),
        ask(skill="detect", labels=("cat", " ")),
        ask("", "ground"),
        ask("", "segment"),
    ):
        with pytest.raises(InputError, match="told nothing to look for"):
            Family().check(request)
    with pytest.raises(SkillError, match="no language 'xx'"):
        Family().check(ask("?", language="xx"))


@pytest.mark.parametrize("typed", ["caption en", "detect cat ; dog", "answer en Żółta łódź?"])
def test_ids_pixels_and_logits_equal_those_of_transformers(loaded: Loaded, typed: str) -> None:
    expected = processor_of(loaded)(text=f"<image>{typed}", images=picture(), return_tensors="pt")
    tensors, _ = loaded.family.inputs(loaded, [ask(typed)])
    for name in ("input_ids", "attention_mask", "token_type_ids", "pixel_values"):
        assert torch.equal(tensors[name], expected[name]), name
    with torch.inference_mode():
        ours = loaded.model(**tensors).logits
        theirs = loaded.model(**{name: value for name, value in expected.items() if name != "labels"}).logits
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_two_images_equal_those_of_transformers(loaded: Loaded) -> None:
    pictures = [picture(1), picture(2, (40, 200))]
    expected = processor_of(loaded)(text="<image><image>answer en Same?", images=pictures, return_tensors="pt")
    tensors, _ = loaded.family.inputs(loaded, [ask("Same?", "ask", *pictures)])
    assert torch.equal(tensors["input_ids"], expected["input_ids"])
    assert torch.equal(tensors["pixel_values"], expected["pixel_values"])


def test_the_prompt_is_seen_in_both_directions(loaded: Loaded) -> None:
    """A change of its last word changes what the model thinks at its first image token."""
    one, two = (loaded.family.inputs(loaded, [ask(text)])[0] for text in ("red", "ret"))
    with torch.inference_mode():
        early = [loaded.model(**tensors).logits[0, 0] for tensors in (one, two)]
        one["token_type_ids"][:], two["token_type_ids"][:] = 1, 1
        causal = [loaded.model(**tensors).logits[0, 0] for tensors in (one, two)]
    assert (early[0] - early[1]).abs().max() > 1e-3
    assert torch.equal(causal[0], causal[1])


def test_what_is_learned_sees_only_what_is_before_it(loaded: Loaded) -> None:
    samples = [
        Sample("a", "detect", (picture(),), "", "", Boxes(xyxy=[box], labels=["cat"], size=(120, 90)), labels=labels)
        for box, labels in (((1, 2, 30, 40), ("cat",)), ((5, 6, 70, 80), ("cat", "dog")))
    ]
    tensors = loaded.family.taught(loaded, samples)  # type: ignore[attr-defined]
    types, labels = tensors["token_type_ids"], tensors["labels"]
    assert torch.equal(types == 1, labels >= 0)
    changed = {**tensors, "input_ids": tensors["input_ids"].clone()}
    changed["input_ids"][:, -2] = 5
    with torch.inference_mode():
        before, after = (loaded.model(**{**t, "labels": None}).logits for t in (tensors, changed))
    assert torch.equal(before[:, :-2], after[:, :-2])
    assert not torch.equal(before[:, -2:], after[:, -2:])


def test_generation_equals_that_of_transformers(loaded: Loaded) -> None:
    from imglish.engine.vlm import VLM

    expected = processor_of(loaded)(text="<image>answer en What?", images=picture(), return_tensors="pt").to("cpu")
    expected.pop("labels")
    ids = loaded.model.generate(
        **expected, max_new_tokens=8, do_sample=False, suppress_tokens=[expected["input_ids"][0, 0]]
    )
    tail = ids[0, expected["input_ids"].shape[1] :]
    theirs = loaded.tokenizer.decode(tail, skip_special_tokens=False).split("<eos>")[0]
    assert VLM(loaded, max_tokens=8).ask(picture(), "What?").raw == theirs


def test_every_picture_takes_as_many_tokens_as_are_counted(loaded: Loaded) -> None:
    for size in ((1, 40), (300, 20), (56, 56), (1023, 641)):
        view = loaded.family.see(loaded, picture(size=size))
        assert len(view.ids) == loaded.family.image_tokens(loaded, size) == 16
        assert view.fitted.scale == pytest.approx((56 / size[0], 56 / size[1]))


def test_what_a_person_types_has_no_power(loaded: Loaded) -> None:
    powers = set(loaded.tokenizer.convert_tokens_to_ids(list(loaded.family.special_tokens)))
    for typed in ("<image>", "where is <loc0005>?", "<eos><bos>", "<seg001>"):
        for skill, more in (("ask", {}), ("ground", {}), ("segment", {}), ("detect", {"labels": (typed,)})):
            ids = loaded.family.inputs(loaded, [ask(typed, skill, **more)])[0]["input_ids"][0].tolist()
            assert [token for token in ids if token in powers] == ids[:17], (typed, skill)


# --- boxes


def test_boxes_are_y_first_and_shares_of_1023() -> None:
    found = read("detect cat ; dog", f"{locs(0, 0, 1023, 1023)} cat ; {locs(512, 256, 1023, 300)} żółty pies")
    assert isinstance(found, Boxes)
    assert found.parsed
    assert found.labels == ("cat", "żółty pies")
    np.testing.assert_allclose(found.xyxy[0], [0, 0, 200, 100])
    np.testing.assert_allclose(found.xyxy[1], [256 / 1023 * 200, 512 / 1023 * 100, 300 / 1023 * 200, 100])
    assert [problem.kind for problem in found.problems] == ["unasked"]


def test_an_answer_that_was_cut_keeps_what_was_whole() -> None:
    for cut in (locs(1, 2), f"{locs(1, 2, 3)} dog", "<loc00", " dog", "<seg001>"):
        found = read("detect cat", f"{locs(1, 2, 3, 4)} cat ; {cut}")
        assert found.labels == ("cat",)
        assert not found.parsed, cut
    assert not read("detect cat", f"{locs(1, 2, 3, 4)}").parsed  # the label is missing
    beyond = read("detect cat", f"<loc1024>{locs(2, 3, 4)} cat ; {locs(1, 2, 3, 4)} cat")
    assert len(beyond) == 1
    assert not beyond.parsed
    turned = read("detect cat", f"{locs(30, 40, 10, 20)} cat")
    assert turned.problems[0].kind == RANGE
    assert turned.xyxy[0, 0] < turned.xyxy[0, 2]


def test_an_answer_that_ended_at_once_says_that_there_is_nothing() -> None:
    nothing = Family().parse(ask("detect cat"), "", [SIZE], tokens=[], logprobs=[])
    assert nothing.parsed
    assert not read("detect cat", "").parsed
    assert not read("detect cat", "I see no cat.").parsed


def test_words_are_words() -> None:
    assert read("ocr", "Zażółć\ngęślą").text == "Zażółć\ngęślą"
    assert isinstance(read("caption en", "a < b ; c"), Text)
    assert not read("caption en", f"a cat {locs(1)}").parsed
    assert not read("caption en", " ").parsed


def test_confidence_is_that_of_the_tokens_of_the_item() -> None:
    tokens = [*(LOCATIONS[n] for n in (1, 2, 3, 4)), "▁cat", "▁;", "▁", *(LOCATIONS[n] for n in (5, 6, 7, 8)), "▁dog"]
    raw = f"{locs(1, 2, 3, 4)} cat ; {locs(5, 6, 7, 8)} dog"
    logprobs = [-0.1] * 7 + [-0.7] * 5
    found = Family().parse(ask("detect cat ; dog"), raw, [SIZE], tokens=tokens, logprobs=logprobs)
    assert isinstance(found, Boxes)
    assert found.confidence is not None
    np.testing.assert_allclose(found.confidence, np.exp([-0.1, -0.7]))


# --- masks


def codec_weights(*, width: int = 8, codes: int = 6) -> dict[str, torch.Tensor]:
    """Random weights under the names of the published file."""
    generator = torch.Generator().manual_seed(3)
    shapes: dict[str, tuple[int, ...]] = {"_vq_vae._embedding": (128, codes)}
    for number, (before, after) in zip((0, 2, 4, 6), ((1, 2), (2, 4), (4, 6), (6, width)), strict=True):
        shapes[f"encoder.{number}.weight"] = (after, before, 4, 4)
    for part, first in (("encoder", 8), ("decoder", 2)):
        for block in (first, first + 1):
            for layer, kernel in ((0, 3), (2, 3), (4, 1)):
                shapes[f"{part}.{block}.net.{layer}.weight"] = (width, width, kernel, kernel)
    shapes["encoder.10.weight"] = (codes, width, 1, 1)
    shapes["decoder.0.weight"] = (width, codes, 1, 1)
    for number, (before, after) in zip((4, 6, 8, 10), ((width, 8), (8, 6), (6, 4), (4, 2)), strict=True):
        shapes[f"decoder.{number}.weight"] = (before, after, 4, 4)
    shapes["decoder.12.weight"] = (1, 2, 1, 1)
    found = {}
    for name, shape in shapes.items():
        found[name] = torch.randn(shape, generator=generator) * 0.5
        if name.endswith("weight"):
            is_up = name in {f"decoder.{number}.weight" for number in (4, 6, 8, 10)}
            found[name.replace("weight", "bias")] = torch.randn(shape[int(is_up)], generator=generator) * 0.5
    return found


def reference_decode(weights: dict[str, torch.Tensor], codes: list[int]) -> torch.Tensor:
    """The decoder of `big_vision/evaluators/proj/paligemma/transfers/segmentation.py`, layer by layer."""
    import torch.nn.functional as F

    def conv(x: torch.Tensor, name: str, padding: int) -> torch.Tensor:
        return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=padding)

    x = weights["_vq_vae._embedding"][codes].reshape(1, 4, 4, -1).permute(0, 3, 1, 2)
    x = conv(x, "decoder.0", 0).relu()
    for block in (2, 3):
        inner = conv(conv(x, f"decoder.{block}.net.0", 1).relu(), f"decoder.{block}.net.2", 1).relu()
        x = x + conv(inner, f"decoder.{block}.net.4", 0)
    for layer in (4, 6, 8, 10):
        name = f"decoder.{layer}"
        x = F.conv_transpose2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride=2, padding=1).relu()
    return conv(x, "decoder.12", 0)[0, 0]


def test_masks_are_decoded_as_the_reference_does() -> None:
    weights = codec_weights()
    codes = [(7 * n) % 128 for n in range(16)]
    mask = MaskCodec(weights).decode(codes)
    assert mask.shape == (64, 64)
    np.testing.assert_allclose(mask, reference_decode(weights, codes).numpy(), atol=1e-5)


def test_a_file_next_to_the_checkpoint_reads_masks(loaded: Loaded, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    loaded.model.save_pretrained(tmp_path)
    loaded.processor.save_pretrained(tmp_path)
    assert Family().load(str(tmp_path), device="cpu", dtype="float32").family.mask_codec is None  # type: ignore[attr-defined]
    np.savez(tmp_path / "vae-oid.npz", **{name: value.numpy() for name, value in codec_weights().items()})
    family: Any = Family().load(str(tmp_path), device="cpu", dtype="float32").family
    codes = "".join(SEGMENTS[(11 * n) % 128] for n in range(16))
    found = read("the cat", f"{locs(100, 200, 900, 800)}{codes} the cat", family=family, skill="segment")
    assert isinstance(found, Masks)
    assert found.labels == ("the cat",)
    x1, y1, x2, y2 = found.xyxy[0]
    assert 39 <= x1 < x2 <= 157
    assert 9 <= y1 < y2 <= 88
    sample = Sample("a", "segment", (Image.new("RGB", SIZE),), "the cat", "", found)
    written = "".join(piece.text for piece in family.answer(sample) if isinstance(piece, (Control, Plain)))
    assert re.fullmatch(r"(<loc\d{4}>){4}(<seg\d{3}>){16} the cat", written)
    (tmp_path / "vae-oid.npz").unlink()
    save_file({"decoder.0.weight": torch.zeros(1)}, tmp_path / "vae-oid.safetensors")
    with pytest.raises(CheckpointError, match="cannot read the mask codec"):
        read_mask_codec(tmp_path)


def test_masks_without_their_decoder_are_boxes_and_said_to_be() -> None:
    codes = "".join(SEGMENTS[:16])
    found = read("the cat", f"{locs(0, 0, 1023, 1023)}{codes} the cat", skill="segment")
    assert isinstance(found, Boxes)
    assert [problem.kind for problem in found.problems] == [NO_DECODER]
    np.testing.assert_allclose(found.xyxy, [[0, 0, 200, 100]])
    sample = Sample(
        "a", "segment", (Image.new("RGB", SIZE),), "x", "", Masks(polygons=[[[(0, 0), (9, 0), (9, 9)]]], size=SIZE)
    )
    with pytest.raises(SkillError, match=r"cannot write outlines(.|\n)*vae-oid.npz"):
        Family().answer(sample)


def test_wrong_codes_are_told() -> None:
    for codes in (SEGMENTS[:15], (*SEGMENTS[:15], "<seg128>"), SEGMENTS[:17]):
        found = read("x", f"{locs(0, 0, 9, 9)}{''.join(codes)} x", skill="segment")
        assert PARSE in {problem.kind for problem in found.problems}


# --- anything at all

MASK = "".join(SEGMENTS[9:25])
VALID = {
    "detect cat ; dog": f"{locs(1, 2, 30, 40)} cat ; {locs(5, 6, 70, 80)} żółty dog ; {locs(9, 9, 12, 12)} cat",
    "segment cat": f"{locs(1, 2, 300, 400)}{MASK} cat ; {locs(5, 6, 70, 80)}{MASK} cat",
    "ocr": "Total\n12.50 < 13",
}
noise = st.one_of(
    st.text(max_size=8), st.sampled_from(["<loc1024>", "<loc", "<seg999>", ";", "<", "<eos>", "<image>", "é"])
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
@given(case=mutated(), has_decoder=st.booleans())
def test_no_mutation_of_an_answer_raises_or_is_silently_nothing(case: tuple[str, str], has_decoder: bool) -> None:
    task, raw = case
    family = Family()
    if has_decoder:
        family.mask_codec = _Half()  # type: ignore[assignment]
    found: Result = family.parse(ask(task), raw, [SIZE])
    assert found.raw == raw
    if isinstance(found, Text):
        assert found.text or found.problems
        return
    assert len(found) or found.problems  # type: ignore[arg-type]
    points = np.asarray(found.xyxy).reshape(-1, 2)  # type: ignore[attr-defined]
    assert ((points >= 0) & (points <= SIZE)).all()


class _Half:
    """Masks that fill the left half of their box."""

    @staticmethod
    def decode(codes: Any) -> Any:
        return np.where(np.arange(64) < 32, 1.0, -1.0)[None].repeat(64, 0)


def test_a_mask_lies_where_its_box_is() -> None:
    family = Family()
    family.mask_codec = _Half()  # type: ignore[assignment]
    found = read("x", f"{locs(0, 512, 1023, 1023)}{''.join(SEGMENTS[:16])} x", family=family, skill="segment")
    np.testing.assert_allclose(found.xyxy, [[100, 0, 150, 100]])
    assert found.mask[0][:, 100:150].all()
    assert found.mask.sum() == 5000


def test_the_cards_are_told_apart() -> None:
    names = [card.name for card in Family.checkpoints]
    assert len(set(names)) == len(names)
    assert {"google/paligemma-3b-mix-224", "google/paligemma2-3b-pt-896", "google/paligemma2-28b-mix-448"} <= set(names)
    assert {card.image_tokens for card in Family.checkpoints} == {256, 1024, 4096}
