"""Base and twin on the same items: both means and their difference, one set of draws for all three.

An item is whatever was asked of both models; items are drawn in groups (the documents they come from), because
items of one group resemble each other. Not covered: comparing models on different items.
"""

from collections.abc import Sequence

import numpy as np

from llm_twin.evaluation.intervals import Array, Estimate, draw, estimate
from llm_twin.types import Value


class Compared(Value):
    """One quantity under both models; `difference` is twin less base, paired draw by draw."""

    base: Estimate
    twin: Estimate
    difference: Estimate


def compared(base: Array | Sequence[float], twin: Array | Sequence[float], groups: Sequence[str]) -> Compared:
    """Means over items of both models, one entry of `groups` an item; InputError where there is one group."""
    draws = draw(groups)
    before = draws.mean(np.asarray(base, np.float64), groups)
    after = draws.mean(np.asarray(twin, np.float64), groups)
    return Compared(
        base=estimate(before, draws), twin=estimate(after, draws), difference=estimate(after - before, draws)
    )


def averaged(values: Array | Sequence[float], groups: Sequence[str]) -> Estimate:
    """Mean over items with its interval; the draws are those of `compared` for the same groups."""
    draws = draw(groups)
    return estimate(draws.mean(np.asarray(values, np.float64), groups), draws)
