"""Weights in fewer bits: near to what they were, for each token alone, in every family, and refused where no gain."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

import imglish
from imglish.core.errors import InputError
from imglish.engine import quantize as module
from imglish.engine._quantized import Int4Linear, Int8Linear
from imglish.engine._quantized_plain import PlainInt8Linear
from imglish.engine.load import FAMILIES
from imglish.engine.quantize import quantize
from imglish.engine.why import why_plain

needs_x86 = pytest.mark.skipif(
    "fbgemm" not in torch.backends.quantized.supported_engines, reason="the kernels are for x86"
)


def linear(rows: int = 64, columns: int = 128, *, bias: bool = True) -> nn.Linear:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return nn.Linear(columns, rows, bias=bias)


def inputs(count: int, columns: int = 128) -> torch.Tensor:
    made = torch.randn(count, columns, generator=torch.Generator().manual_seed(3))
    return made * torch.logspace(-2, 2, count)[:, None]  # tokens of very different size


@needs_x86
@pytest.mark.parametrize(("kind", "most"), [(Int8Linear, 0.02), (Int4Linear, 0.12)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_quantised_layer_is_near_to_what_it_was_made_of(kind: type[nn.Module], most: float, bias: bool) -> None:
    exact = linear(bias=bias)
    with torch.inference_mode():
        for x in (inputs(5), inputs(1), inputs(6).view(2, 3, 128)):
            wanted, got = exact(x), kind(exact)(x)
            assert got.shape == wanted.shape
            far = (got - wanted).norm(dim=-1) / wanted.norm(dim=-1)
            assert far.max() < most


@needs_x86
def test_no_token_changes_another_ones_precision() -> None:
    layer, x = Int8Linear(linear()), inputs(5)
    with torch.inference_mode():
        together, others = layer(x), layer(x * torch.tensor([1, 1000, 1, 1000, 1])[:, None])
    torch.testing.assert_close(together[::2], others[::2], rtol=0, atol=0)


@needs_x86
@pytest.mark.parametrize("name", FAMILIES.names())
def test_every_family_can_be_quantised_and_asked(name: str) -> None:
    loaded = FAMILIES.get(name)().tiny()
    head = loaded.model.get_output_embeddings().weight.clone()
    was_lean = why_plain(loaded.model) == ""
    agreement = quantize(loaded, "int8")
    assert agreement.tokens == 32
    assert agreement.same > 0.6  # the smallest of random models
    assert agreement.divergence < 1
    assert agreement.saved > 0
    assert f"{agreement.same:.1%} of 32" in str(agreement)
    assert torch.equal(loaded.model.get_output_embeddings().weight, head)
    assert (why_plain(loaded.model) == "") == was_lean
    with pytest.raises(InputError, match="no matrices"):
        quantize(loaded, "int8")


@needs_x86
def test_the_vision_encoder_stays_as_it_is() -> None:
    loaded = FAMILIES.get("llava")().tiny()
    before = {name: type(one) for name, one in loaded.model.named_modules() if "vision" in name}
    quantize(loaded, "int8")
    assert before == {name: type(one) for name, one in loaded.model.named_modules() if "vision" in name}
    assert isinstance(loaded.model.model.language_model.layers[0].mlp.up_proj, Int8Linear | PlainInt8Linear)


@needs_x86
def test_int4_is_refused_where_it_is_slower_and_taken_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = FAMILIES.get("imglish")().tiny()
    monkeypatch.setattr(module, "_seconds", lambda: (1.0, 1.5))
    with pytest.raises(InputError, match=r"1\.5 times as long"):
        quantize(loaded, "int4")
    assert not any(hasattr(one, "quantised") for one in loaded.model.modules())
    monkeypatch.setattr(module, "_seconds", lambda: (1.0, 0.5))
    quantize(loaded, "int4")
    assert any(getattr(one, "quantised", "") for one in loaded.model.modules())


@needs_x86
def test_a_checkpoint_is_quantised_when_it_is_loaded_and_says_what_that_costs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny = FAMILIES.get("imglish")().tiny()
    tiny.model.save_pretrained(tmp_path)
    tiny.processor.save_pretrained(tmp_path)
    with caplog.at_level("INFO", "imglish"):
        vlm = imglish.load(tmp_path, quantize="int8")
    assert str(vlm.loaded.extra["agreement"]) in caplog.text
    assert vlm.ask(Image.new("RGB", (40, 30), "red"), "What colour?", max_tokens=3).receipt is not None


def test_an_unknown_kind_is_named_with_those_there_are() -> None:
    with pytest.raises(InputError, match="int8, int4"):
        quantize(FAMILIES.get("imglish")().tiny(), "int3")
