"""The one door to optional packages: a package that is absent is named together with the way to install it."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from imglish.core.errors import MissingExtra


def has(package: str) -> bool:
    """Whether `package` is installed. Does not import it (only the packages around a dotted name)."""
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def require(package: str, *, extra: str) -> Any:
    """The module `package`. Raises MissingExtra naming the extra of imglish that brings it.

    A package that is installed and fails to import, for want of something else, fails with its own error.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if package != missing and not package.startswith(missing + "."):
            raise
        raise MissingExtra(
            f"the package {package!r} is not installed", hint=f"install it with pip install 'imglish[{extra}]'"
        ) from error
