"""What can be said of answers by looking at their words: relevance, variety, memorisation.

Each function returns one value a passage (or a document), to be averaged and bracketed by the caller.
"""

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llm_twin.ports import Vectors
from llm_twin.text import ngrams, words

MEMORY_N = 13


def relevance(answers: Vectors, real: Vectors) -> NDArray[np.float64]:
    """Cosine between each answer and the real passage for the same instruction; unit vectors, shape (n, d)."""
    return np.asarray((answers * real).sum(axis=1), np.float64)


def relevance_bounds(
    real: Vectors, document_ids: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Floor and ceiling of relevance for each real passage: its mean cosine with the passages of other
    documents, and with the other passages of its own (NaN where its document has no other).
    """
    similarity = np.asarray(real @ real.T, np.float64)
    ids = np.array(document_ids)
    same = ids[:, None] == ids[None, :]
    others = np.where(~same, similarity, np.nan)
    own = np.where(same & ~np.eye(len(ids), dtype=bool), similarity, np.nan)
    return _row_means(others), _row_means(own)


def _row_means(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    counts = (~np.isnan(matrix)).sum(axis=1)
    return np.where(counts > 0, np.nansum(matrix, axis=1) / np.maximum(counts, 1), np.nan)


def variety(texts: Sequence[str], lengths: Sequence[int]) -> float:
    """Distinct 3-grams among all 3-grams of the texts, each cut to its length in words (Li et al. 2016).

    The share falls with length, so compared texts must be cut to the same lengths.
    """
    grams = [g for text, n in zip(texts, lengths, strict=True) for g in ngrams(words(text)[:n], 3)]
    return len(set(grams)) / len(grams) if grams else 0.0


def said_twice(text: str, length: int) -> str:
    """The first half of `length` words, twice: what a model does that repeats itself."""
    half = words(text)[: max(1, length // 2)]
    return " ".join(half + half)


def shuffled(text: str, seed: int) -> str:
    """The text with its words in random order: the author's vocabulary without the sense."""
    pieces = text.split()
    random.Random(seed).shuffle(pieces)
    return " ".join(pieces)


def memory(documents: Sequence[str], n: int = MEMORY_N) -> set[tuple[str, ...]]:
    """All word n-grams of the documents."""
    return {gram for text in documents for gram in ngrams(words(text), n)}


def memorised(texts: Sequence[str], seen: set[tuple[str, ...]], n: int = MEMORY_N) -> NDArray[np.float64]:
    """Share of each text's word n-grams that are in `seen`; 0 for a text shorter than n words."""
    shares = []
    for text in texts:
        grams = list(ngrams(words(text), n))
        shares.append(sum(g in seen for g in grams) / len(grams) if grams else 0.0)
    return np.array(shares, np.float64)
