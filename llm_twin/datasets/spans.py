"""Spans: runs of whole sentences of one document, verbatim, with their offsets.

Every answer that a twin learns from, and every real passage it is measured against, is a span. A span
never crosses a heading, code or a table, holds 40 to 300 words, and is left out when it is not prose:
lists of links, bibliographies, text that lost its spaces on the way.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llm_twin.text import Block, blocks, code_lines, sentences, words
from llm_twin.types import CleanDocument

_LINK = re.compile(r"https?://\S+|\[[^\]]*\]\([^)]*\)|\[\d+\]")
_GLUED = re.compile(r"[a-z][.!?][A-Z][a-z]|[a-z]{2}[A-Z][a-z]+[A-Z]?[a-z]* [a-z]+[A-Z]")
_MARK = re.compile(r"[>\s]*(?:[-*+•→↳]|\d+\\?[.)])\s")
_SENTENCE_END = re.compile(r"[.!?…:;][\"”’')\]*_`]*\s*$")
_LONGEST_SENTENCE = 80


@dataclass(frozen=True)
class Span:
    """`document.text[start:end]`, under the headings of `path`."""

    document: CleanDocument
    start: int
    end: int
    path: tuple[str, ...]

    @property
    def text(self) -> str:
        """The author's words."""
        return self.document.text[self.start : self.end]


def spans(document: CleanDocument, least: int = 40, target: int = 90, most: int = 300) -> list[Span]:
    """The spans of a document in order, never overlapping: about `target` words, within `least` and `most`."""
    found = []
    for run in _runs(document.text):
        pieces = [piece for block in run for piece in _pieces(document.text, block)]
        for start, end in _packed(document.text, pieces, least, target, most):
            span = Span(document, start, end, run[0].path)
            if is_prose(span.text):
                found.append(span)
    return found


def is_prose(text: str) -> bool:
    """False for link lists, glued text and strings of symbols or names that no one would read aloud."""
    found = words(text)
    letters = sum(c.isalpha() or c.isspace() for c in text)
    links = sum(len(m.group()) for m in _LINK.finditer(text))
    return (
        len(set(found)) >= 0.35 * len(found)
        and letters >= 0.75 * len(text)
        and links <= 0.25 * len(text)
        and len(_GLUED.findall(text)) <= 1
    )


def _runs(text: str) -> Iterator[list[Block]]:
    """Neighbouring prose blocks with nothing but white space between them."""
    run: list[Block] = []
    for block in blocks(text):
        if not _is_prose_block(text, block):
            continue
        if run and text[run[-1].end : block.start].strip():
            yield run
            run = []
        run.append(block)
    if run:
        yield run


def _is_prose_block(text: str, block: Block) -> bool:
    """Paragraphs, and lists and quotations without code in them."""
    if block.kind == "paragraph":
        return True
    return block.kind in ("list", "quote") and not code_lines(text[block.start : block.end])


def _pieces(text: str, block: Block) -> Iterator[tuple[int, int, bool]]:
    """(start, end, ends the block?) of a block's sentences; the lines of a list are never split from their marks."""
    body = text[block.start : block.end]
    found = list(sentences(body) if block.kind == "paragraph" else _lines(body))
    for i, (a, b) in enumerate(found):
        yield block.start + a, block.start + b, i == len(found) - 1


def _lines(body: str) -> Iterator[tuple[int, int]]:
    """The lines of a list or quotation, those that go on with a sentence joined to the one before."""
    start, end, goes_on = 0, 0, False
    for match in re.finditer(r"[^\n]*\n?", body):
        line = match.group()
        blank = not line.strip("> \t\n")
        if end and (blank or not goes_on or _MARK.match(line)):
            yield start, end
            end = 0
        if not blank:
            start = start if end else match.start() + len(line) - len(line.lstrip())
            end, goes_on = match.start() + len(line.rstrip()), not _SENTENCE_END.search(line)
    if end:
        yield start, end


def _packed(
    text: str, pieces: Sequence[tuple[int, int, bool]], least: int, target: int, most: int
) -> Iterator[tuple[int, int]]:
    """Pack neighbouring sentences up to about `target` words, ending with a paragraph where one ends in time."""
    start, size, previous, longest = -1, 0, -1, min(most, _LONGEST_SENTENCE)
    for (begin, end, last), following in zip(pieces, [*pieces[1:], None], strict=True):
        length = len(words(text[begin:end]))
        if length > longest or size + length > most:
            if size >= least:
                yield start, previous
            start, size = -1, 0
            if length > longest:
                continue
        start = begin if start < 0 else start
        size, previous = size + length, end
        if (
            size >= target
            or (last and size >= max(least, 0.7 * target))
            or (following is None and size >= least)
        ):
            yield start, end
            start, size = -1, 0
