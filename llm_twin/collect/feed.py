"""RSS and Atom feeds (Substack, Medium, any blog): one document an entry.

An entry's full content is taken where the feed has it; where the feed has only a summary or a teaser,
the entry's page is fetched and read like any page. Entries without a title are posts, others articles.
Feeds are parsed in the limited child.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from llm_twin.collect import page
from llm_twin.collect.identity import canonical_url, first_words, new_document, parse_date, platform_of
from llm_twin.collect.reader import Piece, Tools, byline_author, read_bytes, skipped
from llm_twin.errors import InputError, TwinError

if TYPE_CHECKING:
    from llm_twin.types import Document, Skipped

SUFFIXES = frozenset({".xml", ".rss", ".atom"})
_START = re.compile(rb"<(rss|feed|rdf:RDF)\b", re.IGNORECASE)
_TEASER = re.compile(r"(\[(…|\.\.\.)\]|read more|continue reading)(\W{0,8}\([^()]*\))?\W*\Z", re.IGNORECASE)


def read(piece: Piece, tools: Tools) -> Iterator[Document | Skipped]:
    """The documents of a feed saved as a file."""
    yield from from_bytes(piece, read_bytes(piece.path), "", tools)


def is_feed(content_type: str, body: bytes) -> bool:
    """Whether a fetched body is a feed: by its type, or by how it begins whatever the server called it."""
    if re.match(r"application/(rss|atom|rdf)\+xml", content_type, re.IGNORECASE):
        return True
    return "html" not in content_type.lower() and _START.search(body[:1000]) is not None


def from_bytes(piece: Piece, body: bytes, content_type: str, tools: Tools) -> Iterator[Document | Skipped]:
    """The documents of a feed; an entry that cannot be read is Skipped. Raises InputError for no feed."""
    entries = tools.child.call(
        "llm_twin.collect.feed:parse",
        body=body.decode("latin-1"),
        content_type=content_type,
        base=piece.location if piece.root is None else "",
    )
    if not entries:
        raise InputError(f"{piece.shown}: a feed without entries", "Check the address, or leave it out.")
    for entry in entries:
        try:
            yield _document(piece, entry, tools)
        except TwinError as error:
            yield skipped(entry["link"] or f"{piece.shown}: {entry['title']}", str(error))


def _document(piece: Piece, entry: dict[str, Any], tools: Tools) -> Document:
    text = tools.child.call("llm_twin.collect.markdown:fragment", html=entry["html"])
    if entry["link"] and (not entry["full"] or not text or _TEASER.search(text[-300:])):
        return page.from_fetched(piece, tools.fetcher.fetch(entry["link"]), tools)
    url = canonical_url(entry["link"]) if entry["link"] else None
    feed = piece.source() if piece.root else canonical_url(piece.location)
    return new_document(
        author=byline_author(piece, entry["author"]),
        kind="article" if entry["title"] else "post",
        title=entry["title"],
        text=text,
        source=url or f"{feed}#{entry['id'] or entry['title'] or first_words(text)}",
        url=url,
        platform=platform_of(url) if url else None,
        published=parse_date(entry["published"]),
        language=entry["language"],
    )


def parse(body: str, content_type: str, base: str) -> list[dict[str, Any]]:
    """In the child: the entries of a feed (`body`: its bytes as Latin-1), in the feed's order.

    Each has title, html, full (whether html is the whole entry), link, id, author, published, language.
    Raises InputError for what is no feed.
    """
    import feedparser  # type: ignore[import-untyped]

    headers = {"content-type": content_type} if content_type else {}
    if base:
        headers["content-location"] = base
    found = feedparser.parse(body.encode("latin-1"), response_headers=headers, sanitize_html=False)
    if not found.entries and (found.bozo or not found.version):
        raise InputError("this is not an RSS or Atom feed", "Check the address, or leave it out.")
    language = re.split(r"[-_]", found.feed.get("language") or "")[0].lower() or None
    return [_entry(entry, found.feed, language) for entry in found.entries]


def _entry(entry: Any, feed: Any, language: str | None) -> dict[str, Any]:
    contents = [part.get("value") or "" for part in entry.get("content") or []]
    link = entry.get("link") or ""
    return {
        "title": _plain(entry.get("title") or ""),
        "html": max(contents, key=len) if any(contents) else entry.get("summary") or "",
        "full": any(contents),
        "link": link if link.startswith(("http://", "https://")) else None,
        "id": entry.get("id") or "",
        "author": _name(entry) or _name(feed),
        "published": entry.get("published") or entry.get("updated"),
        "language": language,
    }


def _name(of: Any) -> str | None:
    return (of.get("author_detail") or {}).get("name") or of.get("author") or None


def _plain(html: str) -> str:
    """A title without the markup some feeds put in it."""
    from html import unescape

    return " ".join(unescape(re.sub(r"</?[a-zA-Z][^>]*>", "", html)).split())
