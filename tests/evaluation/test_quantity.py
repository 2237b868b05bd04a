import numpy as np
import pytest

from llm_twin.evaluation.intervals import draw, estimate, exact
from llm_twin.evaluation.quantity import difference, estimated, rows

DOCUMENTS = [f"d{i}" for i in range(8)]
DRAWS = draw(DOCUMENTS)


def test_a_share_that_is_always_1_has_an_interval_with_a_width() -> None:
    found = estimated(rows([1.0] * 24, DOCUMENTS * 3), DRAWS)
    assert found is not None and (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(exact(8, 8).low)


def test_a_mean_that_is_no_share_is_drawn_over_documents() -> None:
    values = np.random.default_rng(0).normal(3, 1, 8).tolist()
    found = estimated(rows(values, DOCUMENTS, shares=False), DRAWS)
    assert found == estimate(DRAWS.mean(np.array(values), DOCUMENTS), DRAWS)
    assert found is not None and found.high > 3


def test_rows_of_one_document_have_no_estimate() -> None:
    assert estimated(rows([1, 0, 1], ["d1"] * 3), DRAWS) is None
    assert estimated(rows([], []), DRAWS) is None


def test_a_difference_is_drawn_in_pairs() -> None:
    one, other = rows([1, 1, 1, 1, 0, 0, 1, 1], DOCUMENTS), rows([1, 0, 0, 1, 0, 0, 1, 0], DOCUMENTS)
    found = difference(one, other, DRAWS)
    assert found.value == pytest.approx(3 / 8)
    assert found == estimate(DRAWS.mean(one.values - other.values, DOCUMENTS), DRAWS)


@pytest.mark.parametrize("always", [0.0, 1.0])
def test_two_shares_that_never_differ_here_may_differ_elsewhere(always: float) -> None:
    one, other = rows([always] * 24, DOCUMENTS * 3), rows([always] * 8, DOCUMENTS)
    found = difference(one, other, DRAWS)
    assert (found.value, found.low, found.high) == pytest.approx((0, -exact(0, 8).high, exact(0, 8).high))
    first = difference(rows([1.0] * 8, DOCUMENTS), rows([0.0] * 8, DOCUMENTS), DRAWS)
    assert (first.value, first.high) == (1, 1) and first.low == pytest.approx(exact(8, 8).low)
