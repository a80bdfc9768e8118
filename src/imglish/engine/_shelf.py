"""Features of pictures in a folder, for other processes and later ones: several may read and write it at once."""

from __future__ import annotations

import hashlib
import logging
import os
import time
import uuid
from collections.abc import Hashable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imglish.engine.cache import Kind

if TYPE_CHECKING:
    from imglish.families._base import Loaded

MOST_BYTES = 1 << 32
LISTED = 16  # the folder is listed whenever so many parts of it were written, and when it may be full
HOUR = 3600.0  # seconds after which a file half written is nobody's
_log = logging.getLogger(__name__)


class Shelf:
    """Features on disk, as safetensors: a file each, named by a hash of its key, up to `most_bytes` in all.

    Only tensors are shelved. In a key the weights stand by what they are, not by where they lie in memory: the digest
    of all of them is computed once for each state of a model. A folder that cannot be written to is told of once, in
    the log, and done without. While others write there too, each may bring in a part of `LISTED` more than the bound.
    """

    def __init__(self, folder: str | Path, loaded: Loaded, *, most_bytes: int = MOST_BYTES) -> None:
        self.folder, self.most_bytes = Path(folder), most_bytes
        self.folder.mkdir(parents=True, exist_ok=True)
        self._loaded = loaded
        self._digests: dict[int, str] = {}
        self._room = 0  # bytes that may be written before the folder is listed again
        self._fails = False

    def find(self, key: Hashable) -> tuple[Any, ...] | None:
        """The tensors under a key; None where there are none, or what is there cannot be read."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        path = self._path(key)
        if path is None or not path.is_file():
            return None
        try:
            found = load_file(path, device=str(self._loaded.model.device))
            os.utime(path)
        except OSError:  # another process took it away, or it is not ours to read
            return None
        except SafetensorError:
            with suppress(OSError):
                path.unlink(missing_ok=True)  # damaged: it is made again
            return None
        return tuple(found[str(n)] for n in range(len(found)))

    def put(self, key: Hashable, value: Any) -> None:
        """Writes tensors; anything else is not shelved."""
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        path = self._path(key)
        if path is None or not isinstance(value, tuple) or not all(isinstance(one, torch.Tensor) for one in value):
            return
        partial = path.with_suffix(f".{uuid.uuid4().hex}.part")
        try:
            save_file({str(n): one.contiguous().clone() for n, one in enumerate(value)}, partial)
            self._room -= partial.stat().st_size
            partial.replace(path)
            if self._room < 0:
                self._bound()
        except (OSError, SafetensorError) as error:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            if not self._fails:
                _log.warning("features are not kept in %s: %s", self.folder, error)
            self._fails = True

    def _bound(self) -> None:
        """Takes away what was used longest ago, and what somebody left half written."""
        for left in self.folder.glob("*.part"):
            if _seen(left)[0] < time.time() - HOUR:
                left.unlink(missing_ok=True)
        files = sorted((*_seen(path), path) for path in self.folder.glob("*.safetensors"))
        total = sum(size for _, size, _ in files)
        for _, size, path in files:
            if total <= self.most_bytes:
                break
            total -= size
            path.unlink(missing_ok=True)
        self._room = min(self.most_bytes - total, self.most_bytes // LISTED)

    def _path(self, key: Hashable) -> Path | None:
        kind = key[0] if isinstance(key, tuple) and key else None
        if not isinstance(kind, Kind):
            return None
        told = (kind._replace(weights=0), self._digest(kind.weights), *key[1:])  # type: ignore[index]
        return self.folder / f"{hashlib.blake2b(repr(told).encode(), digest_size=20).hexdigest()}.safetensors"

    def _digest(self, state: int) -> str:
        if state not in self._digests:
            import torch

            digest = hashlib.blake2b(digest_size=16)
            for name, weight in sorted(self._loaded.model.state_dict().items()):
                digest.update(name.encode())
                digest.update(weight.detach().contiguous().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
            self._digests[state] = digest.hexdigest()
        return self._digests[state]


def _seen(path: Path) -> tuple[float, int]:
    """(when a file was used last, its bytes); of one that is gone by now, (now, 0)."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return time.time(), 0
    return found.st_mtime, found.st_size
