"""How far two series of judgements agree: the share that is equal, and Cohen's kappa (1960), which takes off chance.

Not covered: more than two raters, and degrees of disagreement (1 against 3 counts like 1 against 2).
"""

from collections import Counter
from collections.abc import Hashable, Sequence

from llm_twin.errors import InputError
from llm_twin.types import Value


class Agreement(Value):
    """Two judgements of each of `items` things."""

    items: int
    equal: float
    """Share of the things that both judged the same."""
    kappa: float | None
    """1 is perfect, 0 is what chance gives; None where both gave one and the same judgement to everything."""


def agreement(first: Sequence[Hashable], second: Sequence[Hashable]) -> Agreement:
    """Raises InputError for series that are empty or of different lengths."""
    if not first or len(first) != len(second):
        raise InputError(
            f"{len(first)} and {len(second)} judgements cannot be compared", "judge the same things"
        )
    n = len(first)
    equal = sum(a == b for a, b in zip(first, second, strict=True)) / n
    often, often_too = Counter(first), Counter(second)
    chance = sum(often[value] * often_too[value] for value in often) / n**2
    return Agreement(items=n, equal=equal, kappa=None if chance == 1 else (equal - chance) / (1 - chance))
