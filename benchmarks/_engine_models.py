"""The models of benchmarks/engine.py: the shipped one, and random ones of the sizes that its page names.

A random model never ends an answer by itself here: all answers have the length that the row says.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from imglish import world
from imglish.engine.load import FAMILIES, load_checkpoint
from imglish.families import _llava
from imglish.families._base import Loaded
from imglish.families._tiny import HubProcessor, seeded

TITLES = {
    "a": "the shipped model, as it loads",
    "b": "LLaVA type, 0.4 B random parameters, 576 image tokens",
    "c": "Qwen2-VL type, 0.4 B random parameters, pictures in their own resolution",
    "d": "Florence-2-base's sizes, random",
    "e": "the shipped model, float32",
}
Sizes = dict[str, int]
FULL: dict[str, Sizes] = {
    "b": {"hidden": 1024, "ffn": 2816, "layers": 20, "heads": 16, "kv_heads": 16, "vocab": 32000}
    | {"vision_hidden": 768, "vision_layers": 12, "side": 336},
    "c": {"hidden": 1024, "ffn": 2816, "layers": 22, "heads": 16, "kv_heads": 4, "vocab": 32000}
    | {"vision_hidden": 1024, "vision_layers": 8},
    "d": {"hidden": 768, "layers": 6, "width": 128, "vocab": 51289, "side": 768, "depth": 9},
}  # fmt: skip
QUICK: dict[str, Sizes] = {
    "b": {"hidden": 64, "ffn": 128, "layers": 2, "heads": 4, "kv_heads": 4, "vocab": 2500}
    | {"vision_hidden": 32, "vision_layers": 2, "side": 56},
    "c": {"hidden": 64, "ffn": 128, "layers": 2, "heads": 4, "kv_heads": 2, "vocab": 2500}
    | {"vision_hidden": 32, "vision_layers": 2},
    "d": {"hidden": 64, "layers": 2, "width": 32, "vocab": 4000, "side": 64, "depth": 1},
}  # fmt: skip


def build(letter: str, *, quick: bool, device: str, checkpoint: str | None = None) -> Loaded:
    """One of the models, in bfloat16 but for the shipped one, with answers that never end by themselves."""
    if letter in "ae":
        loaded = load_checkpoint(checkpoint, device=device, dtype="float32" if letter == "e" else "auto")
    else:
        sizes = (QUICK if quick else FULL)[letter]
        loaded = {"b": llava, "c": qwen, "d": florence}[letter](sizes)
        loaded.model.to(torch.bfloat16).to(device).eval()
    loaded.model.generation_config.eos_token_id = None
    return loaded


def endless(loaded: Loaded) -> Loaded:
    """The same model, whose answers have no end token."""
    family = copy.copy(loaded.family)
    family.stop = ()
    return dataclasses.replace(loaded, family=family, extra=dict(loaded.extra))


def llava(sizes: Sizes) -> Loaded:
    """CLIP and Llama."""
    from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

    family = FAMILIES.get("llava")()
    tokenizer = words(("<s>", "</s>", "<unk>", "<image>", "<pad>"), sizes["vocab"], bos="<s>", eos="</s>", pad="<pad>")
    vision = transformers.CLIPVisionConfig(
        hidden_size=sizes["vision_hidden"], intermediate_size=4 * sizes["vision_hidden"], image_size=sizes["side"],
        num_hidden_layers=sizes["vision_layers"], num_attention_heads=max(sizes["vision_hidden"] // 64, 1),
        patch_size=14,
    )  # fmt: skip
    text = transformers.LlamaConfig(**_decoder(sizes, tokenizer))
    config = transformers.LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=(sizes["side"] // 14) ** 2,
    )  # fmt: skip
    side = {"height": sizes["side"], "width": sizes["side"]}
    pictures = LlavaImageProcessorPil(size={"shortest_edge": sizes["side"]}, crop_size=side)
    with seeded():
        model = transformers.LlavaForConditionalGeneration(config)
    return Loaded(model, HubProcessor(tokenizer, pictures), family, "random")


def qwen(sizes: Sizes) -> Loaded:
    """Qwen2-VL, which looks at a picture in its own resolution."""
    from imglish.families import _qwen_family

    tokenizer = words(_qwen_family.SPECIAL_TOKENS, sizes["vocab"], eos="<|im_end|>", pad="<|endoftext|>")
    one = tokenizer.convert_tokens_to_ids
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": _sections(sizes["hidden"] // sizes["heads"])}
    config = transformers.Qwen2VLConfig(
        vision_config={
            "depth": sizes["vision_layers"], "embed_dim": sizes["vision_hidden"], "hidden_size": sizes["hidden"],
            "num_heads": max(sizes["vision_hidden"] // 64, 1),
        },
        text_config=_decoder(sizes, tokenizer) | {"rope_parameters": rope, "tie_word_embeddings": True},
        image_token_id=one("<|image_pad|>"), video_token_id=one("<|video_pad|>"), tie_word_embeddings=True,
        vision_start_token_id=one("<|vision_start|>"), vision_end_token_id=one("<|vision_end|>"),
    )  # fmt: skip
    with seeded():
        model = transformers.Qwen2VLForConditionalGeneration(config)
    family = FAMILIES.get("qwen2_vl")()
    pictures = FAMILIES.get("qwen2_vl")().tiny().processor.image_processor
    pictures.size = type(pictures.size)(shortest_edge=56 * 56, longest_edge=14 * 14 * 4 * 1280)
    processor = HubProcessor(tokenizer, pictures)
    family.settle({}, processor)
    return Loaded(model, processor, family, "random")


def florence(sizes: Sizes) -> Loaded:
    """Florence-2: DaViT and BART."""
    family = FAMILIES.get("florence2")()
    tiny = family.tiny()
    tokenizer = words(
        family.special_tokens, sizes["vocab"], bos="<s>", eos="</s>", pad="<pad>", unk="<unk>"
    )  # fmt: skip
    wide, layers = sizes["hidden"], sizes["layers"]
    text = {
        "model_type": "bart", "d_model": wide, "encoder_layers": layers, "decoder_layers": layers,
        "encoder_ffn_dim": 4 * wide, "decoder_ffn_dim": 4 * wide, "encoder_attention_heads": max(wide // 64, 1),
        "decoder_attention_heads": max(wide // 64, 1), "vocab_size": len(tokenizer), "max_position_embeddings": 1024,
        "dropout": 0.0, "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id, "decoder_start_token_id": tokenizer.eos_token_id,
        "forced_eos_token_id": None,
    }  # fmt: skip
    heads = [max(sizes["width"] // 32, 1) * 2**stage for stage in range(4)]
    config = transformers.Florence2Config(
        vision_config={
            "embed_dim": [sizes["width"] * 2**stage for stage in range(4)], "num_heads": heads, "num_groups": heads,
            "depths": [1, 1, sizes["depth"], 1], "projection_dim": wide,
        },
        text_config=text, image_token_id=tokenizer.convert_tokens_to_ids(family.image_token),
    )  # fmt: skip
    with seeded():
        model = transformers.Florence2ForConditionalGeneration(config)
    model.generation_config.decoder_start_token_id = tokenizer.eos_token_id
    pictures = tiny.processor.image_processor
    pictures.size = {"height": sizes["side"], "width": sizes["side"]}
    pictures.crop_size = dict(pictures.size)
    return Loaded(model, HubProcessor(tokenizer, pictures), family, "random")


def words(special: tuple[str, ...], size: int, **named: str) -> Any:
    """A tokenizer that knows English words of the prompts, filled up to `size` tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    texts = [_llava.SYSTEM, json.dumps({"name": "", "total": 1, "items": []})]
    for seed in world.seeds("train", 0, 40):
        texts += [f"{sample.request().text} {sample.answer}" for sample in world.samples(world.draw("things", seed))]
    trainer = trainers.BpeTrainer(
        vocab_size=min(size // 2, 2000), initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    document = json.loads(tokenizer.to_str())
    known = document["model"]["vocab"]
    for number in range(len(known), size - len(special)):
        known[f"Ġ{number:x}z"] = number
    tokenizer = Tokenizer.from_str(json.dumps(document))
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, padding_side="left", clean_up_tokenization_spaces=False,
        **{f"{name}_token": token for name, token in named.items()},
    )  # fmt: skip


def parameters(loaded: Loaded) -> int:
    """How many weights a model has; those that are tied count once."""
    return sum(weight.numel() for weight in loaded.model.parameters())


def picture(seed: int, size: tuple[int, int] | None = None) -> Any:
    """A drawn picture that no other seed gives."""
    image = world.draw("things", world.seeds("held", seed, 1)[0]).images[0]
    return image if size is None else image.resize(size)


def files(folder: Path, count: int) -> list[Path]:
    """JPEG pictures of mixed sizes."""
    sizes = ((640, 480), (480, 640), (800, 600), (512, 512), (320, 240), (1024, 768), (400, 600), (720, 480))
    made = []
    for number in range(count):
        made.append(folder / f"{number}.jpg")
        picture(100_000 + number, sizes[number % len(sizes)]).save(made[-1], quality=90)
    return made


def _decoder(sizes: Sizes, tokenizer: Any) -> dict[str, Any]:
    return {
        "hidden_size": sizes["hidden"], "intermediate_size": sizes["ffn"], "num_hidden_layers": sizes["layers"],
        "num_attention_heads": sizes["heads"], "num_key_value_heads": sizes["kv_heads"], "vocab_size": len(tokenizer),
        "max_position_embeddings": 8192, "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip


def _sections(size: int) -> list[int]:
    """How the angles of a head are shared between time, height and width, as 16:24:24 of 64 (Qwen2-VL)."""
    quarter = size // 8
    rest = size // 2 - quarter
    return [quarter, rest - rest // 2, rest // 2]
