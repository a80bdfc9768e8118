"""From a checkpoint to a loaded model: which family it is of, on which device, in which precision."""

from __future__ import annotations

import difflib
import functools
import importlib.resources
import json
import logging
import re
from pathlib import Path
from typing import Any

from imglish.core.errors import CheckpointError, InputError, UnknownName
from imglish.core.registry import Registry
from imglish.engine.calibration import read_calibration
from imglish.engine.hub import checkpoint_folder, is_name
from imglish.engine.precision import natural_dtype
from imglish.families._base import Family, Loaded

FAMILIES = Registry("imglish.families", what="family", attribute="Family")
_LEFT_OUT = "leave --model out (in Python, the argument), and the shipped model is taken"
DEVICES = ("auto", "cpu", "cuda", "mps")
DTYPES = ("auto", "float32", "bfloat16", "float16")
SHIPPED = "shipped"
_SERVED = re.compile(r"(gpt|chatgpt|o[1-9]\b|claude|gemini|grok)", re.IGNORECASE)  # never to be had as weights

_log = logging.getLogger(__name__)


def load_checkpoint(
    model: str | Path | None = None,
    *,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    quantize: str | None = None,
) -> Loaded:
    """The model of a checkpoint: a folder, or a name on the hub. None or "shipped" is the one in the package.

    `dtype` "auto" is bfloat16 where the device computes it itself and faster, else float32. `revision` is a branch, a
    tag or a commit on the hub. `quantize` is "int8" or "int4"; how far the model then agrees with what it was is
    logged, and stands in `extra["agreement"]`.
    """
    import torch

    where = pick_device(device)
    if dtype not in DTYPES:
        raise InputError(f"dtype is {dtype!r}; allowed are {', '.join(DTYPES)}")
    folder, name = _find(model, revision)
    family = family_of(folder)
    precision = natural_dtype(where) if dtype == "auto" else dtype
    with torch.inference_mode(False):  # weights made in it could never be trained
        loaded = family.load(str(folder), device=where, dtype=precision, revision=revision)
    loaded = Loaded(loaded.model, loaded.processor, loaded.family, name, loaded.extra)
    calibration = read_calibration(folder)
    if calibration is not None:
        loaded.extra["calibration"] = calibration
    if quantize is not None:
        from imglish.engine.quantize import quantize as turned

        loaded.extra["agreement"] = turned(loaded, quantize)
        _log.info("%s", loaded.extra["agreement"])
    return loaded


def _find(model: str | Path | None, revision: str | None) -> tuple[Path, str]:
    """(the folder of a checkpoint, what it is called): here already, or fetched from the hub."""
    if model is not None and not str(model).strip():
        raise InputError("the name of the model is empty", hint=_LEFT_OUT)
    if model is None or str(model) == SHIPPED:
        folder, name = shipped_folder(), SHIPPED
    else:
        folder, name = Path(model).expanduser(), str(model)
    if folder.is_dir():
        if revision is not None:
            raise InputError(
                f"revision is {revision!r}, and {name!r} is a folder", hint="only a name on the hub has revisions"
            )
    elif folder.exists() or not is_name(name):
        raise _not_a_model(name, folder)
    else:
        folder = checkpoint_folder(name, revision=revision, accept=family_of)
        name += f"@{revision}" if revision else ""
    _say_once(name, _code(folder))
    return folder, name


def _code(folder: Path) -> str:
    """The code that a checkpoint's configuration asks for, as one text; empty where it asks for none."""
    asked: set[str] = set()
    for file in sorted(folder.glob("*config.json")):
        try:
            named = json.loads(file.read_text(encoding="utf-8")).get("auto_map") or {}
            words = [word for value in named.values() for word in (value if isinstance(value, list) else [value])]
        except (OSError, ValueError, AttributeError):
            continue  # whoever needs the file says what is wrong with it
        asked |= {f"{str(word).split('--')[-1].split('.')[0]}.py" for word in words if word}
    return ", ".join(sorted(asked))


@functools.cache
def _say_once(name: str, code: str) -> None:
    if code:
        _log.warning("%r asks to run code of its own (%s): ignored, imglish runs it with its own", name, code)


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
        for one in (FAMILIES.get(name).model_type, *getattr(FAMILIES.get(name), "also", ())):
            known.setdefault(one, name)
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


def _not_a_model(name: str, folder: Path) -> InputError:
    if folder.exists():
        return InputError(f"{name!r} is a file; a checkpoint is a folder with config.json and model.safetensors")
    if name.startswith((".", "~", "/")) or name.count("/") > 1:
        return InputError(
            f"there is no folder {name!r}", hint="a checkpoint is a folder with config.json, or owner/name"
        )
    if _SERVED.match(name) and not name.casefold().startswith("gpt2"):
        return InputError(
            f"{name!r} is a model on a server, and no checkpoint",
            hint=f"name the server, and the model there: --model http://host:port/v1 --model-name {name}",
        )
    return _unknown(name)


def _unknown(name: str) -> InputError:
    """An error that names the nearest model: the shipped one, a checkpoint, a checkpoint of the nearest family."""
    known = {SHIPPED: SHIPPED}
    for family in FAMILIES.names():
        cards = getattr(FAMILIES.get(family), "checkpoints", ())
        if cards:
            known[family] = min(cards, key=lambda card: card.parameters).name
        known |= {card.name.rpartition("/")[2].casefold(): card.name for card in reversed(cards)}
    near = difflib.get_close_matches(name.strip().casefold(), known, n=1, cutoff=0.5)
    found = known[near[0]] if near else ""
    if name in FAMILIES.names() and found:
        error: InputError = InputError(f"{name!r} is a family; a model is a checkpoint of one, as {found!r}")
    else:
        error = UnknownName("model", name, [])
        error.message += f". Did you mean {found!r}?" if found else ""
    error.hint = _LEFT_OUT if found == SHIPPED else "a model is a folder, or owner/name; imglish models lists the known"
    return error
