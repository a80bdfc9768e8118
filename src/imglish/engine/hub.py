"""From a name on the hub to a folder: what is downloaded, what never is, and what each failure means.

Code (`*.py`) and pickles (`*.bin`, `*.pt`) are never downloaded. The small files come first, so that a checkpoint that
cannot be used is refused before its gigabytes. The client is huggingface_hub: its cache, its login, its HF_* variables.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from imglish.core.errors import CheckpointError, DownloadError, InputError
from imglish.engine._hub_errors import ROOM, explain, failures
from imglish.families._weight_files import refusal

SMALL = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken")
WEIGHTS = ("*.safetensors",)
NEVER = ("*/*", "consolidated*", "training_args*", "*.onnx.json")  # folders, and other forms of the same weights

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """A name on the hub, and where to look for it. The HF_* variables are read when they are needed."""

    name: str
    revision: str | None = None

    @property
    def endpoint(self) -> str:
        from huggingface_hub import constants

        return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")

    @property
    def cache(self) -> Path:
        """The folder of the hub's cache."""
        from huggingface_hub import constants

        given = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
        home = os.environ.get("HF_HOME")
        return Path(given or (Path(home) / "hub" if home else constants.HF_HUB_CACHE)).expanduser()

    @property
    def is_offline(self) -> bool:
        from huggingface_hub import constants

        given = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
        return given.upper() in constants.ENV_VARS_TRUE_VALUES or constants.is_offline_mode()

    def fetch(
        self, patterns: tuple[str, ...], *, revision: str | None = None, local: bool = False, bars: bool = False
    ) -> Path:
        """The folder with these files: from the cache what is there, the rest from the hub. `bars` show progress."""
        from huggingface_hub import snapshot_download

        folder = snapshot_download(
            self.name,
            revision=revision or self.revision,
            cache_dir=self.cache,
            endpoint=self.endpoint,
            allow_patterns=list(patterns),
            ignore_patterns=list(NEVER),
            local_files_only=local,
            tqdm_class=None if bars else _no_bar(),
        )
        return Path(folder)


def checkpoint_folder(
    name: str, *, revision: str | None = None, accept: Callable[[Path], object] | None = None
) -> Path:
    """The folder of a checkpoint on the hub, downloaded where it is not in the cache yet.

    `revision` is a branch, a tag or a commit; none is the main branch. `accept` is called with the folder when only the
    small files are there, and may raise. Raises InputError, CheckpointError or DownloadError, each with what to do.
    """
    from huggingface_hub.errors import RevisionNotFoundError

    wanted = Wanted(name, revision)
    _check_names(wanted)
    if wanted.is_offline:
        return _kept(wanted, DownloadError(
            f"{_titled(wanted)} is not in {wanted.cache}, or not all of it, and HF_HUB_OFFLINE forbids to fetch it",
            hint="unset HF_HUB_OFFLINE once to download it, or give the folder that it is in",
        ))  # fmt: skip
    try:
        info = _ask(wanted)
    except failures() as error:
        raised = explain(error, wanted)
        if isinstance(error, RevisionNotFoundError):
            raise raised from error
        folder = _kept(wanted, raised)
        _log.warning("%s; the copy in the cache is used", raised.message)
        return folder
    _check_files(wanted, info)
    needed = _check_room(wanted, info)
    folder = _told(wanted, SMALL)
    if accept is not None:
        accept(folder)
    if needed:
        _log.info("downloading %s (%s) from %s to %s", _titled(wanted), _bytes(needed), wanted.endpoint, wanted.cache)
    return _told(wanted, SMALL + WEIGHTS, revision=info.sha, bars=needed > 0)


def _told(wanted: Wanted, patterns: tuple[str, ...], **how: Any) -> Path:
    """The folder with these files; what goes wrong is an error in our words."""
    try:
        return wanted.fetch(patterns, **how)
    except failures() as error:
        raise explain(error, wanted) from error


def is_name(text: str) -> bool:
    """Whether a text has the form of a name on the hub: owner/name."""
    return text.count("/") == 1 and not text.startswith((".", "~", "/")) and not text.endswith("/")


def _ask(wanted: Wanted) -> Any:
    """What the hub says about the repository: its commit, and its files with their sizes."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=wanted.endpoint)
    return api.model_info(wanted.name, revision=wanted.revision, files_metadata=True, timeout=20)


def _kept(wanted: Wanted, otherwise: Exception) -> Path:
    """What the cache has, if it has all of it."""
    try:
        folder = wanted.fetch(SMALL + WEIGHTS, local=True)
    except failures() as error:
        raise otherwise from error
    return folder


def _check_names(wanted: Wanted) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(wanted.name)
    except HFValidationError as error:
        raise explain(error, wanted) from error
    if wanted.revision is not None and (not wanted.revision or ".." in wanted.revision):
        raise InputError(
            f"{wanted.revision!r} is no revision",
            hint="a revision is a branch, a tag or a commit, as on the hub's page",
        )


def _check_files(wanted: Wanted, info: Any) -> None:
    """Refuse a repository that holds nothing that could be loaded, before anything is downloaded."""
    names = [file.rfilename for file in info.siblings or ()]
    files = [name for name in names if "/" not in name]
    if "config.json" not in files:
        raise CheckpointError(
            f"{_titled(wanted)} is no checkpoint that can be loaded: it has no config.json",
            hint="look for the repository in the layout of transformers; GGUF and ONNX files are not read",
        )
    if not any(_is_wanted(name, WEIGHTS) for name in files):
        error, hint = refusal(sorted(files))
        raise CheckpointError(f"{_titled(wanted)} {error}", hint=hint)
    if "adapter_config.json" in files and not any(name.startswith("model") for name in files):
        raise CheckpointError(
            f"{_titled(wanted)} holds a LoRA adapter, not a whole model",
            hint="merge it into its model first: merge_and_unload().save_pretrained(folder)",
        )


def _check_room(wanted: Wanted, info: Any) -> int:
    """How many bytes are not in the cache yet; refuses what the disk has no room for."""
    blobs = wanted.cache / f"models--{wanted.name.replace('/', '--')}" / "blobs"
    needed = sum(
        file.size or 0
        for file in info.siblings or ()
        if _is_wanted(file.rfilename, SMALL + WEIGHTS)
        and not (blobs / (file.lfs.sha256 if file.lfs else str(file.blob_id))).exists()
    )
    there = next(path for path in (wanted.cache.absolute(), *wanted.cache.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free if needed else 0
    if needed > free:
        raise DownloadError(
            f"{_titled(wanted)} needs {_bytes(needed)} more, and the disk of {wanted.cache} has {_bytes(free)} left",
            hint=ROOM,
        )
    return needed


def _no_bar() -> Any:
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    class Silent(tqdm):
        def __init__(self, *given: Any, **options: Any) -> None:
            super().__init__(*given, **{**options, "disable": True})  # type: ignore[no-untyped-call]

    return Silent


def _is_wanted(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, p) for p in patterns) and not any(fnmatch(name, p) for p in NEVER)


def _titled(wanted: Wanted) -> str:
    return f"{wanted.name!r}" + (f" at {wanted.revision!r}" if wanted.revision else "")


def _bytes(count: int) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000  # type: ignore[assignment]
    return f"{count:.3g} GB"
