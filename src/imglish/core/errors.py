"""Everything that imglish raises on purpose.

ImglishError
├── InputError          what the user gave cannot be used          (exit status 2)
│   ├── ImageError      a picture cannot be opened or is too large
│   ├── UnknownName     no such family, skill, kind, task ...
│   └── SkillError      the model's family has no such skill, or not for so many images
├── CheckpointError     weights are missing, incomplete or not of this family
│   └── DownloadError   the hub cannot be reached, or there is no room for what it has
├── RemoteError         a server cannot be reached, refuses, or answers what cannot be read
├── MissingExtra        an optional package is not installed
└── MemoryLimitError    the request would not fit in memory

A message says what was given and what is allowed; the next step stands on a `hint:` line of its own.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ImglishError(Exception):
    """The root of the tree. `str()` is the message, with the hint on its own line where there is one."""

    exit_status = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class InputError(ImglishError):
    """What the user gave cannot be used."""

    exit_status = 2


class ImageError(InputError):
    """A picture cannot be opened, is damaged, or is larger than allowed."""


class UnknownName(InputError):
    """No member of that name; the message names the nearest one."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        nearest = f". Did you mean {near[0]!r}?" if near else ""
        super().__init__(f"no {what} {name!r}{nearest}", hint=f"known are {', '.join(names)}")


class SkillError(InputError):
    """The family of this model cannot do what was asked."""


class CheckpointError(ImglishError):
    """Weights are missing, incomplete, unsafe, or not of the family they claim."""


class DownloadError(CheckpointError):
    """The hub cannot be reached, or there is no room for what it has. Trying again may help."""


class RemoteError(ImglishError):
    """A server of models cannot be reached, refuses, or answers what cannot be read.

    `status` is that of its HTTP answer; None where there was none. What it says is quoted without keys and pictures.
    """

    def __init__(self, message: str, *, hint: str = "", status: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class MissingExtra(ImglishError):
    """An optional package is not installed."""


class MemoryLimitError(ImglishError):
    """The request would not fit in memory."""
