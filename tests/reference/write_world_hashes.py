"""Writes world_hashes.json: one hash for each kind, difficulty and seed, of the pictures' bytes and of what is true.

Run it after a deliberate change of a kind (and raise the kind's VERSION): python tests/reference/write_world_hashes.py
"""

from __future__ import annotations

import hashlib
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from imglish import world
from imglish.world._scene import HELD_OUT, LANGUAGES, Scene

FILE = Path(__file__).with_name("world_hashes.json")
SEEDS = (0, 7, HELD_OUT + 3)


def plain(value: Any) -> Any:
    """Plain data, its numbers rounded: the last bits of a sine may differ between machines, pixels may not."""
    if isinstance(value, (float, np.floating)):
        return round(float(value), 1) + 0.0
    if isinstance(value, np.ndarray):
        return hashlib.blake2b(np.packbits(value).tobytes() if value.dtype == bool else value.tobytes()).hexdigest()
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in sorted(value.items())}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, (str, int, bool)) else str(value)


def scene_hash(scene: Scene) -> str:
    """Hash of pictures, things, lines, fields and of the samples in every language."""
    digest = hashlib.blake2b(digest_size=16)
    for image in scene.images:
        digest.update(f"{image.mode}{image.size}".encode())
        digest.update(image.tobytes())
    told: list[Any] = [
        [(t.name, t.colour, t.box, t.bitmap, t.size, t.visible, t.image) for t in scene.things],
        [(line.string, line.quad, line.centres, line.image) for line in scene.lines],
        dict(scene.fields),
        scene.relations,
    ]
    for language in LANGUAGES:
        for sample in world.samples(scene, language=language):
            told.append((sample.id, sample.skill, sample.topic, sample.question, sample.answer, sample.labels))
    digest.update(json.dumps(plain(told), ensure_ascii=False).encode())
    return digest.hexdigest()


def hashes(kind: str) -> dict[str, str]:
    """The hashes of one kind, by difficulty and seed."""
    module = importlib.import_module(f"imglish.world.{kind}")
    return {
        f"{difficulty}/{seed}": scene_hash(world.draw(kind, seed, difficulty=difficulty))
        for difficulty in module.DIFFICULTIES
        for seed in SEEDS
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps({kind: hashes(kind) for kind in world.kinds()}, indent=1) + "\n")
    print(f"wrote {FILE}")
