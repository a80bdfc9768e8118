"""Begin a run from a checkpoint: its weights are laid where the stages look for those of the stage before them."""

from __future__ import annotations

import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file


def start(out: Path, checkpoint: Path) -> None:
    """`see` goes on from its encoder, `instruct` from all of it, and the tokenizer stays.

    A folder in which a run has begun is left as it is, so that the same command goes on.
    """
    if (out / "tokenizer").exists():
        return
    weights = {name: value.float() for name, value in load_file(checkpoint / "model.safetensors").items()}
    (out / "tokenizer").mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(checkpoint / name, out / "tokenizer" / name)
    save_file(weights, out / "align.safetensors")
    encoder = {name.removeprefix("vision."): value for name, value in weights.items() if name.startswith("vision.")}
    save_file(encoder, out / "see_warm.safetensors")
