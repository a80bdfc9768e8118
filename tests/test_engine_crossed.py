"""The lean stepper of encoder-decoders: the logits of transformers, alone and together, and a way on without it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

from imglish.engine import _cross_weights, _native
from imglish.engine._cross_weights import NotLean, find
from imglish.engine._fast_layout import Layout
from imglish.engine.crossed import CrossedStepper, crossed
from imglish.engine.generate import Options
from imglish.engine.load import FAMILIES
from imglish.engine.loop import stepper_of
from imglish.engine.quantize import quantize
from imglish.engine.runner import Runner
from imglish.engine.seq2seq import Seq2SeqStepper
from imglish.engine.vlm import VLM
from imglish.families._base import Loaded
from test_beams import searched
from test_loop import generated, requests_of, written

pytestmark = pytest.mark.skipif(_native.library() is None, reason=_native.why_not())
SIZES = [(64, 2, 96), (128, 2, 64), (96, 3, 160)]  # hidden, heads, between the two matrices


@pytest.fixture(autouse=True)
def compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layout that is always for compiled code."""
    monkeypatch.setattr(_cross_weights, "layout_of", lambda weights: Layout(native=4, threads=2))


def made(hidden: int = 64, heads: int = 2, wide: int = 96, layers: int = 3) -> Loaded:
    """Florence-2 with heads of sizes that compiled code takes."""
    loaded = FAMILIES.get("florence2")().tiny()
    config = copy.deepcopy(loaded.model.config)
    config.vision_config.projection_dim = config.text_config.d_model = hidden
    config.text_config.decoder_attention_heads = config.text_config.encoder_attention_heads = heads
    config.text_config.decoder_layers, config.text_config.decoder_ffn_dim = layers, wide
    config.text_config.scale_embedding = wide == 160
    torch.manual_seed(0)
    model = type(loaded.model)(config).eval()
    with torch.no_grad():
        for name, weight in model.model.language_model.decoder.named_parameters():
            if "norm" in name or name.endswith("bias"):  # or mistakes with them change nothing
                weight += 0.3 * torch.randn_like(weight)
    model.generation_config = loaded.model.generation_config
    return Loaded(model, loaded.processor, loaded.family, "small")


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return made()


def stepper_for(model: Any) -> CrossedStepper:
    found = crossed(model)
    assert found is not None
    return found


def embeds(model: Any, *lengths: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    hidden = model.config.get_text_config().d_model
    return [torch.randn(1, n, hidden, generator=generator).to(model.dtype) for n in lengths]


def texts(model: Any, *lengths: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [torch.randint(3, model.config.get_text_config().vocab_size, (n,), generator=generator) for n in lengths]


@torch.inference_mode()
def reference(model: Any, seen: Tensor, ids: Tensor) -> Tensor:
    """Logits (length, vocab) by transformers' own forward, which reads all at once."""
    text = model.model.language_model
    hidden = text.encoder(inputs_embeds=seen)[0]
    found = text.decoder(input_ids=ids[None], encoder_hidden_states=hidden)
    logits: Tensor = model.get_output_embeddings()(found[0])[0]
    return logits


def close(got: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(got.float(), wanted.float(), atol=1e-4, rtol=1e-4)


def begun(
    stepper: Any, seen: Sequence[Tensor], ids: Sequence[Tensor], count: int = 1
) -> tuple[list[Tensor], list[Any]]:
    made = [stepper.prefill(row[None, :count], past=stepper.encode(one)) for one, row in zip(seen, ids, strict=True)]
    return [logits[0] for logits, _ in made], [slots[0] for _, slots in made]


@pytest.mark.parametrize("sizes", SIZES)
def test_steps_have_the_logits_of_transformers(sizes: tuple[int, int, int]) -> None:
    model = made(*sizes).model
    stepper, seen, ids = stepper_for(model), embeds(model, 30, 5, 71, 30, 130, 2), texts(model, *[9] * 6)
    wanted = [reference(model, one, row) for one, row in zip(seen, ids, strict=True)]
    first, slots = begun(stepper, seen, ids)
    for place, logits in enumerate(first):
        close(logits, wanted[place][0])
    for at in range(1, 9):
        for place, logits in enumerate(stepper.step(torch.stack([row[at] for row in ids]), slots)):
            close(logits, wanted[place][at])


def test_more_than_keys_that_are_attended_over_at_once(loaded: Loaded) -> None:
    model = loaded.model
    stepper, seen, (ids,) = stepper_for(model), embeds(model, 20), texts(model, 150)
    _, slots = begun(stepper, seen, [ids])
    got = torch.stack([stepper.step(ids[at : at + 1], slots)[0] for at in range(1, 150)])
    close(got, reference(model, seen[0], ids)[1:])


def test_several_tokens_at_once_and_one_after_another_agree(loaded: Loaded) -> None:
    model = loaded.model
    stepper, seen, ids = stepper_for(model), embeds(model, 30, 5, 40), texts(model, 9, 12, 10)
    wanted = [reference(model, one, row) for one, row in zip(seen, ids, strict=True)]
    first, slots = begun(stepper, seen, ids, 3)
    for place, logits in enumerate(first):
        close(logits, wanted[place][2])
    rest = [row[3:count].tolist() for row, count in zip(ids, (4, 9, 6), strict=True)]
    for place, logits in enumerate(stepper.extend(rest, slots)):
        close(logits, wanted[place][3 : 3 + len(rest[place])])
    assert [slot.length for slot in slots] == [4, 9, 6]
    for place, logits in enumerate(stepper.step(torch.tensor([ids[0][4], ids[1][9], ids[2][6]]), slots)):
        close(logits, wanted[place][slots[place].length - 1])


def test_rows_fork_go_back_and_leave(loaded: Loaded) -> None:
    model = loaded.model
    stepper, (seen,), (ids, other) = stepper_for(model), embeds(model, 30), texts(model, 8, 8)
    mixed = torch.cat((ids[:4], other[4:]))
    wanted, differently = reference(model, seen, ids), reference(model, seen, mixed)
    _, (slot,) = begun(stepper, [seen], [ids], 4)
    one, two = stepper.fork(slot, 2)
    for at in (4, 5):
        close(stepper.step(torch.stack((ids[at], mixed[at])), [one, two]), torch.stack((wanted[at], differently[at])))
    stepper.drop([slot])
    close(stepper.step(torch.stack((mixed[6], ids[6])), [two, one]), torch.stack((differently[6], wanted[6])))
    stepper.rewind(two, 4, 4)
    close(stepper.step(ids[4:5], [two])[0], wanted[4])
    past = stepper.past(two)
    stepper.drop([one, two])
    assert not stepper.group.rows and not stepper.group.kv
    logits, _ = stepper.prefill(ids[None, 5:6], past=past)
    close(logits[0], wanted[5])
    logits, _ = stepper.prefill(ids[None, 3:5], past=past.cut(3, 3))
    close(logits[0], wanted[4])
    assert past.nbytes > past.kept.encoded.nbytes > 0


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_row_has_the_same_numbers_whatever_stands_beside_it(
    threads: int, precision: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = made().model.to(precision)
    seen, ids = embeds(model, 30, 5, 71, 30, 90, 14, 8), texts(model, *[5] * 7)
    alone = [_stepped(stepper_for(model), [one], [row])[0] for one, row in zip(seen, ids, strict=True)]
    monkeypatch.setattr(_cross_weights, "layout_of", lambda weights: Layout(native=4, threads=threads))
    stepper = stepper_for(made().model.to(precision))
    assert stepper.native.threads == threads
    for got, wanted in zip(_stepped(stepper, seen, ids), alone, strict=True):
        assert torch.equal(got, wanted)


def _stepped(stepper: Any, seen: Sequence[Tensor], ids: Sequence[Tensor]) -> list[Tensor]:
    _, slots = begun(stepper, seen, ids)
    steps = [stepper.step(torch.stack([row[at] for row in ids]), slots) for at in range(1, len(ids[0]))]
    return list(torch.stack(steps, dim=1))


def test_bfloat16_is_as_near_to_float32_as_transformers_is(loaded: Loaded) -> None:
    exact, seen, ids = made(128, 4, 256).model, embeds(loaded.model, 40, 90), texts(loaded.model, 20, 20)
    seen = embeds(exact, 40, 90)
    wanted = [reference(exact, one, row)[1:] for one, row in zip(seen, ids, strict=True)]
    model = copy.deepcopy(exact).bfloat16()
    rounded = [one.bfloat16() for one in seen]
    got = _stepped(stepper_for(model), rounded, ids)
    plain = [reference(model, one, row)[1:].float() for one, row in zip(rounded, ids, strict=True)]
    far = [float((a - b).abs().mean()) for a, b in zip(got, wanted, strict=True)]
    plainly = [float((a - b).abs().mean()) for a, b in zip(plain, wanted, strict=True)]
    assert sum(far) < 1.1 * sum(plainly)


def test_whole_requests_are_those_of_transformers(loaded: Loaded) -> None:
    assert isinstance(stepper_of(loaded), CrossedStepper)
    requests = requests_of(loaded)
    vlm = VLM(loaded)
    expected = [generated(loaded, request, Options(max_tokens=12)) for request in requests]
    assert written(vlm, requests, max_tokens=12, beams=1) == expected
    assert [written(vlm, [one], max_tokens=12, beams=1, cache=False)[0] for one in requests] == expected
    assert written(vlm, requests, max_tokens=10, beams=3) == [searched(loaded, request, 3) for request in requests]


def test_scores_are_those_of_the_other_stepper(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    (request, *_), options = requests_of(loaded), ["a cat", "two dogs", "no", "a cat on a chair"]
    got = VLM(loaded).score(request.messages, options)
    with monkeypatch.context() as patch:
        patch.setattr("imglish.engine.loop.crossed", lambda _: None)
        wanted = VLM(loaded).score(request.messages, options)
        assert isinstance(stepper_of(loaded), Seq2SeqStepper)
    assert got.plain == pytest.approx(wanted.plain, abs=1e-3)


def test_what_the_other_stepper_kept_is_gone_on_from(loaded: Loaded) -> None:
    model = loaded.model
    other, stepper, (seen,), (ids,) = Seq2SeqStepper(model), stepper_for(model), embeds(model, 30), texts(model, 6)
    _, (slot,) = other.prefill(ids[None, :3], past=other.encode(seen))
    logits, _ = stepper.prefill(ids[None, 3:5], past=other.past(slot))
    close(logits[0], reference(model, seen, ids)[4])


def test_weights_that_change_are_read_again() -> None:
    loaded = made()
    model = loaded.model
    seen, ids = embeds(model, 12), texts(model, 4)
    before = _stepped(stepper_for(model), seen, ids)[0]
    with torch.no_grad():
        model.model.language_model.decoder.layers[1].encoder_attn.q_proj.weight *= 3
    after = _stepped(stepper_for(model), seen, ids)[0]
    assert not torch.allclose(before, after)
    close(after, reference(model, seen[0], ids[0])[1:])


def test_weights_of_few_bits_are_multiplied_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imglish.engine.quantize.is_quick", lambda: True)
    loaded = made(128, 4, 128)
    quantize(loaded, "int8")
    model = loaded.model
    seen, ids = embeds(model, 25, 40), texts(model, 6, 6)
    got = _stepped(stepper_for(model), seen, ids)
    for one, row, logits in zip(seen, ids, got, strict=True):
        wanted = reference(model, one, row)[1:]
        assert float((logits - wanted).abs().mean() / wanted.std()) < 0.03  # inputs are not rounded here


@pytest.mark.parametrize("broken", ["hook", "training", "activation", "layer", "forward"])
def test_what_is_otherwise_is_left_to_transformers(broken: str) -> None:
    loaded = made()
    decoder = loaded.model.model.language_model.decoder
    if broken == "hook":
        decoder.layers[1].fc1.register_forward_hook(lambda *_: None)
    elif broken == "training":
        loaded.model.train()
    elif broken == "activation":
        decoder.layers[0].activation_fn = torch.nn.ReLU()
    elif broken == "layer":
        decoder.layers[1].fc2 = torch.nn.Sequential(decoder.layers[1].fc2)
    else:
        decoder.layers[0].forward = decoder.layers[0].forward
    with pytest.raises(NotLean):
        find(loaded.model)
    assert isinstance(stepper_of(loaded), Seq2SeqStepper)


def test_a_prompt_begins_with_what_was_encoded(loaded: Loaded) -> None:
    stepper = stepper_for(loaded.model)
    with pytest.raises(ValueError, match="what it encoded"):
        stepper.prefill(torch.tensor([[1]]))
    other = Seq2SeqStepper(loaded.model)
    _, slots = other.prefill(torch.tensor([[1]]), past=other.encode(embeds(loaded.model, 3)[0]))
    with pytest.raises(TypeError, match="another stepper"):
        stepper.step(torch.tensor([1]), slots)


def test_memory_that_ends_leaves_no_row(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    stepper, (seen,) = stepper_for(loaded.model), embeds(loaded.model, 9)

    def fail(*_: Any) -> Tensor:
        raise MemoryError

    past = stepper.encode(seen)
    monkeypatch.setattr(stepper.native, "step", fail)
    with pytest.raises(MemoryError):
        stepper.prefill(torch.tensor([[3]]), past=past)
    assert not stepper.group.rows


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("lean", [True, False])
def test_several_threads_have_one_model(
    loaded: Loaded, beams: int, lean: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not lean:
        monkeypatch.setattr("imglish.engine.loop.crossed", lambda _: None)
    requests = requests_of(loaded)[:2]
    wanted = [one.raw for one in VLM(loaded, max_tokens=10, beams=beams).run(requests)]
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(VLM(loaded, max_tokens=10, beams=beams).run, requests) for _ in range(12)]
        assert all([one.raw for one in run.result()] == wanted for run in runs)


def test_weights_written_to_where_nobody_sees_it_are_read_again_after_forget() -> None:
    loaded = made()
    model, vlm = loaded.model.bfloat16(), VLM(loaded)
    seen, ids = embeds(model, 12), texts(model, 4)
    stepper_for(model)
    layer = model.model.language_model.decoder.layers[2]
    layer.fc1.bias.data.add_(2)
    layer.final_layer_norm.weight.data.mul_(2)
    vlm.forget()
    after, wanted = _stepped(stepper_for(model), seen, ids)[0], reference(model, seen[0], ids[0])[1:].float()
    assert float((after - wanted).abs().mean() / wanted.std()) < 0.02


def test_a_model_that_went_away_leaves_no_weights_behind() -> None:
    model = made().model
    stepper_for(model)
    assert model in _cross_weights._read
    model.to("meta")
    assert crossed(model) is None and model not in _cross_weights._read


@pytest.mark.parametrize("lean", [True, False])
@pytest.mark.parametrize("beams", [1, 2])
def test_an_answer_ends_where_there_are_no_more_places(lean: bool, beams: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if not lean:
        monkeypatch.setattr("imglish.engine.loop.crossed", lambda _: None)
    loaded = made(layers=1)
    places = loaded.model.model.language_model.decoder.embed_positions
    monkeypatch.setattr(loaded.model.config.get_text_config(), "max_position_embeddings", 60)
    places.weight = torch.nn.Parameter(places.weight[: 60 + places.offset].clone())
    for name in ("imglish.engine.beams.ends_of", "imglish.engine.loop.ends_of"):
        monkeypatch.setattr(name, lambda _: set())
    monkeypatch.setattr(loaded.model.generation_config, "eos_token_id", None)
    request = requests_of(loaded)[1]
    (result,) = VLM(loaded).run([request], max_tokens=100, beams=beams, guided=False)
    assert result.receipt is not None and result.receipt.generated_tokens == 60 and result.receipt.truncated
    assert "no place for more" in result.problems[-1].message


def test_half_of_what_another_thread_puts_in_does_no_harm(loaded: Loaded) -> None:
    other = Seq2SeqStepper(loaded.model)
    module, ids = other.text.embed_positions, torch.zeros(1, 3, dtype=torch.long)
    wanted = module(ids, 2)
    with other._place(torch.tensor([[7, 8, 9]])), ThreadPoolExecutor(1) as pool:
        assert torch.equal(pool.submit(module, ids, 2).result(), wanted)
        assert not torch.equal(module(ids, 2), wanted)
        module._forward_pre_hooks_with_kwargs.clear()
        assert torch.equal(pool.submit(module, ids, 2).result(), wanted)
    assert torch.equal(module(ids, 2), wanted)


def test_what_was_measured_is_measured_again_for_another_kind_only(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[torch.dtype] = []

    def layout(weights: Sequence[Tensor]) -> Layout:
        measured.append(weights[0].dtype)
        return Layout(native=4, threads=2)

    monkeypatch.setattr(_cross_weights, "layout_of", layout)
    loaded = made()
    model, vlm = loaded.model, VLM(loaded)
    stepper_for(model)
    hook = model.model.language_model.decoder.layers[0].register_forward_hook(lambda *_: None)
    assert crossed(model) is None
    hook.remove()
    stepper_for(model)
    vlm.forget()
    stepper_for(model)
    assert measured == [torch.float32]
    vlm.forget()
    stepper_for(model.bfloat16())
    assert measured == [torch.float32, torch.bfloat16]


def test_memory_is_asked_for_as_many_tokens_as_can_be_written(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(Runner, "make_room", lambda self, request, options: asked.append(options.max_tokens))
    VLM(loaded).run(requests_of(loaded)[:2], each=[{"max_tokens": 100_000, "deadline": 1e-9}, {"max_tokens": 5}])
    assert sorted(asked) == [5, 1024]


@pytest.mark.parametrize("lean", [True, False])
def test_what_is_kept_of_prompts_is_counted_whole(loaded: Loaded, lean: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not lean:
        monkeypatch.setattr("imglish.engine.loop.crossed", lambda _: None)
    vlm = VLM(loaded, max_tokens=3)
    vlm.run(requests_of(loaded))
    kept = vlm._runner.prefixes
    pasts = [node.past for _, node in kept._used.values()]
    assert len(pasts) > 1 and all(past.kept.encoded.keys for past in pasts)
    assert kept.bytes == sum(past.nbytes for past in pasts)
