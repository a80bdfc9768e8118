"""Which scenes a stage looks at: mixtures of kinds and difficulties, and the seeds that belong to each batch.

A batch is a pure function of the stage, its number and the worker, so a stage that was stopped goes on where it was.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

from imglish import world
from imglish.core.types import Sample
from imglish.world._scene import HELD_OUT, Language, Scene

STAGES = ("see", "talk", "align", "instruct", "polish", "words", "export")
STRIDE = HELD_OUT // len(STAGES)  # seeds that each stage owns
SHAPES = ((192, 192), (192, 192), (256, 192), (192, 256), (224, 168), (240, 240), (288, 192))
CLOSE = ((192, 192), (256, 256), (320, 320))  # crowded text is drawn so large, and a window of WINDOW pixels is seen
WINDOW = 192
LANGUAGES: dict[Language, float] = {"en": 0.76, "pl": 0.08, "vi": 0.08, "ru": 0.08}

# kind, difficulty, weight
SEE = (
    ("things", "ordinary", 2.0), ("things", "crowded", 2.5), ("things", "repeats", 1.0),
    ("text", "ordinary", 3.0), ("text", "crowded", 4.5), ("text", "hard", 0.5), ("part", "ordinary", 0.6),
    ("receipt", "ordinary", 0.5), ("card", "ordinary", 0.5), ("chart", "ordinary", 0.8), ("clip", "ordinary", 0.2),
)  # fmt: skip
SPEAK = (
    ("things", "easy", 2.0), ("things", "ordinary", 26.0), ("things", "repeats", 12.0), ("things", "crowded", 10.0),
    ("text", "ordinary", 26.0), ("text", "easy", 4.0), ("text", "hard", 1.0), ("receipt", "ordinary", 7.0),
    ("card", "ordinary", 7.0), ("chart", "ordinary", 9.0), ("part", "ordinary", 5.0), ("pair", "ordinary", 8.0),
    ("clip", "ordinary", 4.0), ("probe", "ordinary", 3.0),
)  # fmt: skip


def seeds(stage: str, first: int, count: int) -> range:
    """`count` training seeds of a stage from `first` on; they never reach the held-out ones."""
    start = STAGES.index(stage) * STRIDE + first
    if start + count > (STAGES.index(stage) + 1) * STRIDE:
        raise SystemExit(f"stage {stage} ran out of its {STRIDE} seeds")
    return range(start, start + count)


def known(mixture: tuple[tuple[str, str, float], ...]) -> list[tuple[str, str, float]]:
    """The rows of a mixture whose kind exists."""
    kinds = set(world.kinds())
    return [row for row in mixture if row[0] in kinds]


def draw(seed: int, mixture: list[tuple[str, str, float]]) -> Scene:
    """The scene of a training seed: its kind, difficulty and size follow from the seed."""
    rng = random.Random(f"mixture/{seed}")
    kind, difficulty, _ = rng.choices(mixture, [row[2] for row in mixture])[0]
    shapes = CLOSE if (kind, difficulty) == ("text", "crowded") else SHAPES
    size = rng.choice(shapes) if kind in ("things", "text", "part") else None
    scene = world.draw(kind, seed, size=size, difficulty=difficulty)
    return window(scene, rng) if shapes is CLOSE else scene


def window(scene: Scene, rng: random.Random) -> Scene:
    """A part of a picture of text, so that its letters are larger than a whole page of them would be."""
    left, top = (rng.randint(0, side - WINDOW) for side in scene.size)
    picture = scene.images[0].crop((left, top, left + WINDOW, top + WINDOW))
    lines = tuple(replace(line, centres=tuple((x - left, y - top) for x, y in line.centres)) for line in scene.lines)
    return replace(scene, size=(WINDOW, WINDOW), images=(picture,), lines=lines)


def questions(seed: int, mixture: list[tuple[str, str, float]]) -> tuple[Scene, list[Sample]]:
    """The scene of a training seed and its samples, in the language and the training wordings of that seed."""
    scene = draw(seed, mixture)
    language = random.Random(f"language/{seed}").choices(list(LANGUAGES), list(LANGUAGES.values()))[0]
    return scene, world.samples(scene, language=language, wording="train")


def batches(stage: str, rank: int, workers: int, size: int, first: int) -> Iterator[range]:
    """The seeds of each batch, from batch number `first` on, disjoint between workers."""
    number = first
    while True:
        yield seeds(stage, (number * workers + rank) * size, size)
        number += 1
