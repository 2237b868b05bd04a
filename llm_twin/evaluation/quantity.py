"""A quantity as rows, each of a document: its estimate over documents, and how far two of them differ in pairs.

The rows of a share are 0 or 1, and its interval keeps a width where all of them say the same (`intervals.share`).
Not covered: rows that are missing from one side of a difference for a reason that has to do with their value.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llm_twin.evaluation.intervals import Array, Draws, Estimate, estimate, exact, share


@dataclass(frozen=True)
class Rows:
    """Values of one quantity, each with the document that it counts for. A share's are all 0 or 1."""

    values: Array
    documents: tuple[str, ...]
    shares: bool

    @property
    def several(self) -> int:
        """How many documents have any."""
        return len(set(self.documents))


def rows(values: Sequence[float], documents: Sequence[str], shares: bool = True) -> Rows:
    """Rows of plain numbers (or of truths, for a share)."""
    return Rows(np.array(values, np.float64), tuple(documents), shares)


def estimated(found: Rows, draws: Draws) -> Estimate | None:
    """Mean with its 95% interval over documents; None where fewer than two have rows."""
    if found.several < 2:
        return None
    drawn = draws.mean(found.values, found.documents)
    return share(drawn, len(found.values), found.several) if found.shares else estimate(drawn, draws)


def difference(a: Rows, b: Rows, draws: Draws) -> Estimate:
    """Mean of `a` less mean of `b`, in the same draws; both have rows of two documents or more.

    Two shares that differ by the same in every draw, as two that are always 1 do, may differ otherwise elsewhere: in
    as many documents as can be missed when none of these is one of them (exact, 95%).
    """
    found = estimate(draws.mean(a.values, a.documents) - draws.mean(b.values, b.documents), draws)
    if not a.shares or found.high - found.low > 1e-9:
        return found
    unseen = exact(0, min(a.several, b.several)).high
    low, high = max(-1.0, found.value - unseen), min(1.0, found.value + unseen)
    return Estimate(value=found.value, low=low, high=high)
