"""Compiled steps: the logits of transformers, the same for a row whatever is beside it, and a way on without them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GemmaConfig, GemmaForCausalLM, Qwen3Config, Qwen3ForCausalLM

import test_engine_fast as fast
from imglish.engine import _fast_choice, _fast_weights, _native, _quantized_plain
from imglish.engine._fast_layout import Layout, _compiled, layout_of
from imglish.engine._fast_native import Native
from imglish.engine._native_products import fits, matrix, product
from imglish.engine._quantized_plain import PlainInt8Linear
from imglish.engine.fast import LeanStepper
from test_engine_fast import close, followed, made, reference, stepper_of, texts

WIDE = {"hidden_size": 128, "intermediate_size": 96}
KINDS = ["llama", "llama with biases, tied", "llama, scaled positions", "qwen2", "qwen2, window in upper layers"]
KINDS += ["mistral, window", "phi3", "qwen3", "gemma"]
needs_compiler = pytest.mark.skipif(_native.library() is None, reason=_native.why_not())


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of sizes that compiled code takes, and a layout that is always for it."""
    for name, value in WIDE.items():
        monkeypatch.setitem(fast.SMALL, name, value)
    for kind, model, config in (
        ("qwen3", Qwen3ForCausalLM, Qwen3Config), ("gemma", GemmaForCausalLM, GemmaConfig),
    ):  # fmt: skip
        sizes = {**fast.SMALL, "head_dim": 32, "initializer_range": 0.1}
        monkeypatch.setitem(fast.KINDS, kind, lambda m=model, c=config, s=sizes: m(c(**s)))
    monkeypatch.setattr(_fast_weights, "layout_of", lambda weights: Layout(native=8, threads=2))


@pytest.fixture
def unknown() -> Iterator[None]:
    """Nothing is known of what was compiled before, nor afterwards of what a test found."""
    _native._found.cache_clear()
    yield
    _native._found.cache_clear()


def native_of(model: Any) -> LeanStepper:
    stepper = stepper_of(model)
    assert isinstance(stepper.native, Native)
    return stepper


@needs_compiler
@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("kind", KINDS)
def test_compiled_steps_have_the_logits_of_transformers(kind: str) -> None:
    model = made(kind)
    followed(model, native_of(model), texts(model, 9, 14, 11, 20, 8), [4, 9, 6, 15, 3])
    followed(model, native_of(model), texts(model, 90), [1])  # more keys than are attended over at once


@needs_compiler
@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("kind", KINDS)
def test_they_go_on_from_prefixes_in_several_parts_and_take_turns_with_all_else(kind: str) -> None:
    model = made(kind)
    stepper = native_of(model)
    first, *rows = texts(model, 70, 6, 4, 7)
    _, (slot,) = stepper.prefill(first[None])
    past = stepper.past(slot)
    whole = [torch.cat((first, row)) for row in rows]
    followed(model, stepper, whole, [73, 72, 75], past)
    wanted = reference(model, whole[0])
    close(stepper.step(rows[0][:1], [slot])[0], wanted[70])
    longer = stepper.past(slot)
    (one,) = stepper.fork(slot)
    close(stepper.extend([rows[0][1:3].tolist()], [one])[0], wanted[71:73])
    close(stepper.step(rows[0][3:4], [one])[0], wanted[73])
    stepper.rewind(one, 71, 71)
    _, (other,) = stepper.prefill(rows[0][1:2][None], past=longer)
    both = stepper.step(torch.stack((rows[0][1], rows[0][2])), [one, other])  # of two groups
    close(both, wanted[71:73])


@needs_compiler
@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_row_has_the_same_numbers_whatever_stands_beside_it(
    threads: int, precision: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = made("qwen2").to(precision)
    rows = texts(model, 12, 7, 9, 5, 6, 10, 11)
    alone = [_written(native_of(model), [row]) for row in rows]
    monkeypatch.setattr(_fast_weights, "layout_of", lambda weights: Layout(native=8, threads=threads))
    model.model.layers[0].mlp.up_proj.weight.data.add_(0)  # read anew
    model.model.layers[0].mlp.up_proj.weight.data = model.model.layers[0].mlp.up_proj.weight.data.clone()
    stepper = native_of(model)
    assert stepper.native is not None
    assert stepper.native.threads == threads
    for got, wanted in zip(_written(stepper, rows), alone, strict=True):
        assert torch.equal(got, wanted[0])


def _written(stepper: LeanStepper, rows: list[torch.Tensor]) -> list[torch.Tensor]:
    """Logits of three tokens after each row; the prompts are read one by one."""
    slots = [stepper.prefill(row[None])[1][0] for row in rows]
    found = [stepper.step(torch.full((len(rows),), token), slots) for token in (5, 9, 14)]
    stepper.drop(slots)
    return list(torch.stack(found, dim=1))


@needs_compiler
@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("kept", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["llama with biases, tied", "gemma", "qwen3", "mistral, window"])
def test_weights_and_keys_in_bfloat16_are_as_near_as_bfloat16_is(
    kind: str, kept: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imglish.engine.fast.choice.attention_of", lambda *about: (kept, _fast_choice.plain_attention))
    model = made(kind)
    (ids,) = texts(model, 40)
    model = model.to(torch.bfloat16)
    wanted = reference(model.float(), ids)[29:]
    stepper = native_of(model.to(torch.bfloat16))
    logits, slots = stepper.prefill(ids[None, :30])
    got = [logits[0].float(), *(stepper.step(ids[at : at + 1], slots)[0] for at in range(30, 40))]
    assert (torch.stack(got) - wanted).abs().mean() / wanted.std() < 0.03


@needs_compiler
@pytest.mark.parametrize("rows", [1, 2, 4, 7, 16])
@pytest.mark.parametrize("outputs", [3, 8, 61])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.int8])
def test_a_product_alone_is_that_of_torch(rows: int, outputs: int, kind: torch.dtype) -> None:
    made = torch.Generator().manual_seed(rows)
    for inputs in (32, 2080):  # shorter than a page, and longer
        x = torch.randn(rows, inputs, generator=made)
        weight, bias, scale = torch.randn(outputs, inputs, generator=made), torch.randn(outputs), torch.rand(outputs)
        weight = (weight * 30).clamp(-127, 127).round() if kind == torch.int8 else weight
        weight = weight.to(kind)
        assert fits(weight)
        wanted = (x.double() @ weight.double().T * (scale if kind == torch.int8 else 1) + bias).float()
        by = matrix(weight, bias, scale if kind == torch.int8 else None)
        torch.testing.assert_close(product(x, by, 2), wanted, rtol=1e-4, atol=1e-2 if kind == torch.int8 else 1e-3)


@needs_compiler
def test_sizes_and_places_that_compiled_code_does_not_take_are_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not fits(torch.zeros(4, 16).bfloat16())  # half of what it needs
    assert not fits(torch.zeros(4, 24))
    assert not fits(torch.zeros(32, 32).T[:, ::2])
    assert not fits(torch.zeros(4, 32).half())
    monkeypatch.setattr(_fast_weights, "layout_of", lambda weights: Layout(native=8, threads=2))
    model = made("llama")  # heads of 8
    assert stepper_of(model).native is None
    followed(model, stepper_of(model), texts(model, 9, 14), [4, 9])


def test_compiled_code_is_used_for_as_many_tokens_as_it_is_quick_for() -> None:
    torch_takes = {1: 2.0, 4: 2.2, 8: 2.4}

    def rows(*times: float) -> tuple[int, int]:
        each = zip(torch_takes.items(), times, strict=True)
        return _compiled({n: {"linear": took, "native 1": 2 * mine, "native 2": mine} for (n, took), mine in each})

    assert rows(1.0, 1.1, 1.2) == (8, 2)
    assert rows(1.0, 2.4, 9.0) == (4, 2)  # a little slower, and what a step saves beside it is more
    assert rows(1.0, 9.0, 1.2) == (1, 2)
    assert rows(9.0, 1.0, 1.0) == (0, 1)
    assert _compiled({1: {"linear": 1.0}}) == (0, 1)


@needs_compiler
def test_the_layout_is_measured_on_this_processor() -> None:
    found = layout_of([torch.randn(64, 64) for _ in range(3)])
    assert found.native in (0, 1, 4, 8)
    assert not (found.native and (found.one or found.own_loop))


@needs_compiler
@pytest.mark.usefixtures("compiled")
def test_the_model_goes_on_with_the_weights_that_were_moved(tmp_path: Path) -> None:
    model = made("qwen2").to(torch.bfloat16)
    (ids,) = texts(model, 9)
    before = reference(model, ids)
    native_of(model)
    assert torch.equal(reference(model, ids), before)
    again = type(model).from_pretrained(_saved(model, tmp_path)).eval()
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), again.parameters(), strict=True))
    model.train()
    model(input_ids=ids[None], labels=ids[None]).loss.backward()
    assert model.model.layers[0].mlp.up_proj.weight.grad is not None


def _saved(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    return folder


@needs_compiler
@pytest.mark.parametrize("bias", [True, False])
def test_plain_int8_is_near_and_each_token_for_itself(bias: bool) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        linear = torch.nn.Linear(128, 64, bias=bias)
    layer = PlainInt8Linear(linear)
    x = torch.randn(40, 128, generator=torch.Generator().manual_seed(3)) * torch.logspace(-2, 2, 40)[:, None]
    with torch.inference_mode():
        for some in (x, x[:5], x[7:8], x[:6].view(2, 3, 128)):
            wanted, got = linear(some), layer(some)
            assert got.shape == wanted.shape
            assert ((got - wanted).norm(dim=-1) / wanted.norm(dim=-1)).max() < 0.02
        assert torch.equal(layer(x)[::2], layer(x * torch.tensor([1, 1000] * 20)[:, None])[::2])


@needs_compiler
@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("kind", ["llama with biases, tied", "phi3", "qwen3"])
def test_int8_is_stepped_by_compiled_code_as_it_is_by_torch(kind: str) -> None:
    model = made(kind)
    for layer in model.model.layers:
        for parent in layer.modules():
            for name, child in list(parent.named_children()):
                if type(child) is torch.nn.Linear:
                    setattr(parent, name, PlainInt8Linear(child))
    (ids,) = texts(model, 20)
    with torch.inference_mode():
        wanted = reference(model, ids)
        stepper = native_of(model)
        _, slots = stepper.prefill(ids[None, :2])
        steps = [stepper.step(ids[at : at + 1], slots)[0] for at in range(2, 20)]
        far = (torch.stack(steps) - wanted[2:]).abs().mean() / wanted.std()
        assert 0 < far < 0.1  # prompts are read in int8 themselves, steps are not
        stepper.decoder.steps.clear()
        _, (slot,) = stepper.prefill(ids[None, :2])
        torch_alone = [stepper.extend([[token]], [slot])[0][0] for token in ids[2:].tolist()]
    close(torch.stack(steps), torch.stack(torch_alone))


def test_int8_lies_plain_only_where_that_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    _quantized_plain.is_quick.cache_clear()
    times = {"fbgemm": 1.0, "plain": 1.1}
    monkeypatch.setattr(_quantized_plain.choice, "timed", lambda ways, device: times)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_vnni": True})
    assert _quantized_plain.is_quick() == (_native.library() is not None)
    _quantized_plain.is_quick.cache_clear()
    times["plain"] = 1.5
    assert not _quantized_plain.is_quick()
    _quantized_plain.is_quick.cache_clear()
    times["plain"] = 0.5
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)  # sums could saturate
    assert not _quantized_plain.is_quick()
    _quantized_plain.is_quick.cache_clear()


@pytest.mark.usefixtures("unknown")
@pytest.mark.parametrize(
    ("name", "value", "why"), [("IMGLISH_NATIVE", "0", "IMGLISH_NATIVE is 0"), ("CC", "no-such-cc", "no-such-cc")]
)
def test_without_compiled_code_everything_goes_on(
    name: str, value: str, why: str, monkeypatch: pytest.MonkeyPatch, compiled: None
) -> None:
    monkeypatch.setenv(name, value)
    assert _native.library() is None
    assert why in _native.why_not()
    model = made("qwen2")
    stepper = stepper_of(model)
    assert stepper.native is None
    assert layout_of([torch.randn(64, 64)]).native == 0


@pytest.mark.usefixtures("unknown")
def test_a_compiler_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho 'no room left' >&2\nexit 1\n")
    broken.chmod(0o700)
    monkeypatch.setenv("CC", str(broken))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert _native.library() is None
    assert "no room left" in _native.why_not()


@needs_compiler
@pytest.mark.usefixtures("unknown")
def test_what_is_compiled_is_kept_and_nobody_else_can_have_written_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "imglish" / "native"
    assert _native._loaded() is not None
    (made,) = folder.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    was = made.stat().st_mtime_ns
    assert _native._loaded() is not None
    assert made.stat().st_mtime_ns == was  # not compiled again
    os.utime(made, ns=(1, 1))
    made.chmod(0o777)
    assert _native._loaded() is not None
    assert made.stat().st_mtime_ns > 1  # somebody could have written it: made anew
    folder.chmod(0o777)
    made.unlink()
    assert _native._loaded() is not None
    assert not list(folder.iterdir())  # nothing is put where others can write
