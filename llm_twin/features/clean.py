"""Cleaning: keep what the author wrote exactly as it was written, drop what the site put around it.

Kept: punctuation, apostrophes, dashes, casing, emoji, paragraph and list breaks, code with its white space.
Dropped, each with its reason: what `boilerplate.py` calls the site's, and the frame of Medium's pages.
Undone: hard wraps that a crawler put into paragraphs, and the backslashes it put where Markdown would see a list
(`2024\\.`, `\\-`). Letters dressed up as bold or italic by Unicode's mathematical alphabets, as posts on platforms
without formatting have them, become plain: no search finds them, a screen reader spells them out, and a tokenizer
takes each for a token or more, so that a model would learn to spell in place of words.
Not covered: telling a quotation or a guest's paragraph from the author's own; only a document that says it
is a guest post is set aside.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from llm_twin.features.boilerplate import Line, reasons, repeated_lines
from llm_twin.text import code_lines
from llm_twin.types import CleanDocument, Document, Skipped

_GUEST = re.compile(r"^\W*(a )?guest post by\b|\bwritten\W+by\W+our\W+guest\b", re.IGNORECASE | re.MULTILINE)
_INVISIBLE = re.compile("[\u200b\u200c\u2060\ufeff\u00ad]")  # not U+200D, which joins emoji
_MEDIUM_HEAD = re.compile(r"\A.{0,1500}?\d+ min read·.{0,60}?(?:Listen)?Share(?=\S)", re.DOTALL)
_MEDIUM_TAIL = re.compile(
    r"(?:Sign up to discover human stories|[\d.]+K?(?:[\d.]+K?)?FollowWritten by ).*\Z", re.DOTALL
)
_ESCAPED = re.compile(r"`[^`\n]*`|(?<!\S)\\(?=[-+]\s)|(?<=\d)\\(?=\.(?:\s|$))")
"""Code within a line, which stays, or the backslash before what begins a list."""
_DRESSED = re.compile("[\U0001d400-\U0001d7ffℂℊℋℌℍℎℐℑℒℕℙℚℛℜℝℤℨℬℭℯℰℱℳℴ]+")
"""The mathematical alphabets with the letters that Unicode had elsewhere before; one of those alone is what it says."""
_NARROWEST_WRAP, _WIDEST_WRAP = 60, 82
_MARK = re.compile(r"\s*([#>|]|\\?[-*+•→↳]\s|\d+\\?[.)]|```)")


@dataclass(frozen=True)
class Cleaned:
    """What cleaning returned: clean documents, and those set aside with the reason."""

    documents: tuple[CleanDocument, ...]
    skipped: tuple[Skipped, ...]


def clean(documents: Iterable[Document]) -> Cleaned:
    """Clean all `documents`; repeated lines are judged within each author's own writing."""
    by_author: dict[str, list[Document]] = defaultdict(list)
    for document in documents:
        by_author[document.author].append(document)
    kept: list[CleanDocument] = []
    skipped: list[Skipped] = []
    for author in sorted(by_author):
        for outcome in _clean_author(by_author[author]):
            if isinstance(outcome, Skipped):
                skipped.append(outcome)
            else:
                kept.append(outcome)
    return Cleaned(tuple(sorted(kept, key=lambda c: c.document.id)), tuple(skipped))


def _clean_author(documents: Sequence[Document]) -> Iterator[CleanDocument | Skipped]:
    """One author's documents, in their order."""
    prepared = [prepare(document) for document in documents]
    repeated = repeated_lines(
        each.lines for each, d in zip(prepared, documents, strict=True) if d.kind != "repository"
    )
    for document, each in zip(documents, prepared, strict=True):
        if _GUEST.search(each.text):
            yield Skipped(what=document.title, why="says it is a guest post, so another's words")
            continue
        cleaned = clean_one(document, each, repeated)
        yield cleaned if cleaned.text.strip() else Skipped(what=document.title, why="nothing but site text")


@dataclass(frozen=True)
class Prepared:
    """A document's text in one encoding of white space, its lines, and what already went."""

    text: str
    lines: tuple[Line, ...]
    dropped: tuple[tuple[str, str], ...] = ()


def prepare(document: Document) -> Prepared:
    """One encoding of white space and letters, what a crawler put in undone, Medium's page frame cut off."""
    text = unicodedata.normalize("NFC", document.text).replace("\r\n", "\n").replace("\r", "\n")
    text = _INVISIBLE.sub("", text).replace("\u00a0", " ")
    if document.kind == "repository":
        return Prepared(text.strip("\n"), ())
    frame: list[tuple[str, str]] = []
    if document.platform == "medium" or "medium.com" in (document.url or ""):
        for edge in (_MEDIUM_HEAD, _MEDIUM_TAIL):
            frame += [(found.group(), "page frame") for found in edge.finditer(text)]
            text = edge.sub("", text)
    text = plain(unwrap(text))
    return Prepared(text, tuple(_lines(text)), tuple(frame))


def clean_one(document: Document, prepared: Prepared, repeated: dict[str, int]) -> CleanDocument:
    """Drop the lines of one prepared text that are not the author's; a repository file is kept as it is."""
    if document.kind == "repository":
        return CleanDocument(document=document, text=prepared.text)
    judged = list(zip(prepared.lines, reasons(prepared.lines, document, repeated), strict=True))
    text = _joined(line for line, why in judged if not why)
    dropped = tuple((line.strip(), why) for (line, _), why in judged if why)
    return CleanDocument(document=document, text=text, dropped=prepared.dropped + dropped)


def _joined(lines: Iterable[Line]) -> str:
    """The lines as text: in prose one blank line at a time and none at the ends, code exactly as it is."""
    kept: list[str] = []
    for line, prose in lines:
        plain = line.rstrip() if prose else line
        if plain or not prose or (kept and kept[-1]):
            kept.append(plain)
    return "\n".join(kept).strip("\n")


def _lines(text: str) -> list[Line]:
    """Every line and whether it is prose; lines of code, in lists and quotations too, are never judged."""
    code = code_lines(text)
    return [(line, i not in code) for i, line in enumerate(text.split("\n"))]


def plain(text: str) -> str:
    """Prose without a crawler's backslashes and in ordinary letters; code stays as it is."""
    return "\n".join(_plain_line(line) if prose else line for line, prose in _lines(text))


def _plain_line(line: str) -> str:
    line = _ESCAPED.sub(lambda found: found[0] if found[0][0] == "`" else "", line)
    return _DRESSED.sub(lambda found: _undressed(found[0]), line)


def _undressed(letters: str) -> str:
    mathematical = any("\U0001d400" <= letter <= "\U0001d7ff" for letter in letters)
    return unicodedata.normalize("NFKC", letters) if mathematical else letters


def unwrap(text: str) -> str:
    """Undo a crawler's hard wrap: join a line with the next where the next word would not have fitted.

    A text counts as wrapped when no prose line that is continued passes 82 columns and ten or more end
    just before a word that did not fit. Every other line break is the author's and stays.
    """
    lines = text.split("\n")
    continued = [i for i in _continued(text) if not _MARK.match(lines[i + 1])]
    column = max((len(lines[i].rstrip()) for i in continued), default=0)
    wraps = [i for i in continued if len(lines[i].rstrip()) + 1 + len(lines[i + 1].split()[0]) > column]
    if column > _WIDEST_WRAP or column < _NARROWEST_WRAP or len(wraps) < 10:
        return text
    for i in reversed(wraps):
        lines[i : i + 2] = [lines[i].rstrip() + " " + lines[i + 1].lstrip()]
    return "\n".join(lines)


def _continued(text: str) -> list[int]:
    """Numbers of prose lines that are followed by another line without a blank one between.

    A heading ends with its line in Markdown, so a long one's broken-off rest looks like a paragraph below it.
    """
    lines = _lines(text)
    return [
        i
        for i, ((line, prose), (below, below_prose)) in enumerate(pairwise(lines))
        if prose and below_prose and line.strip() and below.strip() and not below.startswith("#")
    ]
