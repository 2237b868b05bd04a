"""Calibration: of the texts given P(author) = 0.7, are 70% the author's?

Reliability bins, expected calibration error (Naeini et al. 2015) and Brier score (Brier 1950), with the author
weighing as much as the background and each kind of background alike, as the verifier was fitted. Not covered:
how often a text is the author's where it is used; a P(author) is for even odds.
"""

from collections.abc import Sequence

import numpy as np

from llm_twin.evaluation.intervals import Array, Estimate, estimate
from llm_twin.evaluation.separation import Judged, drawn
from llm_twin.types import Value

BINS = 10


class Bin(Value):
    """The texts whose P(author) lies in [low, high), the last bin's high included."""

    low: float
    high: float
    predicted: float
    """Weighted mean of P(author)."""
    observed: float
    """Weighted share of texts that are the author's."""
    texts: int


class Calibration(Value):
    """How far P(author) can be taken at its word."""

    bins: tuple[Bin, ...]
    """Bins that hold texts, in order."""
    expected_error: float
    """Mean distance of predicted and observed over the bins, by weight; few texts alone make some of it."""
    brier: Estimate
    """Mean squared error of P(author): 0 is perfect, 0.25 is always saying 0.5."""


def calibration(own: Judged, backgrounds: Sequence[Judged]) -> Calibration:
    """Calibration of P(author) on the author's texts and each kind of background, of which one is needed."""
    share = 0.5 / len(backgrounds)
    sides = [(own, 1.0, 0.5), *((theirs, 0.0, share) for theirs in backgrounds)]
    values = np.concatenate([side.values for side, _, _ in sides])
    truth = np.concatenate([np.full(len(side.values), is_own) for side, is_own, _ in sides])
    weights = np.concatenate(
        [np.full(len(side.values), weight / len(side.values)) for side, _, weight in sides]
    )
    bins, error = _bins(values, truth, weights)
    return Calibration(bins=bins, expected_error=error, brier=_brier(own, backgrounds))


def _bins(values: Array, truth: Array, weights: Array) -> tuple[tuple[Bin, ...], float]:
    place = np.minimum((values * BINS).astype(int), BINS - 1)
    bins, error = [], 0.0
    for i in sorted(set(place.tolist())):
        inside = place == i
        weight = weights[inside].sum()
        predicted, observed = (float(v[inside] @ weights[inside] / weight) for v in (values, truth))
        bins.append(
            Bin(
                low=i / BINS,
                high=(i + 1) / BINS,
                predicted=predicted,
                observed=observed,
                texts=int(inside.sum()),
            )
        )
        error += float(weight) * abs(predicted - observed)
    return tuple(bins), error


def _brier(own: Judged, backgrounds: Sequence[Judged]) -> Estimate:
    missed, fewest = [], None
    for theirs in backgrounds:
        mine, its, draws = drawn(own, theirs)
        missed.append((_mean((1 - own.values) ** 2, mine) + _mean(theirs.values**2, its)) / 2)
        fewest = draws if fewest is None or len(draws.documents) < len(fewest.documents) else fewest
    assert fewest is not None, "a calibration needs a background"
    return estimate(np.mean(missed, axis=0), fewest)


def _mean(values: Array, weights: Array) -> Array:
    total = weights.sum(axis=1)
    return np.asarray(np.where(total > 0, (weights @ values) / np.maximum(total, 1e-12), values.mean()))
