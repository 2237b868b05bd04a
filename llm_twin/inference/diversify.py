"""Diversity: passages that say something new, chosen one by one from the hits of a search.

Maximal marginal relevance (Carbonell and Goldstein 1998). It trades the best single passage for coverage, so
it cannot raise recall of one known source; it is for answers that should draw on several. Not covered: knowing
which questions want breadth.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from llm_twin.errors import InputError
from llm_twin.ports import Vectors
from llm_twin.types import Hit

RELEVANCE = 0.7


def diversify(
    hits: Sequence[Hit],
    embed: Callable[[Sequence[str]], Vectors],
    limit: int,
    relevance: float = RELEVANCE,
) -> list[Hit]:
    """At most `limit` of `hits` with their own scores, in the order chosen; the first is the best hit.

    `relevance` weighs a hit's score, scaled to 0 to 1 over `hits`, against its highest cosine to what is chosen
    already: 1 keeps the search's order. Raises InputError for a weight outside 0 to 1.
    """
    if not 0 <= relevance <= 1:
        raise InputError(f"the weight {relevance} is not between 0 and 1", f"the default is {RELEVANCE}")
    if not hits or limit < 1:
        return []
    vectors = embed([hit.chunk.embedded_text for hit in hits])
    scores = np.array([hit.score for hit in hits])
    return [hits[i] for i in mmr(_scaled(scores), vectors, limit, relevance)]


def mmr(scores: NDArray[np.float64], vectors: Vectors, limit: int, relevance: float) -> list[int]:
    """Indices chosen one by one: the largest relevance * score - (1 - relevance) * highest cosine to the chosen.

    `vectors` are unit rows, shape (len(scores), d); the first chosen is the best score. Ties go to the earlier.
    """
    alike = vectors @ vectors.T
    chosen = [int(np.argmax(scores))]
    while len(chosen) < min(limit, len(scores)):
        gain = relevance * scores - (1 - relevance) * alike[:, chosen].max(axis=1)
        gain[chosen] = -np.inf
        chosen.append(int(np.argmax(gain)))
    return chosen


def _scaled(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = scores.min(), scores.max()
    return (scores - low) / (high - low) if high > low else np.ones(len(scores))
