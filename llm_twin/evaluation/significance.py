"""Is the difference between two systems on the same questions more than chance?

Promises a paired randomisation test that is exact where it can be, and Holm's correction where several
comparisons are made at once. Questions of one document resemble each other, so a document's questions change
sides together. Not covered: differences that are too small to matter although they are real; the interval of
the difference tells those.
"""

from collections.abc import Sequence

import numpy as np

from llm_twin.evaluation.intervals import Array

SHUFFLES = 10_000
LEVEL = 0.05
_EXACT = 14
_AS_LARGE = 1e-9


def permutation_p(differences: Array, document_ids: Sequence[str], seed: int = 0) -> float:
    """Two-sided p-value of the mean of `differences` (one a question) under "the two are the same".

    Under that assumption each document's differences might as well have the other sign (Fisher 1935; for search:
    Smucker, Allan and Carterette 2007). With up to 14 documents that differ, all sign patterns are counted;
    with more, 10,000 random ones and the one seen (Phipson and Smyth 2010), so p is never 0.
    """
    place = {document: i for i, document in enumerate(dict.fromkeys(document_ids))}
    sums = np.zeros(len(place))
    np.add.at(sums, [place[d] for d in document_ids], differences)
    sums = sums[np.abs(sums) > _AS_LARGE]
    if not len(sums):
        return 1.0
    seen = abs(sums.sum()) - _AS_LARGE
    if len(sums) <= _EXACT:
        return float((np.abs(_all_signs(len(sums)) @ sums) >= seen).mean())
    rng = np.random.default_rng(seed)
    as_large = sum(
        int((np.abs(rng.choice((-1.0, 1.0), (1000, len(sums))) @ sums) >= seen).sum())
        for _ in range(SHUFFLES // 1000)
    )
    return (as_large + 1) / (SHUFFLES + 1)


def _all_signs(count: int) -> Array:
    """Every pattern of -1 and 1, shape (2 ** count, count)."""
    bits = np.arange(2**count)[:, None] >> np.arange(count) & 1
    return np.asarray(1.0 - 2.0 * bits, np.float64)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down adjusted p-values, in the order given.

    Called significant where under the level, the chance of even one false alarm among them is under the level.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted
