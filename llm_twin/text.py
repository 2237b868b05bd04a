"""Markdown as blocks, prose as sentences: every piece with its character offsets into the text.

Cleaning, chunking, dataset making, quoting and measuring all look at text through these functions, so
an offset means the same everywhere. Markdown is parsed by markdown-it-py and sentences are found by
sentencex; nothing here changes a character.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from markdown_it.token import Token

BlockKind = Literal["heading", "paragraph", "list", "quote", "code", "table", "html", "rule"]
_KINDS: dict[str, BlockKind] = {
    "heading_open": "heading",
    "paragraph_open": "paragraph",
    "bullet_list_open": "list",
    "ordered_list_open": "list",
    "blockquote_open": "quote",
    "fence": "code",
    "code_block": "code",
    "table_open": "table",
    "html_block": "html",
    "hr": "rule",
}
_LINE_END = re.compile(r"\r\n?|\n")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_MARKS = re.compile(r"\\([^\w\s])|[*`]{1,3}(?=\S)|(?<=\S)[*`]{1,3}|(?<!\w)_{1,3}(?=\S)|(?<=\S)_{1,3}(?!\w)")
_SEPARATORS = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Block:
    """A top-level Markdown block: `text[start:end]`, under the headings of `path`."""

    kind: BlockKind
    start: int
    end: int
    path: tuple[str, ...]
    level: int = 0
    """Heading level 1 to 6; 0 for every other kind."""


def blocks(text: str) -> list[Block]:
    """Top-level blocks of Markdown `text`, in order, without the blank lines around them."""
    starts = line_starts(text)
    path: list[tuple[int, str]] = []
    found = []
    for token in _tokens(text):
        if token.level or token.map is None or token.type not in _KINDS:
            continue
        start, end = _trim(text, starts[token.map[0]], starts[token.map[1]])
        if start >= end:  # a paragraph of exotic blanks
            continue
        kind = _KINDS[token.type]
        level = int(token.tag[1]) if kind == "heading" else 0
        if level:
            path = [step for step in path if step[0] < level]
        found.append(Block(kind, start, end, tuple(title for _, title in path), level))
        if level:
            path.append((level, heading_text(text[start:end])))
    return found


def code_lines(text: str) -> set[int]:
    """Numbers, from 0, of the lines of code blocks with their fences, also of those inside lists and quotations."""
    found = (token.map for token in _tokens(text) if token.type in ("fence", "code_block") and token.map)
    return {line for first, behind in found for line in range(first, behind)}


def _tokens(text: str) -> "list[Token]":
    """Markdown's block structure; what stands inside a paragraph is not looked at, which halves the time."""
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table").disable("inline").parse(text)


def line_starts(text: str) -> list[int]:
    """Offset of each line as markdown-it counts lines, and the text's length behind the last."""
    starts = [0] + [match.end() for match in _LINE_END.finditer(text)]
    return starts if starts[-1] == len(text) and len(starts) > 1 else [*starts, len(text)]


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    """Leave blank lines at both ends out, and keep the first line's indentation (it means code)."""
    block = text[start:end]
    leading = re.match(r"(?:[ \t]*\n)*", block)
    return start + (leading.end() if leading else 0), start + len(block.rstrip())


def heading_text(line: str) -> str:
    """A heading's words, without its marks: `## **Why** \\#1` -> `Why #1`; `C#` and `snake_case` stay whole."""
    plain = re.sub(r"^#+\s*|(?<!\S)#+[ \t]*$|^[=-]+$", "", line.strip(), flags=re.MULTILINE)
    return " ".join(_MARKS.sub(lambda mark: mark[1] or "", plain).split())


def sentences(text: str, language: str = "en") -> Iterator[tuple[int, int]]:
    """Offsets of the sentences of prose `text`, white space around them left out."""
    import sentencex

    at = 0
    for piece in sentencex.segment(language, text):
        start = text.index(piece, at)
        at = start + len(piece)
        stripped = piece.strip()
        if stripped:
            begin = start + piece.index(stripped)
            yield begin, begin + len(stripped)


def words(text: str) -> list[str]:
    """The words of `text`, lower-cased; apostrophes stay inside a word, punctuation goes."""
    return _WORD.findall(text.lower())


def ngrams(items: list[str], n: int) -> Iterator[tuple[str, ...]]:
    """Consecutive runs of `n` items."""
    return (tuple(items[i : i + n]) for i in range(len(items) - n + 1))


def folded(line: str) -> str:
    """A line as compared with others: lower case, accents composed, punctuation and space runs as one space."""
    return _SEPARATORS.sub(" ", unicodedata.normalize("NFKC", line).casefold()).strip()


def digest(*parts: str) -> str:
    """SHA-256 of the parts, each set off from the next, as 64 hex digits."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


def slug(name: str) -> str:
    """A name as a file name: `Wren O'Marlow` -> `wren-omarlow`."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    return "-".join(words(plain.replace("'", "").replace("’", ""))) or "unnamed"
