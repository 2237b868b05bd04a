"""Collecting: every location a person names becomes documents, by the one table of readers below.

`collect` is the only entry. It looks at all locations before it reads any of them, so a path that does
not exist or a folder with nothing in it is an error at once; after that nothing stops the batch, and
what could not be read comes out as Skipped among the documents.

Not covered: following links from page to page, logins, and scripts that build a page in the browser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llm_twin.collect import clone, feed, files, page, repository, warehouse
from llm_twin.collect.folder import walk
from llm_twin.collect.guard import checked_url
from llm_twin.collect.identity import canonical_url, normal_author
from llm_twin.collect.limited import LimitedChild
from llm_twin.collect.reader import Piece, Reader, Tools, decode_text, skipped
from llm_twin.errors import InputError, TwinError

if TYPE_CHECKING:
    from llm_twin.ports import Fetcher, Progress
    from llm_twin.types import Document, Skipped


@dataclass(frozen=True)
class Source:
    """A place to collect from: a file, a folder or a URL, and whose writing it is when that is known."""

    location: str
    author: str | None = None


def collect(
    sources: Sequence[Source],
    fetcher: Fetcher,
    default_author: str,
    progress: Progress | None = None,
    allow_private: bool = False,
) -> Iterator[Document | Skipped]:
    """Documents of all `sources`, in their order, and Skipped for what could not be read.

    A document that comes up twice is given once. `progress` counts the pieces (files, repositories,
    URLs). `allow_private` lets `git clone` reach private addresses; the fetcher has its own. Raises
    InputError at the call, before anything is read, for a location that does not exist, an empty folder,
    an address that is no web address, or two folders whose documents would have the same ids.
    """
    if not default_author.strip():
        raise InputError("no author was named", "Give the author's name.")
    _check_names(sources)
    pieces = [piece for source in sources for piece in _pieces(source, default_author)]
    return _collected(pieces, fetcher, progress or _quiet, allow_private)


def read_web(piece: Piece, tools: Tools) -> Iterator[Document | Skipped]:
    """What a URL answers with: a feed, a page, or plain text."""
    fetched = tools.fetcher.fetch(piece.location)
    kind = fetched.content_type.partition(";")[0].strip().lower()
    if feed.is_feed(fetched.content_type, fetched.body):
        yield from feed.from_bytes(piece, fetched.body, fetched.content_type, tools)
    elif kind in ("text/plain", "text/markdown"):
        yield files.from_text(decode_text(fetched.body, fetched.url), piece, canonical_url(fetched.url))
    else:
        yield page.from_fetched(piece, fetched, tools)


def is_url(location: str) -> bool:
    """Whether a location is on the web."""
    return location.lower().startswith(("http://", "https://"))


def _has(suffixes: frozenset[str]) -> Callable[[str], bool]:
    return lambda location: Path(location).suffix.lower() in suffixes


READERS: tuple[tuple[Callable[[str], bool], Reader], ...] = (
    (clone.is_git_url, repository.read_url),
    (is_url, read_web),
    (lambda location: Path(location).is_dir(), repository.read_folder),
    (_has(files.SUFFIXES), files.read),
    (_has(page.SUFFIXES), page.read),
    (_has(feed.SUFFIXES), feed.read),
    (_has(warehouse.SUFFIXES), warehouse.read),
    (lambda location: repository.is_code(Path(location)), repository.read_file),
)
"""Which reader reads a piece: the first whose predicate holds for its location."""


def read_piece(piece: Piece, tools: Tools) -> Iterator[Document | Skipped]:
    """What the first fitting reader of READERS makes of a piece. Raises InputError when none fits."""
    for fits, read in READERS:
        if fits(piece.location):
            return read(piece, tools)
    suffix = piece.path.suffix or "no suffix"
    raise InputError(f"{piece.shown}: not a kind of file that is read ({suffix})", "Leave it out.")


def _collected(
    pieces: Sequence[Piece], fetcher: Fetcher, progress: Progress, allow_private: bool
) -> Iterator[Document | Skipped]:
    """Read the pieces one by one; the same id or the same digest a second time is Skipped."""
    from llm_twin.types import Document

    first: dict[str, str] = {}
    with LimitedChild() as child:
        tools = Tools(fetcher, child, allow_private)
        for number, piece in enumerate(pieces):
            progress(number, len(pieces), piece.shown)
            for found in _outcomes(piece, tools):
                if not isinstance(found, Document):
                    yield found
                    continue
                earlier = first.get(found.id) or first.get(found.digest)
                first.setdefault(found.id, found.source)
                first.setdefault(found.digest, found.source)
                yield skipped(piece.shown, f"already collected as {earlier}") if earlier else found
        progress(len(pieces), len(pieces), "")


def _outcomes(piece: Piece, tools: Tools) -> Iterator[Document | Skipped]:
    """What a piece gives; an error that ends it becomes the last Skipped."""
    try:
        yield from read_piece(piece, tools)
    except (TwinError, OSError) as error:
        yield skipped(piece.shown, str(error))


def _pieces(source: Source, default_author: str) -> list[Piece]:
    """The pieces of one location; raises InputError when there are none."""
    location = source.location.strip()
    if is_url(location):
        checked_url(location)
        return [Piece(location, source.author, default_author)]
    path = _existing(location)
    if path.is_file():
        return [Piece(str(path), source.author, default_author, path.parent)]
    try:
        found = [path] if repository.is_repository(path) else list(walk(path, repository.is_repository))
        is_empty = not any(walk(path))
    except OSError as error:
        raise InputError(
            f"{location}: cannot be read ({error.strerror})", "Check its permissions."
        ) from error
    if is_empty:
        raise InputError(f"{location}: an empty folder", "Put Markdown, text, HTML, a feed or code into it.")
    return [Piece(str(each), source.author, default_author, path) for each in found]


def _existing(location: str) -> Path:
    """The absolute path of a local location. Raises InputError for what is not there or no file or folder."""
    if "://" in location or location.startswith("git@"):
        raise InputError(
            f"{location}: only http and https addresses are read", "Clone a repository and give its folder."
        )
    try:
        path = Path(location).expanduser().resolve()
        if location and (path.is_file() or path.is_dir()):
            return path
        exists = path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{location!r}: not a path ({error})", "Check the location.") from error
    if location and exists:
        raise InputError(f"{location}: neither a file nor a folder", "Give a file or a folder.")
    raise InputError(
        f"{location or '(nothing)'}: there is no such file or folder",
        "Check the path; a web address begins with https://.",
    )


def _check_names(sources: Sequence[Source]) -> None:
    """Ids are made from a folder's name: two of the same name would overwrite each other."""
    seen: dict[tuple[str, str], Path] = {}
    for source in sources:
        if is_url(source.location.strip()):
            continue
        path = _existing(source.location.strip())
        key = (path.name, normal_author(source.author or ""))
        if path.is_dir() and seen.setdefault(key, path) != path:
            raise InputError(
                f"{seen[key]} and {path}: two folders of one name would get the same ids",
                "Rename one, or collect the folder above both.",
            )


def _quiet(done: int, total: int, note: str) -> None:
    """A Progress that shows nothing."""
