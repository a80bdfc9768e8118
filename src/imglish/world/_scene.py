"""A scene: a generated picture (or several) and everything that is true of it, exactly.

Every kind of scene is one file with `VERSION`, `DIFFICULTIES`, `draw(seed, size, difficulty) -> Scene` and
`samples(scene, language, wording) -> Iterator[Sample]`. Both are pure functions of their arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imglish.core.types import Box, Point, Polygon, Size

HELD_OUT = 1 << 31  # seeds below are for training, seeds from here on are held out: the two can never meet

Language = Literal["en", "pl", "vi", "ru"]
LANGUAGES: tuple[Language, ...] = ("en", "pl", "vi", "ru")
Wording = Literal["train", "held"]  # questions worded in ways that training never uses are "held"


@dataclass(frozen=True, eq=False)
class Thing:
    """One drawn object. `box`, `polygon` and `bitmap` are of its VISIBLE pixels, in pixels of its image."""

    name: str  # English, singular, lower case: the key into the vocabulary
    colour: str
    box: Box
    polygon: Polygon  # outer contour of the largest visible part
    bitmap: NDArray[np.bool_]  # (height, width) of its image
    size: Literal["small", "medium", "large"] = "medium"
    rotation: float = 0.0  # degrees, clockwise
    visible: float = 1.0  # share of its pixels that nothing covers
    image: int = 0  # index into Scene.images
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TextLine:
    """One line of text as drawn. `quad` is top-left, top-right, bottom-right, bottom-left in reading direction."""

    string: str
    quad: tuple[Point, Point, Point, Point]
    centres: tuple[Point, ...]  # one per character of `string`, spaces included
    image: int = 0


@dataclass(frozen=True, eq=False)
class Scene:
    """Pictures and their truth. `fields` are what a form would ask for; `facts` is what only this kind knows."""

    kind: str
    seed: int
    size: Size
    difficulty: str
    images: tuple[Image.Image, ...]
    things: tuple[Thing, ...] = ()
    lines: tuple[TextLine, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    relations: tuple[tuple[int, str, int], ...] = ()  # index, "left of" | "above" | ..., index
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def held_out(self) -> bool:
        """Whether this scene may be used for scoring only."""
        return self.seed >= HELD_OUT
