"""The longest span that a text copies word for word from the training documents.

Exact at every length, by a suffix array over the documents' words (Manber and Myers 1993), built by prefix
doubling. Words are compared as `text.words` gives them, so case and punctuation do not hide a copy. Not
covered: paraphrase, and spans that run over the end of a document.
"""

from bisect import bisect_left
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from llm_twin.text import words
from llm_twin.types import Value

_UNKNOWN = -1


class Copied(Value):
    """A span that stands in a text and in a training document. No span: 0 words, and empty strings."""

    words: int
    text: str
    """The words of the span, lower-cased, without punctuation."""
    document_id: str
    """A training document that holds it; of several, always the same one."""


NOTHING = Copied(words=0, text="", document_id="")


class Spans:
    """All spans of `documents` (id -> text), searchable. Building takes about 2 s a million words."""

    def __init__(self, documents: Mapping[str, str]) -> None:
        self._ids = list(documents)
        split = [words(text) for text in documents.values()]
        self._places = {word: i for i, word in enumerate(sorted({w for part in split for w in part}))}
        self._words: list[int] = []
        self._owners: list[int] = []
        for number, part in enumerate(split):
            # A separator of its own closes each document, so that no span runs from one into the next.
            self._words += [*(self._places[word] for word in part), len(self._places) + number]
            self._owners += [number] * (len(part) + 1)
        self._order: list[int] = _suffix_array(np.array(self._words, np.int64)).tolist()

    def longest(self, text: str) -> Copied:
        """The longest span of `text` in any document; the first of several."""
        spoken = words(text)
        asked = [self._places.get(word, _UNKNOWN) for word in spoken]
        length, start, found = 0, 0, -1
        for i in range(len(asked)):
            while i + length < len(asked) and (place := self._find(asked[i : i + length + 1])) >= 0:
                length, start, found = length + 1, i, place
        if not length:
            return NOTHING
        span = " ".join(spoken[start : start + length])
        return Copied(words=length, text=span, document_id=self._ids[self._owners[found]])

    def _find(self, span: list[int]) -> int:
        """Where `span` begins in the documents; -1 where it does not."""
        if span[-1] == _UNKNOWN:
            return -1
        length = len(span)
        at = bisect_left(self._order, span, key=lambda place: self._words[place : place + length])
        if at == len(self._order):
            return -1
        place = self._order[at]
        return place if self._words[place : place + length] == span else -1


def _suffix_array(symbols: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places of all suffixes in sorted order: sort by the first 1, 2, 4, ... symbols until no two are equal."""
    if not len(symbols):
        return np.zeros(0, np.int64)
    ranks = np.unique(symbols, return_inverse=True)[1].astype(np.int64)
    reach = 1
    while True:
        behind = np.full_like(ranks, -1)
        behind[:-reach] = ranks[reach:]
        order = np.lexsort((behind, ranks))
        first, second = ranks[order], behind[order]
        new = np.concatenate([[False], (first[1:] != first[:-1]) | (second[1:] != second[:-1])])
        ranks = np.empty_like(ranks)
        ranks[order] = np.cumsum(new)
        if ranks.max() == len(ranks) - 1:
            return order
        reach *= 2
