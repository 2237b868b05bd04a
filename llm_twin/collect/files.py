"""Markdown and plain text files, with what their front matter says about them.

Front matter is YAML between `---` lines or TOML between `+++` lines (Hugo). Read from it: title, author,
date, kind, url, language, platform; everything else is ignored, and it never becomes part of the text.
A missing title is the first heading, else the file's name; a missing date is the file name's
`2024-03-05-` prefix (Jekyll), where there is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast, get_args

from llm_twin.collect.identity import canonical_url, new_document, parse_date, platform_of
from llm_twin.collect.reader import Piece, Tools, decode_text, read_bytes, stated_author
from llm_twin.errors import InputError

if TYPE_CHECKING:
    from llm_twin.types import Document, Kind

SUFFIXES = frozenset({".md", ".markdown", ".mdx", ".mkd", ".txt", ".text", ".rst", ".qmd"})
_FENCES = {"---": "YAML", "+++": "TOML"}
_CAP = 64 * 2**10
"""Most characters of front matter."""
_KEY = re.compile(r"(?:#[^\n]*\n)*[\"']?[\w-]+[\"']?\s*[:=]")
_HEADING = re.compile(r"^(?:#[ \t]+(.+?)[ \t#]*|(\S.*)\n={3,}[ \t]*)$", re.MULTILINE)
_DATED_NAME = re.compile(r"^(\d{4}-\d{2}-\d{2})[-_ ]+(.+)$")


def read(piece: Piece, tools: Tools) -> Iterator[Document]:
    """The one document of a text file. Raises InputError for what is not text or has none."""
    yield from_text(decode_text(read_bytes(piece.path), piece.shown), piece, piece.source())


def from_text(text: str, piece: Piece, source: str) -> Document:
    """A document from Markdown or plain text.

    `source` is a URL or a local source; a local file's source becomes the `url` its front matter states.
    """
    name = source.rsplit("/", 1)[-1]
    stated, body = front_matter(text, piece.shown)
    address = stated.get("url", "") if source.startswith("file:") else source
    url = canonical_url(address) if address.startswith(("http://", "https://")) else None
    dated = _DATED_NAME.match(name)
    return new_document(
        author=stated_author(piece, stated.get("author") or stated.get("authors")),
        kind=_kind(stated.get("kind"), piece.shown),
        title=stated.get("title") or _heading(body) or title_of_name(name),
        text=body,
        source=url or source,
        url=url,
        platform=stated.get("platform") or (platform_of(url) if url else None),
        published=parse_date(stated.get("date") or (dated.group(1) if dated else None)),
        language=stated.get("language") or stated.get("lang"),
    )


def front_matter(text: str, what: str) -> tuple[dict[str, str], str]:
    """(what the front matter states, the text after it); lists count by their first entry.

    Text that merely begins with a rule has no front matter. Raises InputError for broken front matter.
    """
    text = text.replace("\r\n", "\n")
    mark, _, rest = text.partition("\n")
    mark = mark.rstrip()
    if mark not in _FENCES or not _KEY.match(rest.lstrip("\n")):
        return {}, text
    end = re.compile(rf"^{re.escape(mark)}[ \t]*$", re.MULTILINE).search(rest, 0, _CAP)
    if end is None:
        raise InputError(f"{what}: its front matter is never closed", f"Close it with a line `{mark}`.")
    loaded = (_yaml if mark == "---" else _toml)(rest[: end.start()], what)
    entries = ((str(key).lower(), _first(value)) for key, value in loaded.items())
    return {key: value for key, value in entries if value}, rest[end.end() :]


def title_of_name(name: str) -> str:
    """A title from a file's name: without suffix and date, dashes as spaces."""
    stem = name.rsplit(".", 1)[0] or name
    dated = _DATED_NAME.match(stem)
    words = re.sub(r"[-_]+", " ", dated.group(2) if dated else stem).strip()
    return words[:1].upper() + words[1:]


def _yaml(block: str, what: str) -> dict[object, object]:
    import yaml

    try:
        # BaseLoader is as safe as safe_load and leaves `no`, `1984` and 2024-13-45 the words they are
        loaded = yaml.load(block, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError) as error:
        problem = getattr(error, "problem", None) or type(error).__name__
        raise InputError(f"{what}: its front matter is not valid YAML ({problem})", "Correct it.") from error
    if not isinstance(loaded, dict):
        raise InputError(f"{what}: its front matter is not a list of `key: value` lines", "Correct it.")
    return loaded


def _toml(block: str, what: str) -> dict[object, object]:
    import tomllib

    try:
        return cast("dict[object, object]", tomllib.loads(block))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{what}: its front matter is not valid TOML ({error})", "Correct it.") from error


def _first(value: object) -> str:
    """A plain value as text; of a list its first entry, of a table its `name`; "" for anything else."""
    if isinstance(value, list):
        value = value[0] if value else ""
    if isinstance(value, dict):
        value = value.get("name", "")
    return "" if isinstance(value, (list, dict)) else str(value).strip()


def _kind(stated: str | None, what: str) -> Kind:
    from llm_twin.types import Kind

    kinds = get_args(Kind)
    if (stated or "article").lower() not in kinds:
        raise InputError(
            f"{what}: kind `{stated}` is none of {', '.join(kinds)}", "Correct its front matter."
        )
    return cast(Kind, (stated or "article").lower())


def _heading(text: str) -> str | None:
    """The first top-level heading outside code, when it is among the first lines."""
    match = _HEADING.search(re.sub(r"^(`{3,}|~{3,}).*?^\1", "", text[:4000], flags=re.MULTILINE | re.DOTALL))
    return (match.group(1) or match.group(2)) if match else None
