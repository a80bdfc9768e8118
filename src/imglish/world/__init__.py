"""Pictures with exact truth, drawn from a seed: one file per kind of scene. No torch.

>>> scene = draw("things", seed=7)
>>> scene.kind, scene.held_out
('things', False)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

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


def kinds() -> list[str]:
    """The names of all kinds of scenes."""
    return _REGISTRY.names()


def draw(kind: str, seed: int, *, size: Size | None = None, difficulty: str = "ordinary") -> Scene:
    """A scene of a kind: the same arguments give the same bytes. `size` is width and height of each picture."""
    module = _kind(kind)
    if difficulty not in module.DIFFICULTIES:
        raise UnknownName(f"difficulty of {kind}", difficulty, module.DIFFICULTIES)
    if not 0 <= seed < 2 * HELD_OUT:
        raise InputError(f"seed {seed}: allowed are 0 to {2 * HELD_OUT - 1}")
    width, height = size or module.SIZE
    if min(width, height) < _SIDES[0] or max(width, height) > _SIDES[1] or max(width, height) > 2 * min(width, height):
        raise InputError(
            f"size {width}x{height}: sides are {_SIDES[0]} to {_SIDES[1]} pixels, the longer at most twice the other",
            hint=f"{kind} is usually {module.SIZE[0]}x{module.SIZE[1]}",
        )
    scene: Scene = module.draw(seed, (width, height), difficulty)
    return scene


def samples(scene: Scene, *, language: Language = "en", wording: Wording = "train") -> list[Sample]:
    """All that can be asked about a scene, with the answers. `held` wordings are never used in training."""
    if language not in LANGUAGES:
        raise UnknownName("language", language, LANGUAGES)
    if wording not in _WORDINGS:
        raise UnknownName("wording", wording, _WORDINGS)
    return list(_kind(scene.kind).samples(scene, language, wording))


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
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Write `count` scenes from `seed` on: PNG pictures and samples.jsonl, whose path is returned.

    `progress` is told how many scenes are done.
    """
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "samples.jsonl").open("w", encoding="utf-8") as lines:
            for done, number in enumerate(range(seed, seed + count), 1):
                scene = draw(kind, number, size=size, difficulty=difficulty)
                names = [f"{kind}-{number:06d}-{index}.png" for index in range(len(scene.images))]
                for name, image in zip(names, scene.images, strict=True):
                    image.save(folder / name)
                for sample in samples(scene, language=language, wording=wording):
                    at = [next(i for i, own in enumerate(scene.images) if own is image) for image in sample.images]
                    document = to_json(sample, images=[names[index] for index in at])
                    lines.write(json.dumps(document, ensure_ascii=False) + "\n")
                if progress:
                    progress(done)
    except OSError as error:
        raise InputError(f"cannot write to {str(folder)!r}: {error.strerror or error}") from error
    return folder / "samples.jsonl"


def to_json(sample: Sample, *, images: Sequence[str] = ()) -> dict[str, Any]:
    """A sample as plain data; `images` are the names of its pictures."""
    plain = {field.name: getattr(sample, field.name) for field in fields(sample)}
    plain.update(images=list(images), truth=sample.truth.to_json(), extra=dict(sample.extra))
    return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}


def _kind(name: str) -> ModuleType:
    module: ModuleType = _REGISTRY.get(name)
    return module
