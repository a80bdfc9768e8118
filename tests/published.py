"""Small checkpoints, file by file as well-known ones are published: `PUBLISHED[name]()` are the files of one.

    with serve() as hub, hub.environment(cache):
        for name in PUBLISHED:
            publish(hub, name)
        imglish.load("microsoft/Florence-2-base")

The weights are those of the family's `tiny()`. Everything around them is as old repositories have it: shards and their
index, `auto_map` and the code it names, configurations with older keys or without newer ones, pickles next to the rest.
`FOLDERS` are checkpoints that no hub has: whoever wants one makes its folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from hub_server import Hub, layout
from imglish.core.registry import Registry

FAMILIES = Registry("imglish.families", what="family", attribute="Family")
Files = dict[str, bytes]


def publish(hub: Hub, name: str, **how: Any) -> None:
    """Put the small checkpoint of a well-known name on a hub."""
    hub.add(name, PUBLISHED[name](), **how)


def brief(files: Files) -> Files:
    """The same checkpoint with answers of a few tokens: random weights would write until they are cut."""
    generation = json.loads(files.get("generation_config.json", b"{}"))
    return files | {"generation_config.json": _json(generation | {"exponential_decay_length_penalty": [6, 2.0]})}


def florence2() -> Files:
    """microsoft/Florence-2-base: the original layout, with code for model and processor, and BART's bare tokenizer."""
    from imglish.families._florence2_layout import to_original
    from imglish.families._florence2_tasks import FRAME_TOKENS
    from imglish.families._tiny import tiny_tokenizer

    tiny = FAMILIES.get("florence2")().tiny()
    files = layout(
        tiny.model,
        tiny.processor,
        code=["configuration_florence2.py", "modeling_florence2.py", "processing_florence2.py"],
        rename=lambda tensors: to_original(tensors, tiny.model.config.text_config.vocab_size - 1),
        pickled=True,
    )
    native = json.loads(files["config.json"])
    vision, text = native["vision_config"], native["text_config"]
    vocabulary = text["vocab_size"] - 1
    config = {
        "_name_or_path": "florence2", "architectures": ["Florence2ForConditionalGeneration"],
        "auto_map": native["auto_map"], "bos_token_id": 0, "eos_token_id": 2, "ignore_index": -100,
        "is_encoder_decoder": True, "model_type": "florence2", "pad_token_id": 1, "projection_dim": 32,
        "torch_dtype": "float16", "transformers_version": "4.41.0.dev0", "vocab_size": vocabulary,
        "text_config": {
            **text, "model_type": "florence2_language", "vocab_size": vocabulary, "num_beams": 3,
            "forced_bos_token_id": 0, "no_repeat_ngram_size": 0, "early_stopping": True, "is_encoder_decoder": True,
        },
        "vision_config": {
            **{name: value for name, value in vision.items() if not name.endswith("embeddings")},
            "model_type": "davit", "dim_embed": vision["embed_dim"], "enable_checkpoint": False,
            "image_pos_embed": {"type": "learned_abs_2d", "max_pos_embeddings": 50},
            "visual_temporal_embedding": {"type": "COSINE", "max_temporal_embeddings": 100},
            "image_feature_source": ["spatial_avg_pool", "temporal_avg_pool"],
        },
    }  # fmt: skip
    del config["vision_config"]["embed_dim"]  # type: ignore[attr-defined]
    bare = tiny_tokenizer(FRAME_TOKENS, bos="<s>", eos="</s>", pad="<pad>", unk="<unk>")
    ids = {
        name: bare.convert_tokens_to_ids(token) for name, token in (("bos", "<s>"), ("eos", "</s>"), ("pad", "<pad>"))
    }
    config |= {f"{name}_token_id": number for name, number in ids.items()}
    config["text_config"]["forced_bos_token_id"] = ids["bos"]  # type: ignore[index]
    config["text_config"]["decoder_start_token_id"] = ids["eos"]  # type: ignore[index]
    return files | {
        "config.json": _json(config),
        "generation_config.json": _json({"num_beams": 3, "early_stopping": False}),
        "tokenizer.json": bare.backend_tokenizer.to_str().encode(),
        "tokenizer_config.json": _json({"model_max_length": 1024}),
        "preprocessor_config.json": _json(
            json.loads(files["preprocessor_config.json"])
            | {"auto_map": {"AutoProcessor": "processing_florence2.Florence2Processor"},
               "image_processor_type": "CLIPImageProcessor"}
        ),
    }  # fmt: skip


def phi3_v() -> Files:
    """microsoft/Phi-3.5-vision-instruct: code, rotary scaling `su`, a flash attention nobody asked for, two shards."""
    tiny = FAMILIES.get("phi3_v")().tiny()
    rope = tiny.model.config.rope_parameters
    scaling = {"type": "su", "long_factor": rope["long_factor"], "short_factor": rope["short_factor"]}
    files = layout(
        tiny.model,
        tiny.processor,
        shards=2,
        code=["configuration_phi3_v.py", "modeling_phi3_v.py", "processing_phi3_v.py"],
        config={
            "_attn_implementation": "flash_attention_2", "rope_parameters": None, "rope_scaling": scaling,
            "rope_theta": 10000.0, "torch_dtype": "bfloat16", "dtype": None,
            "embd_layer": {"embedding_cls": "image", "hd_transform_order": "sub_glb", "projection_cls": "mlp",
                           "use_hd_transform": True, "with_learnable_separator": True},
            "img_processor": {"image_dim_out": 1024, "model_name": "openai/clip-vit-large-patch14-336",
                              "name": "clip_vision_model", "num_img_tokens": 144},
        },
        rename=lambda tensors: _inserted(tensors, r"(vision_embed_tokens\.img_processor\.)", r"\1vision_model."),
    )  # fmt: skip
    pictures = json.loads(files["preprocessor_config.json"])
    pictures["auto_map"] = {"AutoImageProcessor": "processing_phi3_v.Phi3VImageProcessor"}
    return files | {"preprocessor_config.json": _json(pictures)}


def phi3_vision() -> Files:
    """microsoft/Phi-3-vision-128k-instruct: as the later one, with 16 tiles however many pictures there are."""
    files = phi3_v()
    pictures = json.loads(files["preprocessor_config.json"]) | {"num_crops": 16}
    return files | {"preprocessor_config.json": _json(pictures)}


def minigpt_v2() -> Files:
    """The folder that `imglish.families.minigpt_v2.convert` makes of the published pieces."""
    tiny = FAMILIES.get("minigpt_v2")().tiny()
    return layout(tiny.model, tiny.processor)


def llava() -> Files:
    """llava-hf/llava-1.5-7b-hf: three shards, older names of weights, a processor without patch_size."""
    return _llava("llava", 3, type_of_pictures="CLIPImageProcessor")


def llava_next() -> Files:
    """llava-hf/llava-v1.6-mistral-7b-hf: four shards, older names of weights, a processor without patch_size."""
    return _llava("llava_next", 4, type_of_pictures="LlavaNextImageProcessor")


def _llava(family: str, shards: int, *, type_of_pictures: str) -> Files:
    tiny = FAMILIES.get(family)().tiny()
    files = layout(
        tiny.model,
        tiny.processor,
        shards=shards,
        config={
            "ignore_index": -100, "torch_dtype": "float16", "dtype": None, "image_seq_length": None,
            "multimodal_projector_bias": None, "transformers_version": "4.36.0.dev0",
        },
        without=["patch_size", "vision_feature_select_strategy", "num_additional_image_tokens", "do_pad"],
        rename=lambda tensors: _inserted(tensors, r"^(vision_tower\.)", r"\1vision_model."),
        pickled=True,
        extra={"processor_config.json": '{"processor_class": "LlavaProcessor"}'},
    )  # fmt: skip
    pictures = json.loads(files["preprocessor_config.json"]) | {"image_processor_type": type_of_pictures}
    return files | {"preprocessor_config.json": _json(pictures | {"processor_class": "LlavaProcessor"})}


def qwen2_vl() -> Files:
    """Qwen/Qwen2-VL-2B-Instruct: the text model's sizes at the top of config.json, min_pixels and max_pixels."""
    tiny = FAMILIES.get("qwen2_vl")().tiny()
    files = layout(tiny.model, tiny.processor, shards=2)
    config = json.loads(files["config.json"])
    text = config.pop("text_config")
    rope = text.pop("rope_parameters")
    text |= {
        "model_type": "qwen2_vl", "rope_theta": rope["rope_theta"],
        "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]},
    }  # fmt: skip
    text.pop("layer_types")
    pictures = json.loads(files["preprocessor_config.json"])
    size = pictures.pop("size")
    pictures |= {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]}
    pictures |= {"processor_class": "Qwen2VLProcessor"}
    vision = {name: value for name, value in config.pop("vision_config").items() if name != "rope_parameters"}
    return files | {
        "config.json": _json({**config, **text, "vision_config": {**vision, "model_type": "qwen2_vl"}}),
        "preprocessor_config.json": _json(pictures),
        "chat_template.json": _json({"chat_template": "{{ messages }}"}),
    }


PUBLISHED: dict[str, Callable[[], Files]] = {
    "microsoft/Florence-2-base": florence2,
    "microsoft/Phi-3-vision-128k-instruct": phi3_vision,
    "microsoft/Phi-3.5-vision-instruct": phi3_v,
    "llava-hf/llava-1.5-7b-hf": llava,
    "llava-hf/llava-v1.6-mistral-7b-hf": llava_next,
    "Qwen/Qwen2-VL-2B-Instruct": qwen2_vl,
}
FOLDERS: dict[str, Callable[[], Files]] = {"minigpt-v2": minigpt_v2}


def _inserted(tensors: dict[str, Any], pattern: str, replacement: str) -> dict[str, Any]:
    return {re.sub(pattern, replacement, name): tensor for name, tensor in tensors.items()}


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2).encode()
