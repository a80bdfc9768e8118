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

from imglish.core import geometry
from imglish.core.errors import SkillError
from imglish.core.results import Boxes, Masks, Record, Result, Text, TextRegions
from imglish.core.types import ImagePart, Message, Request, Sample, TextPart, VideoPart
from imglish.engine.load import FAMILIES
from imglish.families._base import Control, Loaded, Plain, encode_pieces, request_images

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


def test_cached_decoding_equals_the_full_forward(loaded: Loaded) -> None:
    requests = [ask(picture(0), text="a much longer question than the other"), ask(picture(1), text="?")]
    tensors, _ = loaded.family.inputs(loaded, requests)
    extra = torch.randint(0, 100, (2, 6), generator=torch.Generator().manual_seed(0)) + 5
    with torch.inference_mode():
        output = loaded.model(**tensors, use_cache=True)
        steps = [output.logits[:, -1]]
        mask = tensors["attention_mask"]
        for token in extra.T:
            mask = torch.cat((mask, mask.new_ones(2, 1)), 1)
            output = loaded.model(
                input_ids=token[:, None], attention_mask=mask, past_key_values=output.past_key_values, use_cache=True
            )
            steps.append(output.logits[:, -1])
        whole = dict(tensors, input_ids=torch.cat((tensors["input_ids"], extra), 1), attention_mask=mask)
        full = loaded.model(**whole).logits[:, -len(steps) :]
    torch.testing.assert_close(torch.stack(steps, 1), full, atol=1e-4, rtol=1e-4)


def test_save_and_load_are_exact(loaded: Loaded, tmp_path: Path) -> None:
    loaded.model.save_pretrained(tmp_path)
    loaded.processor.save_pretrained(tmp_path)
    again = loaded.family.load(str(tmp_path), device="cpu", dtype="float32")
    request = every_request(loaded, picture(3))[0]
    first, second = (loaded.family.inputs(model, [request])[0] for model in (loaded, again))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(logits(loaded, [request]), logits(again, [request]))


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
            labels=(typed,) if request.labels else (),
            schema={"properties": {typed: {"type": "string"}}} if request.schema else None,
        )
        sizes = [image.size for image in request_images(request)[0]]
        counts = []
        for one in (request, hostile):
            tensors, _ = family.inputs(loaded, [one])
            counts.append(sum(int(token) in ids for token in tensors["input_ids"][0]))
            pieces = family.prompt(one, sizes)
            assert all(token not in piece.text for piece in pieces if isinstance(piece, Control) for token in [typed])
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
            assert (np.abs(regions.quads - np.array(quads)[order]) <= quantum).all()
        if "segment" in loaded.family.skills:
            outline = shapes(rng, size, "polygon")
            masks = round_trip(loaded, sample_of("segment", size, Masks(polygons=[[outline]], size=size)))
            assert isinstance(masks, Masks)
            assert len(masks) == 1
            line = np.array(geometry.resample(outline, 2000))
            off = np.abs(np.array(masks.polygons[0][0])[:, None] - line[None])
            step = np.abs(line - np.roll(line, 1, axis=0)).max()
            assert (off <= quantum + step).all(-1).any(1).all()


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
        sample = sample_of(skill, size, empty[skill])
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
    assert missing.data == {"name": "N/A", "total": "N/A", "items": []}
    assert {problem.kind for problem in missing.problems} == {"missing"}


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
    """The sample's ids split into prompt and answer; labels are -100 wherever the model is not to learn to write."""
    module = FAMILIES.get(loaded.family.name).__module__
    encode_sample = getattr(__import__(module, fromlist=["encode_sample"]), "encode_sample", None)
    assert encode_sample is not None, "a family's file defines encode_sample(sample, tokenizer)"
    sample = sample_of("ask", (90, 90), Text(text="three cats"), question="How many?")
    encoded = encode_sample(sample, loaded.tokenizer)
    assert loaded.tokenizer.decode(encoded.answer_ids) == "three cats" + loaded.family.stop[0]
    assert encoded.prompt_ids.count(loaded.tokenizer.convert_tokens_to_ids(loaded.family.image_token)) == 1
    tensors, _ = loaded.family.inputs(loaded, [sample.request()])
    prompt = tensors["input_ids"][0]
    ids = torch.cat((prompt, torch.tensor(encoded.answer_ids)))[None]
    labels = torch.full_like(ids, -100)
    labels[:, len(prompt) :] = ids[:, len(prompt) :]
    pixels = {name: value for name, value in tensors.items() if name not in ("input_ids", "attention_mask")}
    with torch.inference_mode():
        output = loaded.model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels, **pixels)
    guesses = output.logits[0, len(prompt) - 1 : -1].float().log_softmax(-1)
    expected = -guesses.gather(1, torch.tensor(encoded.answer_ids)[:, None]).mean()
    torch.testing.assert_close(output.loss, expected, atol=1e-4, rtol=1e-4)
