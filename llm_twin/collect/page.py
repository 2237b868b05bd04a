"""Web pages, fetched or saved: the article as Markdown, with title, author, date and language.

The page is parsed in the limited child (see `limited.py`, `markdown.py`). Its canonical address is
believed when it lies on the host the page came from, or when the page is a local file; a canonical
address that is only a site's front page is not, because broken templates give it to every page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from llm_twin.collect.files import title_of_name
from llm_twin.collect.identity import canonical_url, new_document, parse_date, platform_of
from llm_twin.collect.reader import Piece, Tools, byline_author, read_bytes
from llm_twin.errors import InputError

if TYPE_CHECKING:
    from llm_twin.ports import Fetched
    from llm_twin.types import Document

SUFFIXES = frozenset({".html", ".htm", ".xhtml"})
_CHARSET = re.compile(rb"<(?:meta|\?xml)[^>]{0,200}?(?:charset|encoding)\s*=\s*[\"']?([\w-]+)", re.IGNORECASE)


def read(piece: Piece, tools: Tools) -> Iterator[Document]:
    """The one document of a saved page."""
    html = decode_html(read_bytes(piece.path), "", piece.shown)
    found = tools.child.call("llm_twin.collect.markdown:page", html=html, url=None)
    url = _believed(found["url"], None)
    source = piece.source()
    yield _document(piece, found, url, url or source, title_of_name(source.rsplit("/", 1)[-1]))


def from_fetched(piece: Piece, fetched: Fetched, tools: Tools) -> Document:
    """The document of a fetched page; its source is its canonical address. Raises InputError for no page."""
    address = canonical_url(fetched.url)
    if not is_html(fetched.content_type, fetched.body):
        raise InputError(f"{address}: {fetched.content_type or 'unknown'}, not a web page", "Leave it out.")
    html = decode_html(fetched.body, fetched.content_type, address)
    found = tools.child.call("llm_twin.collect.markdown:page", html=html, url=address)
    url = _believed(found["url"], address) or address
    return _document(piece, found, url, url, "")


def is_html(content_type: str, body: bytes) -> bool:
    """Whether a fetched body is HTML, by its type or, where that says nothing, by how it begins."""
    if re.match(r"(text/html|application/xhtml\+xml)", content_type, re.IGNORECASE):
        return True
    return not content_type and re.match(rb"\s*<(!doctype html|html)", body[:500], re.IGNORECASE) is not None


def decode_html(body: bytes, content_type: str, what: str) -> str:
    """HTML as text, in the encoding that its mark, the server or the page itself names, else UTF-8.

    Single bad bytes become U+FFFD, as in a browser. Raises InputError for binary data.
    """
    stated = re.search(r"charset=[\"']?([\w-]+)", content_type, re.IGNORECASE)
    inside = _CHARSET.search(body[:2048])
    named = stated.group(1) if stated else inside.group(1).decode("ascii") if inside else "utf-8"
    if body.startswith((b"\xff\xfe", b"\xfe\xff")):
        named = "utf-16"
    elif b"\x00" in body:
        raise InputError(f"{what}: binary, not HTML", "Leave it out.")
    try:
        return body.decode("utf-8-sig" if named.lower() in ("utf-8", "utf8") else named, "replace")
    except (LookupError, UnicodeError) as error:
        raise InputError(f"{what}: its encoding `{named}` is unknown", "Save it as UTF-8.") from error


def _believed(canonical: str | None, address: str | None) -> str | None:
    if canonical is None:
        return None
    url = canonical_url(canonical)
    is_front_page = url.split("/", 3)[3] == ""
    same_host = address is None or platform_of(url) == platform_of(address)
    return url if same_host and not is_front_page else None


def _document(piece: Piece, found: dict[str, Any], url: str | None, source: str, name: str) -> Document:
    return new_document(
        author=byline_author(piece, found["author"]),
        kind="article",
        title=found["title"] or name,
        text=found["text"],
        source=source,
        url=url,
        platform=platform_of(url) if url else None,
        published=parse_date(found["date"]),
        language=found["language"],
    )
