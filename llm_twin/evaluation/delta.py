"""Burrows' Delta (Burrows 2002): how far a text's most frequent words are from a writer's, in standard scores.

The frequency of each word is standardised by its mean and spread over the documents compared; Delta is the
mean absolute difference of two texts' scores. It asks for long texts (some hundred words at least), so give it
whole documents. Not covered: the topic, which is why only words that every side uses are counted.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from llm_twin.evaluation.intervals import Array
from llm_twin.text import words

MOST_FREQUENT = 150


@dataclass(frozen=True)
class Delta:
    """A fitted Delta: the vocabulary, its mean and spread, and each side's profile in standard scores."""

    vocabulary: tuple[str, ...]
    mean: Array
    spread: Array
    profiles: dict[str, Array]

    def distances(self, texts: Sequence[str]) -> dict[str, Array]:
        """Delta of each text to each side, shape (texts,): the smaller, the more alike."""
        scores = (_frequencies([words(text) for text in texts], self.vocabulary) - self.mean) / self.spread
        return {side: np.abs(scores - own).mean(axis=1) for side, own in self.profiles.items()}


def fit(sides: Mapping[str, Sequence[str]], most_frequent: int = MOST_FREQUENT) -> Delta:
    """Fit on the documents of each side. Mean and spread (n - 1) are over all documents, and a side's profile
    is that of all its documents together. Two documents are needed in all.
    """
    split = {side: [words(text) for text in texts] for side, texts in sides.items()}
    documents = [document for texts in split.values() for document in texts]
    vocabulary = _vocabulary(split, most_frequent)
    rates = _frequencies(documents, vocabulary)
    kept = rates.std(axis=0, ddof=1) > 0
    vocabulary = tuple(word for word, varies in zip(vocabulary, kept, strict=True) if varies)
    mean, spread = rates.mean(axis=0)[kept], rates.std(axis=0, ddof=1)[kept]
    together = {side: [[word for text in texts for word in text]] for side, texts in split.items()}
    profiles = {
        side: (_frequencies(texts, vocabulary)[0] - mean) / spread for side, texts in together.items()
    }
    return Delta(vocabulary, mean, spread, profiles)


def _vocabulary(split: Mapping[str, Sequence[Sequence[str]]], most_frequent: int) -> tuple[str, ...]:
    """The most frequent words among those that each side uses."""
    counts = [Counter(word for text in texts for word in text) for texts in split.values()]
    total = sum(counts, Counter())
    shared = [word for word in total if all(word in side for side in counts)]
    return tuple(sorted(shared, key=lambda word: (-total[word], word))[:most_frequent])


def _frequencies(texts: Sequence[Sequence[str]], vocabulary: Sequence[str]) -> Array:
    """Share of each text's words that are each word of the vocabulary, shape (texts, vocabulary)."""
    rows = np.zeros((len(texts), len(vocabulary)))
    for row, text in zip(rows, texts, strict=True):
        counts = Counter(text)
        row[:] = [counts[word] / max(len(text), 1) for word in vocabulary]
    return rows
