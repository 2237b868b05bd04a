"""The data-warehouse JSON of the *LLM Engineer's Handbook* repository, one file a kind of record.

`ArticleDocument.json`, `PostDocument.json` and `RepositoryDocument.json` are lists of records with
`content`, `link`, `platform` and `author_full_name`; `UserDocument.json` only gives names to the
`author_id` of records without one. Articles and posts are one document each, repositories one document
a file. An empty list is an empty export, not an error.

The text stays as it was crawled, boilerplate included: cleaning is the next stage's work.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from llm_twin.collect.identity import canonical_url, new_document, parse_date
from llm_twin.collect.reader import DATA_CAP, Piece, Tools, decode_text, read_bytes, skipped, stated_author
from llm_twin.collect.repository import LANGUAGES, fenced
from llm_twin.errors import InputError

if TYPE_CHECKING:
    from llm_twin.types import Document, Skipped

SUFFIXES = frozenset({".json"})
_NAMES = "UserDocument"
_WAY_OUT = "Give Markdown, text, HTML, a feed or the handbook's export."


def read(piece: Piece, tools: Tools) -> Iterator[Document | Skipped]:
    """The documents of one export; a broken record is Skipped. Raises InputError for any other JSON."""
    read_record = {"ArticleDocument": _article, "PostDocument": _post, "RepositoryDocument": _repository}
    kind = piece.path.stem
    records = _records(piece.path, piece.shown)
    if kind == _NAMES:
        return
    if kind not in read_record:
        raise InputError(f"{piece.shown}: JSON, but not the data-warehouse export", _WAY_OUT)
    names = _user_names(piece.path.parent / f"{_NAMES}.json")
    for number, record in enumerate(records, 1):
        what = f"{piece.shown}: record {number}"
        try:
            if not isinstance(record, dict):
                raise InputError(f"{what}: not an object", _WAY_OUT)
            yield from read_record[kind](_Record(record, piece, names))
        except InputError as error:
            yield skipped(what, str(error))


class _Record:
    """One record, with the fields that every kind has in common."""

    def __init__(self, record: dict[str, Any], piece: Piece, names: dict[str, str]) -> None:
        own = _text(record.get("author_full_name")) or names.get(_text(record.get("author_id")), "")
        link = _text(record.get("link"))
        self.author = stated_author(piece, own)
        self.url = canonical_url(link) if link.startswith(("http://", "https://")) else None
        self.source = self.url or f"warehouse:{_text(record.get('_id'))}"
        self.platform = _text(record.get("platform")) or None
        self.name = _text(record.get("name"))
        self.content = record.get("content")
        if self.source == "warehouse:":
            raise InputError("it has neither a link nor an _id", _WAY_OUT)


def _article(record: _Record) -> Iterator[Document]:
    content = record.content if isinstance(record.content, dict) else {}
    text = _text(content.get("Content"))
    if not text:
        raise InputError("it has no Content", _WAY_OUT)
    yield new_document(
        author=record.author,
        kind="article",
        title=_title(_text(content.get("Title")), record.author),
        text=text,
        source=record.source,
        url=record.url,
        platform=record.platform,
        published=_printed_date(text),
        language=_text(content.get("language")) or None,
    )


def _post(record: _Record) -> Iterator[Document]:
    """One document a text: a record's content holds one post, or several under names of their own."""
    texts = {name: text for name, text in _texts(record.content) if text}
    if not texts:
        raise InputError("it has no text", _WAY_OUT)
    for name, text in texts.items():
        yield new_document(
            author=record.author,
            kind="post",
            title="",
            text=text,
            source=record.source if len(texts) == 1 else f"{record.source}#{name}",
            url=record.url,
            platform=record.platform,
        )


def _texts(content: Any) -> Iterator[tuple[str, str]]:
    if isinstance(content, str):
        yield "", content
    for name, value in content.items() if isinstance(content, dict) else ():
        if isinstance(value, dict):
            yield str(name), _text(value.get("text") or value.get("Content"))
        elif str(name).lower() not in ("title", "subtitle", "language", "image"):
            yield str(name), _text(value)


def _repository(record: _Record) -> Iterator[Document]:
    """One document a file of the record's tree (path -> text)."""
    tree = record.content if isinstance(record.content, dict) else {}
    written = {str(path): text for path, text in tree.items() if isinstance(text, str) and text.strip()}
    if not written:
        raise InputError("it has no files", _WAY_OUT)
    for path, text in written.items():
        language = LANGUAGES.get(PurePosixPath(path).suffix.lower())
        yield new_document(
            author=record.author,
            kind="repository",
            title=f"{record.name}/{path}" if record.name else path,
            text=fenced(text, language) if language else text,
            source=f"{record.source}#{path}",
            url=record.url,
            platform=record.platform,
        )


def _records(path: Path, what: str) -> list[Any]:
    try:
        records = json.loads(decode_text(read_bytes(path, DATA_CAP), what))
    except (json.JSONDecodeError, RecursionError) as error:
        where = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "too deeply nested"
        raise InputError(f"{what}: broken JSON ({where})", "Export it again, or leave it out.") from error
    if not isinstance(records, list):
        raise InputError(f"{what}: JSON, but not the data-warehouse export", _WAY_OUT)
    return records


def _user_names(path: Path) -> dict[str, str]:
    """Full name by id, from the export's table of users; empty where there is none."""
    users = _records(path, str(path)) if path.is_file() else []
    named = [user for user in users if isinstance(user, dict)]
    full = {_text(u.get("_id")): f"{_text(u.get('first_name'))} {_text(u.get('last_name'))}" for u in named}
    return {key: name.strip() for key, name in full.items()}


def _printed_date(text: str) -> date | None:
    """The first line near the top that is a date and nothing else: where these sites print it."""
    lines = (line.strip() for line in text.split("\n", 120)[:120])
    found = (parse_date(line) for line in lines if 6 <= len(line) <= 18)
    return next((day for day in found if day is not None), None)


def _title(title: str, author: str) -> str:
    """A page's title without the author's name that the site put before or behind it."""
    name = re.escape(author)
    return re.sub(rf"^{name}\s+[-–|]\s+|\s+[-–|]\s+(?:by\s+)?{name}\s*$", "", title).strip()


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""
