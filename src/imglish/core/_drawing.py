"""Results drawn on pictures."""

from __future__ import annotations

from PIL import Image

from imglish.core.results import Result


def draw(result: Result, picture: Image.Image, scale: int | None) -> Image.Image:
    raise NotImplementedError
