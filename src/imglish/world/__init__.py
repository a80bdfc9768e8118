"""Pictures with exact truth, drawn from a seed: one file per kind of scene. No torch.

>>> scene = draw("things", seed=7)
>>> scene.kind, scene.held_out
('things', False)
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any, Literal
from weakref import WeakKeyDictionary

from imglish.core.errors import InputError, UnknownName
from imglish.core.registry import Registry
from imglish.core.types import Sample, Size
from imglish.world._captions import mentions
from imglish.world._scene import HELD_OUT, LANGUAGES, Language, Scene, Wording
from imglish.world._words import COLOURS, THINGS

__all__ = ["draw", "kinds", "mentions", "samples", "seeds", "to_json", "words", "write"]

_REGISTRY = Registry("imglish.world", what="kind of scene")
_SIDES = 32, 4096  # pixels
_WORDINGS: tuple[Wording, ...] = ("train", "held")
_WRITTEN = re.compile(r"[^/\\]+-\d{6,}-\d+\.png")  # the name of a picture that `write` wrote
_drawn: WeakKeyDictionary[Scene, ModuleType] = WeakKeyDictionary()  # who asks about it


def kinds() -> list[str]:
    """The names of all kinds of scenes."""
    return _REGISTRY.names()


def draw(kind: str, seed: int, *, size: Size | None = None, difficulty: str = "ordinary") -> Scene:
    """A scene of a kind: the same arguments give the same bytes. `size` is width and height of each picture."""
    module = _kind(kind)
    if difficulty not in module.DIFFICULTIES:
        raise UnknownName(f"difficulty of {kind}", difficulty, module.DIFFICULTIES)
    _check_seed(seed)
    width, height = size or module.SIZE
    if min(width, height) < _SIDES[0] or max(width, height) > _SIDES[1] or max(width, height) > 2 * min(width, height):
        raise InputError(
            f"size {width}x{height}: sides are {_SIDES[0]} to {_SIDES[1]} pixels, the longer at most twice the other",
            hint=f"{kind} is usually {module.SIZE[0]}x{module.SIZE[1]}",
        )
    scene: Scene = module.draw(seed, (width, height), difficulty)
    _drawn[scene] = module  # a user's file may call its kind as a shipped one is called
    return scene


def samples(scene: Scene, *, language: Language = "en", wording: Wording = "train") -> list[Sample]:
    """All that can be asked about a scene, with the answers. `held` wordings are never used in training."""
    if language not in LANGUAGES:
        raise UnknownName("language", language, LANGUAGES)
    if wording not in _WORDINGS:
        raise UnknownName("wording", wording, _WORDINGS)
    module = _drawn.get(scene) or _kind(scene.kind)
    return list(module.samples(scene, language, wording))


def seeds(split: Literal["train", "held"], start: int = 0, count: int = 1) -> range:
    """Seeds of one split: training seeds and held-out ones can never meet."""
    if split not in _WORDINGS:
        raise UnknownName("split", split, _WORDINGS)
    if start < 0 or count < 0 or start + count > HELD_OUT:
        raise InputError(f"seeds {start} to {start + count}: a split has {HELD_OUT} of them")
    first = start + (HELD_OUT if split == "held" else 0)
    return range(first, first + count)


def words() -> dict[str, tuple[str, ...]]:
    """The names of `things` and `colours`, in an order that never changes: a model's class number is a place in it."""
    return {"things": THINGS, "colours": COLOURS}


def write(
    kind: str,
    out: str | Path,
    *,
    seed: int = 0,
    count: int = 1,
    size: Size | None = None,
    difficulty: str = "ordinary",
    language: Language = "en",
    wording: Wording = "train",
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Write `count` scenes from `seed` on: PNG pictures and samples.jsonl, whose path is returned.

    A folder that has a samples.jsonl is refused; `overwrite` puts this data set in the place of that one. `progress`
    is told how many scenes are done.
    """
    if count < 1:
        raise InputError(f"count {count}: at least one scene is written")
    _check_seed(seed + count - 1)
    drawn = ((number, draw(kind, number, size=size, difficulty=difficulty)) for number in range(seed, seed + count))
    asked = ((number, scene, samples(scene, language=language, wording=wording)) for number, scene in drawn)
    first = next(asked)  # what cannot be drawn is refused before the disk is touched
    folder = Path(out)
    listed = folder / "samples.jsonl"
    try:
        if listed.exists() and not overwrite:
            raise InputError(
                f"there is a data set in {str(folder)!r} already: samples.jsonl",
                hint="name another folder, or replace what is there with overwrite (--overwrite)",
            )
        folder.mkdir(parents=True, exist_ok=True)
        _replace(listed, _saved(folder, _stem(kind), chain([first], asked)), progress)
    except OSError as error:
        raise InputError(f"cannot write to {str(folder)!r}: {error.strerror or error}") from error
    return listed


def to_json(sample: Sample, *, images: Sequence[str] = ()) -> dict[str, Any]:
    """A sample as plain data; `images` are the names of its pictures."""
    plain = {field.name: getattr(sample, field.name) for field in fields(sample)}
    plain.update(images=list(images), truth=sample.truth.to_json(), extra=dict(sample.extra))
    return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}


def _kind(name: str) -> ModuleType:
    module: ModuleType = _REGISTRY.get(name)
    return module


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2 * HELD_OUT:
        raise InputError(f"seed {seed}: allowed are 0 to {2 * HELD_OUT - 1}")


def _stem(kind: str) -> str:
    """What files of a kind are called: its name, without the folders of a user's file."""
    return Path(kind).stem if str(kind).endswith(".py") else kind


def _saved(
    folder: Path, stem: str, asked: Iterable[tuple[int, Scene, list[Sample]]]
) -> Iterator[tuple[list[str], list[dict[str, Any]]]]:
    """The names of a scene's pictures, which are saved, and the documents of its samples."""
    for seed, scene, its_samples in asked:
        names = [f"{stem}-{seed:06d}-{index:02d}.png" for index in range(len(scene.images))]
        for name, image in zip(names, scene.images, strict=True):
            image.save(folder / name)
        documents = []
        for sample in its_samples:
            at = [next(i for i, own in enumerate(scene.images) if own is image) for image in sample.images]
            documents.append(to_json(sample, images=[names[index] for index in at]))
        yield names, documents


def _replace(
    listed: Path, scenes: Iterable[tuple[list[str], list[dict[str, Any]]]], progress: Callable[[int], None] | None
) -> None:
    """Puts a new list in the place of the one that may be there, whose pictures go where the new one has others."""
    part = listed.with_name(f"{listed.name}.part")
    kept: set[str] = set()
    try:
        with part.open("w", encoding="utf-8") as lines:
            for done, (names, documents) in enumerate(scenes, 1):
                kept.update(names)
                lines.writelines(json.dumps(document, ensure_ascii=False) + "\n" for document in documents)
                if progress:
                    progress(done)
        gone = _pictures(listed) - kept
        part.replace(listed)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    for name in gone:
        (listed.parent / name).unlink(missing_ok=True)


def _pictures(listed: Path) -> set[str]:
    """The pictures that a list names, as far as `write` wrote them."""
    if not listed.exists():
        return set()
    try:
        rows = [json.loads(row) for row in listed.read_text(encoding="utf-8").splitlines()]
        return {name for row in rows for name in row["images"] if _WRITTEN.fullmatch(name)}
    except (ValueError, KeyError, TypeError):
        return set()  # it is not ours: nothing of it is removed
