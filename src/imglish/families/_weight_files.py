"""The files of a checkpoint's weights: which they are, whether they are whole, and why others are not opened."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imglish.core.errors import CheckpointError

if TYPE_CHECKING:
    import torch

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
OTHER_FORMS = (".h5", ".msgpack", ".gguf", ".onnx")
SHOWN = 10  # names in a message; the count says how many there are


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder's weights. Raises CheckpointError where they are absent, damaged or others."""
    if (folder / SINGLE).is_file():
        paths, wanted = [folder / SINGLE], None
    elif (folder / INDEX).is_file():
        paths, wanted = _sharded(folder)
    else:
        raise _no_weights(folder)
    held = {name for path in paths for name in _names(path)}
    if wanted is not None and wanted - held:
        raise CheckpointError(
            f"{folder} is incomplete: {INDEX} lists {listed(wanted - held)}, which no file of it holds",
            hint="its files are of different versions; fetch all of them again",
        )
    return paths


def read_tensors(files: Sequence[Path]) -> dict[str, torch.Tensor]:
    """Every tensor of the files by name. They stay on the disk until they are used."""
    from safetensors import safe_open

    tensors: dict[str, torch.Tensor] = {}
    for path in files:
        with safe_open(path, framework="pt") as opened:
            tensors |= {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  not a dict
    return tensors


def _sharded(folder: Path) -> tuple[list[Path], set[str]]:
    """The files that an index names, and the names of the weights that it promises."""
    try:
        places = dict(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"cannot read {folder / INDEX}: {error!r}") from error
    names = sorted({str(place) for place in places.values()})
    foreign = [name for name in names if Path(name).name != name or not name.endswith(".safetensors")]
    if foreign:
        raise CheckpointError(f"{folder / INDEX} names {listed(foreign)}; a shard is a .safetensors file next to it")
    absent = [name for name in names if not (folder / name).is_file()]
    if absent:
        raise CheckpointError(
            f"{folder} is incomplete: {len(absent)} of its {len(names)} shards are not there: {listed(absent)}",
            hint="fetch the checkpoint again; what is there already is not fetched twice",
        )
    return [folder / name for name in names], set(places)


def _names(path: Path) -> list[str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as opened:
            return list(opened.keys())
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} is damaged or cut short: {error}", hint="delete it and fetch the checkpoint again"
        ) from error


def _no_weights(folder: Path) -> CheckpointError:
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    error, hint = refusal(names)
    return CheckpointError(f"{folder} {error}", hint=hint)


def refusal(names: Sequence[str]) -> tuple[str, str]:
    """Why no weights can be read where these are the files, and what to do: (what is wrong, hint)."""
    pickled = [name for name in names if name.endswith(PICKLED) and not name.startswith(("training_args", "optimizer"))]
    others = [name for name in names if name.endswith(OTHER_FORMS)]
    if pickled:
        return (
            f"has its weights only as pickle ({listed(pickled)}), which can run any code when it is opened; "
            "only safetensors are read",
            "look for a version with safetensors (the discussion page of a repository often offers one: "
            "--revision refs/pr/1), or load it where you trust it and save it with model.save_pretrained(folder)",
        )
    if "adapter_model.safetensors" in names:
        return (
            "holds a LoRA adapter, not a whole model",
            "merge it into its model first: merge_and_unload().save_pretrained(folder)",
        )
    what = f"only {listed(others)}" if others else ", ".join(names[:SHOWN]) or "nothing"
    return f"has no weights as safetensors; it has {what}", f"a checkpoint has {SINGLE}, or {INDEX} and its shards"


def listed(names: Iterable[object]) -> str:
    """The first ten names in order, and how many more there are."""
    words = sorted(map(str, names))
    return ", ".join(words[:SHOWN]) + (f" and {len(words) - SHOWN} more" if len(words) > SHOWN else "")
