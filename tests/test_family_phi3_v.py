"""Phi-3-vision against its reference implementation: golden numbers, made as `reference/phi3_v.json` says."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors

from imglish.core.errors import CheckpointError, InputError, SkillError
from imglish.core.types import ImagePart, Message, Request, TextPart, VideoPart, to_messages
from imglish.engine.load import FAMILIES
from imglish.engine.vlm import VLM, chat_request
from imglish.families._base import Loaded
from imglish.families._phi3_v_view import HD, ImageProcessor
from imglish.families.phi3_v import numbered

GOLDEN = json.loads((Path(__file__).parent / "reference/phi3_v.json").read_text(encoding="utf-8"))
SPECIAL = ("<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>", "<|image|>")
LETTERS = ("▁", *map(chr, range(33, 127)))
IMAGE = 3 + 256 + len(LETTERS) + len(SPECIAL) - 1
VISION = {
    "hidden_act": "quick_gelu", "hidden_size": 32, "image_size": 336, "intermediate_size": 48,
    "num_attention_heads": 2, "num_hidden_layers": 2, "patch_size": 14, "projection_dim": 16,
}  # fmt: skip
# The published config.json, key for key, with small sizes; `vision_config` and `image_token_id` are ours.
CONFIG: dict[str, Any] = {
    "_name_or_path": "Phi-3.5-vision-instruct",
    "architectures": ["Phi3VForCausalLM"],
    "attention_dropout": 0.0,
    "auto_map": {
        "AutoConfig": "configuration_phi3_v.Phi3VConfig", "AutoModelForCausalLM": "modeling_phi3_v.Phi3VForCausalLM"
    },
    "bos_token_id": 1,
    "embd_layer": {
        "embedding_cls": "image", "hd_transform_order": "sub_glb", "projection_cls": "mlp", "use_hd_transform": True,
        "with_learnable_separator": True,
    },
    "embd_pdrop": 0.0,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 32,
    "img_processor": {
        "image_dim_out": 32, "model_name": "openai/clip-vit-large-patch14-336", "name": "clip_vision_model",
        "num_img_tokens": 144,
    },
    "initializer_range": 0.02,
    "intermediate_size": 48,
    "max_position_embeddings": 131072,
    "model_type": "phi3_v",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 4,
    "original_max_position_embeddings": 4096,
    "pad_token_id": 3,
    "resid_pdrop": 0.0,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "long_factor": [1.03, 2.86, 30.0, 64.0], "short_factor": [1.05, 1.1, 1.9, 3.05], "type": "su",
    },
    "rope_theta": 10000.0,
    "sliding_window": 262144,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.38.1",
    "use_cache": True,
    "vocab_size": 384,
    "_attn_implementation": "flash_attention_2",
    "vision_config": VISION,
    "image_token_id": IMAGE,
}  # fmt: skip
PREPROCESSOR = {
    "auto_map": {
        "AutoProcessor": "processing_phi3_v.Phi3VProcessor",
        "AutoImageProcessor": "image_processing_phi3_v.Phi3VImageProcessor",
    },
    "num_crops": 4,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_processor_type": "Phi3VImageProcessor",
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "processor_class": "Phi3VProcessor",
    "num_img_tokens": 144,
}
LONG = "Read it, and tell me line by line what it says. " * 50
CONVERSATIONS: dict[str, tuple[list[dict[str, str]], list[tuple[int, int]]]] = {
    "one": ([{"role": "user", "content": "<|image_1|>\nWhat is shown in this image?"}], [(150, 100)]),
    "two": ([{"role": "user", "content": "<|image_1|>\n<|image_2|>\nWhat changed?"}], [(90, 200), (500, 60)]),
    "turns": (
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "<|image_1|>\nDescribe it."},
            {"role": "assistant", "content": "A man  with a tie."},
            {"role": "user", "content": "Could he be a politician?"},
            {"role": "assistant", "content": "Yes."},
            {"role": "user", "content": "Look at <|image_2|> now, and compare."},
        ],
        [(64, 64), (97, 301)],
    ),
    "frames": (
        [{"role": "user", "content": "<|image_1|>\n<|image_2|>\n<|image_3|>\nWhere does it go?"}],
        [(60, 40), (60, 40), (60, 40)],
    ),
    "long": ([{"role": "user", "content": f"<|image_1|>\n{LONG}"}], [(320, 240)]),
    "text": ([{"role": "user", "content": "What is 1+1? Explain it."}], []),
}


def picture(seed: int, size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(np.random.RandomState(seed).randint(0, 256, (size[1], size[0], 3)).astype(np.uint8))


def pictures(name: str) -> list[Image.Image]:
    return [picture(seed, size) for seed, size in enumerate(CONVERSATIONS[name][1])]


def weight(name: str, shape: Sequence[int]) -> torch.Tensor:
    """Random numbers by the weight's name; numpy promises that RandomState gives the same for ever."""
    noise = torch.from_numpy(np.random.RandomState(zlib.crc32(name.encode())).standard_normal(tuple(shape))).float()
    if "norm" in name and name.endswith(".weight"):
        return 1 + 0.1 * noise
    return noise / math.sqrt(shape[-1]) if len(shape) > 1 else 0.1 * noise


def write_tokenizer(folder: Path) -> None:
    """A tokenizer.json as published: Llama's normaliser, bytes to fall back on, added tokens that eat what follows."""
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *LETTERS]
    known = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(known, [], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single=["<s>", "$A"], special_tokens=[("<s>", 1)])
    eats = ("<|assistant|>", "<|image|>")
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ("<unk>", "<s>")])
    tokenizer.add_tokens([AddedToken("</s>", rstrip=True, normalized=False)])
    tokenizer.add_special_tokens([AddedToken(t, rstrip=t in eats, special=True, normalized=False) for t in SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "add_bos_token": True, "add_eos_token": False, "bos_token": "<s>", "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>", "unk_token": "<unk>", "legacy": False, "padding_side": "right",
        "clean_up_tokenization_spaces": False, "tokenizer_class": "LlamaTokenizer", "model_max_length": 131072,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def published(folder: Path, **changes: Any) -> Path:
    """A checkpoint laid out file by file like the published repository, in two shards with the published names."""
    from imglish.nn.phi3_v import Phi3VConfig, Phi3VForCausalLM

    folder.mkdir(exist_ok=True, parents=True)
    write_tokenizer(folder)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}))
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    with torch.device("meta"):
        model = Phi3VForCausalLM(Phi3VConfig.from_dict(CONFIG))
    held = {name: weight(name, tensor.shape) for name, tensor in model.state_dict().items()}
    old = {name.replace("img_processor.", "img_processor.vision_model."): tensor for name, tensor in held.items()}
    shards = ({}, {})  # type: tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]
    for place, (name, tensor) in enumerate(old.items()):
        shards[place % 2][name] = tensor
    index = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        index |= dict.fromkeys(shard, file)
    total = sum(4 * tensor.numel() for tensor in old.values())
    written = {"metadata": {"total_size": total}, "weight_map": index}
    (folder / "model.safetensors.index.json").write_text(json.dumps(written))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published(tmp_path_factory.mktemp("hub") / "Phi-3.5-vision-instruct")


@pytest.fixture(scope="module")
def loaded(folder: Path) -> Loaded:
    """0 missing, 0 unexpected weights, or this raises."""
    return FAMILIES.get("phi3_v")().load(str(folder), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def tiny() -> Loaded:
    return FAMILIES.get("phi3_v")().tiny()


def conversation(name: str) -> Request:
    return chat_request(numbered(CONVERSATIONS[name][0], pictures(name)))


def ask(text: str, *images: Image.Image, skill: str = "ask") -> Request:
    return Request(skill, (Message("user", (*map(ImagePart, images), TextPart(text))),), text)


@pytest.mark.parametrize("name", list(CONVERSATIONS))
def test_ids_and_logits_equal_the_references(loaded: Loaded, name: str) -> None:
    expected = GOLDEN["conversations"][name]
    tensors, receipts = loaded.family.inputs(loaded, [conversation(name)])
    ids = tensors["input_ids"][0].tolist()
    theirs = [token for token, count in expected["ids"] for _ in range(count)]
    assert [token if token != IMAGE else -1 for token in ids] == [max(token, -1) for token in theirs]
    counts = [count for token, count in expected["ids"] if token < 0]
    assert [image.image_tokens for image in receipts[0].images] == counts
    with torch.inference_mode():
        logits = loaded.model(**tensors).logits[0]
    difference = logits[expected["positions"]][:, ::16] - torch.tensor(expected["logits"])
    assert difference.abs().max() <= 1e-4
    assert len(ids) > 4096 or name != "long", "this one is for the long factors of the rotary angles"


@pytest.mark.parametrize("case", GOLDEN["pixels"], ids=str)
def test_pixels_equal_the_references(case: dict[str, Any]) -> None:
    pixels = ImageProcessor(num_crops=case["num_crops"], num_crops_single=case["num_crops"])
    frame, size = pixels.frame(alone=True), tuple(case["size"])
    made = pixels.tensors(picture(7, size), frame.fit(size), frame)
    assert made["image_sizes"].tolist() == [case["image_size"]]
    assert frame.tokens(size) == case["tokens"]
    values = made["pixel_values"][:, :, 5::83, 7::89].flatten()
    torch.testing.assert_close(values, torch.tensor(case["values"]), atol=1e-4, rtol=0)


def test_the_count_of_image_tokens_is_the_references_and_the_real_one(loaded: Loaded) -> None:
    for most, width, height, count in GOLDEN["tokens"]:
        assert HD(most).tokens((width, height)) == count, (most, width, height)
    for size in ((640, 480), (97, 301), (3, 500), (1000, 31), (336, 336)):
        view = loaded.family.see(loaded, picture(0, size))
        features = loaded.model.model.vision_embed_tokens(view.tensors["pixel_values"], view.tensors["image_sizes"])
        assert len(features[0]) == len(view.ids) == loaded.family.image_tokens(loaded, size)


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (231, 150), (97, 301), (1000, 31)])
def test_places_lie_where_the_tiles_have_them(size: tuple[int, int]) -> None:
    half = np.zeros((size[1], size[0], 3), np.uint8)
    half[:, size[0] // 2 :] = 255
    frame = HD(4)
    fitted = frame.fit(size)
    (x1, _), (x2, y2) = fitted.forward([(size[0] // 2, 0), size])
    pixels = np.array(frame.apply(Image.fromarray(half), fitted))[:, :, 0]
    inside = pixels[math.ceil(fitted.pad_y) : math.floor(y2), math.ceil(fitted.pad_x) : math.floor(x2)]
    bright = np.zeros(inside.shape, bool)
    bright[:, round(x1 - fitted.pad_x) :] = True
    assert ((inside > 127) != bright).mean() < 0.02
    assert pixels.shape == fitted.size[::-1]


def test_one_picture_gets_sixteen_tiles_and_many_get_four_each(tiny: Loaded) -> None:
    alone = tiny.family.inputs(tiny, [ask("?", picture(0, (90, 90)))])[1][0].images
    both = tiny.family.inputs(tiny, [ask("?", picture(0, (90, 90)), picture(1, (90, 90)))])[1][0].images
    assert [image.tiles for image in (*alone, *both)] == [17, 5, 5]
    older = ImageProcessor(num_crops=16)  # Phi-3-vision
    assert older.frame(alone=True) == older.frame(alone=False) == HD(16)


def test_a_padded_batch_of_one_none_and_many_pictures_equals_its_singles(tiny: Loaded) -> None:
    film = Request(
        "watch", (Message("user", (VideoPart(tuple(picture(n, (60, 40)) for n in range(5))), TextPart("?"))),)
    )
    talk = chat_request(to_messages([{"role": "user", "content": "What is 1+1? Explain it."}]))
    requests = [ask("What is it?", picture(0, (70, 30))), film, talk]
    tensors, _ = tiny.family.inputs(tiny, requests)
    with torch.inference_mode():
        together = tiny.model(**tensors).logits[:, -1]
        for row, request in zip(together, requests, strict=True):
            alone = tiny.model(**tiny.family.inputs(tiny, [request])[0]).logits[0, -1]
            torch.testing.assert_close(row, alone, atol=1e-4, rtol=1e-4)


def bounded(length: int) -> Loaded:
    """A small model whose long frequencies begin after so many tokens."""
    loaded = FAMILIES.get("phi3_v")().tiny()
    config = loaded.model.config  # it writes the number that it has itself over that among its rope_parameters
    config.original_max_position_embeddings = config.rope_parameters["original_max_position_embeddings"] = length
    return loaded


def test_a_row_has_the_frequencies_of_its_own_length_whatever_the_batch() -> None:
    requests = [ask("?", picture(0, (50, 50))), ask("?" * 200, picture(1, (50, 50)))]
    tiny = bounded(180)
    tensors, _ = tiny.family.inputs(tiny, requests)
    short, long = tensors["attention_mask"].sum(1).tolist()
    assert short < 180 < long
    with torch.inference_mode():
        together = tiny.model(**tensors).logits[0, -1]
        alone = tiny.model(**tiny.family.inputs(tiny, requests[:1])[0]).logits[0, -1]
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_an_answer_that_crosses_to_long_frequencies_is_as_if_read_anew() -> None:
    request = ask("What is it?", picture(0, (50, 50)))
    length = bounded(4096).family.inputs(bounded(4096), [request])[0]["input_ids"].shape[1]
    tiny = bounded(length + 3)
    tensors, _ = tiny.family.inputs(tiny, [request, ask("?", picture(1, (50, 50)))])
    with torch.inference_mode():
        made = tiny.model.generate(
            **tensors, max_new_tokens=8, do_sample=False, eos_token_id=None, output_logits=True,
            return_dict_in_generate=True, suppress_tokens=[tiny.model.config.image_token_id], pad_token_id=0,
        )  # fmt: skip
        for step, logits in enumerate(made.logits):
            ids = made.sequences[:, : tensors["input_ids"].shape[1] + step]
            mask = torch.cat((tensors["attention_mask"], torch.ones(2, step, dtype=torch.long)), 1)
            whole = tiny.model(**{**tensors, "input_ids": ids, "attention_mask": mask}).logits[:, -1]
            torch.testing.assert_close(logits, whole, atol=1e-4, rtol=1e-4)


def test_several_answers_to_a_batch_see_the_pictures_of_their_own_prompt(tiny: Loaded) -> None:
    requests = [ask("?", picture(0, (50, 50))), ask("What?", picture(1, (90, 30)), picture(2, (30, 30)))]
    more = {"max_new_tokens": 4, "eos_token_id": None, "pad_token_id": 0}
    more["suppress_tokens"] = [tiny.model.config.image_token_id]
    with torch.inference_mode():
        tensors = tiny.family.inputs(tiny, requests)[0]
        once = tiny.model.generate(**tensors, do_sample=False, **more)
        beams = tiny.model.generate(**tensors, num_beams=2, num_return_sequences=2, do_sample=False, **more)
        for row, request in enumerate(requests):
            single = tiny.family.inputs(tiny, [request])[0]
            assert tiny.model.generate(**single, do_sample=False, **more)[0, -4:].tolist() == once[row, -4:].tolist()
            alone = tiny.model.generate(**single, num_beams=2, num_return_sequences=2, do_sample=False, **more)
            assert alone[:, -4:].tolist() == beams[2 * row : 2 * row + 2, -4:].tolist()


def test_the_published_names_are_read_whole_and_a_missing_one_fails(folder: Path, tmp_path: Path) -> None:
    again = published(tmp_path / "again")
    index = json.loads((again / "model.safetensors.index.json").read_text())
    gone = "model.vision_embed_tokens.glb_GN"
    file = again / index["weight_map"].pop(gone)
    (again / "model.safetensors.index.json").write_text(json.dumps(index))
    from safetensors.torch import load_file

    save_file({name: tensor for name, tensor in load_file(file).items() if name != gone}, file)
    with pytest.raises(CheckpointError, match=r"1 missing: model\.vision_embed_tokens\.glb_GN"):
        FAMILIES.get("phi3_v")().load(str(again), device="cpu", dtype="float32")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"rope_scaling": {**CONFIG["rope_scaling"], "type": "yarn"}}, "yarn"),
        ({"embd_layer": "default"}, "embd_layer"),
        ({"embd_layer": {**CONFIG["embd_layer"], "hd_transform_order": "glb_sub"}}, "glb_sub"),
    ],
)
def test_what_the_port_does_not_have_is_refused(tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    with pytest.raises(CheckpointError, match=what):
        FAMILIES.get("phi3_v")().load(str(published(tmp_path, **changes)), device="cpu", dtype="float32")


def test_the_scaling_that_was_called_su_is_longrope(loaded: Loaded) -> None:
    rope = loaded.model.config.rope_parameters
    assert rope["rope_type"] == "longrope"
    assert loaded.model.model.rotary_emb.attention_scaling == pytest.approx(1.1902, abs=1e-4)


def test_a_checkpoint_saved_here_loads_again(loaded: Loaded, tmp_path: Path) -> None:
    loaded.model.save_pretrained(tmp_path)
    loaded.processor.save_pretrained(tmp_path)
    again = FAMILIES.get("phi3_v")().load(str(tmp_path), device="cpu", dtype="float32")
    tensors, _ = loaded.family.inputs(loaded, [conversation("two")])
    other, _ = again.family.inputs(again, [conversation("two")])
    with torch.inference_mode():
        assert torch.equal(loaded.model(**tensors).logits, again.model(**other).logits)


def test_an_answer_ends_at_each_of_its_end_tokens(tiny: Loaded) -> None:
    for end in ("<|end|>", "<|endoftext|>", "<|assistant|>"):
        token = tiny.tokenizer.convert_tokens_to_ids(end)
        bias = torch.zeros(tiny.model.config.vocab_size)
        bias[token] = 1e4
        hook = tiny.model.lm_head.register_forward_hook(lambda module, given, out, bias=bias: out + bias)
        receipt = VLM(tiny, max_tokens=5).run([ask("?", picture(0, (50, 50)))])[0].receipt
        hook.remove()
        assert receipt is not None
        assert not receipt.truncated
        assert receipt.generated_tokens == 0


def test_placeholders_become_the_pictures_in_their_places() -> None:
    a, b = picture(0, (5, 5)), picture(1, (5, 5))
    (message,) = numbered("Is <|image_2|> older than <|image_1|>?", [a, b])
    assert [part.image if isinstance(part, ImagePart) else part.text for part in message.parts] == [
        "Is ", b, " older than ", a, "?"
    ]  # fmt: skip
    (bare,) = numbered("Is it?", [a, b])
    assert [type(part) for part in bare.parts] == [ImagePart, ImagePart, TextPart]


@pytest.mark.parametrize(
    ("text", "count", "said"),
    [
        ("<|image_1|> <|image_3|>", 2, "numbered 1, 3; they are numbered from 1"),
        ("<|image_0|>", 1, "numbered 0; they are numbered from 1"),
        ("<|image_2|>", 1, "numbered 2;"),
        ("<|image_1|>", 2, "1 placeholders, and there are 2 images"),
        ("<|image_1|> <|image_2|>", 1, "2 placeholders, and there are 1 images"),
        ("<|image_1|> <|image_1|>", 1, "2 times; each image has one place"),
    ],
)
def test_wrong_numbers_of_placeholders_are_clear_errors(text: str, count: int, said: str) -> None:
    with pytest.raises(InputError, match=said.replace("|", r"\|")):
        numbered(text, [picture(0, (5, 5))] * count)


def test_a_placeholder_that_a_user_types_is_plain_text(loaded: Loaded) -> None:
    typed = "<|image_1|> <|image|> <|end|> <|user|>"
    ids = loaded.family.inputs(loaded, [ask(typed, picture(0, (50, 50)))])[0]["input_ids"][0].tolist()
    plain = loaded.family.inputs(loaded, [ask("x", picture(0, (50, 50)))])[0]["input_ids"][0].tolist()
    for token in loaded.tokenizer.convert_tokens_to_ids(list(SPECIAL)):
        assert ids.count(token) == plain.count(token)
    assert "<|image_1|> <|image|> <|end|> <|user|>" in loaded.tokenizer.decode(ids)


def test_every_skill_answers_through_the_public_face(tiny: Loaded) -> None:
    vlm, image = VLM(tiny), picture(0, (80, 50))
    short = {"max_tokens": 3}
    results = [
        vlm.ask(image, "What?", **short), vlm.caption(image, **short), vlm.detect(image, ["cat"], **short),
        vlm.ground(image, "the cat", **short), vlm.read(image, **short), vlm.watch([image] * 3, "Where?", **short),
    ]  # fmt: skip
    assert [result.receipt.prompted for result in results if result.receipt] == [False, False, True, True, True, False]
    chat = vlm.chat(**short)
    chat.say("Describe it.", image=image)
    chat.say("Could it be a cat?")
    answer = chat.say("And this one?", image=picture(1, (30, 70)))
    assert answer.receipt is not None
    assert [image.tiles for image in answer.receipt.images] == [5, 3]
    with pytest.raises(SkillError, match="at most 32"):
        vlm.ask([image] * 33, "?")


def test_lora_targets_are_layers_of_the_decoder_alone(tiny: Loaded) -> None:
    names = [name for name, _ in tiny.model.named_modules() if name.endswith(tiny.family.lora_targets)]
    assert len(names) == 2 * 4
    assert all(name.startswith("model.layers.") for name in names)
