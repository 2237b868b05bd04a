"""Quoting: the author's own sentences, chosen from the passages found and put in order, word for word.

It writes nothing, so it cannot be wrong about what the author said, only about which of it answers the
question. Left out are code, headings, tables, other people's quoted words, fragments, questions, and
sentences that carry bracketed numbers, which would look like our citations.
Not covered: sentences that make no sense without the ones before them.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_twin.inference.diversify import RELEVANCE, mmr
from llm_twin.inference.retrieve import pieces_vectors, question_vector
from llm_twin.ports import Embedder, Vectors
from llm_twin.text import Block, blocks, sentences, words
from llm_twin.types import Hit

LEAST, MOST = 3, 5
_LEAST_WORDS = 5
_NEIGHBOURS, _RANK, _POSITION = 0.25, 0.1, 0.03
_GOOD = 0.7
_WHOLE = re.compile(r"[.!…]['\"”’)\]*_»]*$")
_CLOSERS = re.compile(r"['\"”’)\]*_»]+(?!\w)")
_LIST_MARK = re.compile(r"[ \t]*(?:[-*+•]|\d+[.)])[ \t]+(?:\[[ xX]\][ \t]+)?")
_NUMBERED = re.compile(r"\[\d+\]")


@dataclass(frozen=True)
class Quote:
    """A sentence of `hit`: `text == hit.chunk.text[start:end]`."""

    hit: Hit
    start: int
    end: int

    @property
    def text(self) -> str:
        """The sentence as the author wrote it."""
        return self.hit.chunk.text[self.start : self.end]

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands in the cleaned document."""
        return self.hit.chunk.start + self.start, self.hit.chunk.start + self.end


def quotes(question: str, hits: Sequence[Hit], embedder: Embedder) -> list[Quote]:
    """Three to five sentences of `hits` (best first) that answer `question`, in the documents' order.

    Fewer where the passages hold fewer. Documents come in the order of their best hit.
    """
    found = list(_candidates(hits))
    if not found:
        return []
    vectors = pieces_vectors([quote.text for quote in found], embedder)
    scores = _scores(found, vectors @ question_vector(question, embedder), hits)
    return _in_order([found[i] for i in _diverse(scores, vectors)], hits)


def own_sentences(hit: Hit) -> Iterator[Quote]:
    """Whole sentences of a passage that are the author's own prose."""
    text = hit.chunk.text
    for block in blocks(text):
        for start, end in _spans(text, block):
            sentence = text[start:end]
            whole = _WHOLE.search(sentence) and len(words(sentence)) >= _LEAST_WORDS
            if whole and not _NUMBERED.search(sentence):
                yield Quote(hit, start, end)


def _spans(text: str, block: Block) -> Iterator[tuple[int, int]]:
    if block.kind == "paragraph":
        yield from _sentences(text, block.start, block.end)
    elif block.kind == "list":
        for item in re.finditer(r".+", text[block.start : block.end]):
            mark = _LIST_MARK.match(item.group())
            begin = block.start + item.start() + (mark.end() if mark else 0)
            yield from _sentences(text, begin, block.start + item.end())


def _sentences(text: str, begin: int, behind: int) -> Iterator[tuple[int, int]]:
    """Sentences of `text[begin:behind]`, each with the quotation marks and asterisks that close it."""
    at = begin
    for start, end in sentences(text[begin:behind]):
        start = max(at, begin + start)
        start += len(text[start:behind]) - len(text[start:behind].lstrip())
        closers = _CLOSERS.match(text, begin + end, behind)
        at = closers.end() if closers else begin + end
        if start < at:
            yield start, at


def _candidates(hits: Sequence[Hit]) -> Iterator[Quote]:
    """Each sentence once, and none that says again what another document said in the same words."""
    seen: set[str] = set()
    for hit in hits:
        for quote in own_sentences(hit):
            folded = " ".join(words(quote.text))
            if folded not in seen:
                seen.add(folded)
                yield quote


def _scores(
    found: Sequence[Quote], similarity: NDArray[np.float32], hits: Sequence[Hit]
) -> NDArray[np.float64]:
    """How well each sentence answers: its cosine, a share of its best neighbour's, the passage's rank, its place.

    A neighbour counts because a sentence often leans on the one beside it: "It was in my idea of a stove."
    """
    rank = {hit.chunk.id: place for place, hit in enumerate(hits)}
    scores = np.zeros(len(found))
    for i, quote in enumerate(found):
        beside = [j for j in (i - 1, i + 1) if 0 <= j < len(found) and found[j].hit is quote.hit]
        leaning = max((float(similarity[j]) for j in beside), default=float(similarity[i]))
        place = 1 - quote.start / len(quote.hit.chunk.text)
        scores[i] = (1 - _NEIGHBOURS) * similarity[i] + _NEIGHBOURS * leaning
        scores[i] += _RANK / (1 + rank[quote.hit.chunk.id]) + _POSITION * place
    return scores


def _diverse(scores: NDArray[np.float64], vectors: Vectors) -> list[int]:
    """Good ones, and unlike each other. Stops at the third unless the next is nearly as good as the best."""
    chosen = mmr(scores, vectors, MOST, RELEVANCE)
    weak = (i for i, row in enumerate(chosen) if i >= LEAST and scores[row] < _GOOD * scores[chosen[0]])
    return chosen[: next(weak, len(chosen))]


def _in_order(chosen: Sequence[Quote], hits: Sequence[Hit]) -> list[Quote]:
    documents = list(dict.fromkeys(hit.chunk.document_id for hit in hits))
    return sorted(chosen, key=lambda q: (documents.index(q.hit.chunk.document_id), q.place))
