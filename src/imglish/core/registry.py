"""A folder as a list of members: the name of a file is the name of what is in it.

Listing reads the folder and imports nothing; `get` imports one file. A file's path ending in `.py` is as good as a
name, and that is the plugin system.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from imglish.core.errors import InputError, UnknownName


class Registry:
    """The members of the folder of `package`: every `.py` file whose name does not begin with an underscore.

    `attribute` is what each file must define, and what `get` returns; None means the module itself. `what` is the
    word for a member in messages.
    """

    def __init__(self, package: str, *, what: str, attribute: str | None = None) -> None:
        self.package = package
        self.what = what
        self.attribute = attribute

    def __repr__(self) -> str:
        return f"Registry({self.package!r}, what={self.what!r}, attribute={self.attribute!r})"

    def names(self) -> list[str]:
        """The names of all members, sorted; none of them is imported."""
        return sorted(path.stem for path in self._folder().glob("*.py") if not path.stem.startswith("_"))

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def get(self, name: str) -> Any:
        """The member of that name, or of the user's file at that path. Raises UnknownName naming the nearest one."""
        if str(name).endswith(".py"):
            return self._attribute(self._load(Path(name)), str(name))
        known = self.names()
        if name not in known:
            raise UnknownName(self.what, name, known)
        return self._attribute(importlib.import_module(f"{self.package}.{name}"), name)

    def _folder(self) -> Path:
        # find_spec imports the packages above this one, never its members
        spec = importlib.util.find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            raise InputError(f"there is no package {self.package!r} to list")
        return Path(next(iter(spec.submodule_search_locations)))

    def _load(self, path: Path) -> ModuleType:
        full = path.expanduser().resolve()
        if not full.is_file():
            raise InputError(
                f"no {self.what} file {str(path)!r}", hint=f"known {self.what} names are {', '.join(self.names())}"
            )
        # the same file is the same module, however its path is written
        name = f"imglish_user_{full.stem}_{hashlib.blake2b(str(full).encode(), digest_size=6).hexdigest()}"
        if name in sys.modules:
            return sys.modules[name]
        spec = importlib.util.spec_from_file_location(name, full)
        if spec is None or spec.loader is None:
            raise InputError(f"the {self.what} file {str(path)!r} cannot be loaded as Python")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module

    def _attribute(self, module: ModuleType, name: str) -> Any:
        if self.attribute is None:
            return module
        found = getattr(module, self.attribute, None)
        if found is None:
            raise InputError(
                f"the {self.what} {name!r} defines no {self.attribute!r}",
                hint=f"a {self.what} file defines {self.attribute!r}; copy another one and change it",
            )
        return found
