"""The C of this package, compiled once on a machine that has a compiler; everything goes on without it.

What torch multiplies one token by a matrix of bfloat16 with does not keep up with the memory, and each of its calls
has its price. The sources in `native/` are small and need nothing but a C compiler (`CC`, or cc, gcc or clang). What is
made stands in the user's own cache, in a folder that nobody else can write to, under a name that depends on the
sources, the compiler and the processor. `IMGLISH_NATIVE=0` leaves it out.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

SOURCES = Path(__file__).with_name("native")
SWITCH = "IMGLISH_NATIVE"
FLAGS = ("-O3", "-std=gnu11", "-shared", "-fPIC")
PATIENCE = 120  # seconds for a compiler


class NotNative(Exception):
    """Why there is nothing compiled. Never leaves this package."""


def library() -> ctypes.CDLL | None:
    """The compiled library, or None where there is none; `why_not` says why."""
    return _found()[0]


def why_not() -> str:
    """Why nothing compiled is used; empty where it is."""
    return _found()[1]


@functools.cache
def reads() -> bool:
    """Whether compiled code reads many tokens at once on this processor: it has products of bfloat16."""
    found = library()
    return found is not None and bool(found.many_ready())


@functools.cache
def _found() -> tuple[ctypes.CDLL | None, str]:
    """(the library, why there is none): a compiler that failed is not tried again in this process."""
    try:
        return _loaded(), ""
    except NotNative as error:
        return None, str(error)


def _loaded() -> ctypes.CDLL:
    if os.environ.get(SWITCH, "1") == "0":
        raise NotNative(f"{SWITCH} is 0")
    if sys.platform == "win32":
        raise NotNative("on Windows nothing is compiled")
    found = _compiler()
    errors = []
    for folder in _folders():
        path = folder / f"step-{_name(found)}.so"
        try:
            if not _is_ours(path):
                _compile(found, path)
            return _typed(ctypes.CDLL(str(path)))
        except (OSError, NotNative) as error:
            errors.append(str(error))
    raise NotNative("; ".join(errors) or "there is no folder to compile in")


def _typed(library: ctypes.CDLL) -> ctypes.CDLL:
    number, place = ctypes.c_int64, ctypes.c_void_p
    library.room.argtypes, library.room.restype = [place, number, number], number
    library.step.argtypes, library.step.restype = [place, place, number, place, place, place, number], None
    library.room_crossed.argtypes, library.room_crossed.restype = [place, number, number], number
    library.step_crossed.argtypes = [place, place, number, place, place, place, number]
    library.step_crossed.restype = None
    library.multiply.argtypes, library.multiply.restype = [place, number, place, number, place, place, number], None
    library.many_ready.restype = ctypes.c_int
    if library.many_ready():
        _typed_many(library)
    return library


def _typed_many(library: ctypes.CDLL) -> None:
    number, place = ctypes.c_int64, ctypes.c_void_p
    library.multiply_many.argtypes = [place, number, place, number, place, place, number]
    library.room_many.argtypes, library.room_many.restype = [place, place, number, number, number], number
    library.read_many.argtypes = [place, place, number, number, place, place, number, place, place, number]
    library.room_look.argtypes, library.room_look.restype = [place, number, number, number], number
    library.look_many.argtypes = [place, number, number, place, place, place, number]
    library.multiply_many.restype = library.read_many.restype = library.look_many.restype = None


def _compiler() -> list[str]:
    named = shlex.split(os.environ.get("CC", ""))
    for words in [named] if named else [["cc"], ["gcc"], ["clang"]]:
        path = shutil.which(words[0])
        if path is not None:
            return [path, *words[1:]]
    raise NotNative("there is no C compiler" + (f": CC is {named[0]!r}" if named else ""))


def _name(compiler: list[str]) -> str:
    """Changes with the sources, the compiler and what the processor can do."""
    digest = hashlib.sha256()
    for path in sorted(SOURCES.iterdir()):
        digest.update(path.read_bytes())
    about = os.stat(compiler[0])
    parts = (compiler, about.st_size, about.st_mtime_ns, platform.machine(), platform.libc_ver(), _abilities())
    digest.update(repr(parts).encode())
    return digest.hexdigest()[:24]


def _abilities() -> str:
    """What the processor says of itself, where it says it: a home folder may be that of several machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


def _folders() -> Iterator[Path]:
    """The user's cache; else a folder of this process, where that one cannot be written or is open to others."""
    base = Path.home() / "Library" / "Caches" if sys.platform == "darwin" else Path.home() / ".cache"
    kept = Path(os.environ.get("XDG_CACHE_HOME") or base) / "imglish" / "native"
    try:
        kept.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _is_private(kept):
            yield kept
    except OSError:
        pass
    own = tempfile.TemporaryDirectory(prefix="imglish-native-")
    _kept.append(own)
    yield Path(own.name)


_kept: list[tempfile.TemporaryDirectory[str]] = []  # until the process ends


def _is_ours(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and _is_private(path)


def _is_private(path: Path) -> bool:
    """Whether it belongs to this user, and nobody else can write to it: it is executed."""
    about = path.lstat()
    return about.st_uid == os.getuid() and not about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _compile(compiler: list[str], path: Path) -> None:
    """Compiles beside its place and moves it there, so that nobody loads half of it."""
    native = "-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native"
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / "step.so"
        said = ""
        for more in ([native, "-fopenmp"], [native, "-fopenmp", "-DNO_MANY"], [native], []):
            command = [*compiler, *FLAGS, *more, str(SOURCES / "step.c"), "-o", str(made), "-lm"]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise NotNative(f"{compiler[0]}: {error}") from None
            if done.returncode == 0:
                made.chmod(0o700)
                made.replace(path)
                return
            said = (done.stderr.strip().splitlines() or ["it failed"])[-1]
    raise NotNative(f"{compiler[0]}: {said}")
