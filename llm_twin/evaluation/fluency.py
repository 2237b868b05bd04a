"""Fluency and perplexity: how expected a text is to a model, from its token log probabilities."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llm_twin.evaluation.intervals import Draws, Estimate, estimate
from llm_twin.types import Value

Scored = Sequence[NDArray[np.float64]]


class Perplexity(Value):
    """Held-out perplexity of the author's text, given the instruction that it answers."""

    base: Estimate
    twin: Estimate
    change: Estimate
    """Relative change from base to twin, paired over documents: -0.25 is a quarter less."""


def mean_log_likelihood(scored: Scored) -> NDArray[np.float64]:
    """Mean natural-log probability a token of each text, shape (texts,)."""
    return np.array([tokens.mean() for tokens in scored], np.float64)


def perplexity(base: Scored, twin: Scored, document_ids: Sequence[str], draws: Draws) -> Perplexity:
    """exp of minus the mean log probability over all tokens, with intervals over documents."""
    before, after = (_perplexities(scored, document_ids, draws) for scored in (base, twin))
    return Perplexity(
        base=estimate(before, draws), twin=estimate(after, draws), change=estimate(after / before - 1, draws)
    )


def _perplexities(scored: Scored, document_ids: Sequence[str], draws: Draws) -> NDArray[np.float64]:
    sums = np.array([tokens.sum() for tokens in scored])
    sizes = np.array([float(len(tokens)) for tokens in scored])
    return np.asarray(np.exp(-draws.mean(sums, document_ids) / draws.mean(sizes, document_ids)))
