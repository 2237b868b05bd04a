"""Files that are whole or not there: write to a temporary name, fsync, rename."""

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str, mode: int = 0o666) -> None:
    """Replace `path` by `text` in one step; a reader or a crash sees the old file or the new one.

    The file's rights are `mode` less the umask, from its first byte on.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8", opener=_made_with(mode)) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """`write_text` of indented JSON with sorted keys."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def write_lines(path: Path, lines: Iterable[str], mode: int = 0o666) -> None:
    """`write_text` of one line each."""
    write_text(path, "".join(line + "\n" for line in lines), mode)


def add_line(path: Path, line: str, mode: int = 0o666) -> None:
    """Append a line; a file that is not there yet gets the rights `mode`, less the umask. A crash may cut it short."""
    with open(path, "a", encoding="utf-8", opener=_made_with(mode)) as file:
        file.write(line + "\n")


def _made_with(mode: int) -> Callable[[str, int], int]:
    return lambda path, flags: os.open(path, flags, mode)


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
