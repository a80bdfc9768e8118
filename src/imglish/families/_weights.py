"""Loading the weights of a checkpoint folder: every weight where it belongs, or a failure that names those that do not.

transformers itself goes on with random numbers where a weight is missing, and prints a table. Here nothing is missing,
nothing is left over, no shape differs, and nothing but safetensors is opened: a pickle runs code when it is read.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imglish.core.errors import CheckpointError
from imglish.families._imglish_model import _quiet as quiet
from imglish.families._weight_files import listed, read_tensors, weight_files

if TYPE_CHECKING:
    import torch
    from torch import nn

    Tensors = dict[str, torch.Tensor]
    Rename = Callable[[Tensors], Tensors | None]

_log = logging.getLogger(__name__)


def load_weights(
    model: Any, folder: str | Path, *, config: Any = None, dtype: str = "float32", rename: Rename | None = None
) -> Any:
    """The model of a checkpoint folder, in evaluation mode on the CPU. Raises CheckpointError.

    `model` is a class of transformers' kind, built from `config`, or a module that is there already and is filled.
    `rename` takes the folder's tensors by name and returns them under the names of the model, or None where they have
    those names already. Renamed or not, transformers' own conversion of older layouts is applied to a class.
    """
    from torch import nn

    folder = Path(folder)
    files = weight_files(folder)
    _refuse_quantised(config, folder)
    with _told(folder), quiet():
        tensors = None
        if rename is not None or isinstance(model, nn.Module):
            tensors = read_tensors(files)
            tensors = rename(tensors) or tensors if rename is not None else tensors
        if isinstance(model, nn.Module):
            return _fill(model, tensors or {}, folder, dtype)
        return _build(model, tensors if rename is not None else None, folder, config, dtype)


def _refuse_quantised(config: Any, folder: Path) -> None:
    given = getattr(config, "quantization_config", None)
    if given:
        how = given.get("quant_method", "") if isinstance(given, Mapping) else getattr(given, "quant_method", "")
        raise CheckpointError(
            f"the weights in {folder} are quantised ({how or 'unknown method'}), which this version does not read",
            hint="take the checkpoint that it was made from",
        )


def _build(kind: Any, tensors: Tensors | None, folder: Path, config: Any, dtype: str) -> Any:
    """The model of a class, by transformers' own loading."""
    import torch

    if tensors is None and (folder / "adapter_config.json").is_file():
        raise CheckpointError(
            f"{folder} holds a LoRA adapter next to the weights",
            hint="merge it into its model first: merge_and_unload().save_pretrained(folder)",
        )
    model, report = kind.from_pretrained(
        None if tensors is not None else folder,
        config=_with_plain_attention(config),
        dtype=getattr(torch, dtype),
        state_dict=tensors,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # so that all of them are reported
    )
    _judge(
        folder, kind.__name__,
        missing=report["missing_keys"], unexpected=report["unexpected_keys"], mismatched=report["mismatched_keys"],
    )  # fmt: skip
    _judge_ties(model, folder)
    if not kind.__module__.startswith("transformers."):
        _restore_buffers(model, kind, dtype)
    if tensors is not None:
        _read_generation(model, folder)
    return model.eval()


def _fill(model: nn.Module, tensors: Tensors, folder: Path, dtype: str) -> nn.Module:
    """A module that is there already, filled in place, so that what is tied stays tied."""
    import torch

    own = model.state_dict(keep_vars=True)
    groups: dict[int, list[str]] = {}
    for name, tensor in own.items():
        groups.setdefault(id(tensor), []).append(name)
    missing = {name for names in groups.values() if not any(n in tensors for n in names) for name in names}
    mismatched = [
        (name, tensors[name].shape, tensor.shape)
        for name, tensor in own.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    _judge(folder, type(model).__name__, missing=missing, unexpected=tensors.keys() - own.keys(), mismatched=mismatched)
    for names in groups.values():
        given = [name for name in names if name in tensors]
        for other in given[1:]:
            if not torch.equal(tensors[given[0]], tensors[other]):
                raise _contradiction(folder, given[0], other)
    for weight in model.parameters():  # buffers keep theirs: angles of positions in half precision are wrong
        weight.data = weight.data.to(getattr(torch, dtype))
    model.load_state_dict(tensors, strict=False)
    return model.eval()


def _judge(
    folder: Path, kind: str, *, missing: Any, unexpected: Any, mismatched: Sequence[tuple[str, Any, Any]]
) -> None:
    """Raise where a weight of the model is not in the folder, or the other way round, or has another shape."""
    found = []
    if missing:
        found.append(f"{len(missing)} missing: {listed(missing)}")
    if unexpected:
        found.append(f"{len(unexpected)} unexpected: {listed(unexpected)}")
    if mismatched:
        shapes = [f"{name} {_shape(given)} instead of {_shape(own)}" for name, given, own in mismatched]
        found.append(f"{len(mismatched)} of another shape: {listed(shapes)}")
    if found:
        raise CheckpointError(
            f"the weights in {folder} are not those of {kind}: {'; '.join(found)}",
            hint="nothing was loaded; take the config.json and the weights of one and the same version",
        )


def _judge_ties(model: Any, folder: Path) -> None:
    """Two weights that are one in the model, and differ in the file.

    Where config.json says itself that they are one, the file contradicts it, and nobody can know which is right. Where
    it only follows from a default, the file is believed, and each keeps its own values, as transformers does.
    """
    for target, source in model.get_expanded_tied_weights_keys(all_submodels=True).items():
        one, other = model.get_parameter_or_buffer(target), model.get_parameter_or_buffer(source)
        if one is not other and _says_tied(folder):
            raise _contradiction(folder, source, target)
        if one is not other:
            _log.warning("%s holds different values for %s and %s: they are not tied", folder, source, target)


def _contradiction(folder: Path, one: str, other: str) -> CheckpointError:
    return CheckpointError(
        f"the config.json in {folder} says that {one} and {other} are one weight, and the file holds two that differ",
        hint='if they are meant to differ, write "tie_word_embeddings": false into config.json',
    )


def _says_tied(folder: Path) -> bool:
    """Whether config.json itself (for all, or for its language model) ties the word embeddings."""
    try:
        raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    parts = [raw, *(value for value in raw.values() if isinstance(value, dict) and "vocab_size" in value)]
    said = [part["tie_word_embeddings"] for part in parts if "tie_word_embeddings" in part]
    return bool(said and said[0])


def _with_plain_attention(config: Any) -> Any:
    """A config that asks for no attention kernel: those are packages, or code from the hub."""
    if config is None:
        return None
    parts = [config, *(getattr(config, name, None) for name in getattr(config, "sub_configs", {}))]
    if all(getattr(part, "_attn_implementation", None) in (None, "eager", "sdpa") for part in parts):
        return config
    config = copy.deepcopy(config)
    config._attn_implementation = None
    return config


def _restore_buffers(model: Any, kind: Any, dtype: str) -> None:
    """Give back the buffers that no file holds: transformers leaves those of a class not its own uninitialised."""
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with _without_memory():
            fresh = kind(model.config)
    finally:
        torch.set_default_dtype(before)
    for name, buffer in fresh.named_non_persistent_buffers():
        parent, _, last = name.rpartition(".")
        model.get_submodule(parent)._buffers[last] = buffer


@contextmanager
def _without_memory() -> Iterator[None]:
    """Inside, parameters of new modules take no memory and buffers are real."""
    from torch import nn

    register = nn.Module.register_parameter

    def without(module: nn.Module, name: str, param: nn.Parameter | None) -> None:
        register(module, name, param)
        if param is not None:
            module._parameters[name] = nn.Parameter(param.data.to("meta"), requires_grad=param.requires_grad)

    nn.Module.register_parameter = without  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]


def _read_generation(model: Any, folder: Path) -> None:
    from transformers import GenerationConfig

    model.config.name_or_path = str(folder)
    if model.can_generate() and (folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """What goes wrong inside is an error that names the folder."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError, SafetensorError) as error:
        raise CheckpointError(f"cannot load {folder}: {error}") from error


def _shape(shape: Any) -> str:
    return "x".join(map(str, shape)) or "a number"
