"""The file of a folder's answers: one JSON record a line, locked while it is written, whole whenever it is left.

A record begins with `{"image": ` and has the fields `image key digest asked` and either `result` or `error`. A process
that is killed while it writes leaves a line without its end; it is cut off when the file is opened again.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

from imglish.core.errors import InputError
from imglish.core.results import PARSE, TRUNCATED

BEGINS = b'{"image": '
UNPARSED = "unparsed"  # what is wrong with an answer that could not be read; with one that was cut it is TRUNCATED


class Done(NamedTuple):
    """What is known of a picture that has a record. `wrong` is "", "truncated", "unparsed" or the name of the error."""

    start: int  # of its line, in bytes from the beginning of the file
    end: int
    key: str
    digest: str
    wrong: str


class Records:
    """A file of records, held by one process at a time. `done` has the last record of every picture."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.done: dict[str, Done] = {}
        self.others: dict[str, Any] = {}
        """What a record that answers another question was asked; empty where there is none."""
        self._held: list[int] = []
        self._size = 0

    def open(self, asked: Mapping[str, Any]) -> Self:
        """Takes the file (made if missing), repairs its end and reads what it has. `asked` is what is asked now."""
        try:
            with _named(self.path):
                self._hold()
                self._read(asked)
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Lets go of the file."""
        while self._held:
            os.close(self._held.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Writes records, and returns when they are on the disk. Raises InputError where there is no room for them."""
        written = b"".join(line(record) for record in records)
        descriptor = self._held[-1]
        with _named(self.path):
            try:
                _write(descriptor, written)
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, self._size)  # a full disk: no half of a record stays
                raise
        self._size += len(written)

    def keep(self, images: Container[str]) -> None:
        """Drops the records of all other pictures, and all but the last of these. Nothing is lost on the way."""
        kept = {image: done for image, done in self.done.items() if image in images}
        if sum(done.end - done.start for done in kept.values()) == self._size:
            return
        before, fresh = self._size, self.path.with_name(f".{self.path.name}.new")
        with _named(self.path):
            descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | _BINARY, 0o666)
            self._held.append(descriptor)  # before it has the name: whoever opens it then finds it locked
            _lock(descriptor, self.path)
            try:
                self._copy(kept, descriptor)
                os.replace(fresh, self.path)
            except OSError:  # a full disk: the old file stays as it is, and is the one that is held
                os.close(self._held.pop())
                self._size = before
                fresh.unlink(missing_ok=True)
                raise
        self.done = kept

    def _copy(self, kept: dict[str, Done], descriptor: int) -> None:
        """Writes these records to a new file, in their order; `kept` then says where they stand in it."""
        self._size = 0
        for image, done in sorted(kept.items(), key=lambda item: item[1].start):
            data = _read_at(self._held[0], done.start, done.end)
            _write(descriptor, data)
            kept[image] = done._replace(start=self._size, end=self._size + len(data))
            self._size += len(data)
        os.fsync(descriptor)

    def _hold(self) -> None:
        """Opens and locks the file that has this name; another process may have put a new one there meanwhile."""
        folder = self.path.absolute().parent
        if not folder.is_dir():
            raise InputError(f"cannot write '{self.path}': there is no folder '{folder}'", hint="make it first")
        if self.path.is_dir():
            raise InputError(f"cannot write '{self.path}': it is a folder", hint=f"perhaps '{self.path}/results.jsonl'")
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _BINARY, 0o666)
            self._held = [descriptor]
            _lock(descriptor, self.path)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), self.path.stat()):
                    return
            self.close()

    def _read(self, asked: Mapping[str, Any]) -> None:
        with os.fdopen(os.dup(self._held[0]), "rb") as file:
            file.seek(0)
            for number, raw in enumerate(file, start=1):
                start, self._size = self._size, self._size + len(raw)
                whole = raw.endswith(b"\n")
                record = _record(raw)
                if record is None:
                    if not whole and (raw.startswith(BEGINS) or BEGINS.startswith(raw)):
                        os.ftruncate(self._held[0], start)
                        self._size = start
                        return
                    raise InputError(
                        f"line {number} of '{self.path}' is no record of this command",
                        hint="name another file with --out; this one is left as it is",
                    )
                if not whole:
                    self._size += os.write(self._held[0], b"\n")
                self.done[record["image"]] = Done(start, self._size, record["key"], record["digest"], _wrong(record))
                if record["asked"] != asked:
                    self.others = record["asked"]


def line(record: Mapping[str, Any]) -> bytes:
    """A record as a line; letters as they are, except in names of files that are no text."""
    text = json.dumps(record, ensure_ascii=False)
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(record).encode() + b"\n"


def read(path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """The records of a file that may be in the making: a line that is not finished is left out."""
    with Path(path).open("rb") as file:
        for number, raw in enumerate(file, start=1):
            record = _record(raw)
            if record is None and raw.endswith(b"\n"):
                raise InputError(f"line {number} of '{path}' is no record of imglish map")
            if record is not None:
                yield record


def _record(raw: bytes) -> dict[str, Any] | None:
    if not raw.startswith(BEGINS):
        return None
    try:
        record = json.loads(raw)
    except ValueError:
        return None
    if not isinstance(record, dict) or not {"image", "key", "digest", "asked"} <= record.keys():
        return None
    return record if ("result" in record) != ("error" in record) else None


def _wrong(record: Mapping[str, Any]) -> str:
    if "error" in record:
        return str(record["error"]["type"])
    return wrong_with(problem["kind"] for problem in record["result"]["problems"])


def wrong_with(kinds: Iterable[str]) -> str:
    """What is wrong with an answer that has problems of these kinds; a cut tells more than what it left unreadable."""
    found = set(kinds)
    return TRUNCATED if TRUNCATED in found else UNPARSED if PARSE in found else ""


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Says of an error of the disk which file it is about."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot write '{path}': {error.strerror or error}",
            hint="the records that it has are whole; when the cause is gone, the same command goes on after them",
        ) from None


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _read_at(descriptor: int, start: int, end: int) -> bytes:
    os.lseek(descriptor, start, os.SEEK_SET)  # appending writes at the end, wherever reading stands
    data = b""
    while len(data) < end - start:
        data += os.read(descriptor, end - start - len(data))
    return data


_BINARY = getattr(os, "O_BINARY", 0)


def _lock(descriptor: int, path: Path) -> None:
    """Held until the file is closed or the process ends, however it ends. Not every system has such locks."""
    try:
        import fcntl
    except ImportError:  # pragma: no cover
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(
            f"another process is writing '{path}'", hint="wait for its end, or name another file with --out"
        ) from None
    except OSError:  # pragma: no cover (a file system without locks)
        return
