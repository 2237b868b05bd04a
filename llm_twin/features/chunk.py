"""Chunks: passages of a document that the embedder reads whole, each with its place and its headings.

Every character that is not blank is in exactly one chunk, `chunk.text` is a slice of the cleaned text, and
no chunk is longer than the embedder's window, counted in that embedder's own tokens of what it will see. A
heading stays with what follows it. A code block stays whole where it fits; longer ones are cut at blank
lines, then at lines. Paragraphs are cut at sentences, and a sentence between words only when it alone
is too long.

Not covered: overlap between chunks (the headings above give the context), and embedders that put more than
two special tokens around a text.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from llm_twin.errors import InputError
from llm_twin.ports import Embedder
from llm_twin.text import Block, BlockKind, blocks, digest, heading_text, sentences
from llm_twin.types import Chunk, CleanDocument

TARGET = 180
SPECIAL_TOKENS = 2
_LEAST_WINDOW = 16
_LINE = re.compile(r"\n")
_GROUP = re.compile(r"\n(?:[ \t]*\n)+")
_ITEM = re.compile(r"\n(?=[ \t]*(?:[-*+•]|\d+[.)])[ \t])")

Place = tuple[int, int]
"""Where a passage begins and ends in the text."""
Way = Callable[[str], Iterator[int]]
"""A way to cut a passage: the offsets in it at which parts begin."""


@dataclass(frozen=True)
class Section:
    """Neighbouring blocks under one heading, with that heading (or run of headings) before them."""

    headings: tuple[Block, ...]
    body: tuple[Block, ...]
    path: tuple[str, ...]
    """The headings above the body, the section's own included."""

    @property
    def above(self) -> tuple[str, ...]:
        """The headings above the section's first block."""
        return self.headings[0].path if self.headings else self.path


def chunks(document: CleanDocument, embedder: Embedder, target: int = TARGET) -> list[Chunk]:
    """The chunks of a document in order.

    A chunk has about `target` tokens of text; a section or a code block that is longer stays whole up to twice
    that. All must fit the window together with the path of headings, which takes at most a quarter of it:
    outermost headings go first, then the end of the title. A chunk's id follows from its content, its place
    and the embedder, so what did not change keeps its id.
    Raises InputError for an embedder whose window is too small for a heading and some words.
    """
    if embedder.window < _LEAST_WINDOW:
        raise InputError(
            f"{embedder.name} reads {embedder.window} tokens at once, too few for a passage and its heading",
            "choose an embedder with a longer window",
        )
    cutter = _Cutter(document, embedder, target)
    return [chunk for section in sections(document.text) for chunk in cutter.cut(section)]


def sections(text: str) -> list[Section]:
    """The text as sections in order; every character that is not blank is in one of their blocks."""
    found: list[tuple[list[Block], list[Block]]] = [([], [])]
    for block in _covering(text):
        headings, body = found[-1]
        if block.kind != "heading":
            body.append(block)
        elif body:
            found.append(([block], []))
        else:
            headings.append(block)
    return [
        Section(tuple(headings), tuple(body), body[0].path if body else headings[0].path)
        for headings, body in found
        if headings or body
    ]


def _covering(text: str) -> Iterator[Block]:
    """The blocks of `text` and, as paragraphs, what Markdown shows no reader (such as link definitions)."""
    at = 0
    path: tuple[str, ...] = ()
    for block in [*blocks(text), Block("paragraph", len(text), len(text), ())]:
        if text[at : block.start].strip():
            yield Block("paragraph", *_without_blanks(text, at, block.start), path)
        if block.end > block.start:
            yield block
        path = (*block.path, heading_text(text[block.start : block.end])) if block.level else block.path
        at = max(at, block.end)


class _Cutter:
    """Cuts the sections of one document, whose tokens are counted once."""

    def __init__(self, document: CleanDocument, embedder: Embedder, target: int) -> None:
        self._document, self._text, self._embedder = document, document.text, embedder
        self._starts = [start for start, _ in embedder.token_offsets(document.text)]
        self._target = target

    def cut(self, section: Section) -> Iterator[Chunk]:
        """The chunks of one section, in order."""
        first, later = self._context(section.above), self._context(section.path)
        context = max(self._tokens(_line(*first)), self._tokens(_line(*later)))
        room = self._embedder.window - SPECIAL_TOKENS - context
        most = min(room, 2 * self._target)
        for number, place in enumerate(self._packed(self._parts(section, most), most)):
            yield from self._exact(place, *(later if number else first))

    def _parts(self, section: Section, most: int) -> list[Place]:
        """The section's blocks, those over `most` tokens in parts; its heading is one with the first part."""
        loose, lead = self._lead(section.headings, most // 2)
        parts = [part for heading in loose for part in self._fitting(heading, most)]
        body = section.body
        if lead is not None:
            beside = self._fitting(body[0], most - self._count(*lead)) if body else [lead]
            parts += [(lead[0], beside[0][1]), *beside[1:]]
            body = body[1:]
        return parts + [part for block in body for part in self._fitting(block, most)]

    def _lead(self, headings: Sequence[Block], most: int) -> tuple[Sequence[Block], Place | None]:
        """The last headings of a run, as many as have `most` tokens together; before them those that are loose."""
        for i, heading in enumerate(headings):
            if self._count(heading.start, headings[-1].end) <= most:
                return headings[:i], (heading.start, headings[-1].end)
        return headings, None

    def _fitting(self, block: Block, most: int) -> list[Place]:
        return self._split((block.start, block.end), _WAYS.get(block.kind, (_at_sentences,)), most)

    def _split(self, place: Place, ways: Sequence[Way], most: int) -> list[Place]:
        """Parts of at most `most` tokens: cut the first way, what is still too long the next, then by tokens."""
        start, end = place
        if self._count(start, end) <= most:
            return [place]
        if not ways:
            return self._between_words(start, end, most)
        cuts = [start, *(start + cut for cut in ways[0](self._text[start:end]) if cut), end]
        return [part for each in pairwise(cuts) for part in self._split(each, ways[1:], most)]

    def _between_words(self, start: int, end: int, most: int) -> list[Place]:
        token, behind = bisect_left(self._starts, start), bisect_left(self._starts, end)
        cuts = [start]
        while behind - token > most:
            token = self._word_start(token + most, token + most // 2)
            cuts.append(self._starts[token])
        return list(pairwise([*cuts, end]))

    def _word_start(self, token: int, least: int) -> int:
        """The last token up to `token` that begins a word; `token` itself where none does after `least`."""
        for candidate in range(token, least, -1):
            if self._text[self._starts[candidate] - 1].isspace():
                return candidate
        return token

    def _packed(self, parts: Sequence[Place], most: int) -> Iterator[Place]:
        """Neighbouring parts together up to the target; what is left of a section as one where it fits."""
        at, target = 0, min(most, self._target)
        while at < len(parts):
            start, after = parts[at][0], at + 1
            while after < len(parts) and self._count(start, parts[after][1]) <= target:
                after += 1
            if self._count(start, parts[-1][1]) <= most:
                after = len(parts)
            yield start, parts[after - 1][1]
            at = after

    def _exact(self, place: Place, title: str, path: tuple[str, ...]) -> Iterator[Chunk]:
        """The chunk at `place`; in halves should its own tokens be more than the document's there."""
        start, end = _without_blanks(self._text, *place)
        if start >= end:
            return
        chunk = self._chunk(start, end, title, path)
        if chunk.tokens <= self._embedder.window:
            yield chunk
            return
        if end - start < 2:
            raise InputError(
                f"{self._embedder.name} cannot read {chunk.embedded_text[:80]!r} within its window"
            )
        middle = _middle(self._text, start, end)
        yield from self._exact((start, middle), title, path)
        yield from self._exact((middle, end), title, path)

    def _chunk(self, start: int, end: int, title: str, path: tuple[str, ...]) -> Chunk:
        source, text = self._document.document, self._text[start:end]
        seen = f"{_line(title, path)}{text}"
        facts = (
            source.author,
            source.kind,
            source.url or "",
            source.platform or "",
            str(source.published or ""),
            self._embedder.name,
        )
        return Chunk(
            id="c_" + digest(source.id, str(start), str(end), *facts, seen)[:16],
            document_id=source.id,
            author=source.author,
            kind=source.kind,
            title=title,
            heading=path,
            text=text,
            start=start,
            end=end,
            tokens=self._tokens(seen) + SPECIAL_TOKENS,
            url=source.url,
            platform=source.platform,
            published=source.published,
        )

    def _context(self, path: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        """Title and path in a quarter of the window."""
        title, most = self._document.document.title, self._embedder.window // 4
        while path and self._tokens(_line(title, path)) > most:
            path = path[1:]
        kept = title
        while title and self._tokens(_line(title, path)) > most:
            kept = kept[: len(kept) * 3 // 4].rstrip()
            title = kept and kept + "…"
        return title, path

    def _count(self, start: int, end: int) -> int:
        """Tokens of the document that begin in `start:end`."""
        return bisect_left(self._starts, end) - bisect_left(self._starts, start)

    def _tokens(self, text: str) -> int:
        return len(self._embedder.token_offsets(text))


def _line(title: str, path: tuple[str, ...]) -> str:
    """What `Chunk.embedded_text` has before the passage."""
    return " > ".join((title, *path)) + "\n"


def _without_blanks(text: str, start: int, end: int) -> Place:
    """The place without blank lines before and blanks after; a first line keeps its indentation."""
    begin = start + len(text[start:end]) - len(text[start:end].lstrip())
    line = text.rfind("\n", start, begin) + 1
    return max(start, line), start + len(text[start:end].rstrip())


def _middle(text: str, start: int, end: int) -> int:
    """Behind the blank nearest before the middle; the middle itself where there is none."""
    middle = (start + end) // 2
    blank = max(text.rfind(" ", start + 1, middle), text.rfind("\n", start + 1, middle))
    return blank + 1 if blank > start else middle


def _at(pattern: re.Pattern[str]) -> Way:
    return lambda text: (found.end() for found in pattern.finditer(text))


def _at_sentences(text: str) -> Iterator[int]:
    return (start for start, _ in sentences(text))


_WAYS: dict[BlockKind, tuple[Way, ...]] = {
    "code": (_at(_GROUP), _at(_LINE)),
    "html": (_at(_GROUP), _at(_LINE)),
    "table": (_at(_LINE),),
    "list": (_at(_ITEM), _at_sentences),
    "quote": (_at(_LINE), _at_sentences),
}
"""How blocks of a kind are cut where they are too long; all others are cut at sentences."""
