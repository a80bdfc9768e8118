"""MiniGPT-v2: the published pieces, the reference's numbers, six identifiers, boxes in hundredths."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from imglish.core.errors import CheckpointError
from imglish.core.results import Boxes, Text
from imglish.core.types import ImagePart, Message, Request, TextPart
from imglish.families._base import Loaded
from imglish.families._minigpt_text import IDENTIFIERS
from imglish.families.minigpt_v2 import Family, convert

REFERENCE = Path(__file__).parent / "reference" / "minigpt_v2.json"
WIDTH, LAYERS, SIDE, VOCABULARY, RANK = 32, 2, 112, 358, 4
SIZE = (120, 90)


def weights(shape: tuple[int, ...], seed: int, scale: float) -> torch.Tensor:
    numbers = np.random.default_rng(seed).standard_normal(shape) * scale
    return torch.from_numpy(numbers.astype(np.float32))


def pieces() -> dict[str, dict[str, torch.Tensor]]:
    """Small random weights in the names of the published pieces: one encoder layer more than the model has, too."""
    vision = {"cls_token": (1, 1, WIDTH), "pos_embed": (1, 17, WIDTH), "patch_embed.proj.weight": (WIDTH, 3, 14, 14),
              "patch_embed.proj.bias": (WIDTH,), "norm.weight": (WIDTH,), "head.weight": (5, WIDTH)}  # fmt: skip
    block = {
        "norm1.weight": (WIDTH,), "norm1.bias": (WIDTH,), "attn.q_bias": (WIDTH,), "attn.v_bias": (WIDTH,),
        "attn.qkv.weight": (3 * WIDTH, WIDTH), "attn.proj.weight": (WIDTH, WIDTH), "attn.proj.bias": (WIDTH,),
        "norm2.weight": (WIDTH,), "norm2.bias": (WIDTH,), "mlp.fc1.weight": (64, WIDTH), "mlp.fc1.bias": (64,),
        "mlp.fc2.weight": (WIDTH, 64), "mlp.fc2.bias": (WIDTH,),
    }  # fmt: skip
    vision |= {f"blocks.{n}.{name}": shape for n in range(LAYERS + 1) for name, shape in block.items()}
    llama: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (VOCABULARY, WIDTH), "lm_head.weight": (VOCABULARY, WIDTH),
        "model.norm.weight": (WIDTH,),
    }  # fmt: skip
    layer = {
        **{f"self_attn.{name}_proj.weight": (WIDTH, WIDTH) for name in "qkvo"}, "mlp.gate_proj.weight": (64, WIDTH),
        "mlp.up_proj.weight": (64, WIDTH), "mlp.down_proj.weight": (WIDTH, 64), "input_layernorm.weight": (WIDTH,),
        "post_attention_layernorm.weight": (WIDTH,), "self_attn.rotary_emb.inv_freq": (8,),
    }  # fmt: skip
    llama |= {f"model.layers.{n}.{name}": shape for n in range(LAYERS) for name, shape in layer.items()}
    trained: dict[str, tuple[int, ...]] = {"llama_proj.weight": (WIDTH, 4 * WIDTH), "llama_proj.bias": (WIDTH,)}
    for n in range(LAYERS):
        for name in ("q_proj", "v_proj"):
            start = f"llama_model.base_model.model.model.layers.{n}.self_attn.{name}"
            trained |= {f"{start}.lora_A.weight": (RANK, WIDTH), f"{start}.lora_B.weight": (WIDTH, RANK)}
    made: dict[str, dict[str, torch.Tensor]] = {}
    for number, (piece, shapes) in enumerate({"vision": vision, "llama": llama, "trained": trained}.items()):
        made[piece] = {
            name: weights(shape, 1000 * number + place, 0.25) + (1.0 if "norm" in name and "weight" in name else 0.0)
            for place, (name, shape) in enumerate(sorted(shapes.items()))
        }
    return made


def save_tokenizer(folder: Path) -> None:
    """A tokenizer.json as Llama-2's: a space before every stretch of text, bytes for what is not in the vocabulary."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors

    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{n:02X}>" for n in range(256)), "▁", *map(chr, range(33, 127)), "$$", "al"]
    known = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    assert len(known) <= VOCABULARY
    model = models.BPE(vocab=known, merges=[("$", "$")], unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single=["<s>", "$A"], special_tokens=[("<s>", 1)])
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in tokens[:3]])
    tokenizer.save(str(folder / "tokenizer.json"))
    told = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(
        json.dumps({**told, "tokenizer_class": "LlamaTokenizer", "legacy": False})
    )


def llama_config() -> dict[str, Any]:
    return {
        "model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": WIDTH, "intermediate_size": 64,
        "num_hidden_layers": LAYERS, "num_attention_heads": 2, "rms_norm_eps": 1e-5, "max_position_embeddings": 4096,
        "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip


def model_config() -> Any:
    from transformers import Blip2VisionConfig, LlamaConfig

    from imglish.nn.minigpt_v2 import MiniGPTv2Config

    vision = Blip2VisionConfig(
        hidden_size=WIDTH, intermediate_size=64, num_hidden_layers=LAYERS, num_attention_heads=2, image_size=SIDE
    )
    return MiniGPTv2Config(vision_config=vision, text_config=LlamaConfig.from_dict(llama_config()))


def save_pieces(folder: Path) -> tuple[Path, Path, Path]:
    made, llama = pieces(), folder / "llama"
    llama.mkdir(parents=True)
    save_file(made["llama"], llama / "model.safetensors")
    save_file(made["vision"], folder / "eva_vit_g.safetensors")
    save_file(made["trained"], folder / "minigptv2_checkpoint.safetensors")
    (llama / "config.json").write_text(json.dumps(llama_config()))
    save_tokenizer(llama)
    return folder / "minigptv2_checkpoint.safetensors", folder / "eva_vit_g.safetensors", llama


def picture(size: tuple[int, int] = SIZE) -> Image.Image:
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    return Image.fromarray(np.stack([x * 2 % 256, y * 3 % 256, (x * y) % 256], -1).astype(np.uint8))


def ask(text: str = "", *, skill: str = "ask", **more: Any) -> Request:
    return Request(skill, (Message("user", (ImagePart(picture()), TextPart(text))),), text, **more)


def requests() -> dict[str, Request]:
    """What the reference was asked, too."""
    turns = (
        Message("user", (ImagePart(picture()), TextPart("What is it?"))),
        Message("assistant", (TextPart("A ramp of colours."),)),
        Message("user", (TextPart("Is it żółty?"),)),
    )
    return {
        "vqa": ask("How many cups, and where?"),
        "refer": ask("the red cup", skill="ground"),
        "detection": ask(skill="detect", labels=("cup",)),
        "identify": ask(skill="identify", region=(12.0, 9.0, 61.0, 90.0)),
        "grounding": ask(skill="detect"),
        "chat": Request("chat", turns, turns[-1].text),
    }


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = tmp_path_factory.mktemp("minigpt")
    trained, vision, llama = save_pieces(folder)
    made = convert(trained, vision, llama, out=folder / "whole", config=model_config())
    return Family().load(str(made), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def tiny() -> Loaded:
    return Family().tiny()


@pytest.mark.parametrize("name", list(requests()))
def test_ids_and_logits_are_those_of_the_reference(loaded: Loaded, name: str) -> None:
    expected = json.loads(REFERENCE.read_text())["requests"][name]
    tensors, receipts = loaded.family.inputs(loaded, [requests()[name]])
    text = [token for token in tensors["input_ids"][0].tolist() if token != loaded.model.config.image_token_id]
    assert text == expected["ids"]
    assert receipts[0].images[0].image_tokens == expected["image_tokens"] == 16
    with torch.inference_mode():
        logits = loaded.model(**tensors).logits[0]
    torch.testing.assert_close(logits[-1], torch.tensor(expected["last"]), atol=1e-4, rtol=0)
    torch.testing.assert_close(logits.mean(-1), torch.tensor(expected["means"]), atol=1e-4, rtol=0)


def test_the_image_tokens_are_those_of_the_reference(loaded: Loaded) -> None:
    expected = torch.tensor(json.loads(REFERENCE.read_text())["image"])
    view = loaded.family.see(loaded, picture())
    with torch.inference_mode():
        features = loaded.model.encode_images(view.tensors["pixel_values"])[0]
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=0)


def test_the_three_pieces_in_one_folder_are_one_checkpoint(loaded: Loaded, tmp_path: Path) -> None:
    made = pieces()
    reference = {f"visual_encoder.{name}": tensor for name, tensor in made["vision"].items()}
    reference |= {f"llama_model.base_model.model.{name}": tensor for name, tensor in made["llama"].items()}
    save_file({**reference, **made["trained"]}, tmp_path / "model.safetensors")
    model_config().save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    again = Family().load(str(tmp_path), device="cpu", dtype="float32").model.state_dict()
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(again[name], tensor) or "rotary" in name, name


def test_lora_parts_are_merged_under_old_and_new_names() -> None:
    from imglish.families._minigpt_weights import from_reference

    made, config = pieces(), model_config()
    whole = {**made["vision"], **made["llama"]}
    old = from_reference({**whole, **made["trained"]}, config)
    newer = {name.replace(".lora_A.", ".lora_A.default.").replace(".lora_B.", ".lora_B.default."): tensor
             for name, tensor in made["trained"].items()}  # fmt: skip
    renamed = from_reference({**whole, **newer}, config)
    key, start = "model.layers.1.self_attn.v_proj", "llama_model.base_model.model."
    change = made["trained"][f"{start}{key}.lora_B.weight"] @ made["trained"][f"{start}{key}.lora_A.weight"]
    expected = made["llama"][f"{key}.weight"] + 16 / RANK * change
    torch.testing.assert_close(old[f"decoder.{key}.weight"], expected)
    assert torch.equal(old[f"decoder.{key}.weight"], renamed[f"decoder.{key}.weight"])
    keys = "model.layers.0.self_attn.k_proj.weight"
    assert torch.equal(old[f"decoder.{keys}"], made["llama"][keys])


def test_a_missing_piece_and_a_stray_weight_are_named(tmp_path: Path) -> None:
    from imglish.families._minigpt_weights import from_reference

    made, config = pieces(), model_config()
    with pytest.raises(CheckpointError, match=r"not the language model"):
        from_reference({**made["vision"], **made["trained"]}, config)
    with pytest.raises(CheckpointError, match="no weights of MiniGPT-v2: optimizer"):
        from_reference({**made["vision"], "optimizer.state": torch.ones(1)}, config)
    half = {name: tensor for name, tensor in made["trained"].items() if "lora_B" not in name}
    with pytest.raises(CheckpointError, match="lora_A, lora_B"):
        from_reference({**made["vision"], **made["llama"], **half}, config)


def test_a_pickle_is_refused_with_the_way_out(tmp_path: Path) -> None:
    _, vision, llama = save_pieces(tmp_path)
    pickled = tmp_path / "minigptv2_checkpoint.pth"
    pickled.write_bytes(b"\x80\x04.")
    with pytest.raises(CheckpointError, match=r"(?s)is a pickle, which can run any code.*weights_only=True.*save_file"):
        convert(pickled, vision, llama, out=tmp_path / "out", config=model_config())


def test_each_identifier_has_a_skill_and_typed_ones_are_left_alone(tiny: Loaded) -> None:
    family, said = tiny.family, {}
    for name, request in {
        "[vqa]": ask("why?"), "[caption]": ask(skill="caption"), "[grounding]": ask(skill="detect"),
        "[refer]": ask("x", skill="ground"), "[identify]": ask(skill="identify", region=(0.0, 0.0, 60.0, 45.0)),
        "[detection]": ask(skill="detect", labels=("cat", "dog")),
    }.items():  # fmt: skip
        said[name] = family.text(family.prompt(request, [SIZE]))
        assert said[name].startswith(f"<s><s>[INST] <Img><unk></Img> {name} ")
        assert said[name].endswith(" [/INST]")
    assert tuple(said) == IDENTIFIERS
    assert "{<0><0><50><50>}" in said["[identify]"]
    for name in IDENTIFIERS:
        typed = f"{name} whatever {{<1><2><3><4>}}"
        assert family.text(family.prompt(ask(typed), [SIZE])) == f"<s><s>[INST] <Img><unk></Img> {typed} [/INST]"


def test_boxes_of_a_typed_identifier_are_told_in_pixels(tiny: Loaded) -> None:
    raw = "<p>a dog</p> {<50><0><100><100>}<delim>{<0><0><10><10>} and <p>a cat</p> {<1><2><3><400>}"
    found = tiny.family.parse(ask("[detection] dog"), raw, [(200, 100)])
    assert isinstance(found, Text)
    assert found.text == "a dog [100, 0, 200, 100], [0, 0, 20, 10] and a cat {<1><2><3><400>}"
    assert not found.parsed
    assert found.raw == raw


def test_a_grounded_caption_gives_phrases_and_boxes(tiny: Loaded) -> None:
    raw = "<p>A café</p> {<0><0><50><100>} with <p>two cups</p> {<10><20><30><40>}<delim>{<50><50><60><60>}."
    found = tiny.family.parse(ask(skill="detect"), raw, [(200, 100)])
    assert isinstance(found, Boxes)
    assert found.problems == ()
    assert found.labels == ("A café", "two cups", "two cups")
    assert np.allclose(found.xyxy, [[0, 0, 100, 100], [20, 20, 60, 40], [100, 50, 120, 60]])
    told = tiny.family.parse(ask(skill="caption", detail="full"), raw, [(200, 100)])
    assert str(told) == "A café with two cups."


@pytest.mark.parametrize(
    ("raw", "count", "said"),
    [
        ("{<10><20><30><40>}", 1, ""),
        ("{ <10> <20><30> <40> }", 1, ""),
        ("{<167><411><107><218>}", 0, "above 100"),
        ("{<10><20><30>}", 0, "breaks off"),
        ("{<10><20><30><40>}<delim>{<10><2", 1, "breaks off"),
        ("{<30><20><10><40>}", 1, "exchanged"),
        ("on the table", 0, "neither a box nor"),
        ("none", 0, ""),
        ("None.", 0, ""),
    ],
)
def test_what_refer_writes_is_read_strictly(tiny: Loaded, raw: str, count: int, said: str) -> None:
    found = tiny.family.parse(ask("the cup", skill="ground"), raw, [SIZE])
    assert isinstance(found, Boxes)
    assert len(found) == count
    assert all(label == "the cup" for label in found.labels)
    assert any(said in problem.message for problem in found.problems) if said else found.problems == ()


def test_phrases_without_boxes_are_problems(tiny: Loaded) -> None:
    for raw in ("<p>cat</p>", "<p>cat", "<p>cat</p> <p>dog</p> {<1><2><3><4>}", "<p>dog</p> {<1><2><3><4>} <p>x"):
        found = tiny.family.parse(ask(skill="detect", labels=("cat", "dog")), raw, [SIZE])
        assert any("phrase has no box" in problem.message for problem in found.problems), raw


GOOD = "<p>cat</p> {<1><2><33><44>}<delim>{<5><6><77><100>} <p>żółta łódź</p> {<0><0><9><9>}"
SCRAPS = ("<p>", "</p>", "{<", ">}", "<delim>", "{<1><2><3><4>}", "{<999999><1><2><3>}", "9" * 40, "é🐈", "{", "<")


@settings(max_examples=1000, deadline=None)
@given(st.data())
def test_mutated_answers_give_boxes_in_the_image_or_a_named_problem(data: st.DataObject) -> None:
    raw = GOOD
    for _ in range(data.draw(st.integers(0, 4))):
        start = data.draw(st.integers(0, len(raw)))
        stop = data.draw(st.integers(start, min(len(raw), start + 20)))
        new = data.draw(st.sampled_from([*SCRAPS, raw[start:stop] * 3, raw[stop:start:-1]]) | st.text(max_size=5))
        raw = raw[:start] + new + raw[stop:]
    family = Family()
    regions = (ask(skill="detect", labels=("cat",)), ask("cat", skill="ground"))
    for request in (*regions, ask("[refer] cat"), ask(skill="caption")):
        found = family.parse(request, raw, [SIZE], tokens=list(raw), logprobs=[-1.0] * len(raw))
        assert found.raw == raw
        if isinstance(found, Boxes):
            assert len(found) or found.problems or raw.strip().strip(".").casefold() == "none"
            assert ((found.xyxy >= 0) & (found.xyxy <= np.array(SIZE * 2))).all()
            assert found.confidence is None or len(found.confidence) == len(found)


def test_each_box_has_the_probability_of_its_own_tokens(tiny: Loaded) -> None:
    tokens = ["<p>", "cat", "</p>", "▁", "{<", "1", "><", "2><3", "><4>}", "<del", "im>", "{<5><6><7><8>}"]
    logprobs = [-9.0] * 4 + [-1.0] * 5 + [-9.0] * 2 + [-2.0]
    found = tiny.family.parse(
        ask(skill="detect"), "<p>cat</p> {<1><2><3><4>}<delim>{<5><6><7><8>}", [SIZE], tokens=tokens, logprobs=logprobs
    )
    assert isinstance(found, Boxes)
    assert found.confidence is not None
    assert found.confidence.tolist() == pytest.approx([np.exp(-1.0), np.exp(-2.0)])


def test_an_image_takes_as_many_tokens_as_the_family_says(loaded: Loaded) -> None:
    for size in [(1, 40), (448, 448), (1023, 641)]:
        assert len(loaded.family.see(loaded, picture(size)).ids) == loaded.family.image_tokens(loaded, size) == 16


def test_the_published_sizes_are_those_of_the_card() -> None:
    from imglish.families._minigpt_cards import CARDS
    from imglish.nn.minigpt_v2 import MiniGPTv2, MiniGPTv2Config

    with torch.device("meta"):
        model = MiniGPTv2(MiniGPTv2Config())
    assert model.config.image_tokens == CARDS[0].image_tokens == 256
    assert sum(weight.numel() for weight in model.parameters()) == pytest.approx(CARDS[0].parameters, rel=1e-3)
