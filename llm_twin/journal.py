"""What people said, kept: an append-only JSONL file that holds each entry once and survives a crash.

An entry is on the disk when `append` returns. One that was half written when the power went is dropped by the
next append; every line before it stays as it is. Several processes may append. Not covered: changing or
removing what was said (delete the file to start anew), and network file systems without file locks.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import ValidationError

from llm_twin.errors import InputError, TwinError
from llm_twin.files import sync_folder
from llm_twin.types import Entry

E = TypeVar("E", bound=Entry)


class Journal(Generic[E]):
    """The entries of one kind in one file; opening it creates nothing."""

    def __init__(self, path: Path, kind: type[E]) -> None:
        self.path = path
        self.kind = kind

    def read(self) -> list[E]:
        """All entries, oldest first; none where the file is missing.

        Raises InputError that names the line which is not an entry. A half-written last line is no entry.
        """
        return self._entries(self.path.read_bytes()) if self.path.exists() else []

    def append(self, entry: E) -> bool:
        """Add `entry` unless one of its id is there; whether it was added. Durable on return."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = not self.path.exists()
        with self._locked() as descriptor:
            written = self.path.read_bytes()
            if any(known.id == entry.id for known in self._entries(written)):
                return False
            self._write(descriptor, self._whole(written), entry)
        if fresh:
            sync_folder(self.path.parent)
        return True

    @contextmanager
    def _locked(self) -> Iterator[int]:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    def _whole(self, written: bytes) -> bytes:
        """What of `written` stays: all of it, less a half-written last line."""
        tail = written.rpartition(b"\n")[2]
        if not tail:
            return written
        # An editor may have saved a whole last line without its line end; then only that is missing.
        return written + b"\n" if self._parsed(tail) else written[: len(written) - len(tail)]

    def _write(self, descriptor: int, before: bytes, entry: E) -> None:
        at = len(before)
        line = entry.model_dump_json().encode() + b"\n"
        try:
            os.ftruncate(descriptor, at)
            if before[-1:] == b"\n":  # the line end that an editor left out
                os.pwrite(descriptor, b"\n", at - 1)
            if os.pwrite(descriptor, line, at) != len(line):
                raise OSError("the disk took only a part of it")
            os.fsync(descriptor)
        except OSError as error:
            os.ftruncate(descriptor, at)
            raise TwinError(
                f"{self.path} could not be written: {error}", "make room and try again"
            ) from error

    def _entries(self, written: bytes) -> list[E]:
        lines = written.split(b"\n")
        found = []
        for number, line in enumerate(lines, 1):
            entry = self._parsed(line)
            if entry is not None:
                found.append(entry)
            elif line.strip() and number < len(lines):
                raise InputError(
                    f"{self.path}, line {number} is not a {self.kind.__name__.lower()}",
                    "mend or remove that line",
                )
        return found

    def _parsed(self, line: bytes) -> E | None:
        try:
            return self.kind.model_validate_json(line)
        except ValidationError:
            return None
