"""Bridges of tiny random parts: against transformers' own modules, against themselves, and through its tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoProcessor,
    CLIPVisionConfig,
    GPT2Config,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
    ResNetConfig,
    SiglipVisionConfig,
)

from imglish.core.codecs import Pad
from imglish.core.errors import InputError, UnknownName
from imglish.nn import Bridge, BridgeConfig, BridgeProcessor, LetterboxProcessor
from imglish.nn.adapters import ADAPTERS, build_adapter
from imglish.nn.encoders import Sight, SightConfig

IMAGE = 90  # the image token
SIDE = 32

ENCODERS: dict[str, Any] = {
    "clip": CLIPVisionConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, image_size=SIDE, patch_size=8
    ),
    "siglip": SiglipVisionConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, image_size=SIDE, patch_size=8
    ),
}
LLAMA: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "initializer_range": 0.2,
}
DECODERS: dict[str, Any] = {
    "llama": LlamaConfig(**LLAMA, num_key_value_heads=1),
    "gpt2": GPT2Config(vocab_size=96, n_embd=48, n_layer=2, n_head=2, n_positions=128, initializer_range=0.2),
}

ANY = [name for name in ADAPTERS if name != "reader"]  # that one takes what `Sight` gives: test_nn_reader.py


def bridge(encoder: str = "clip", decoder: str = "llama", **options: Any) -> Bridge:
    torch.manual_seed(0)
    options = {"adapter": "linear", "drop_cls": encoder == "clip", "initializer_range": 0.2, **options}
    text = options.pop("text_config", DECODERS[decoder].to_dict())
    config = BridgeConfig(vision_config=ENCODERS[encoder].to_dict(), text_config=text, image_token_id=IMAGE, **options)
    return Bridge(config).eval()


def prompt(model: Bridge, *images: int, seed: int = 0, start: int = 3) -> torch.Tensor:
    """Text around the places of images, one row."""
    generator = torch.Generator().manual_seed(seed)
    pieces = [torch.randint(3, 80, (start,), generator=generator)]
    for tokens in images or (model.config.image_tokens,):
        pieces += [torch.full((tokens,), IMAGE), torch.randint(3, 80, (2,), generator=generator)]
    return torch.cat(pieces)[None]


def pictures(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def apart(left: torch.Tensor, right: torch.Tensor) -> float:
    return float((left - right).detach().abs().max())


def pad_left(rows: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    longest = max(row.shape[1] for row in rows)
    ids = torch.cat([torch.nn.functional.pad(row, (longest - row.shape[1], 0)) for row in rows])
    mask = torch.cat([torch.nn.functional.pad(torch.ones_like(row), (longest - row.shape[1], 0)) for row in rows])
    return {"input_ids": ids, "attention_mask": mask}


every_pair = pytest.mark.parametrize(
    ("encoder", "decoder"), [("clip", "llama"), ("siglip", "llama"), ("clip", "gpt2"), ("siglip", "gpt2")]
)


# parity


@every_pair
@torch.no_grad()
def test_the_bridge_equals_its_parts_run_by_hand(encoder: str, decoder: str) -> None:
    model, pixels = bridge(encoder, decoder), pictures(1)
    ids = prompt(model)
    seen = model.vision(pixel_values=pixels).last_hidden_state[:, 1 if encoder == "clip" else 0 :]
    embeddings = model.get_input_embeddings()(ids)
    embeddings[ids == IMAGE] = model.adapter.project(seen)[0]
    expected = model.decoder(inputs_embeds=embeddings).logits
    assert apart(model(ids, pixels).logits, expected) <= 1e-5


@torch.no_grad()
def test_the_bridge_with_the_weights_of_a_llava_is_that_llava() -> None:
    config = LlavaConfig(
        vision_config=ENCODERS["clip"].to_dict(), text_config=DECODERS["llama"].to_dict(), image_token_index=IMAGE
    )
    torch.manual_seed(1)
    llava = LlavaForConditionalGeneration(config).eval()
    model = bridge(adapter="mlp", vision_feature_layer=-2)
    names = {
        "model.vision_tower.": "vision.",
        "model.multi_modal_projector.linear_1.": "adapter.project.0.",
        "model.multi_modal_projector.linear_2.": "adapter.project.2.",
        "model.language_model.": "decoder.model.",
        "lm_head.": "decoder.lm_head.",
    }
    state = {}
    for key, value in llava.state_dict().items():
        old = next(old for old in names if key.startswith(old))
        state[names[old] + key.removeprefix(old)] = value
    model.load_state_dict(state)
    ids, pixels = prompt(model, 16, 16), pictures(2)
    assert apart(model(ids, pixels).logits, llava(ids, pixels).logits) <= 1e-5


@torch.no_grad()
def test_pixel_shuffle_is_that_of_idefics3() -> None:
    from transformers import Idefics3Config
    from transformers.models.idefics3.modeling_idefics3 import Idefics3Connector

    config = Idefics3Config(
        vision_config={"hidden_size": 12}, text_config={"model_type": "llama", **LLAMA}, scale_factor=2
    )
    theirs = Idefics3Connector(config)
    ours = build_adapter("pixel_shuffle", 12, out_dim=48, grid=(4, 4))
    ours.load_state_dict({"project.weight": theirs.modality_projection.proj.weight})
    features = torch.randn(2, 16, 12)
    assert apart(ours(features), theirs(features)) <= 1e-6


# a bridge against itself


@pytest.mark.parametrize("decoder", DECODERS)
@torch.no_grad()
def test_cached_decoding_equals_the_full_forward(decoder: str) -> None:
    model = bridge(decoder=decoder)
    tail = torch.randint(3, 80, (2, 4), generator=torch.Generator().manual_seed(3))
    batch = pad_left([prompt(model, 16), prompt(model, 16, start=7, seed=1)])
    ids = torch.cat([batch["input_ids"], tail], 1)
    mask = torch.cat([batch["attention_mask"], torch.ones_like(tail)], 1)
    full = model(ids, pictures(2), attention_mask=mask).logits[:, -5:]
    length = batch["input_ids"].shape[1]
    output = model(batch["input_ids"], pictures(2), attention_mask=batch["attention_mask"], use_cache=True)
    steps = [output.logits[:, -1]]
    for index in range(length, ids.shape[1]):
        output = model(
            ids[:, index : index + 1],
            attention_mask=mask[:, : index + 1],
            past_key_values=output.past_key_values,
            use_cache=True,
        )
        steps.append(output.logits[:, -1])
    assert apart(torch.stack(steps, 1), full) <= 1e-4


@every_pair
@torch.no_grad()
def test_a_left_padded_batch_equals_its_singles(encoder: str, decoder: str) -> None:
    model, pixels = bridge(encoder, decoder), pictures(3)
    rows = [prompt(model, 16), prompt(model, 16, 16, start=6, seed=1)]
    batch = pad_left(rows)
    together = model(**batch, pixel_values=pixels).logits
    for index, (row, own) in enumerate(zip(rows, (pixels[:1], pixels[1:]), strict=True)):
        assert apart(together[index, -row.shape[1] :], model(row, own).logits[0]) <= 1e-4


@torch.no_grad()
def test_the_image_and_the_order_of_images_matter() -> None:
    model, pixels = bridge(), pictures(2)
    ids = prompt(model, 16, 16)
    logits = model(ids, pixels).logits
    assert apart(logits, model(ids, pixels.flip(0)).logits) > 1e-3
    assert apart(logits, model(ids, torch.zeros_like(pixels)).logits) > 1e-3


@torch.no_grad()
def test_features_given_again_equal_pixels() -> None:
    model, pixels = bridge(), pictures(2)
    ids = prompt(model, 16, 16)
    expected = model(ids, pixels).logits
    features = model.encode_images(pixels)
    for given in (features, torch.cat(features), torch.stack(features)):
        assert torch.equal(model(ids, image_features=given).logits, expected)


def test_a_wrong_number_of_images_names_both_counts() -> None:
    model = bridge()
    with pytest.raises(InputError, match="32 image tokens, and the images give 16 features"):
        model(prompt(model, 16, 16), pictures(1))
    with pytest.raises(InputError, match="16 image tokens, and the images give 0 features"):
        model(prompt(model, 16))
    with pytest.raises(InputError, match="0 image tokens, and the images give 16 features"):
        model(torch.tensor([[4, 5]]), pictures(1))


@torch.no_grad()
def test_frames_go_through_the_frame_adapter_and_images_do_not() -> None:
    model = bridge(frame_adapter="pool", frame_adapter_options={"window": [2, 4]})
    assert (model.config.image_tokens, model.config.frame_tokens) == (16, 2)
    pixels = pictures(3)
    plain = model.encode_images(pixels)
    mixed = model.encode_images(pixels, torch.tensor([True, False, True]))
    assert [len(item) for item in mixed] == [2, 16, 2]
    assert torch.equal(mixed[1], plain[1])
    assert apart(mixed[2], plain[2].unflatten(0, (2, 8)).mean(1)) <= 1e-6
    ids = prompt(model, 2, 16, 2)
    assert model(ids, pixels, torch.tensor([True, False, True])).logits.shape[1] == ids.shape[1]


@torch.no_grad()
def test_questions_packed_after_one_image_equal_questions_asked_apart() -> None:
    model, pixels = bridge(), pictures(1)
    start = prompt(model, 16)
    questions = [torch.tensor([[7, 8, 9]]), torch.tensor([[10, 11, 12, 13]])]
    packed = torch.cat([start, *questions], 1)
    length = start.shape[1]
    positions = torch.cat([torch.arange(length), length + torch.arange(3), length + torch.arange(4)])[None]
    group = torch.tensor([0] * length + [1] * 3 + [2] * 4)
    sees = ((group[:, None] == group) | (group == 0)).tril()
    mask = torch.zeros(sees.shape).masked_fill(~sees, torch.finfo(torch.float32).min)[None, None]
    logits = model(packed, pixels, attention_mask=mask, position_ids=positions).logits[0, length:]
    apart_logits = [model(torch.cat([start, item], 1), pixels).logits[0, length:] for item in questions]
    assert apart(logits, torch.cat(apart_logits)) <= 1e-4


# generation


@every_pair
def test_generation_of_a_batch_equals_its_singles(encoder: str, decoder: str) -> None:
    model, pixels = bridge(encoder, decoder), pictures(3)
    rows = [prompt(model, 16), prompt(model, 16, 16, start=6, seed=1)]
    options = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    together = model.generate(**pad_left(rows), pixel_values=pixels, **options)
    for index, (row, own) in enumerate(zip(rows, (pixels[:1], pixels[1:]), strict=True)):
        alone = model.generate(row, pixel_values=own, attention_mask=torch.ones_like(row), **options)
        assert torch.equal(together[index, -6:], alone[0, -6:])


def test_generation_looks_at_the_images_once_and_follows_the_forward_pass() -> None:
    model, pixels, calls = bridge(), pictures(1), []
    model.vision.register_forward_hook(lambda *_: calls.append(1))
    ids = prompt(model)
    mask = torch.ones_like(ids)
    options = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False, "pad_token_id": 0}
    answer = model.generate(ids, pixel_values=pixels, attention_mask=mask, **options)
    assert len(calls) == 1
    features = model.encode_images(pixels)
    assert torch.equal(model.generate(ids, image_features=features, attention_mask=mask, **options), answer)
    full = model(answer, pixels).logits[0, ids.shape[1] - 1 : -1]
    full[:, [IMAGE, 2]] = -torch.inf  # held back: the image token always, the end by min_new_tokens
    assert torch.equal(full.argmax(-1), answer[0, -5:])


def test_generation_without_a_cache_equals_generation_with_one() -> None:
    model, pixels = bridge(), pictures(1)
    ids = prompt(model)
    options = {"pixel_values": pixels, "attention_mask": torch.ones_like(ids), "max_new_tokens": 5, "do_sample": False}
    assert torch.equal(model.generate(ids, **options, use_cache=False), model.generate(ids, **options))


def test_beams_of_a_batch_keep_their_own_images() -> None:
    model, pixels = bridge(), pictures(3)
    rows = [prompt(model, 16), prompt(model, 16, 16, start=6, seed=1)]
    options = {"max_new_tokens": 5, "min_new_tokens": 5, "num_beams": 3, "do_sample": False, "pad_token_id": 0}
    together = model.generate(**pad_left(rows), pixel_values=pixels, **options)
    alone = model.generate(rows[1], pixel_values=pixels[1:], attention_mask=torch.ones_like(rows[1]), **options)
    assert torch.equal(together[1, -5:], alone[0, -5:])


def test_the_image_token_is_never_an_answer() -> None:
    model, ids = bridge(), torch.tensor([[4, 5, 6]])
    with torch.no_grad():
        model.decoder.lm_head.weight.zero_()
        model.decoder.lm_head.weight[IMAGE] = model.decoder.model(ids).last_hidden_state[0, -1]
    answer = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=3, do_sample=False)
    assert IMAGE not in answer


@torch.no_grad()
def test_the_image_token_may_lie_beyond_the_vocabulary() -> None:
    model, pixels = bridge(), pictures(1)
    ids = prompt(model)
    expected = model(ids, pixels).logits
    model.config.image_token_id = 96
    assert torch.equal(model(ids.where(ids != IMAGE, 96), pixels).logits, expected)


# files


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("adapter", ANY)
@torch.no_grad()
def test_saving_and_loading_is_exact(adapter: str, tied: bool, tmp_path: Path) -> None:
    model = bridge(
        adapter=adapter,
        text_config={"model_type": "llama", **LLAMA, "tie_word_embeddings": tied},
        frame_adapter="resampler" if adapter != "resampler" else "pool",
        frame_adapter_options={"queries": 3} if adapter != "resampler" else {"window": (1, 2)},
    )
    model.save_pretrained(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    loaded = Bridge.from_pretrained(tmp_path)
    before, after = model.state_dict(), loaded.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    head, words = loaded.get_output_embeddings().weight, loaded.get_input_embeddings().weight
    assert (head.data_ptr() == words.data_ptr()) is tied
    ids = prompt(model)
    assert torch.equal(model(ids, pictures(1)).logits, loaded(ids, pictures(1)).logits)


def test_the_auto_classes_know_the_bridge(tmp_path: Path) -> None:
    bridge().save_pretrained(tmp_path)
    assert type(AutoModelForCausalLM.from_pretrained(tmp_path)) is Bridge
    half = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert {weight.dtype for weight in half.parameters()} == {torch.bfloat16}
    assert half(prompt(half), pictures(1)).logits.dtype == torch.bfloat16


@torch.no_grad()
def test_a_bridge_from_parts_keeps_the_weights_of_the_parts() -> None:
    first = bridge()
    second = Bridge.from_parts(first.vision, first.decoder, image_token_id=IMAGE, adapter="linear", drop_cls=True)
    assert second.vision is first.vision
    assert second.decoder is first.decoder
    assert not any(weight.is_meta for weight in second.parameters())
    second.adapter.load_state_dict(first.adapter.state_dict())
    ids = prompt(first)
    assert torch.equal(first(ids, pictures(1)).logits, second.eval()(ids, pictures(1)).logits)


# training


def test_the_loss_reaches_every_part_and_only_the_answer_carries_it() -> None:
    model, pixels = bridge(adapter="resampler", adapter_options={"queries": 5, "layers": 2}), pictures(1)
    ids = prompt(model)
    labels = torch.full_like(ids, -100)
    labels[:, -2:] = ids[:, -2:]
    output = model(ids, pixels, labels=labels)
    expected = torch.nn.functional.cross_entropy(output.logits[0, -3:-1], ids[0, -2:])
    assert apart(output.loss, expected) <= 1e-5
    output.loss.backward()
    for part in (model.vision, model.adapter, model.decoder):
        assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in part.parameters())
    assert all(weight.grad is not None for weight in model.adapter.parameters())


def test_gradient_checkpointing_gives_the_same_gradients() -> None:
    gradients = []
    for checkpointing in (False, True):
        model = bridge().train()
        if checkpointing:
            model.activation_checkpointing_enable()
            assert model.is_activation_checkpointing
        ids = prompt(model)
        model(ids, pictures(1), labels=ids, use_cache=False).loss.backward()
        gradients.append(model.adapter.project.weight.grad)
    assert apart(*gradients) <= 1e-6


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # peft asks for it
def test_lora_trains_the_decoder_alone_and_generates() -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=r"decoder\..*\.(q_proj|v_proj)", task_type="CAUSAL_LM")
    model = peft.get_peft_model(bridge(), config)
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert trained
    assert all("lora_" in name and ".decoder." in name for name in trained)
    ids, pixels = prompt(model.base_model.model), pictures(1)
    model(input_ids=ids, pixel_values=pixels, labels=ids).loss.backward()
    assert all(weight.grad is not None for weight in model.parameters() if weight.requires_grad)
    options = {"attention_mask": torch.ones_like(ids), "max_new_tokens": 2, "min_new_tokens": 2}
    assert model.generate(input_ids=ids, pixel_values=pixels, **options).shape[1] == ids.shape[1] + 2


def test_the_trainer_of_transformers_trains_a_bridge(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    from transformers import Trainer, TrainingArguments

    model = bridge()
    ids = prompt(model)[0]
    rows = [{"input_ids": ids, "labels": ids, "pixel_values": picture} for picture in pictures(4)]
    before = model.adapter.project.weight.detach().clone()
    arguments = TrainingArguments(
        str(tmp_path), max_steps=2, per_device_train_batch_size=2, report_to=[], use_cpu=True, disable_tqdm=True
    )
    Trainer(model, arguments, train_dataset=rows).train()
    assert apart(before, model.adapter.project.weight) > 0


def test_embeddings_can_be_resized() -> None:
    model = bridge(text_config={"model_type": "llama", **LLAMA, "tie_word_embeddings": True})
    model.resize_token_embeddings(100)
    assert model(torch.tensor([[98, 99]])).logits.shape[-1] == 100
    assert model.config.text_config.vocab_size == 100


# adapters


@pytest.mark.parametrize("name", ANY)
def test_an_adapter_gives_as_many_tokens_as_it_says(name: str) -> None:
    adapter = build_adapter(name, 8, out_dim=20, grid=(4, 6))
    assert adapter(torch.randn(3, 24, 8)).shape == (3, adapter.tokens, 20)
    assert adapter.tokens == adapter.out_grid[0] * adapter.out_grid[1]
    with pytest.raises(InputError, match="given 23 tokens of width 8; it takes 24"):
        adapter(torch.randn(3, 23, 8))


def test_concat_lays_neighbours_of_the_grid_side_by_side() -> None:
    adapter = build_adapter("concat", 1, out_dim=4, grid=(4, 4))
    adapter.project = torch.nn.Identity()
    tokens = adapter(torch.arange(16.0)[None, :, None])
    assert tokens[0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    row = build_adapter("concat", 1, out_dim=4, grid=(4, 4), options={"window": [1, 4]})
    row.project = torch.nn.Identity()
    assert row(torch.arange(16.0)[None, :, None])[0, 1].tolist() == [4, 5, 6, 7]


@torch.no_grad()
def test_the_resampler_knows_where_a_token_lies() -> None:
    torch.manual_seed(0)
    adapter = build_adapter("resampler", 8, out_dim=64, grid=(3, 3), options={"queries": 4})
    for weight in adapter.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    features = torch.randn(1, 9, 8)
    assert apart(adapter(features), adapter(features.flip(1))) > 1e-3


def test_adapters_that_cannot_be_built_say_why() -> None:
    with pytest.raises(UnknownName, match=r"no adapter 'mpl'\. Did you mean 'mlp'"):
        build_adapter("mpl", 8, out_dim=8, grid=(4, 4))
    with pytest.raises(InputError, match="3 x 5 tokens cannot be cut into windows of 2 x 2"):
        build_adapter("concat", 8, out_dim=8, grid=(3, 5))
    with pytest.raises(InputError, match=r"cannot be built with \{'widnow': 2\}"):
        build_adapter("concat", 8, out_dim=8, grid=(4, 4), options={"widnow": 2})


# the processor


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(letters)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    tokenizer.add_tokens(["<loc>"])  # an added token that is not a special one
    return tokenizer


@pytest.fixture
def processor(tokenizer: PreTrainedTokenizerFast) -> BridgeProcessor:
    return BridgeProcessor(LetterboxProcessor((SIDE, SIDE)), tokenizer, image_tokens=4, frame_tokens=2)


def test_every_placeholder_becomes_the_tokens_of_its_picture(processor: BridgeProcessor) -> None:
    picture = Image.new("RGB", (20, 10))
    batch = processor(["<image>a", "bc<image><image>"], [picture] * 3, [False, True, False])
    image, pad = processor.image_token_id, processor.tokenizer.pad_token_id
    a, b, c = processor.encode_pieces([("abc", False)])
    assert batch["input_ids"].tolist() == [[pad] * 3 + [image] * 4 + [a], [b, c] + [image] * 6]
    assert batch["attention_mask"].tolist() == [[0] * 3 + [1] * 5, [1] * 8]
    assert batch["pixel_values"].shape == (3, 3, SIDE, SIDE)
    assert batch["frame_mask"].tolist() == [False, True, False]


def test_padding_is_said_as_in_transformers(processor: BridgeProcessor) -> None:
    plain = processor(["a", "bcd"])
    for padding in (True, "longest"):
        assert processor(["a", "bcd"], padding=padding)["input_ids"].tolist() == plain["input_ids"].tolist()
    assert processor(["abc"], padding=False)["input_ids"].shape == (1, 3)
    for wrong in (False, "max_length"):
        with pytest.raises(InputError, match=r"padding is .*, and the rows have 1, 3 tokens"):
            processor(["a", "bcd"], padding=wrong)


def test_a_frame_can_be_given_where_the_encoder_tells_none(tokenizer: PreTrainedTokenizerFast) -> None:
    vision = ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], layer_type="basic")
    config = BridgeConfig(vision_config=vision, text_config=DECODERS["llama"], adapter="linear", vision_grid=(2, 2))
    made = BridgeProcessor.for_bridge(config, tokenizer, image_size=(64, 64))
    assert made.image_processor.image_size == [64, 64]
    assert made.image_tokens == 4
    with pytest.raises(InputError, match=r"'resnet' does not tell the size") as caught:
        BridgeProcessor.for_bridge(config, tokenizer)
    assert "image_size=(width, height)" in caught.value.hint


def test_special_tokens_that_a_user_types_are_plain_text(processor: BridgeProcessor) -> None:
    typed = "what do <image>, <loc> and <eos> mean? żółw, чай"
    ids = processor.encode_pieces([(typed, False)])
    assert not set(ids) & processor.tokenizer.added_tokens_decoder.keys()
    assert processor.tokenizer.decode(ids) == typed
    batch = processor([[("<image>", True), (typed, False)]], Image.new("RGB", (5, 5)))
    assert batch["input_ids"][0].tolist() == [processor.image_token_id] * 4 + ids


def test_as_many_placeholders_as_pictures_or_a_clear_error(processor: BridgeProcessor) -> None:
    picture = Image.new("RGB", (5, 5))
    with pytest.raises(InputError, match="2 <image> placeholders, and 1 images"):
        processor("<image> <image>", picture)
    with pytest.raises(InputError, match="2 images were given with a frame_mask of 1"):
        processor("<image> <image>", [picture, picture], [True])


@pytest.mark.parametrize("size", [(20, 10), (7, 31), (32, 32), (301, 2), (64, 63)])
def test_a_picture_fits_whole_into_the_frame(size: tuple[int, int]) -> None:
    letterbox = LetterboxProcessor((SIDE, 24), fill=(0, 0, 255))
    red = np.asarray(letterbox.frame(Image.new("RGB", size, (255, 0, 0))))[..., 0] > 0
    fitted = letterbox.fit(size)
    rows, columns = np.nonzero(red.any(1))[0], np.nonzero(red.any(0))[0]
    assert columns[0] == pytest.approx(fitted.pad_x, abs=0.51)
    assert rows[0] == pytest.approx(fitted.pad_y, abs=0.51)
    assert columns[-1] + 1 == pytest.approx(size[0] * fitted.scale_x + fitted.pad_x, abs=0.51)
    assert rows[-1] + 1 == pytest.approx(size[1] * fitted.scale_y + fitted.pad_y, abs=0.51)
    assert len(columns) == SIDE or len(rows) == 24


def test_the_frame_is_that_of_the_codecs() -> None:
    picture = Image.effect_noise((50, 20), 80).convert("RGB")
    assert LetterboxProcessor((SIDE, SIDE)).frame(picture) == Pad((SIDE, SIDE)).fit(picture.size).apply(picture)
    corner = LetterboxProcessor((SIDE, SIDE), anchor="corner").frame(picture)
    assert corner == Pad((SIDE, SIDE), anchor="corner").fit(picture.size).apply(picture)
    with pytest.raises(InputError, match="anchor is 'middle'; allowed are centre, corner"):
        LetterboxProcessor(anchor="middle")


def test_pixels_are_normalised_per_channel() -> None:
    letterbox = LetterboxProcessor((4, 4), image_mean=(0, 0.5, 1), image_std=(1, 0.5, 0.25))
    values = letterbox(Image.new("RGB", (4, 4), (255, 255, 0)), return_tensors="pt")["pixel_values"]
    assert values[0, :, 0, 0].tolist() == pytest.approx([1, 1, -4])


def test_a_processor_survives_saving(processor: BridgeProcessor, tmp_path: Path) -> None:
    processor.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert type(loaded) is BridgeProcessor
    assert loaded.image_processor.to_dict() == processor.image_processor.to_dict()
    picture = Image.effect_noise((9, 20), 80).convert("RGB")
    before, after = (item("<image>a<eos>", picture) for item in (processor, loaded))
    assert all(torch.equal(before[name], after[name]) for name in before)
    typed = [("<loc><eos>", False)]
    assert loaded.encode_pieces(typed) == processor.encode_pieces(typed)


def test_what_the_processor_gives_a_bridge_takes(tokenizer: PreTrainedTokenizerFast) -> None:
    token = tokenizer.convert_tokens_to_ids("<image>")
    text = {"model_type": "llama", **LLAMA, "vocab_size": len(tokenizer)}
    config = BridgeConfig(
        vision_config=ENCODERS["clip"], text_config=text, adapter="concat", drop_cls=True, image_token_id=token
    )
    processor = BridgeProcessor.for_bridge(config, tokenizer)
    pictures = [Image.new("RGB", (10, 30)), Image.new("RGB", (50, 40))]
    batch = processor(["<image>what?", "and <image> this?"], [[pictures[0]], [pictures[1]]])
    assert Bridge(config).generate(**batch, max_new_tokens=2, min_new_tokens=2).shape[0] == 2


def test_every_thing_has_one_middle_however_large_it_is() -> None:
    sight = Sight(SightConfig(image_size=64, classes=("", "cat", "dog"), middles=True))
    boxes, probability = torch.zeros(1, 64, 4), torch.zeros(1, 64, 3)
    probability[..., 0] = 1.0
    for box, name in (((0.0, 0.0, 0.5, 0.5), 1), ((0.5, 0.625, 1.0, 1.0), 2), ((0.75, 0.0, 1.0, 0.25), 1)):
        inside = ((sight.centres > torch.tensor(box[:2])) & (sight.centres < torch.tensor(box[2:]))).all(-1)
        boxes[0, inside] = torch.tensor(box)
        probability[0, inside] = torch.eye(3)[name]
    probability[0, 63], boxes[0, 63] = torch.eye(3)[1], torch.tensor([0.2, 0.2, 1.0, 1.0])  # one cell that errs
    middle = sight.middle_of(boxes, probability)[0, :, 0]
    cats, dogs = (middle * probability[0, :, name] for name in (1, 2))
    assert float(cats.sum()) == pytest.approx(2, abs=0.1)
    assert float(dogs.sum()) == pytest.approx(1, abs=0.1)
    assert float(middle[63]) < 0.05


def test_a_sight_with_middles_tells_them_to_the_decoder() -> None:
    plain, more = (SightConfig(image_size=64, classes=("", "cat"), middles=told) for told in (False, True))
    assert more.hidden_size == plain.hidden_size + 4 * (1 + plain.class_size + 2)
    assert Sight(more)(torch.zeros(1, 3, 64, 64)).last_hidden_state.shape == (1, 16, more.hidden_size)
