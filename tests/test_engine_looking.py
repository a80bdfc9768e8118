"""Encoders of pictures in compiled code: as near to float32 as bfloat16 is, only where nobody would notice else."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel, SiglipVisionConfig, SiglipVisionModel

from imglish.engine import _fast_looking, _native
from imglish.engine._fast_looking import forget, looked, quick_looks

pytestmark = pytest.mark.skipif(not _native.reads(), reason="no compiler, or a processor without products of bfloat16")
SIZES = {"hidden_size": 128, "intermediate_size": 160, "num_hidden_layers": 3, "num_attention_heads": 2}
SIZES |= {"patch_size": 14}  # type: ignore[dict-item]


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled code is taken wherever it can be."""
    monkeypatch.setattr(_fast_looking, "_is_quick", lambda *about: True)


def encoder(name: str, side: int = 70) -> Any:
    torch.manual_seed(0)
    kinds: dict[str, Any] = {
        "clip": lambda: CLIPVisionModel(CLIPVisionConfig(**SIZES, image_size=side)),
        "clip of OpenCLIP": lambda: CLIPVisionModel(CLIPVisionConfig(**SIZES, image_size=side, hidden_act="gelu")),
        "siglip": lambda: SiglipVisionModel(SiglipVisionConfig(**SIZES, image_size=side)),
    }
    model = kinds[name]().eval()
    for weight in model.parameters():  # those of norms and biases count, too
        torch.nn.init.normal_(weight, mean=0.0 if weight.dim() > 1 else 0.3, std=0.1 if weight.dim() > 1 else 0.3)
    return model.to(torch.bfloat16)


def seen(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model(pixels.to(model.dtype), output_hidden_states=True).hidden_states[-1].float()


@pytest.mark.parametrize("name", ["clip", "clip of OpenCLIP", "siglip"])
@pytest.mark.parametrize(("side", "pictures"), [(28, 3), (56, 2), (84, 1), (140, 2)])
def test_it_is_nearer_to_float32_than_torch_in_bfloat16(name: str, side: int, pictures: int) -> None:
    model = encoder(name, side)
    pixels = torch.randn(pictures, 3, side, side)
    wanted = seen(copy.deepcopy(model).float(), pixels.bfloat16())
    plain = seen(model, pixels)
    with quick_looks(model):
        quick = seen(model, pixels)
    assert not torch.equal(quick, plain)
    assert (quick - wanted).abs().mean() < 1.05 * (plain - wanted).abs().mean()
    assert torch.equal(seen(model, pixels), plain)  # the model is as it was


def test_a_picture_has_the_same_numbers_whatever_is_seen_beside_it_and_however_many_threads() -> None:
    layer = encoder("clip").encoder.layers[1]
    x = torch.randn(3, 26, 128).bfloat16()
    every = looked(layer, x)
    was = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            assert torch.equal(torch.cat([looked(layer, one[None]) for one in x]), every)
    finally:
        torch.set_num_threads(was)


def test_weights_that_change_are_read_anew() -> None:
    model, pixels = encoder("clip"), torch.randn(1, 3, 70, 70)
    with quick_looks(model):
        before = seen(model, pixels)
    layer = model.encoder.layers[0]
    with torch.no_grad():
        layer.mlp.fc2.bias.add_(1)
    with quick_looks(model):
        after = seen(model, pixels)
    assert not torch.equal(before, after)
    assert torch.allclose(after, seen(model, pixels), atol=0.2 * float(after.std()))


def test_weights_written_to_where_nobody_sees_it_are_read_anew_after_forget() -> None:
    model, x = encoder("siglip"), torch.randn(1, 26, 128).bfloat16()
    layer = model.encoder.layers[0]
    before = looked(layer, x)
    layer.layer_norm1.weight.data.mul_(3)
    layer.mlp.fc2.bias.data.add_(2)
    forget(model)
    after = looked(layer, x)
    with torch.inference_mode():
        wanted = layer(x, None)
    assert not torch.equal(before, after)
    assert (after.float() - wanted.float()).abs().mean() < 0.05 * wanted.float().std()


@pytest.mark.parametrize("why", ["listened to", "adapter", "activation", "training", "float32", "gradients"])
def test_all_else_is_left_to_torch(why: str) -> None:
    model, pixels = encoder("clip"), torch.randn(1, 3, 70, 70)
    layers = model.encoder.layers
    if why == "listened to":
        for layer in layers:
            layer.mlp.fc1.register_forward_hook(lambda *about: None)
    elif why == "adapter":
        for layer in layers:
            layer.self_attn.q_proj = type("Adapted", (torch.nn.Linear,), {})(128, 128).to(torch.bfloat16)
    elif why == "activation":
        for layer in layers:
            layer.mlp.activation_fn = torch.nn.ReLU()
    elif why == "training":
        model.train()
    elif why == "float32":
        model.float()
    wanted = seen(model, pixels)
    with quick_looks(model):
        if why == "gradients":
            out = model(pixels.bfloat16(), output_hidden_states=True).hidden_states[-1]
            out.float().sum().backward()
            assert layers[0].mlp.fc1.weight.grad is not None
        else:
            assert torch.equal(seen(model, pixels), wanted)


def test_a_layer_that_must_not_look_ahead_is_left_to_torch() -> None:
    model, x = encoder("clip"), torch.randn(1, 26, 128).bfloat16()
    layer = model.encoder.layers[0]
    with torch.inference_mode():
        wanted, plain = layer(x, None, is_causal=True), layer(x, None)
        with quick_looks(model):
            assert torch.equal(layer(x, None, is_causal=True), wanted)
    assert not torch.equal(wanted, plain)


def test_hidden_states_of_all_layers_are_still_noted() -> None:
    model, pixels = encoder("clip"), torch.randn(1, 3, 70, 70).bfloat16()
    with torch.inference_mode():
        model(pixels, output_hidden_states=True)
        with quick_looks(model):
            found = model(pixels, output_hidden_states=True).hidden_states
    assert len(found) == 4
    assert len({float(one.float().sum()) for one in found}) == 4
