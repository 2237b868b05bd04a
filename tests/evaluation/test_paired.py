import numpy as np
import pytest

from llm_twin.errors import InputError
from llm_twin.evaluation.paired import averaged, compared

GROUPS = ["a", "a", "b", "c"]


def test_means_and_difference_are_over_items() -> None:
    found = compared([0, 1, 1, 0], [1, 1, 1, 0], GROUPS)
    assert (found.base.value, found.twin.value, found.difference.value) == (0.5, 0.75, 0.25)


def test_a_constant_gain_is_certain_because_draws_are_paired() -> None:
    rng = np.random.default_rng(1)
    base = rng.random(40)
    groups = [str(i % 8) for i in range(40)]
    found = compared(base, base + 0.1, groups)
    assert found.base.high - found.base.low > 0.05
    assert found.difference.low == pytest.approx(0.1) == found.difference.high


def test_a_mean_alone_has_the_interval_it_has_beside_another() -> None:
    values = [0.0, 1.0, 1.0, 0.0]
    assert averaged(values, GROUPS) == compared(values, values, GROUPS).base


def test_one_group_is_refused() -> None:
    with pytest.raises(InputError, match="too few"):
        compared([0, 1], [1, 1], ["a", "a"])
