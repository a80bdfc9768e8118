"""The pictures of a folder: found in a stable order, read, decoded a batch ahead of whoever asks about them."""

from __future__ import annotations

import fnmatch
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from imglish.core.errors import ImageError, ImglishError, InputError
from imglish.core.images import MAX_BYTES, open_frames, open_image

ENDINGS = frozenset(
    f".{ending}"
    for ending in "png jpg jpeg jpe jfif gif bmp dib webp avif tif tiff ppm pgm pbm jp2 qoi ico".split()  # noqa: SIM905
)
MOST_PIXELS = 64_000_000  # of the pictures of one batch: 192 MB decoded, and as much again while the next are read


class Opened(NamedTuple):
    """A picture of the folder as it was read: its frames, or why there are none."""

    name: str
    digest: str
    frames: tuple[Image.Image, ...] = ()
    error: ImglishError | None = None


def pictures(
    folder: str | os.PathLike[str], *, pattern: str | None = None, apart: Path | None = None
) -> tuple[list[str], Counter[str]]:
    """(names of the pictures in a folder and below, with `/` between folders; what else is there, by ending).

    In the order of their names, folder by folder, the same on every machine. Hidden files are passed over in silence,
    as is `apart`. A `pattern` decides instead of the ending. Raises InputError where there is no picture.
    """
    root = Path(folder)
    check_folder(root)
    found: list[str] = []
    others: Counter[str] = Counter()
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        below = []
        for entry in sorted(os.scandir(root / inside), key=lambda entry: entry.name):
            name = f"{inside}{entry.name}"
            if entry.name.startswith(".") or (apart is not None and _same(entry, apart)):
                continue
            if entry.is_dir():
                if entry.is_symlink():
                    others["link to a folder"] += 1
                else:
                    below.append(f"{name}/")
            elif not entry.is_file():
                others["broken link" if entry.is_symlink() else "no regular file"] += 1
            elif fnmatch.fnmatch(name, pattern) if pattern else Path(name).suffix.lower() in ENDINGS:
                found.append(name)
            else:
                others[Path(name).suffix.lower() or "no ending"] += 1
        waiting += reversed(below)
    if not found:
        hint = f"names are compared with the pattern {pattern!r}" if pattern else "name them with a pattern: '*.dat'"
        raise InputError(f"there are no pictures in '{root}'", hint=hint)
    return found, others


def read(path: Path, name: str, *, frames: int, most: int) -> Opened:
    digest = ""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ImageError(f"cannot read '{path}': it has {path.stat().st_size} bytes; at most {MAX_BYTES} are read")
        data = path.read_bytes()
        digest = blake2b(data, digest_size=16).hexdigest()
        source = BytesIO(data)
        source.name = str(path)  # what errors call it
        if frames > 1:
            return Opened(name, digest, open_frames(source, count=frames, max_pixels=most))
        return Opened(name, digest, (open_image(source, max_pixels=most),))
    except ImglishError as error:
        return Opened(name, digest, error=error)
    except OSError as error:
        return Opened(name, digest, error=ImageError(f"cannot read '{path}': {error.strerror or error}"))


def check_folder(root: Path) -> None:
    """Raises InputError where this is no folder."""
    if not root.is_dir():
        what = "it is a file" if root.exists() else "there is no such folder"
        raise InputError(f"cannot go through '{root}': {what}", hint="name the folder that has the pictures")


def batches(opened: Iterator[Opened], most: int) -> Iterator[list[Opened]]:
    """So many pictures, or as many as have MOST_PIXELS together."""
    batch: list[Opened] = []
    pixels = 0
    for one in opened:
        size = sum(frame.width * frame.height for frame in one.frames)
        if batch and (len(batch) == most or pixels + size > MOST_PIXELS):
            yield batch
            batch, pixels = [], 0
        batch.append(one)
        pixels += size
    if batch:
        yield batch


def ahead(some: Iterator[list[Opened]]) -> Iterator[list[Opened]]:
    """The same, each read and decoded while the one before is asked about."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(lambda: list(islice(some, 1)))
        while ready := coming.result():
            coming = reader.submit(lambda: list(islice(some, 1)))
            yield ready[0]


def digest_of(path: Path) -> str:
    """32 hex digits of a file's bytes; "" where it cannot be read."""
    try:
        with path.open("rb") as file:
            digest = blake2b(digest_size=16)
            while block := file.read(1 << 20):
                digest.update(block)
            return digest.hexdigest()
    except OSError:
        return ""


def _same(entry: os.DirEntry[str], path: Path) -> bool:
    return entry.name == path.name and path.exists() and os.path.samefile(entry.path, path)
