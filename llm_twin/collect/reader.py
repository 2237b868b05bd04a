"""What every reader of this package is given, and what it gives back.

A reader turns one piece (a URL, a file, a repository folder) into documents. It raises InputError or
TwinError when the whole piece cannot be read and yields Skipped for a part that cannot; it never
stops the batch, because `crawl.py` turns the error into a Skipped.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llm_twin.collect.identity import local_source, normal_author, readable
from llm_twin.errors import InputError

if TYPE_CHECKING:
    from llm_twin.collect.limited import LimitedChild
    from llm_twin.ports import Fetcher
    from llm_twin.types import Document, Skipped

TEXT_CAP = 10 * 2**20
"""Most bytes a text, HTML or feed file may have."""
DATA_CAP = 256 * 2**20
"""Most bytes a JSON export may have."""


@dataclass(frozen=True)
class Tools:
    """What readers may use of the outside world."""

    fetcher: Fetcher
    child: LimitedChild
    allow_private: bool = False


@dataclass(frozen=True)
class Piece:
    """One thing to read. `root` is the folder it was collected from (None for URLs).

    `author` is what the user said of this source, `default_author` the twin's own.
    """

    location: str
    author: str | None
    default_author: str
    root: Path | None = None

    @property
    def path(self) -> Path:
        """The local file or folder."""
        return Path(self.location)

    @property
    def shown(self) -> str:
        """How people are told of this piece."""
        return readable(self.location)

    def source(self, path: Path | None = None) -> str:
        """The canonical source of this local piece, or of a file inside it."""
        if self.root is None:
            raise ValueError("only a local piece has a source of its own")
        return local_source(path or self.path, self.root)


Reader = Callable[[Piece, Tools], "Iterator[Document | Skipped]"]


def stated_author(piece: Piece, own: str | None) -> str:
    """Who wrote a file: what the file itself says, else the source's author, else the default."""
    return (own or "").strip() or piece.author or piece.default_author


def byline_author(piece: Piece, byline: str | None) -> str:
    """Who wrote a web page or feed entry: the source's author, else its byline, else the default.

    A byline is found, not stated, so it comes second here. Of several names separated by `;` the
    default author's is taken when it is among them, else the first.
    """
    names = [name.strip() for name in (byline or "").split(";") if name.strip()]
    if piece.author or not names:
        return piece.author or piece.default_author
    wanted = normal_author(piece.default_author)
    return piece.default_author if wanted in map(normal_author, names) else names[0]


def skipped(what: str, why: str) -> Skipped:
    """One thing passed over, and why (an error's message, which need not name the thing again)."""
    from llm_twin.types import Skipped

    return Skipped(what=readable(what), why=readable(why).removeprefix(f"{readable(what)}: "))


def read_bytes(path: Path, cap: int = TEXT_CAP, what: str = "") -> bytes:
    """A regular file's bytes; errors call it `what`, or by its path.

    Raises InputError for anything that is no regular file, for an empty one and over `cap` bytes.
    """
    what = what or readable(str(path))
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{what}: not a regular file", "Give a file or a folder.")
        if status.st_size > cap:
            raise InputError(f"{what}: larger than {cap // 2**20} MB", "Split it or leave it out.")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{what}: cannot be read ({error.strerror})", "Check its permissions.") from error
    if not data.strip():
        raise InputError(f"{what}: empty", "Fill it or leave it out.")
    return data


def decode_text(data: bytes, what: str) -> str:
    """UTF-8 (or UTF-16 with its mark) as text. Raises InputError for binary data and other encodings."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif b"\x00" in data:
        raise InputError(f"{what}: binary, not text", "Leave it out.")
    else:
        encoding = "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(f"{what}: not UTF-8 text (byte {error.start})", "Save it as UTF-8.") from error
