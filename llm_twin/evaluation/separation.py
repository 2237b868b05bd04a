"""How well values tell texts apart, and how alike two judges rank them, with intervals over documents.

AUC (Mann-Whitney U / nm, ties half) and Kendall's tau-b (Kendall 1945), both recomputed exactly in every
bootstrap draw: a document that is drawn twice counts as two, with all its texts. Not covered: the uncertainty
of fitting what gave the values.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llm_twin.evaluation.intervals import Array, Draws, Estimate, draw, estimate


@dataclass(frozen=True)
class Judged:
    """One value a text, shape (texts,), and the document that each text stands for."""

    values: Array
    documents: tuple[str, ...]


def separation(own: Judged, theirs: Judged) -> Estimate:
    """AUC of `own` over `theirs`. Documents that both sides speak of are drawn together, others on their own.

    Raises InputError where `own` is of one document. A single document on the other side is taken as it is,
    and the interval then says nothing about other documents there.
    """
    mine, its, draws = drawn(own, theirs)
    wins = (own.values[:, None] > theirs.values) + 0.5 * (own.values[:, None] == theirs.values)
    won, compared = ((mine @ wins) * its).sum(axis=1), mine.sum(axis=1) * its.sum(axis=1)
    return estimate(np.where(compared > 0, won / np.maximum(compared, 1e-12), wins.mean()), draws)


def drawn(own: Judged, theirs: Judged) -> tuple[Array, Array, Draws]:
    """How often each text of either side is drawn, shape (draws + 1, texts) each, and the draws of the side
    with fewer documents, which decide how wide an interval must be.
    """
    first = draw(own.documents)
    rest = sorted(set(theirs.documents) - set(own.documents))
    second = draw(rest, seed=1) if rest else first
    both = {d: second.counts[:, i] for i, d in enumerate(second.documents)}
    both |= {d: first.counts[:, i] for i, d in enumerate(first.documents)}
    mine, its = (np.stack([both[d] for d in side.documents], axis=1) for side in (own, theirs))
    fewer = 1 < len(second.documents) < len(first.documents)
    return mine, its, second if fewer else first


def rank_correlation(first: Array, second: Array, documents: Sequence[str], draws: Draws) -> Estimate:
    """Kendall's tau-b between two judges' values of the same texts: 1 they rank alike, 0 nothing in common.

    A judge that gives every text of a draw the same value ranks nothing, which counts as 0.
    """
    place = {d: i for i, d in enumerate(draws.documents)}
    weights = draws.counts[:, [place[d] for d in documents]]
    one, two = (np.sign(values[:, None] - values) for values in (first, second))
    agreeing, ranked_one, ranked_two = (_pairs(m, weights) for m in (one * two, one * one, two * two))
    ranked = np.sqrt(ranked_one * ranked_two)
    return estimate(np.where(ranked > 0, agreeing / np.maximum(ranked, 1e-12), 0.0), draws)


def _pairs(matrix: Array, weights: Array) -> Array:
    """Sum of `matrix` over all pairs of texts, each as often as both were drawn, shape (draws + 1,)."""
    return np.asarray(((weights @ matrix) * weights).sum(axis=1))
