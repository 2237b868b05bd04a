"""What makes a document itself: its source, its id, its digest, and the date readers see.

A document's id is a hash of its normalised author and its canonical source, nothing else, so the same
thing collected twice is the same document wherever the folder lies now. The source of something from
the web is its canonical URL; the source of a local file is `file:`, the *name* of the folder it was
collected from, and the path inside that folder. So moving a tree, or giving one of its top-level files
instead of the folder, keeps ids; renaming the folder, or giving a folder inside it, does not.

Not covered: two folders of the same name collected in different runs share ids where their paths agree.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from llm_twin.errors import InputError

if TYPE_CHECKING:
    from llm_twin.types import Document, Kind

_TRACKING = frozenset({"fbclid", "gclid", "igshid", "mc_cid", "mc_eid", "triedredirect"})
_DEFAULT_PORT = {"http": "80", "https": "443"}
_DATE_FORMS = ("%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%B %d, %Y", "%b %d, %Y", "%d %B %Y", "%d %b %Y", "%Y%m%d")


def canonical_url(url: str) -> str:
    """One spelling for one page: scheme and host lowercased, default port, fragment and tracking dropped.

    Tracking is `utm_*`, the click ids of newsletters and networks, Medium's `source=rss-…`, and on
    Substack (its host, or a `/p/…` path) the reader's `r`. Raises InputError for what is no URL.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as error:
        raise InputError(f"{url}: not a web address ({error})", "Check the address.") from error
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    if port is not None and str(port) != _DEFAULT_PORT.get(scheme):
        host = f"{host}:{port}"
    substack = host.endswith("substack.com") or parts.path.startswith("/p/")
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(key, value) for key, value in pairs if not _is_tracking(key.lower(), value, substack)]
    query = parts.query if len(kept) == len(pairs) else urlencode(kept)
    return urlunsplit((scheme, host, parts.path or "/", query, ""))


def _is_tracking(key: str, value: str, substack: bool) -> bool:
    if key.startswith("utm_") or key in _TRACKING:
        return True
    return (key == "r" and substack) or (key == "source" and value.startswith(("rss-", "---")))


def platform_of(url: str) -> str | None:
    """The site a URL belongs to: its host without `www.`."""
    return (urlsplit(url).hostname or "").removeprefix("www.") or None


def local_source(path: Path, root: Path) -> str:
    """The source of the file `path` collected from the folder `root`; both absolute."""
    inside = path.relative_to(root).as_posix()
    return "file:" + readable(f"{root.name}/{inside}" if root.name else inside)


def readable(text: str) -> str:
    """`text` as valid Unicode: bytes of a file name that are no UTF-8 are shown as escapes."""
    return unicodedata.normalize("NFC", text.encode("utf-8", "backslashreplace").decode("utf-8"))


def normal_author(author: str) -> str:
    """The form in which two spellings of one name are the same: NFKC, casefolded, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", author).casefold().split())


def document_id(author: str, source: str) -> str:
    """`d_` and the first 16 hex digits of SHA-256 over normalised author and canonical source."""
    text = f"{normal_author(author)}\n{source}"
    return "d_" + hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


def parse_date(text: str | None) -> date | None:
    """The calendar day that `text` names, as written there (no time zone is applied).

    Reads ISO 8601, RFC 2822 (feeds) and a few written forms; None for anything else.
    """
    text = (text or "").strip()
    for read in (_iso_date, _mail_date, _written_date):
        found = read(text) if text else None
        if found is not None:
            return found
    return None


def _iso_date(text: str) -> date | None:
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None


def _mail_date(text: str) -> date | None:
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(text).date()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _written_date(text: str) -> date | None:
    for form in _DATE_FORMS:
        try:
            return datetime.strptime(text, form).date()
        except ValueError:
            continue
    return None


def new_document(
    *,
    author: str,
    kind: Kind,
    title: str,
    text: str,
    source: str,
    url: str | None = None,
    platform: str | None = None,
    published: date | None = None,
    language: str | None = None,
) -> Document:
    """A Document with its id and digest.

    Line ends become `\\n`, invalid characters (NUL, lone surrogates) become U+FFFD and blank lines at
    both ends go; nothing else of `text` changes. Raises InputError when no text is left.
    """
    from llm_twin.types import Document

    text, title = tidy(text), " ".join(tidy(title).split())
    author = " ".join(tidy(author).split())
    if not text:
        raise InputError(f"{source}: there is no text in it", "Fill it or leave it out.")
    seen = (title, text, author, kind, url, platform, published and published.isoformat(), language)
    return Document(
        id=document_id(author, source),
        author=author,
        kind=kind,
        title=title or first_words(text),
        text=text,
        source=source,
        url=url,
        platform=platform,
        published=published,
        language=language,
        digest=hashlib.sha256(json.dumps(seen).encode("ascii")).hexdigest(),
    )


def tidy(text: str) -> str:
    """`text` with `\\n` line ends, valid characters only, and no blank lines at either end."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "\ufffd").removeprefix("\ufeff")
    text = re.sub(r"[\ud800-\udfff]", "\ufffd", text)
    return re.sub(r"\A(?:[^\S\n]*\n)+", "", text).rstrip()


def first_words(text: str, limit: int = 60) -> str:
    """The beginning of `text` as a title: at most `limit` characters, cut between words."""
    line = " ".join(re.sub(r"[#*_`>\[\]]+", " ", text[: 8 * limit]).split())
    if len(line) <= limit:
        return line
    return line[:limit].rsplit(" ", 1)[0].rstrip(",;:. ") + " …"
