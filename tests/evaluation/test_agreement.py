"""Agreement against a table worked by hand and scikit-learn's kappa."""

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from llm_twin.errors import InputError
from llm_twin.evaluation.agreement import agreement

SCORES = st.integers(1, 3)


def test_a_table_worked_by_hand() -> None:
    """20 + 15 of 50 equal; chance is 25/50 * 30/50 + 25/50 * 20/50 = 0.5."""
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    found = agreement(first, second)
    assert (found.items, found.equal, found.kappa) == (50, 0.7, pytest.approx(0.4))


@given(st.lists(st.tuples(SCORES, SCORES), min_size=1, max_size=40))
def test_kappa_is_that_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    first, second = ([pair[i] for pair in pairs] for i in (0, 1))
    found = agreement(first, second)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = cohen_kappa_score(first, second)
    if len({*first, *second}) == 1:
        assert (found.equal, found.kappa) == (1, None)
    else:
        assert found.kappa == pytest.approx(expected)
    assert agreement(second, first) == found


@pytest.mark.parametrize(("first", "second"), [([], []), ([1], [1, 2])])
def test_nothing_to_compare_is_an_error(first: list[int], second: list[int]) -> None:
    with pytest.raises(InputError):
        agreement(first, second)
