"""imglish, the language of pictures: a workbench for vision-language models.

>>> import imglish
>>> vlm = imglish.load()                    # doctest: +SKIP
>>> vlm.ask("a.png", "How many cats?")      # doctest: +SKIP

Every public name is imported when it is first used, so `import imglish` itself costs nothing.
"""

from __future__ import annotations

import importlib as _importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imglish import world as world
    from imglish.core.errors import ImglishError as ImglishError
    from imglish.core.errors import InputError as InputError
    from imglish.core.images import open_image as open_image
    from imglish.core.results import Boxes as Boxes
    from imglish.core.results import Masks as Masks
    from imglish.core.results import Receipt as Receipt
    from imglish.core.results import Record as Record
    from imglish.core.results import Text as Text
    from imglish.core.results import TextRegions as TextRegions
    from imglish.core.types import SKILLS as SKILLS
    from imglish.core.types import Message as Message
    from imglish.core.types import Request as Request
    from imglish.core.types import Sample as Sample
    from imglish.engine.vlm import VLM as VLM
    from imglish.engine.vlm import Chat as Chat
    from imglish.engine.vlm import load as load

__version__ = "0.1.0"

_HOMES = {
    "imglish.core.errors": ("ImglishError", "InputError"),
    "imglish.core.images": ("open_image",),
    "imglish.core.results": ("Boxes", "Masks", "Receipt", "Record", "Text", "TextRegions"),
    "imglish.core.types": ("SKILLS", "Message", "Request", "Sample"),
    "imglish.engine.vlm": ("VLM", "Chat", "load"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "SKILLS",
    "VLM",
    "Boxes",
    "Chat",
    "ImglishError",
    "InputError",
    "Masks",
    "Message",
    "Receipt",
    "Record",
    "Request",
    "Sample",
    "Text",
    "TextRegions",
    "load",
    "open_image",
    "world",
]


def __getattr__(name: str) -> object:
    if name == "world":
        return _importlib.import_module("imglish.world")
    if name not in _HOME:
        raise AttributeError(f"module 'imglish' has no attribute {name!r}")
    value = getattr(_importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
