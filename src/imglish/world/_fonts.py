"""The fonts of the world: DejaVu, as matplotlib ships it (supervision installs matplotlib; it is never imported)."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

from PIL import ImageFont

from imglish.core.errors import MissingExtra

FACES = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
)


@cache
def font_folder() -> Path:
    """Where the font files lie."""
    found = importlib.util.find_spec("matplotlib")
    for base in (found.submodule_search_locations or []) if found else []:
        folder = Path(base) / "mpl-data" / "fonts" / "ttf"
        if (folder / "DejaVuSans.ttf").is_file():
            return folder
    raise MissingExtra(
        "the DejaVu fonts are not there: they come with matplotlib", hint="install them with pip install matplotlib"
    )


@cache
def font(face: str = "DejaVuSans", size: int = 16) -> ImageFont.FreeTypeFont:
    """A face of FACES at a size in pixels. Basic layout: the same advance widths on every machine."""
    return ImageFont.truetype(str(font_folder() / f"{face}.ttf"), size, layout_engine=ImageFont.Layout.BASIC)
