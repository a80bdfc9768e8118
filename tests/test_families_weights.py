"""Loading weights: every one where it belongs, or a failure that names those that do not. Small random models."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, PreTrainedModel

from imglish.core.errors import CheckpointError
from imglish.families._weight_files import weight_files
from imglish.families._weights import load_weights


def config(*, tied: bool = False) -> LlavaConfig:
    sizes: dict[str, Any] = {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2,
    }  # fmt: skip
    return LlavaConfig(
        vision_config=CLIPVisionConfig(**sizes, image_size=28, patch_size=14, projection_dim=32),
        text_config=LlamaConfig(**sizes, vocab_size=99, tie_word_embeddings=tied),
        image_token_index=98,
        tie_word_embeddings=tied,
    )


class Sines(PreTrainedModel):
    """A model that is not transformers' own, with a buffer that is not in its file."""

    config_class = LlamaConfig

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.table = nn.Linear(4, 4)
        self.waves: torch.Tensor
        self.register_buffer("waves", torch.linspace(1, 2, 5), persistent=False)
        self.post_init()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llava")
    torch.manual_seed(0)
    LlavaForConditionalGeneration(config()).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "checkpoint"))


def load(folder: Path, **options: Any) -> Any:
    return load_weights(LlavaForConditionalGeneration, folder, config=config(), **options)


def change(folder: Path, **weights: torch.Tensor | None) -> None:
    """Replace weights of the file; None takes one out. `__` stands for a dot."""
    tensors = load_file(folder / "model.safetensors")
    for name, value in weights.items():
        name = name.replace("__", ".")
        tensors.pop(name, None)
        if value is not None:
            tensors[name] = value
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def shard(folder: Path, count: int) -> None:
    """Lay the weights out over several files with an index, as large checkpoints are published."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = [f"model-{n + 1:05}-of-{count:05}.safetensors" for n in range(count)]
    places = {key: names[n % count] for n, key in enumerate(sorted(tensors))}
    for name in names:
        save_file({k: t for k, t in tensors.items() if places[k] == name}, folder / name, {"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


def same(model: nn.Module, folder: Path) -> bool:
    wanted = LlavaForConditionalGeneration.from_pretrained(folder).state_dict()
    return all(torch.equal(value, wanted[name]) for name, value in model.state_dict().items())


def test_every_weight_is_the_one_in_the_file(folder: Path) -> None:
    model = load(folder)
    assert same(model, folder)
    assert not model.training
    assert model.dtype == torch.float32


def test_shards_are_read_as_one(folder: Path, saved: Path) -> None:
    shard(folder, 3)
    assert same(load(folder), saved)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weights_come_in_the_precision_asked_for(folder: Path, dtype: str) -> None:
    assert load(folder, dtype=dtype).dtype == getattr(torch, dtype)


def test_a_missing_weight_is_named(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    lost = next(name for name in tensors if name.endswith("q_proj.weight") and "language" in name)
    change(folder, **{lost: None})
    with pytest.raises(CheckpointError, match=rf"1 missing: \S*{lost.split('language_model.')[-1]}"):
        load(folder)


def test_ten_names_are_shown_and_the_rest_is_counted(folder: Path) -> None:
    change(folder, **{f"more.{n}": torch.zeros(1) for n in range(23)})
    with pytest.raises(CheckpointError, match=r"23 unexpected: more\.0, .* and 13 more") as caught:
        load(folder)
    assert caught.value.hint
    assert str(caught.value).count("more.") == 10


def test_a_weight_of_another_shape_is_named_with_both(folder: Path) -> None:
    name = next(name for name in load_file(folder / "model.safetensors") if name.endswith("embed_tokens.weight"))
    change(folder, **{name: torch.zeros(7, 32)})
    with pytest.raises(CheckpointError, match=r"of another shape: \S+embed_tokens\.weight 7x32 instead of 99x32"):
        load(folder)


def test_pickled_weights_are_refused_with_the_reason(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"only as pickle \(pytorch_model\.bin\), which can run any code") as one:
        load(folder)
    assert "save_pretrained" in one.value.hint
    (folder / "pytorch_model.bin").rename(folder / "model.gguf")
    with pytest.raises(CheckpointError, match=r"no weights as safetensors; it has only model\.gguf"):
        load(folder)


def test_a_lora_adapter_is_not_taken_for_a_model(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="LoRA adapter next to the weights"):
        load(folder)
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match="not a whole model"):
        load(folder)


def test_a_file_cut_short_is_named(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged or cut short"):
        load(folder)


def test_an_index_is_held_to_its_word(folder: Path) -> None:
    shard(folder, 2)
    index = folder / "model.safetensors.index.json"
    whole = index.read_text()
    index.write_text(whole.replace('"weight_map": {', '"weight_map": {"lost": "model-00001-of-00002.safetensors", '))
    with pytest.raises(CheckpointError, match="lists lost, which no file"):
        load(folder)
    for foreign in ("../model-00001-of-00002.safetensors", "model-00001-of-00002.bin"):
        index.write_text(whole.replace("model-00001-of-00002.safetensors", foreign))
        with pytest.raises(CheckpointError, match=r"a shard is a \.safetensors file next to it"):
            load(folder)
    index.write_text(whole)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"1 of its 2 shards are not there: model-00002"):
        load(folder)
    index.write_text("[]")
    with pytest.raises(CheckpointError, match=r"cannot read .*index\.json"):
        weight_files(folder)


def test_quantised_weights_are_refused(folder: Path) -> None:
    quantised = config()
    quantised.quantization_config = {"quant_method": "awq", "bits": 4}
    with pytest.raises(CheckpointError, match="quantised"):
        load_weights(LlavaForConditionalGeneration, folder, config=quantised)


def test_a_kernel_that_the_config_asks_for_is_not_fetched(folder: Path) -> None:
    wanted = config()
    wanted._attn_implementation = "somebody/kernel"
    wanted.text_config._attn_implementation = "flash_attention_2"
    model = load_weights(LlavaForConditionalGeneration, folder, config=wanted)
    assert model.config._attn_implementation in ("sdpa", "eager")
    assert model.config.text_config._attn_implementation in ("sdpa", "eager")


def test_a_layout_with_other_names_is_renamed_and_held_to_the_same_rules(folder: Path, saved: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file({f"old.{name}": value for name, value in tensors.items()}, folder / "model.safetensors", {"format": "pt"})
    (folder / "generation_config.json").write_text('{"num_beams": 3}')

    def rename(old: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name.removeprefix("old."): value for name, value in old.items()}

    model = load(folder, rename=rename)
    assert same(model, saved)
    assert model.generation_config.num_beams == 3
    with pytest.raises(CheckpointError, match="1 missing"):
        load(folder, rename=lambda old: dict(list(rename(old).items())[1:]))
    with pytest.raises(CheckpointError, match="1 unexpected: extra"):
        load(folder, rename=lambda old: {**rename(old), "extra": torch.zeros(1)})


def test_a_renaming_may_leave_the_names_as_they_are(folder: Path) -> None:
    assert same(load(folder, rename=lambda old: None), folder)


@pytest.fixture
def tied(tmp_path: Path) -> Path:
    model = LlavaForConditionalGeneration(config(tied=True))
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    (name,) = [name for name in tensors if name.endswith("embed_tokens.weight")]
    head = name.replace("model.embed_tokens", "lm_head")
    save_file({**tensors, head: tensors[name].clone()}, tmp_path / "model.safetensors", {"format": "pt"})
    return tmp_path


def differ(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    head = next(name for name in tensors if "lm_head" in name)
    save_file({**tensors, head: tensors[head] + 1}, folder / "model.safetensors", {"format": "pt"})


def test_two_equal_copies_of_a_tied_weight_are_one(tied: Path) -> None:
    model = load_weights(LlavaForConditionalGeneration, tied, config=config(tied=True))
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_two_values_of_one_weight_contradict_a_config_that_ties_them(tied: Path) -> None:
    differ(tied)
    with pytest.raises(CheckpointError, match="one weight, and the file holds two that differ") as caught:
        load_weights(LlavaForConditionalGeneration, tied, config=config(tied=True))
    assert '"tie_word_embeddings": false' in caught.value.hint


def test_two_values_are_both_kept_where_only_a_default_ties_them(tied: Path, caplog: pytest.LogCaptureFixture) -> None:
    differ(tied)
    raw = json.loads((tied / "config.json").read_text())
    del raw["tie_word_embeddings"], raw["text_config"]["tie_word_embeddings"]
    (tied / "config.json").write_text(json.dumps(raw))
    with caplog.at_level(logging.WARNING, "imglish"):
        model = load_weights(LlavaForConditionalGeneration, tied, config=config(tied=True))
    head, words = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    assert torch.allclose(head, words + 1)
    assert "they are not tied" in caplog.text


def test_two_values_are_both_kept_where_the_config_does_not_tie(tied: Path) -> None:
    differ(tied)
    model = load_weights(LlavaForConditionalGeneration, tied, config=config(tied=False))
    assert not torch.equal(model.get_output_embeddings().weight, model.get_input_embeddings().weight)


@pytest.mark.parametrize("rename", [None, dict])
def test_what_no_file_holds_is_computed_again(tmp_path: Path, rename: Any) -> None:
    model = Sines(LlamaConfig())
    model.save_pretrained(tmp_path)
    loaded = load_weights(Sines, tmp_path, config=LlamaConfig(), rename=rename)
    assert torch.equal(loaded.waves, torch.linspace(1, 2, 5))
    assert torch.equal(loaded.table.weight, model.table.weight)
    assert nn.Linear(2, 2).weight.device.type == "cpu"


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(5, 4)
        self.head = nn.Linear(4, 5, bias=False)
        self.head.weight = self.words.weight
        self.angles: torch.Tensor
        self.register_buffer("angles", torch.linspace(0, 1, 3), persistent=False)


def test_a_module_that_is_there_is_filled_in_place(tmp_path: Path) -> None:
    words = torch.randn(5, 4)
    save_file({"words.weight": words}, tmp_path / "model.safetensors")
    model = load_weights(Twice(), tmp_path, dtype="bfloat16")
    assert model.head.weight is model.words.weight
    assert torch.equal(model.words.weight, words.bfloat16())
    assert model.angles.dtype == torch.float32
    save_file({"words.weight": words, "head.weight": words + 1}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="two that differ"):
        load_weights(Twice(), tmp_path)
    save_file({"words.weight": words[:2].clone(), "other": words}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"1 unexpected: other; 1 of another shape: words\.weight 2x4 instead"):
        load_weights(Twice(), tmp_path)
    save_file({"other": words}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"2 missing: head\.weight, words\.weight"):
        load_weights(Twice(), tmp_path)
