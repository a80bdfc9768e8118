"""The card of the shipped checkpoint, read from its own files, so that it is true of whatever weights are there."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

from imglish.families._card import Card, sizes

DATA = Path(__file__).parent / "data"


def shipped(languages: tuple[str, ...], images: int) -> tuple[Card, ...]:
    """Its card; none where the package has no weights."""
    if not (DATA / "model.safetensors").is_file():
        return ()
    config, processor = _json(DATA / "config.json"), _json(DATA / "processor_config.json")
    text: dict[str, Any] = config["text_config"]
    width, height = processor["image_processor"]["image_size"]
    return (
        Card(
            "shipped", "imglish", _parameters(DATA / "model.safetensors"), "apache-2.0", True, languages,
            text["max_position_embeddings"], f"{width}x{height}", frozenset(),
            "families/data/README.md, written from the records of its training", 2025,
            note="Comes with the package. It knows the drawn world of imglish.world; it does not know photographs.",
            config=sizes(
                layers=text["num_hidden_layers"], hidden=text["hidden_size"], heads=text["num_attention_heads"],
                kv_heads=text["num_key_value_heads"], head_dim=text["head_dim"], ffn=text["intermediate_size"],
                vocab=text["vocab_size"], tied=int(config["tie_word_embeddings"]),
                vision_layers=1, vision_hidden=64, vision_tokens=(width // 4) * (height // 4), patch_values=48,
            ),
            image_tokens=processor["image_tokens"], images=images,
        ),
    )  # fmt: skip


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _parameters(path: Path) -> int:
    """Counted from the header of a safetensors file: eight bytes of its length, then JSON."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return sum(prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
