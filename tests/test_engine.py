"""Loading and running a model: every skill, batches, streams, chats, receipts, and what happens when it cannot be."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from imglish.core.errors import CheckpointError, ImageError, InputError, SkillError, UnknownName
from imglish.core.results import Boxes, Masks, Record, Result, Text, TextRegions
from imglish.core.types import ImagePart, Message, Request, TextPart, VideoPart
from imglish.engine import catalogue, generate
from imglish.engine._opening import open_request
from imglish.engine._sampling import Rules
from imglish.engine.batch import Budget
from imglish.engine.cache import FeatureCache
from imglish.engine.generate import Options, _say_idle
from imglish.engine.load import FAMILIES, load_checkpoint
from imglish.engine.loop import Job, Loop
from imglish.engine.prompt import prompts
from imglish.engine.step import Slot
from imglish.engine.vlm import VLM, load
from imglish.families._base import Loaded
from imglish.families._familiar import Familiarity, traits
from imglish.families._imglish_model import ELSEWHERE
from imglish.families.imglish import Family


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return Family().tiny()


@pytest.fixture(scope="module")
def vlm(loaded: Loaded) -> VLM:
    return VLM(loaded, max_tokens=12)


@pytest.fixture(scope="module")
def folder(loaded: Loaded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("checkpoint")
    loaded.model.save_pretrained(path)
    loaded.processor.save_pretrained(path)
    return path


@pytest.fixture
def broken(folder: Path, tmp_path: Path) -> Path:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def picture(seed: int = 0, size: tuple[int, int] = (231, 150)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8))


def request(skill: str = "ask", text: str = "How many?", *images: Image.Image, **more: Any) -> Request:
    parts = [VideoPart(images)] if skill == "watch" else [ImagePart(image) for image in images or (picture(),)]
    return Request(skill, (Message("user", (*parts, TextPart(text))),), text, **more)


class Person(pydantic.BaseModel):
    name: str
    age: int | None = None


def test_every_skill_returns_its_result(vlm: VLM) -> None:
    image = picture()
    results: dict[str, tuple[Result, type[Result]]] = {
        "ask": (vlm.ask([image, image], "What changed?"), Text),
        "caption": (vlm.caption(image, detail="brief", tone="positive", language="pl"), Text),
        "detect": (vlm.detect(image, ["cat", "dog"]), Boxes),
        "ground": (vlm.ground(image, "the cat"), Boxes),
        "segment": (vlm.segment(image, "the cat"), Masks),
        "read": (vlm.read(image), TextRegions),
        "identify": (vlm.identify(image, (3, 4, 60, 70)), Text),
        "count": (vlm.count(image, "cats"), Text),
        "extract": (vlm.extract(image, Person), Record),
        "watch": (vlm.watch([image] * 3, "What moved?"), Text),
        "chat": (vlm.chat().say("Hello?", image=image), Text),
    }
    assert results.keys() == set(vlm.skills)
    for skill, (result, kind) in results.items():
        assert type(result) is kind, skill
        assert result.receipt is not None
        assert result.receipt.generated_tokens <= 12 or result.parsed  # an answer with a form is never cut open
        assert result.picture is not None
        assert result.picture.size == image.size
        assert kind.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_a_receipt_is_what_the_tensor_says(loaded: Loaded, vlm: VLM) -> None:
    """The picture is found again in the tensor, at the place and in the scale that the receipt tells."""
    for size in ((231, 150), (150, 231), (192, 192), (40, 30), (7, 90)):
        image = Image.new("RGB", size, (255, 0, 0))
        one = request("ask", "?", image)
        (receipt,) = [vlm.run([one])[0].receipt]
        assert receipt is not None
        tensors, _ = loaded.family.inputs(loaded, [open_request(one)])
        pixels = tensors["pixel_values"]
        seen = receipt.images[0]
        assert seen.original_size == size
        assert seen.model_size == (pixels.shape[3], pixels.shape[2])
        red = (pixels[0, 0] > pixels[0, 1] + 0.5).nonzero()
        left, top = seen.pad
        right, bottom = (side * scale + pad for side, scale, pad in zip(size, seen.scale, seen.pad, strict=True))
        assert (red.min(0).values.tolist(), (red.max(0).values + 1).tolist()) == (
            [top, left],
            pytest.approx([bottom, right]),
        )
        image_id = loaded.tokenizer.convert_tokens_to_ids("<image>")
        assert seen.image_tokens == int((tensors["input_ids"] == image_id).sum())
        assert receipt.prompt_tokens == int(tensors["attention_mask"].sum())


def test_frames_take_fewer_tokens_and_are_numbered(loaded: Loaded, vlm: VLM) -> None:
    receipt = vlm.watch([picture(1), picture(2)], "?").receipt
    assert receipt is not None
    assert [seen.frame for seen in receipt.images] == [0, 1]
    assert {seen.image_tokens for seen in receipt.images} == {loaded.processor.frame_tokens}
    assert loaded.processor.frame_tokens < loaded.processor.image_tokens


def test_results_come_in_the_order_of_their_requests(vlm: VLM) -> None:
    requests = [
        request("ask", "a much longer question about it", picture(1)),
        request("detect", "", picture(2, (40, 90)), labels=("cat",)),
        request("ask", "?", picture(3)),
        request("watch", "Where?", picture(4), picture(5)),
        request("ask", "And?", picture(6), picture(7)),
        request("detect", "", picture(8)),
    ]
    together = vlm.run(requests, batch=4)
    for one, result in zip(requests, together, strict=True):
        alone = vlm.run([one])[0]
        assert alone.raw == result.raw
        assert alone.receipt is not None
        known = {"cache_hits": 0, "prefix_tokens": 0}
        assert dataclasses.replace(alone.receipt, **known) == dataclasses.replace(result.receipt, **known)
        assert type(alone) is type(result)


def test_rows_that_end_leave_the_batch_unharmed(loaded: Loaded) -> None:
    """Every row ends elsewhere, and still writes what it writes alone."""
    requests = [request("ask", f"{n}?", picture(n)) for n in range(6)]
    free = VLM(loaded, max_tokens=24).run(requests)
    written = [result.raw for result in free]
    stop = max(sorted(set("".join(written))), key=lambda letter: len({raw.find(letter) for raw in written}))
    vlm = VLM(loaded, max_tokens=24, stop=(stop,))
    together = vlm.run(requests)
    assert {result.raw for result in together} == {vlm.run([one])[0].raw for one in requests}
    lengths = [result.receipt.generated_tokens for result in together if result.receipt]
    assert len(set(lengths)) > 1


def test_greedy_is_the_default_and_seeds_repeat(loaded: Loaded) -> None:
    one = [request("ask", "?", picture())]
    vlm = VLM(loaded, max_tokens=16)
    assert vlm.run(one)[0].raw == vlm.run(one)[0].raw
    warm = [vlm.run(one, temperature=2.0, seed=seed)[0].raw for seed in (1, 1, 2)]
    assert warm[0] == warm[1] != warm[2]
    assert vlm.run(one, temperature=2.0, top_p=1e-6, seed=5)[0].raw == vlm.run(one)[0].raw


def test_an_answer_that_is_cut_says_so(loaded: Loaded) -> None:
    (result,) = VLM(loaded, max_tokens=3).run([request()])
    assert result.receipt is not None
    assert result.receipt.truncated
    assert result.receipt.generated_tokens == 3
    assert [problem.kind for problem in result.problems] == ["truncated"]


def test_a_stop_string_ends_the_answer_before_it(loaded: Loaded) -> None:
    vlm = VLM(loaded, max_tokens=30)
    whole = vlm.run([request()])[0].raw
    word = whole[5:8]
    stopped = vlm.run([request()], stop=word)[0]
    assert stopped.raw == whole[: whole.index(word)]
    assert stopped.receipt is not None
    assert not stopped.receipt.truncated
    stream = vlm.stream(request().messages, stop=word)
    assert "".join(stream) == stream.result.raw


def test_a_stream_is_the_same_answer_in_pieces(vlm: VLM) -> None:
    messages = [{"role": "user", "content": [{"type": "image", "image": picture()}, {"type": "text", "text": "ćóż?"}]}]
    stream = vlm.stream(messages, max_tokens=20)
    pieces = list(stream)
    assert len(pieces) > 1
    assert "".join(pieces) == stream.result.raw
    assert vlm.stream(messages, max_tokens=20).result.raw == stream.result.raw
    assert stream.result.receipt is not None


class Scripted:
    """A stepper that writes given ids, one per step, whatever it is shown."""

    def __init__(self, rows: list[list[int]], vocabulary: int) -> None:
        self.rows, self.vocabulary, self.begun = rows, vocabulary, 0

    def prefill(self, tokens: torch.Tensor, **_: Any) -> Any:
        slots = [Slot(0, 0) for _ in range(len(tokens))]
        for slot in slots:
            slot.row = self.begun  # type: ignore[attr-defined]
            self.begun += 1
        return self.step(torch.zeros(len(slots)), slots), slots

    def step(self, tokens: torch.Tensor, slots: list[Any]) -> torch.Tensor:
        assert len(tokens) == len(slots)
        logits = torch.full((len(slots), self.vocabulary), -20.0)
        for place, slot in enumerate(slots):
            logits[place, self.rows[slot.row][slot.length]] = 20.0
            slot.length += 1
        return logits

    def drop(self, slots: list[Any]) -> None:
        pass


def script(loaded: Loaded, *texts: str, stop: tuple[str, ...] = ()) -> tuple[Loop, list[Job]]:
    rows = [[*loaded.tokenizer.encode(text), loaded.tokenizer.eos_token_id] for text in texts]
    stepper: Any = Scripted(rows, len(loaded.tokenizer))
    requests = [open_request(request("ask", f"{number}?")) for number in range(len(texts))]
    made = prompts(loaded, requests, {})
    jobs = [Job(number, prompt, Options(stop=stop), Rules()) for number, prompt in enumerate(made)]
    return Loop(loaded, kept={}, prefixes=None, stepper=stepper), jobs


def test_decoding_ends_each_row_at_its_end_token(loaded: Loaded) -> None:
    texts = ("red", "a żółta łódź 🐈", "", "dog and dog")
    loop, jobs = script(loaded, *texts)
    for _ in loop.run(jobs, Budget(32, 1 << 20)):
        pass
    rows = [job.row for job in jobs]
    assert [row.text for row in rows] == list(texts)
    assert all(row.ended and len(row.ids) == len(row.logprobs) for row in rows)
    assert all(value == pytest.approx(0, abs=1e-4) for row in rows for value in row.logprobs)


@pytest.mark.parametrize("stop", [(), ("ź x",), ("zzz", "never")])
def test_pieces_of_a_stream_never_break_a_letter(loaded: Loaded, stop: tuple[str, ...]) -> None:
    text = "żółta łódź 🐈 đèn"
    loop, (job,) = script(loaded, text, stop=stop)
    steps = loop.run([job], Budget(1, 1 << 20))
    pieces = list(generate.pieces(loaded.tokenizer, steps, job.row, stop))
    assert "".join(pieces) == text
    assert all("\ufffd" not in piece for piece in pieces)


def test_stop_strings_across_tokens_never_reach_the_stream(loaded: Loaded) -> None:
    loop, (job,) = script(loaded, "one END two", stop=("END",))
    steps = loop.run([job], Budget(1, 1 << 20))
    assert "".join(generate.pieces(loaded.tokenizer, steps, job.row, ("END",))) == "one "
    assert job.row.text == "one "


def test_a_chat_remembers_its_turns_and_images(vlm: VLM) -> None:
    chat = vlm.chat(system="Be short.")
    first = chat.say("What is this?", image=picture())
    second = chat.say("And which colour?")
    assert first.receipt is not None
    assert second.receipt is not None
    assert second.receipt.images == first.receipt.images
    assert second.receipt.prompt_tokens > first.receipt.prompt_tokens
    assert [message.role for message in chat.messages] == ["system", "user", "assistant", "user", "assistant"]
    assert "".join(chat.stream("More?")) == chat.messages[-1].text
    chat.reset()
    assert [message.role for message in chat.messages] == ["system"]
    with pytest.raises(SkillError, match="no image"):
        chat.say("What is this?")
    assert len(chat.messages) == 1


def test_extract_takes_a_class_a_schema_or_names(vlm: VLM) -> None:
    image, schema = picture(), {"properties": {"total": {"type": "number"}}}
    assert vlm.extract(image, Person).data.keys() == {"name", "age"}
    assert vlm.extract(image, Person, guided=False).data.keys() == {"name", "age"}
    assert vlm.extract(image, Person, guided=False)["age"] is None
    assert vlm.extract(image, ["name", "date of birth"], guided=False).data == {"name": "N/A", "date of birth": "N/A"}
    assert vlm.extract(image, schema, guided=False).data == {}  # not required
    for wrong in ("name", [], {}, [1], 7):
        with pytest.raises(InputError):
            vlm.extract(image, wrong)


def test_wrong_input_is_told_before_the_model_runs(vlm: VLM, tmp_path: Path) -> None:
    image = picture()
    with pytest.raises(ImageError, match=r"nowhere\.png"):
        vlm.ask(tmp_path / "nowhere.png", "?")
    with pytest.raises(InputError, match="detail"):
        vlm.caption(image, detail="long")
    with pytest.raises(InputError, match="tone"):
        vlm.caption(image, tone="sad")
    with pytest.raises(InputError, match="x1 < x2"):
        vlm.identify(image, (9, 9, 3, 3))
    with pytest.raises(InputError, match="outside the picture"):
        vlm.identify(image, (900, 9, 950, 30))
    with pytest.raises(InputError, match=r"the prompt has \d+ tokens"):
        vlm.ask(image, "what " * 3000)
    with pytest.raises(InputError, match="no option 'max_token'"):
        vlm.ask(image, "?", max_token=3)
    with pytest.raises(SkillError, match="language 'xx'"):
        vlm.ask(image, "?", language="xx")
    with pytest.raises(SkillError, match="9 images"):
        vlm.ask([image] * 9, "?")
    with pytest.raises(InputError, match="last message"):
        vlm.stream([{"role": "assistant", "content": "hello"}])
    for options in ({"max_tokens": 0}, {"temperature": -1.0}, {"top_p": 0.0}, {"stop": ("",)}, {"batch": 0}):
        with pytest.raises(InputError, match=next(iter(options))):
            vlm.ask(image, "?", **options)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("seed", 99999999999999999999), ("seed", -1), ("seed", "x"), ("seed", 1.5), ("seed", True),
        ("seed", (1 << 63) - 1), ("temperature", "hot"), ("temperature", None), ("temperature", float("nan")),
        ("top_p", "x"), ("top_p", None), ("top_k", "x"), ("top_k", None), ("min_p", "x"), ("min_p", None),
        ("repetition_penalty", "x"), ("max_tokens", "x"), ("max_tokens", 2.0), ("n", "x"), ("n", None), ("stop", 3),
        ("stop", None), ("stop", (1,)), ("deadline", "soon"),
    ],
)  # fmt: skip
def test_an_option_of_another_type_is_told(name: str, wrong: Any) -> None:
    with pytest.raises(InputError, match=rf"^{name} is .*; allowed are"):
        Options(**{name: wrong})


def test_a_seed_may_be_large_and_may_come_from_numpy(vlm: VLM) -> None:
    assert Options(seed=np.int64(7)).seed == 7  # type: ignore[arg-type]
    vlm.ask(picture(), "?", seed=(1 << 63) - 2, temperature=1.0, max_tokens=2)


def test_what_narrows_samples_says_once_that_none_is_drawn(caplog: pytest.LogCaptureFixture) -> None:
    _say_idle.cache_clear()
    with caplog.at_level("WARNING", logger="imglish"):
        Options(seed=3)
        Options(top_p=0.5, temperature=0.7)
        assert not caplog.records
        Options(top_p=0.5)
        Options(top_p=0.6)
        Options(top_k=3, min_p=0.1)
    told = [record.getMessage() for record in caplog.records]
    assert [text.split(":")[0] for text in told] == [
        "top_p changes nothing at temperature 0",
        "top_k, min_p change nothing at temperature 0",
    ]


def test_a_skill_that_the_family_lacks_names_families_that_have_it(loaded: Loaded) -> None:
    class Mute(Family):
        name = "mute"
        skills = frozenset({"ask"})

    mute = VLM(dataclasses.replace(loaded, family=Mute()))
    with pytest.raises(SkillError, match="'mute' has no skill 'detect'") as caught:
        mute.detect(picture(), ["cat"])
    assert "imglish" in caught.value.hint
    with pytest.raises(SkillError, match="no skill 'fly'"):
        mute.run([request("fly")])


def test_a_folder_is_loaded_by_its_model_type(folder: Path, vlm: VLM) -> None:
    again = load(folder, device="cpu", dtype="float32")  # a folder is in bfloat16 as it comes, and `vlm` is not
    again.options = vlm.options
    one = [request()]
    assert again.run(one)[0].raw == vlm.run(one)[0].raw
    receipt = again.run(one)[0].receipt
    assert receipt is not None
    assert (receipt.family, receipt.checkpoint) == ("imglish", str(folder))


def test_missing_and_unexpected_weights_fail_the_load_by_name(broken: Path) -> None:
    weights = load_file(broken / "model.safetensors")
    gone = weights.pop("adapter.project.0.weight")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"missing keys: adapter\.project\.0\.weight"):
        load(broken)
    save_file(
        {**weights, "adapter.project.0.weight": gone, "adapter.extra": gone.clone()},
        broken / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(CheckpointError, match=r"unexpected keys: adapter\.extra"):
        load(broken)


def test_only_safetensors_are_read(broken: Path) -> None:
    (broken / "model.safetensors").rename(broken / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="safetensors"):
        load(broken)


@pytest.mark.parametrize("damage", [b"", b"{}", b"\x00" * 100])
def test_damaged_weights_are_a_checkpoint_error(broken: Path, damage: bytes) -> None:
    (broken / "model.safetensors").write_bytes(damage)
    with pytest.raises(CheckpointError):
        load(broken)


def test_an_unknown_model_type_names_the_nearest(broken: Path) -> None:
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps({**config, "model_type": "imglish_brige"}))
    with pytest.raises(UnknownName, match=r"'imglish_brige'\. Did you mean 'imglish_bridge'"):
        load(broken)
    (broken / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load(broken)
    (broken / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load(broken)


def test_what_is_no_model_says_what_would_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder 'runs/my/model'"):
        load("runs/my/model")
    with pytest.raises(UnknownName, match=r"imglihs.*Did you mean 'shipped'"):
        load("imglihs")
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(InputError, match="is a file"):
        load(tmp_path / "a.txt")
    with pytest.raises(InputError, match="dtype is 'int8'"):
        load(tmp_path, dtype="int8")
    with pytest.raises(InputError, match="device is 'tpu'"):
        load(tmp_path, device="tpu")


@pytest.mark.parametrize(
    ("name", "said", "told"),
    [
        ("florense2", "Did you mean 'microsoft/Florence-2-base'", "owner/name"),
        ("florence2", "is a family; a model is a checkpoint of one, as 'microsoft/Florence-2-base'", "owner/name"),
        ("Florence-2-base", "Did you mean 'microsoft/Florence-2-base'", "owner/name"),
        ("imglish", "as 'shipped'", "leave --model out"),
        ("shiped", "Did you mean 'shipped'", "leave --model out"),
        ("gpt-4o", "a model on a server", "--model http://host:port/v1 --model-name gpt-4o"),
        ("claude-sonnet-4", "a model on a server", "--model-name claude-sonnet-4"),
        ("", "the name of the model is empty", "leave --model out"),
        ("zzzzzz", "no model 'zzzzzz'", "imglish models lists the known"),
    ],
)
def test_what_can_be_typed_instead_is_told(name: str, said: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        load(name)
    assert said in caught.value.message
    assert told in caught.value.hint


def test_missing_shipped_weights_tell_how_to_train_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.resources.files", lambda _: tmp_path)
    with pytest.raises(CheckpointError, match="shipped checkpoint is missing") as caught:
        load_checkpoint()
    assert "recipes/shipped" in caught.value.hint


def features(loaded: Loaded, images: list[Image.Image]) -> torch.Tensor:
    pixels = loaded.processor.image_processor(images, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        return traits(pixels, *loaded.model.vision.see(pixels))


def test_a_picture_unlike_the_world_is_warned_of(broken: Path, loaded: Loaded) -> None:
    grey = [Image.new("RGB", (100, 80), (90 + n // 3, 90 + n // 2, 100)) for n in range(90)]
    bright = [Image.new("RGB", (100, 80), (200, n, n // 2)) for n in range(30)]
    Familiarity.fit(features(loaded, grey), features(loaded, bright), false_alarms=0.0).save(broken)
    vlm = load(broken, device="cpu")
    strange, known = Image.new("RGB", (100, 80), (255, 0, 0)), grey[44]
    results = vlm.run([request("ask", "?", known), request("ask", "?", strange), request("ask", "?", known, strange)])
    kinds = [[problem.kind for problem in result.warnings if problem.kind == "out_of_world"] for result in results]
    assert kinds == [[], ["out_of_world"], ["out_of_world"]]
    message = results[1].warnings[-1].message
    assert 'imglish ask photo.jpg "..." --model HuggingFaceTB/SmolVLM-256M-Instruct' in message
    assert "imglish detect photo.jpg --model microsoft/Florence-2-base" in vlm.detect(strange).warnings[-1].message
    assert "imglish extract photo.jpg --schema" in vlm.extract(strange, ["name"]).warnings[-1].message
    assert "picture 2 of 2" in results[2].warnings[-1].message
    assert results[1].parsed


@pytest.mark.parametrize("skill", sorted(ELSEWHERE))
def test_what_is_recommended_for_photographs_has_the_skill(skill: str) -> None:
    _, checkpoint = ELSEWHERE[skill]
    card = next(card for card in catalogue.cards() if card.name == checkpoint)
    assert skill in card.skills and card.runs
    assert card.parameters < 3e9


def test_every_skill_has_a_recommendation() -> None:
    assert set(ELSEWHERE) == set(FAMILIES.get("imglish").skills)


def test_the_same_pixels_are_encoded_once(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    encode = loaded.model.encode_images

    def count(pixels: torch.Tensor, frames: Any = None) -> Any:
        encoded.append(len(pixels))
        return encode(pixels, frames)

    monkeypatch.setattr(loaded.model, "encode_images", count)
    vlm = VLM(loaded, max_tokens=4)
    a, b = picture(1), picture(2)
    first = vlm.run([request("ask", "?", a, a), request("ask", "!", b, a)])
    second = vlm.run([request("detect", "", a.copy()), request("ask", "?", a, a), request("watch", "?", a)])
    assert encoded == [2, 1]  # a frame has fewer tokens: it is not what was kept of the picture
    assert [result.receipt.cache_hits for result in second if result.receipt] == [1, 2, 0]
    assert second[1].raw == first[0].raw
    with torch.no_grad():
        weight = loaded.model.adapter.project[0].bias
        weight.add_(0)
    vlm.run([request("ask", "?", a, a)])
    assert encoded == [2, 1, 1]  # weights may have changed


def test_what_is_kept_is_bounded() -> None:
    cache = FeatureCache(most_bytes=1000)
    for number in range(10):
        cache[number] = (torch.zeros(100), 1.0)
        assert cache.bytes == 400 * len(cache) <= 1000
        assert cache[0][1] == 1.0
    assert list(cache) == [9, 0]  # what is used stays
    cache["huge"] = torch.zeros(10_000)
    assert list(cache) == [9, 0]
    cache[9] = torch.zeros(10)
    assert cache.bytes == 440
    del cache[0]
    assert (len(cache), cache.bytes) == (1, 40)


def test_a_watched_batch_stays_small(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    look = Family.look

    def spy(self: Family, loaded: Loaded, tensors: dict[str, Any], receipts: Any, *, kept: Any) -> Any:
        seen.append(len(tensors["pixel_values"]))
        return look(self, loaded, tensors, receipts, kept=kept)

    monkeypatch.setattr(Family, "look", spy)
    vlm.run([request("watch", "?", *[picture(0, (20, 20))] * 24) for _ in range(6)], max_tokens=1)
    assert seen == [96, 48]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a test went to the network")

    monkeypatch.setattr("socket.create_connection", refuse)


def test_a_picture_in_memory_is_not_bounded_twice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from imglish.engine import _opening

    limits: list[int | None] = []

    def record(source: Any, *, max_pixels: int | None = None) -> Any:
        limits.append(max_pixels)
        return Image.new("RGB", (8, 8))

    monkeypatch.setattr(_opening, "open_image", record)
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as lazy:  # its pixels are still to be decoded: the limit holds
        parts = (ImagePart(Image.new("RGB", (300, 200))), ImagePart(lazy), ImagePart(tmp_path / "a.png"))
        open_request(Request("ask", (Message("user", parts),)))
    assert limits == [60000, None, None]


def test_many_results_do_not_hold_the_pictures_of_files(tmp_path: Path) -> None:
    vlm = VLM(FAMILIES.get("llava")().tiny(), max_tokens=2)
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for number, file in enumerate(files):
        Image.new("RGB", (90, 60), (80 * number, 0, 0)).save(file)
    requests = [Request("caption", (Message("user", (ImagePart(file), TextPart(""))),)) for file in files]
    results = vlm.run(requests)
    assert [result.picture for result in results] == files
    assert [result.draw(scale=1).getpixel((89, 0)) for result in results] == [(80 * n, 0, 0) for n in range(3)]
    files[0].unlink()
    with pytest.raises(ImageError, match="no file"):
        results[0].draw()
    assert isinstance(vlm.run(requests[1:2])[0].picture, Image.Image)
    held = Request("caption", (Message("user", (ImagePart(Image.new("RGB", (9, 9))), TextPart(""))),))
    assert isinstance(vlm.run([held, held])[1].picture, Image.Image)
