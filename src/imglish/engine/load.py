"""From a checkpoint to a loaded model: which family it is of, on which device, in which precision."""

from __future__ import annotations

import importlib.resources
import json
from pathlib import Path
from typing import Any

from imglish.core.errors import CheckpointError, InputError, UnknownName
from imglish.core.registry import Registry
from imglish.families._base import Family, Loaded

FAMILIES = Registry("imglish.families", what="family", attribute="Family")
DEVICES = ("auto", "cpu", "cuda", "mps")
DTYPES = ("auto", "float32", "bfloat16", "float16")
SHIPPED = "shipped"


def load_checkpoint(
    model: str | Path | None = None, *, device: str = "auto", dtype: str = "auto", revision: str | None = None
) -> Loaded:
    """The model of a checkpoint folder; None or "shipped" is the checkpoint in the package."""
    where = pick_device(device)
    if dtype not in DTYPES:
        raise InputError(f"dtype is {dtype!r}; allowed are {', '.join(DTYPES)}")
    precision = dtype if dtype != "auto" else "float32"
    if model is None or str(model) == SHIPPED:
        folder, name = shipped_folder(), SHIPPED
    else:
        folder, name = Path(model).expanduser(), str(model)
        if not folder.is_dir():
            raise _not_a_folder(name, folder)
    family = family_of(folder)
    loaded = family.load(str(folder), device=where, dtype=precision, revision=revision)
    return Loaded(loaded.model, loaded.processor, loaded.family, name, loaded.extra)


def shipped_folder() -> Path:
    """The folder of the shipped checkpoint. Raises CheckpointError where it has no weights."""
    folder = Path(str(importlib.resources.files("imglish.families"))) / "data"
    if not (folder / "model.safetensors").is_file() or not (folder / "config.json").is_file():
        raise CheckpointError(
            f"the shipped checkpoint is missing: there is no model.safetensors and config.json in {folder}",
            hint="install imglish with its weights, or train them: python recipes/shipped/run.py --out runs/shipped",
        )
    return folder


def family_of(folder: Path) -> Family:
    """The family that a folder's config.json names: by `imglish_family` where it has one, else by model_type."""
    config = _config(folder)
    kind = str(config.get("imglish_family") or config.get("model_type") or "")
    if not kind:
        raise CheckpointError(f"{folder / 'config.json'} names no model_type", hint=_kinds_hint())
    if kind in FAMILIES:
        return FAMILIES.get(kind)()
    known: dict[str, str] = {}
    for name in FAMILIES.names():
        known[FAMILIES.get(name).model_type] = name
    if kind not in known:
        raise UnknownName("family for the model_type", kind, known)
    return FAMILIES.get(known[kind])()


def families_with(skill: str) -> list[str]:
    """Names of the families that have a skill."""
    return [name for name in FAMILIES.names() if skill in FAMILIES.get(name).skills]


def pick_device(device: str) -> str:
    """A device that is there; "auto" is the GPU where there is one."""
    import torch

    kind = device.split(":")[0]
    if kind not in DEVICES:
        raise InputError(f"device is {device!r}; allowed are {', '.join(DEVICES)} and cuda:0, cuda:1 ...")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there[kind]:
        raise InputError(f"device is {device!r}, and this machine has none", hint="use --device auto or --device cpu")
    return device


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{folder} is not a checkpoint: it has no config.json") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {folder / 'config.json'}: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{folder / 'config.json'} is not a JSON object")
    return config


def _kinds_hint() -> str:
    kinds = ", ".join(FAMILIES.get(name).model_type for name in FAMILIES.names())
    return f"checkpoints of these types can be loaded: {kinds}"


def _not_a_folder(name: str, folder: Path) -> InputError:
    if folder.exists():
        return InputError(f"{name!r} is a file; a checkpoint is a folder with config.json and model.safetensors")
    names = FAMILIES.names()
    if name.count("/") == 1 and not name.startswith((".", "~", "/")):
        return InputError(
            f"{name!r} is not a folder here; checkpoints of the hub cannot be loaded yet",
            hint="give a folder with config.json and model.safetensors, or leave the model out for the shipped one",
        )
    if name in names:
        return InputError(f"{name!r} is a family; a model is a checkpoint of one", hint="give the checkpoint's folder")
    return UnknownName("model", name, [SHIPPED, *names])
