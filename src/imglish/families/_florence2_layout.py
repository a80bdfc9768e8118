"""The original layout of Florence-2 (microsoft/Florence-2-*, written for code of its own) and transformers' layout.

Names, the transposed projection and the translated configuration follow the reference's `modeling_florence2.py` and
transformers' `convert_florence2_original_pytorch_to_hf.py`; both directions are exact.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from imglish.core.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

_log = logging.getLogger(__name__)

TIED = (
    "model.language_model.shared.weight",
    "model.language_model.encoder.embed_tokens.weight",
    "model.language_model.decoder.embed_tokens.weight",
    "lm_head.weight",
)
"""One matrix under four names. The reference reads the first and ties the others to it."""
_PROJECTION = "model.multi_modal_projector.image_projection.weight"
_BIAS = "language_model.final_logits_bias"
_PREFIXES = (
    ("image_proj_norm.", "model.multi_modal_projector.image_proj_norm."),
    ("image_pos_embed.", "model.multi_modal_projector.image_position_embed."),
    ("visual_temporal_embed.", "model.multi_modal_projector.visual_temporal_embed."),
    ("language_model.model.", "model.language_model."),
    ("language_model.lm_head.", "lm_head."),
    ("vision_tower.", "model.vision_tower."),
)
_TOWER = (
    (r"\.convs\.(\d+)\.proj\.", r".convs.\1.conv."),
    (r"_block\.(conv[12])\.fn\.dw\.", r"_block.\1."),
    (r"_block\.(?:window|channel)_attn\.norm\.", "_block.norm1."),
    (r"_block\.(window|channel)_attn\.fn\.", r"_block.\1_attn."),
    (r"_block\.ffn\.norm\.", "_block.norm2."),
    (r"_block\.ffn\.fn\.net\.", "_block.ffn."),
)
_TOWER_BACK = (
    (r"\.convs\.(\d+)\.conv\.", r".convs.\1.proj."),
    (r"_block\.(conv[12])\.", r"_block.\1.fn.dw."),
    (r"spatial_block\.norm1\.", "spatial_block.window_attn.norm."),
    (r"channel_block\.norm1\.", "channel_block.channel_attn.norm."),
    (r"_block\.(window|channel)_attn\.(qkv|proj)\.", r"_block.\1_attn.fn.\2."),
    (r"_block\.norm2\.", "_block.ffn.norm."),
    (r"_block\.ffn\.(fc[12])\.", r"_block.ffn.fn.net.\1."),
)
_TEXT_FIELDS = (
    "vocab_size", "max_position_embeddings", "encoder_layers", "encoder_ffn_dim", "encoder_attention_heads",
    "decoder_layers", "decoder_ffn_dim", "decoder_attention_heads", "encoder_layerdrop", "decoder_layerdrop",
    "activation_function", "d_model", "dropout", "attention_dropout", "activation_dropout", "init_std",
    "scale_embedding", "pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id", "tie_word_embeddings",
)  # fmt: skip
_VISION_FIELDS = (
    "depths", "patch_size", "patch_stride", "patch_padding", "patch_prenorm", "num_heads", "num_groups", "window_size",
    "drop_path_rate", "projection_dim", "mlp_ratio", "qkv_bias",
)  # fmt: skip


def is_original(raw: Mapping[str, Any]) -> bool:
    """Whether a config.json is of the original layout."""
    return "dim_embed" in raw.get("vision_config", {})


def native_config(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration that transformers understands: it would take the original's, and read the wrong sizes from it.

    The vocabulary grows by one row, for `<image>`. Raises CheckpointError where the original says what no published
    checkpoint does.
    """
    vision, text = raw["vision_config"], raw["text_config"]
    temporal, place = vision.get("visual_temporal_embedding", {}), vision.get("image_pos_embed", {})
    expected = (
        ("visual_temporal_embedding.type", temporal.get("type", "COSINE"), "COSINE"),
        ("image_pos_embed.type", place.get("type", "learned_abs_2d"), "learned_abs_2d"),
        (
            "image_feature_source",
            list(vision.get("image_feature_source", ["spatial_avg_pool", "temporal_avg_pool"])),
            ["spatial_avg_pool", "temporal_avg_pool"],
        ),
        ("scale_embedding", text.get("scale_embedding", False), False),
    )
    for name, given, known in expected:
        if given != known:
            raise CheckpointError(f"config.json says {name} {given!r}; Florence-2 checkpoints have {known!r}")
    vocabulary = int(text.get("vocab_size", raw.get("vocab_size", 51289)))
    return {
        "model_type": "florence2",
        "architectures": ["Florence2ForConditionalGeneration"],
        "vision_config": {
            **{name: vision[name] for name in _VISION_FIELDS if name in vision},
            "model_type": "florence_vision",
            "embed_dim": list(vision["dim_embed"]),
            "max_temporal_embeddings": temporal.get("max_temporal_embeddings", 100),
            "max_position_embeddings": place.get("max_pos_embeddings", 50),
        },
        "text_config": {
            **{name: text[name] for name in _TEXT_FIELDS if name in text},
            "model_type": "bart",
            "vocab_size": vocabulary + 1,
            "forced_eos_token_id": None,  # it would hide that an answer was cut
        },
        "image_token_id": vocabulary,
        "tie_word_embeddings": text.get("tie_word_embeddings", True),
        **{name: raw[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id") if name in raw},
    }


def to_native(tensors: Mapping[str, Tensor], vocabulary: int, *, tied: bool = True) -> dict[str, Tensor]:
    """Weights of the original layout under transformers' names; the rows of `<image>` and beyond are zeros.

    Where copies of the `tied` matrix differ, the first of `TIED` holds, as in the reference, and a warning says so.
    Raises CheckpointError where the output has a bias, which no published checkpoint has.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name == _BIAS:
            if bool(tensor.any()):
                raise CheckpointError(f"{_BIAS} is not zero; Florence-2 has no bias on its output")
        elif name == "image_projection":
            found[_PROJECTION] = tensor.T.contiguous()
        else:
            found[_renamed(name, _PREFIXES, _TOWER)] = tensor
    copies = [name for name in TIED if name in found]
    differing = [name for name in copies[1:] if not found[name].equal(found[copies[0]])] if tied else []
    if differing:
        _log.warning("%s differ from %s, to which they are tied; the latter is used", ", ".join(differing), copies[0])
    if tied and copies:
        shared = _grown(found[copies[0]], vocabulary)
        return found | dict.fromkeys((*copies, TIED[0], TIED[-1]), shared)
    return found | {name: _grown(found[name], vocabulary) for name in copies}


def to_original(tensors: Mapping[str, Tensor], vocabulary: int) -> dict[str, Tensor]:
    """Weights of transformers' layout under the original names, with a vocabulary of so many rows."""
    import torch

    prefixes = tuple((native, original) for original, native in _PREFIXES)
    found: dict[str, Tensor] = {_BIAS: torch.zeros(1, vocabulary)}
    for name, tensor in tensors.items():
        if name == _PROJECTION:
            found["image_projection"] = tensor.T.contiguous()
            continue
        original = _renamed(name, prefixes, ())
        if original.startswith("vision_tower."):
            original = _renamed(original, (), _TOWER_BACK)
        found[original] = tensor[:vocabulary].clone() if name in TIED else tensor
    return found


def _renamed(name: str, prefixes: tuple[tuple[str, str], ...], rules: tuple[tuple[str, str], ...]) -> str:
    if name.startswith("vision_tower."):
        for pattern, replacement in rules:
            name, count = re.subn(pattern, replacement, name)
            if count:
                break
    for before, after in prefixes:
        if name.startswith(before):
            return after + name[len(before) :]
    return name


def _grown(matrix: Tensor, rows: int) -> Tensor:
    import torch

    more = matrix.new_zeros(max(rows - len(matrix), 0), matrix.shape[1])
    return torch.cat((matrix, more)) if len(more) else matrix
