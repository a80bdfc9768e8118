"""The published pieces of MiniGPT-v2 under the names of our model: trained parameters, EVA ViT-g, Llama-2 chat.

The reference is trained on top of two other models and saves only what it trained: `llama_proj` and the LoRA parts of
q_proj and v_proj, in the names of peft 0.2.0. Loaded with `strict=False` under a newer peft, the LoRA parts are left
out without a word and the model writes nonsense; here every tensor has a place or the load fails.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imglish.core.errors import CheckpointError
from imglish.families._weight_files import PICKLED, listed, read_tensors, weight_files

Tensors = dict[str, Tensor]

_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")
_VISION = ("cls_token", "pos_embed", "patch_embed.", "blocks.")
_UNUSED = ("norm.", "fc_norm.", "head.", "mask_token", "rel_pos_bias.")  # in the EVA file, and no part of this model
_LORA = re.compile(r"(.+)\.lora_([AB])(?:\.default)?\.weight")
_PARTS = {
    "norm1": "layer_norm1", "norm2": "layer_norm2", "attn.qkv": "self_attn.qkv", "attn.proj": "self_attn.projection",
    "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2",
}  # fmt: skip


def is_ours(tensors: Mapping[str, Any]) -> bool:
    """Whether the names are already those of our model."""
    return any(name.startswith("decoder.") for name in tensors)


def from_reference(tensors: Tensors, config: Any) -> Tensors:
    """Tensors of the reference's three pieces together, with or without its prefixes. Raises CheckpointError.

    A checkpoint that has no `ln_vision` leaves it at ones and zeros, as the reference does.
    """
    vision: Tensors = {}
    language: Tensors = {}
    lora: dict[str, Tensors] = {}
    result: Tensors = {}
    unknown: list[str] = []
    for name, tensor in tensors.items():
        bare = name.removeprefix("visual_encoder.")
        inner = _language_name(name)
        if bare.startswith(_VISION):
            vision[bare] = tensor
        elif bare.startswith(_UNUSED) or name.endswith("rotary_emb.inv_freq"):
            continue
        elif name.startswith("ln_vision."):
            result[f"vision.post_layernorm.{name.removeprefix('ln_vision.')}"] = tensor
        elif name.startswith("llama_proj."):
            result[f"adapter.project.{name.removeprefix('llama_proj.')}"] = tensor
        elif found := _LORA.fullmatch(inner):
            lora.setdefault(found[1], {})[found[2]] = tensor
        elif inner.startswith(("model.", "lm_head.")):
            language[inner] = tensor
        else:
            unknown.append(name)
    _check(unknown, vision=vision, language=language, projection=result)
    language = _merged(language, lora, alpha=config.lora_alpha)
    result |= {f"decoder.{name}": tensor for name, tensor in language.items()}
    result |= _vision(vision, config.vision_config)
    width = config.vision_config.hidden_size
    result.setdefault("vision.post_layernorm.weight", torch.ones(width))
    result.setdefault("vision.post_layernorm.bias", torch.zeros(width))
    return result


def _language_name(name: str) -> str:
    """A name of the Llama as transformers has it: without the reference's and peft's levels."""
    for prefix in ("llama_model.base_model.model.", "llama_model.", "base_model.model."):
        if name.startswith(prefix):
            name = name.removeprefix(prefix)
            break
    return name.replace(".base_layer.", ".")


def _check(unknown: list[str], *, vision: Tensors, language: Tensors, projection: Tensors) -> None:
    if unknown:
        raise CheckpointError(f"these are no weights of MiniGPT-v2: {listed(unknown)}")
    pieces = {
        "the vision encoder (eva_vit_g: cls_token, blocks.0 ...)": vision,
        "the language model (Llama-2-7b-chat: model.layers.0 ...)": language,
        "what MiniGPT-v2 trained (llama_proj, lora_A ...)": projection,
    }
    missing = [what for what, held in pieces.items() if not held]
    if missing:
        raise CheckpointError(
            f"MiniGPT-v2 is published in three pieces, and this has not {'; nor '.join(missing)}",
            hint="bring the pieces together: imglish.families.minigpt_v2.convert",
        )


def _merged(language: Tensors, lora: dict[str, Tensors], *, alpha: float) -> Tensors:
    """The language model with its LoRA parts added in: W + (alpha / rank) B A (Hu et al. 2021, arXiv:2106.09685)."""
    merged = dict(language)
    for name, parts in lora.items():
        weight = language.get(f"{name}.weight")
        if weight is None or set(parts) != {"A", "B"}:
            raise CheckpointError(f"the LoRA part of {name} has not lora_A, lora_B and a weight that they change")
        change = parts["B"].float() @ parts["A"].float()
        merged[f"{name}.weight"] = (weight.float() + alpha / len(parts["A"]) * change).to(weight.dtype)
    return merged


def _vision(tensors: Tensors, config: Any) -> Tensors:
    """EVA ViT-g as Blip2VisionModel has it; the file's layers beyond the configured ones are left out, as in BLIP-2."""
    names = {"cls_token": "class_embedding", "pos_embed": "position_embedding"}
    named: Tensors = {}
    blocks: dict[int, Tensors] = {}
    for name, tensor in tensors.items():
        block = _BLOCK.fullmatch(name)
        if block is not None:
            if int(block[1]) < config.num_hidden_layers:
                blocks.setdefault(int(block[1]), {})[block[2]] = tensor
        elif name.startswith("patch_embed.proj."):
            named[f"vision.embeddings.patch_embedding.{name.rpartition('.')[2]}"] = tensor
        elif name in names:
            named[f"vision.embeddings.{names[name]}"] = tensor
        else:
            raise CheckpointError(f"these are no weights of EVA ViT-g: {name}")
    for number, parts in blocks.items():
        for part, tensor in _block(parts).items():
            named[f"vision.encoder.layers.{number}.{part}"] = tensor
    key = "vision.embeddings.position_embedding"
    if key in named:
        named[key] = stretched(named[key], config.image_size // config.patch_size)
    return named


def _block(parts: Tensors) -> Tensors:
    """One layer: the biases of queries and values become one bias, in which that of the keys is zero."""
    named: Tensors = {}
    for name, tensor in parts.items():
        stem, _, kind = name.rpartition(".")
        if name in ("attn.q_bias", "attn.v_bias"):
            continue
        if stem not in _PARTS:
            raise CheckpointError(f"these are no weights of EVA ViT-g: {name}")
        named[f"{_PARTS[stem]}.{kind}"] = tensor
    if "attn.q_bias" in parts and "attn.v_bias" in parts:
        query, value = parts["attn.q_bias"], parts["attn.v_bias"]
        named["self_attn.qkv.bias"] = torch.cat((query, torch.zeros_like(value), value))
    return named


def stretched(positions: Tensor, side: int) -> Tensor:
    """Positions (1, 1 + n * n, width) for a grid of `side` x `side`, bicubic, as eva_vit.py does from 16 to 32."""
    first, rest = positions[:, :1].float(), positions[:, 1:].float()
    before = round(rest.shape[1] ** 0.5)
    if before == side:
        return positions
    grid = rest.reshape(1, before, before, -1).permute(0, 3, 1, 2)
    grid = torch.nn.functional.interpolate(grid, size=(side, side), mode="bicubic", align_corners=False)
    return torch.cat((first, grid.permute(0, 2, 3, 1).flatten(1, 2)), 1)


def read_piece(path: Path) -> Tensors:
    """The tensors of one safetensors file, or of a checkpoint folder. A pickle is refused, and the way out is told."""
    if path.suffix in PICKLED:
        raise CheckpointError(
            f"{path} is a pickle, which can run any code when it is opened; only safetensors are read",
            hint="where you trust it, save its tensors once: import torch, safetensors.torch; "
            f"w = torch.load({path.name!r}, map_location='cpu', weights_only=True); w = w.get('model', w); "
            f"safetensors.torch.save_file({{k: v.contiguous() for k, v in w.items()}}, {path.stem + '.safetensors'!r})",
        )
    if not path.exists():
        raise CheckpointError(f"{path} is not there")
    return read_tensors(weight_files(path) if path.is_dir() else [path])


def configuration(vision: Tensors, language: Path, *, config: Any = None) -> Any:
    """The model's configuration from its pieces: the encoder's sizes are published, the Llama has a config.json."""
    from transformers import LlamaConfig

    from imglish.nn.minigpt_v2 import MiniGPTv2Config

    if config is not None:
        return config
    try:
        text = json.loads((language / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {language / 'config.json'}: {error}") from error
    width = next((t.shape[-1] for name, t in vision.items() if name.endswith("cls_token")), 1408)
    if width != 1408:
        raise CheckpointError(f"the encoder is {width} wide, and EVA ViT-g is 1408 wide", hint="give its config=")
    return MiniGPTv2Config(text_config=LlamaConfig.from_dict(text))
