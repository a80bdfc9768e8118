"""What every family must do, on its `tiny()` model. Families are found by listing the folder."""

from __future__ import annotations

import dataclasses
import random
import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import LogitsProcessor

from imglish.core import geometry
from imglish.core.errors import SkillError
from imglish.core.results import Boxes, Masks, Record, Result, Text, TextRegions
from imglish.core.types import ImagePart, Message, Request, Sample, TextPart, VideoPart
from imglish.engine.load import FAMILIES
from imglish.families._base import Control, Loaded, Plain, encode_pieces, request_images
from imglish.families._hub import HubFamily
from imglish.families.imglish import encode_sample

SIZES = [(231, 150), (97, 301), (192, 192), (1, 40), (1023, 641), (53, 7)]
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "total": {"type": "number"},
        "items": {"type": "array", "items": {"properties": {"name": {"type": "string"}, "price": {"type": "string"}}}},
    },
}


@pytest.fixture(scope="module", params=FAMILIES.names())
def loaded(request: pytest.FixtureRequest) -> Loaded:
    return FAMILIES.get(request.param)().tiny()


def picture(seed: int = 0, size: tuple[int, int] = (120, 90)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8))


def ask(*images: Image.Image, skill: str = "ask", text: str = "How many?", **more: Any) -> Request:
    parts = [VideoPart(images)] if skill == "watch" else [ImagePart(image) for image in images]
    return Request(skill, (Message("user", (*parts, TextPart(text))),), text, **more)


def logits(loaded: Loaded, requests: list[Request], **more: Any) -> torch.Tensor:
    tensors, _ = loaded.family.inputs(loaded, requests)
    if loaded.model.config.is_encoder_decoder:
        more["decoder_input_ids"] = torch.full(
            (len(requests), 1), loaded.model.generation_config.decoder_start_token_id
        )
    with torch.inference_mode():
        return loaded.model(**tensors, **more).logits.float()


def every_request(loaded: Loaded, image: Image.Image) -> list[Request]:
    more: dict[str, dict[str, Any]] = {
        "detect": {"labels": ("cat", "dog")},
        "identify": {"region": (3.0, 4.0, 50.0, 60.0)},
        "extract": {"schema": SCHEMA},
    }
    return [ask(image, skill=skill, **more.get(skill, {})) for skill in sorted(loaded.family.skills)]


def test_tiny_is_the_same_each_time(loaded: Loaded) -> None:
    again = loaded.family.tiny()
    for (name, a), (_, b) in zip(loaded.model.state_dict().items(), again.model.state_dict().items(), strict=True):
        assert torch.equal(a, b), name


def test_logits_are_finite_for_every_skill(loaded: Loaded) -> None:
    for request in every_request(loaded, picture()):
        assert torch.isfinite(logits(loaded, [request])).all(), request.skill


def test_the_image_matters(loaded: Loaded) -> None:
    a, b = (logits(loaded, [ask(picture(seed))])[0, -1] for seed in (0, 1))
    assert (a - b).abs().max() > 1e-3


def test_the_order_of_images_matters(loaded: Loaded) -> None:
    if loaded.family.max_images < 2:
        pytest.skip("one image only")
    one, two = picture(0), picture(1)
    a, b = logits(loaded, [ask(one, two)])[0, -1], logits(loaded, [ask(two, one)])[0, -1]
    assert (a - b).abs().max() > 1e-3


def test_a_batch_equals_its_singles(loaded: Loaded) -> None:
    requests = [
        ask(picture(0), text="How many cats are in this picture, and which colour has each of them?"),
        ask(picture(1, (50, 200)), text="?"),
        ask(*(picture(n) for n in range(2, 2 + min(2, loaded.family.max_images))), text="What changed?"),
    ]
    if loaded.family.max_frames:
        requests.append(ask(picture(5), picture(6), picture(7), skill="watch", text="Where to?"))
    together = logits(loaded, requests)[:, -1]
    for row, request in zip(together, requests, strict=True):
        torch.testing.assert_close(row, logits(loaded, [request])[0, -1], atol=1e-4, rtol=1e-4)


class Forced(LogitsProcessor):
    """Writes given tokens, whatever the model would write."""

    def __init__(self, tokens: torch.Tensor) -> None:
        self.tokens, self.step = tokens, 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        forced = torch.full_like(scores, -torch.inf)
        forced.scatter_(1, self.tokens[:, self.step, None], 0.0)
        self.step += 1
        return forced


def test_cached_decoding_equals_the_full_forward(loaded: Loaded) -> None:
    requests = [ask(picture(0), text="a much longer question than the other"), ask(picture(1), text="?")]
    tensors, _ = loaded.family.inputs(loaded, requests)
    extra = torch.randint(0, 100, (2, 6), generator=torch.Generator().manual_seed(0)) + 5
    with torch.inference_mode():
        made = loaded.model.generate(
            **tensors, max_new_tokens=6, min_new_tokens=6, num_beams=1, do_sample=False,
            logits_processor=[Forced(extra)], return_dict_in_generate=True, output_logits=True, eos_token_id=None,
            forced_bos_token_id=None,
            no_repeat_ngram_size=0, pad_token_id=0,
        )  # fmt: skip
        if loaded.model.config.is_encoder_decoder:
            start = torch.full((2, 1), loaded.model.generation_config.decoder_start_token_id)
            whole = {**tensors, "decoder_input_ids": torch.cat((start, extra[:, :-1]), 1)}
        else:
            whole = {name: longer(name, tensor, tensors, extra[:, :-1]) for name, tensor in tensors.items()}
        full = loaded.model(**whole).logits[:, -6:]
    torch.testing.assert_close(torch.stack(made.logits, 1).float(), full.float(), atol=1e-4, rtol=1e-4)


def longer(name: str, tensor: torch.Tensor, tensors: dict[str, Any], extra: torch.Tensor) -> torch.Tensor:
    """What has one value per token gets more: ids the new tokens, masks 1, what is a picture 0."""
    if not hasattr(tensor, "shape") or tensor.shape != tensors["input_ids"].shape:
        return tensor
    more = extra if name == "input_ids" else torch.full_like(extra, int(name in ("attention_mask", "token_type_ids")))
    return torch.cat((tensor, more.to(tensor.dtype)), 1)


def test_save_and_load_are_exact(loaded: Loaded, tmp_path: Path) -> None:
    loaded.model.save_pretrained(tmp_path)
    loaded.processor.save_pretrained(tmp_path)
    again = loaded.family.load(str(tmp_path), device="cpu", dtype="float32")
    request = every_request(loaded, picture(3))[0]
    first, second = (loaded.family.inputs(model, [request])[0] for model in (loaded, again))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    weights = again.model.state_dict()
    assert all(torch.equal(weight, weights[name]) for name, weight in loaded.model.state_dict().items())
    torch.testing.assert_close(logits(loaded, [request]), logits(again, [request]), atol=1e-5, rtol=1e-5)


def test_wrong_numbers_of_images_are_clear_errors(loaded: Loaded) -> None:
    family = loaded.family
    with pytest.raises(SkillError, match="no image"):
        family.check(ask())
    with pytest.raises(SkillError, match=f"{family.max_images + 1} images.*at most {family.max_images}"):
        family.check(ask(*[picture()] * (family.max_images + 1)))
    if "watch" in family.skills:
        with pytest.raises(SkillError, match=f"at most {family.max_frames}"):
            family.check(ask(*[picture()] * (family.max_frames + 1), skill="watch"))
        with pytest.raises(SkillError, match="no frames"):
            family.check(Request("watch", (Message("user", (TextPart("what?"),)),), "what?"))
    for skill in family.single_image_skills & family.skills:
        with pytest.raises(SkillError, match="at most 1"):
            family.check(ask(picture(), picture(), skill=skill))


def test_special_tokens_that_a_user_types_are_plain_text(loaded: Loaded) -> None:
    family, backend = loaded.family, loaded.tokenizer.backend_tokenizer
    typed = "".join(family.special_tokens[:12]) + " and " + family.special_tokens[-1]
    ids = {backend.token_to_id(token) for token in family.special_tokens}
    plain = loaded.tokenizer
    for request in every_request(loaded, picture()):
        hostile = dataclasses.replace(
            request,
            text=typed,
            messages=(Message("user", (*request.messages[0].parts[:-1], TextPart(typed))),),
            labels=(typed,) * len(request.labels),
            schema={"properties": {typed: {"type": "string"}}} if request.schema else None,
        )
        sizes = [image.size for image in request_images(request)[0]]
        counts = []
        for one in (request, hostile):
            tensors, _ = family.inputs(loaded, [one])
            counts.append(sum(int(token) in ids for token in tensors["input_ids"][0]))
            pieces = family.prompt(one, sizes)
            assert all(token not in piece.text for piece in pieces if isinstance(piece, Control) for token in [typed])
            if isinstance(family, HubFamily):
                continue
            expected = encode_pieces(plain, pieces, image_token=family.image_token)
            seen = [int(token) for token in tensors["input_ids"][0]]
            image = backend.token_to_id(family.image_token)
            assert [token for token in seen if token != image] == [token for token in expected if token != image]
        assert counts[0] == counts[1], request.skill


def shapes(rng: random.Random, size: tuple[int, int], kind: str) -> Any:
    def point() -> tuple[float, float]:
        return rng.uniform(0, size[0]), rng.uniform(0, size[1])

    if kind == "box":
        (x1, y1), (x2, y2) = point(), point()
        return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)
    return tuple(point() for _ in range(4 if kind == "quad" else rng.randint(3, 16)))


def round_trip(loaded: Loaded, sample: Sample) -> Result:
    pieces = loaded.family.answer(sample)
    if isinstance(loaded.family, HubFamily):
        ids = loaded.family.answer_ids(loaded, sample)[:-1]
    else:
        ids = encode_pieces(loaded.tokenizer, pieces, image_token=loaded.family.image_token)
    raw = loaded.tokenizer.decode(ids, skip_special_tokens=False)
    tokens = loaded.tokenizer.convert_ids_to_tokens(ids)
    sizes = [image.size for image in sample.images]
    return loaded.family.parse(sample.request(), raw, sizes, tokens=tokens, logprobs=[-0.5] * len(tokens))


def sample_of(skill: str, size: tuple[int, int], truth: Result, **more: Any) -> Sample:
    question = more.pop("question", "the cat")
    return Sample("a", skill, (Image.new("RGB", size),), question, str(truth), truth, **more)


@pytest.mark.parametrize("size", SIZES)
def test_boxes_quads_and_polygons_come_back_within_a_quantum(loaded: Loaded, size: tuple[int, int]) -> None:
    rng = random.Random(str(size))
    quantum = np.array(loaded.family.codec.quantum(size)) + 1e-6
    names = ["cat", "żółta łódź", "đèn", "x"]
    for _ in range(10):
        count = rng.randint(1, 6)
        boxes = [shapes(rng, size, "box") for _ in range(count)]
        labels = [rng.choice(names) for _ in range(count)]
        if "detect" in loaded.family.skills:
            truth = Boxes(xyxy=boxes, labels=labels, size=size)
            found = round_trip(loaded, sample_of("detect", size, truth, labels=tuple(names)))
            assert isinstance(found, Boxes)
            assert found.parsed
            order = sorted(range(count), key=lambda i: (boxes[i][0] + boxes[i][1], boxes[i][1]))
            kept = [i for i in order if found_near(boxes[i], found.xyxy, quantum)]
            assert len(kept) == count
            assert found.confidence is not None
            assert np.allclose(found.confidence, np.exp(-0.5))
        if "read" in loaded.family.skills:
            quads = [shapes(rng, size, "quad") for _ in range(count)]
            regions = round_trip(loaded, sample_of("read", size, TextRegions(texts=labels, quads=quads, size=size)))
            assert isinstance(regions, TextRegions)
            order = sorted(range(count), key=lambda i: np.mean(quads[i], axis=0)[::-1].tolist())
            assert regions.texts == tuple(labels[i] for i in order)
            expected = np.array(quads)[order]
            boxes = geometry.box_to_quad(geometry.quad_to_box(expected))  # what some families write of a line
            assert any((np.abs(regions.quads - places) <= quantum).all() for places in (expected, boxes))
        if "segment" in loaded.family.skills and outlines(loaded):
            outline = shapes(rng, size, "polygon")
            masks = round_trip(loaded, sample_of("segment", size, Masks(polygons=[[outline]], size=size)))
            assert isinstance(masks, Masks)
            assert len(masks) == 1
            line = np.array(geometry.resample(outline, 2000))
            off = np.abs(np.array(masks.polygons[0][0])[:, None] - line[None])
            step = np.abs(line - np.roll(line, 1, axis=0)).max()
            assert (off <= quantum + step).all(-1).any(1).all()


def outlines(loaded: Loaded) -> bool:
    """Whether this checkpoint can write outlines; what they need may be missing from it."""
    try:
        loaded.family.answer(sample_of("segment", (9, 9), Masks(polygons=[[((1, 1), (5, 1), (5, 5))]], size=(9, 9))))
    except SkillError:
        return False
    return True


def found_near(box: Any, boxes: Any, quantum: Any) -> bool:
    return bool((np.abs(boxes - np.array(box)) <= np.tile(quantum, 2)).all(1).any())


def test_finding_nothing_differs_from_not_being_readable(loaded: Loaded) -> None:
    size = (120, 90)
    empty: dict[str, Result] = {
        "detect": Boxes(size=size),
        "ground": Boxes(size=size),
        "segment": Masks(size=size),
        "read": TextRegions(size=size),
    }
    for skill in empty.keys() & loaded.family.skills:
        if skill == "segment" and not outlines(loaded):
            continue
        sample = sample_of(skill, size, empty[skill], labels=("cat",) if skill == "detect" else ())
        nothing = round_trip(loaded, sample)
        assert nothing.parsed, skill
        assert len(nothing) == 0  # type: ignore[arg-type]
        for raw in ("", "I cannot see that."):
            unreadable = loaded.family.parse(sample.request(), raw, [size])
            assert not unreadable.parsed, (skill, raw)


def test_a_record_comes_back_in_the_types_of_its_schema(loaded: Loaded) -> None:
    if "extract" not in loaded.family.skills:
        pytest.skip("no extract")
    data = {
        "name": "Zoë Łuk",
        "total": 12.5,
        "items": [{"name": "Tea: green", "price": "3.20"}, {"name": "x", "price": "9"}],
    }
    found = round_trip(loaded, sample_of("extract", (90, 90), Record(data=data, schema=SCHEMA), schema=SCHEMA))
    assert isinstance(found, Record)
    assert found.data == data
    assert found.problems == ()
    missing = loaded.family.parse(ask(picture(), skill="extract", schema=SCHEMA), "total: many", [(90, 90)])
    assert isinstance(missing, Record)
    assert missing.data == {"name": "N/A", "items": []}  # no number is missing that the schema does not require
    assert {problem.kind for problem in missing.problems} - {"parse"} == {"missing"}


def test_words_come_back_as_they_are(loaded: Loaded) -> None:
    for skill in {"ask", "caption", "count", "identify", "watch"} & loaded.family.skills:
        text = "Żółta łódź, đèn и 3 кота 🐈"
        sample = sample_of(skill, (90, 90), Text(text=text), region=(1.0, 1.0, 20.0, 20.0))
        found = round_trip(loaded, sample)
        assert isinstance(found, Text)
        assert found.text == text
        assert found.problems == ()
        assert found.confidence == pytest.approx(np.exp(-0.5))


def test_no_text_of_a_model_raises(loaded: Loaded) -> None:
    family, rng, size = loaded.family, random.Random(7), (120, 90)
    alphabet = [
        *family.special_tokens,
        *string.printable,
        "ł",
        "đ",
        "\x00",
        "🐈",
        "name: ",
        "<loc_99999999>",
        "<loc_-1>",
        "<",
    ]
    requests = every_request(loaded, Image.new("RGB", size))
    good = round_trip_text(
        loaded, sample_of("detect", size, Boxes(xyxy=[(1, 2, 30, 40)] * 5, labels=["cat"] * 5, size=size))
    )
    for number in range(300):
        raw = "".join(rng.choices(alphabet, k=rng.randint(0, 60)))
        if number % 2:
            place = rng.randrange(len(good))
            raw = good[:place] + raw + good[place + rng.randrange(9) :]
        for request in requests:
            result = family.parse(request, raw, [size])
            assert result.raw == raw
            tokens = list(raw)
            family.parse(request, raw, [size], tokens=tokens, logprobs=[-1.0] * len(tokens))
            for name in ("xyxy", "quads"):
                places = np.asarray(getattr(result, name, np.zeros((0, 4)))).reshape(-1, 2)
                assert ((places >= 0) & (places <= size)).all()


def round_trip_text(loaded: Loaded, sample: Sample) -> str:
    pieces = loaded.family.answer(sample)
    return "".join(piece.text for piece in pieces if isinstance(piece, (Control, Plain)))


def test_a_runaway_answer_is_read_in_bounded_time(loaded: Loaded) -> None:
    request = every_request(loaded, Image.new("RGB", (50, 50)))
    for raw in ("<loc_1>" * 200_000, "<" * 500_000, "cat" * 200_000, "<poly><sep>" * 100_000):
        for one in request:
            assert not loaded.family.parse(one, raw, [(50, 50)]).parsed


def test_only_the_tokens_of_answers_carry_loss(loaded: Loaded) -> None:
    """Labels are -100 wherever the model is not to learn to write."""
    sample = sample_of("ask", (90, 90), Text(text="three cats"), question="How many?")
    if isinstance(loaded.family, HubFamily):
        tensors = loaded.family.taught(
            loaded, [sample, dataclasses.replace(sample, question="How many cats are here?")]
        )
        labels = tensors.pop("labels")
    else:
        encoded = encode_sample(sample, loaded.tokenizer)
        assert encoded.prompt_ids.count(loaded.tokenizer.convert_tokens_to_ids(loaded.family.image_token)) == 1
        tensors, _ = loaded.family.inputs(loaded, [sample.request()])
        answer = torch.tensor(encoded.answer_ids)[None]
        tensors = {name: longer(name, tensor, tensors, answer) for name, tensor in tensors.items()}
        labels = torch.full_like(tensors["input_ids"], -100)
        labels[:, -answer.shape[1] :] = answer
    learned = [row[row >= 0] for row in labels]
    (written,) = {loaded.tokenizer.decode(row) for row in learned}
    start = loaded.tokenizer.bos_token or ""  # some decoders are taught to begin with it
    assert written.removeprefix(start).lstrip() == "three cats" + loaded.family.stop[0]
    with torch.inference_mode():
        output = loaded.model(**tensors, labels=labels)
    shift = 0 if loaded.model.config.is_encoder_decoder else 1
    guesses = output.logits[:, : labels.shape[1] - shift].float().log_softmax(-1)
    wanted = labels[:, shift:]
    chosen = guesses.gather(-1, wanted.clamp(min=0)[..., None])[..., 0][wanted >= 0]
    torch.testing.assert_close(output.loss.float(), -chosen.mean(), atol=1e-4, rtol=1e-4)


def test_what_lora_is_laid_on_exists(loaded: Loaded) -> None:
    if not isinstance(loaded.family, HubFamily):
        pytest.skip("not a published family")
    names = {name.rpartition(".")[2] for name, module in loaded.model.named_modules() if hasattr(module, "weight")}
    assert set(loaded.family.lora_targets) <= names
