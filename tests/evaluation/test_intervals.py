import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from llm_twin.errors import InputError
from llm_twin.evaluation.intervals import Array, Estimate, between, draw, estimate, exact, harmonic, share

NUMBERS = st.floats(-5, 5, allow_subnormal=False)


def a(*values: float) -> Array:
    return np.array(values, np.float64)


@pytest.mark.parametrize("documents", [8, 30])
def test_95_percent_of_intervals_hold_the_true_mean(documents: int) -> None:
    rng = np.random.default_rng(1)
    names = [f"d{i:02}" for i in range(documents)]
    held = 0
    for seed in range(500):
        means = rng.normal(3.0, 2.0, documents)
        draws = draw(names, 1000, seed)
        found = estimate(draws.mean(means, names), draws)
        held += found.low <= 3.0 <= found.high
    assert 0.93 <= held / 500 <= 0.97


def test_the_documents_are_drawn_and_not_their_passages() -> None:
    """Ten equal passages a document say no more than one: the interval must not shrink."""
    values = np.random.default_rng(2).normal(size=8)
    one = [f"d{i}" for i in range(8)]
    draws = draw(one)
    once = estimate(draws.mean(values, one), draws)
    often = estimate(draws.mean(np.repeat(values, 10), [d for d in one for _ in range(10)]), draws)
    assert [often.low, often.value, often.high] == pytest.approx([once.low, once.value, once.high])
    assert once.high - once.low > 0.5


def test_the_mean_of_a_draw_counts_each_document_as_often_as_it_was_drawn() -> None:
    draws = draw(["b", "a", "b"], draws=50, seed=3)
    assert draws.documents == ("a", "b")
    assert draws.counts.shape == (51, 2)
    assert (draws.counts.sum(axis=1) == 2).all()
    means = draws.mean(a(1, 5, 6), ["a", "b", "b"])
    for counts, mean in zip(draws.counts, means, strict=True):
        by_hand = [1.0] * int(counts[0]) + [5.0, 6.0] * int(counts[1])
        assert mean == pytest.approx(sum(by_hand) / len(by_hand))
    assert means[0] == pytest.approx(4.0)


def test_a_draw_without_any_value_repeats_the_plain_mean() -> None:
    draws = draw(["a", "b"], draws=50, seed=0)
    means = draws.mean(a(7, 9), ["a", "a"])
    assert (draws.counts[:, 0] == 0).any()
    assert (means == 8.0).all()


def test_draws_repeat_with_the_seed_and_do_not_depend_on_the_order() -> None:
    assert (draw(["a", "b", "c"], seed=4).counts == draw(["c", "a", "b", "a"], seed=4).counts).all()
    assert (draw(["a", "b", "c"], seed=4).counts != draw(["a", "b", "c"], seed=5).counts).any()


def test_one_document_has_no_interval() -> None:
    draws = draw(["only"])
    with pytest.raises(InputError, match="one held-out document"):
        estimate(draws.mean(a(1, 2), ["only", "only"]), draws)


def test_the_value_is_that_of_all_documents_and_lies_in_its_interval() -> None:
    names = [f"d{i}" for i in range(12)]
    values = np.arange(12.0)
    draws = draw(names)
    found = estimate(draws.mean(values, names), draws)
    assert found.value == 5.5
    assert found.low < 5.5 < found.high
    assert str(found) == f"5.50 [{found.low:.2f}, {found.high:.2f}]"


def test_between_places_values_from_floor_to_ceiling_and_beyond() -> None:
    placed = between(a(0, 1, 2, 3, -1), a(0, 0, 0, 0, 0), a(2, 2, 2, 2, 2))
    assert placed.tolist() == [0, 0.5, 1, 1.5, -0.5]


def test_between_counts_nothing_where_the_ceiling_is_not_above_the_floor() -> None:
    assert between(a(1, 1, 1), a(2, 2, 2), a(1, 2, 2 + 1e-12)).tolist() == [0, 0, 0]


def test_harmonic_by_hand_and_at_its_edges() -> None:
    found = harmonic(a(0.5, 0, 1, 0, 2, -1), a(1, 1, 1, 0, 1, 1))
    assert found.tolist() == pytest.approx([2 / 3, 0, 1, 0, 1, 0])


@given(NUMBERS, NUMBERS)
def test_harmonic_lies_between_the_two_clipped_scores_and_under_their_mean(x: float, y: float) -> None:
    found = float(harmonic(a(x), a(y))[0])
    low, high = sorted((min(max(x, 0), 1), min(max(y, 0), 1)))
    assert low - 1e-9 <= found <= (low + high) / 2 + 1e-9


# --- shares -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("right", "of"), [(0, 1), (1, 1), (0, 20), (20, 20), (24, 24), (3, 5), (34, 48), (7, 1000)]
)
def test_the_exact_interval_is_scipys(right: int, of: int) -> None:
    theirs = binomtest(right, of).proportion_ci(method="exact")
    ours = exact(right, of)
    assert (ours.value, ours.low, ours.high) == pytest.approx((right / of, theirs.low, theirs.high))


def test_the_exact_interval_holds_the_true_share_at_least_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    for truth in (0.5, 0.8, 0.97):
        drawn = [exact(int(k), 24) for k in rng.binomial(24, truth, 2000)]
        assert np.mean([e.low <= truth <= e.high for e in drawn]) >= 0.95


def shared(right: Array, rows: Array) -> Estimate:
    """The share of right rows, `right[i]` of `rows[i]` in each document."""
    names = [f"d{i:03}" for i in range(len(rows))]
    values = np.concatenate([[1.0] * int(r) + [0.0] * int(n - r) for r, n in zip(right, rows, strict=True)])
    owners = [name for name, n in zip(names, rows, strict=True) for _ in range(int(n))]
    draws = draw(names, 400)
    return share(draws.mean(values, owners), len(values), len(names))


def test_a_share_of_one_row_a_document_has_the_exact_interval() -> None:
    for right in (0, 5, 24):
        found, plain = shared(a(*[1] * right, *[0] * (24 - right)), np.ones(24)), exact(right, 24)
        assert (found.value, found.low, found.high) == pytest.approx((plain.value, plain.low, plain.high))


def test_where_all_rows_say_the_same_each_document_counts_as_one() -> None:
    found = shared(a(6, 6, 6, 6, 6, 6, 6, 6), np.full(8, 6.0))
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(exact(8, 8).low)


def test_a_share_by_hand_where_documents_differ() -> None:
    """Two of four documents are all right: four rows each tell no more than one, and that from four documents."""
    found = shared(a(4, 4, 0, 0), np.full(4, 4.0))
    worth = 0.25 / (0.25 / 3) * (2.1314 / 3.1824) ** 2
    by_hand = exact(worth / 2, worth)
    assert found.value == 0.5
    assert (found.low, found.high) == pytest.approx((by_hand.low, by_hand.high), abs=0.03)


def test_a_share_of_one_document_has_no_interval() -> None:
    with pytest.raises(InputError, match="one held-out document"):
        share(np.ones(10), 5, 1)


@pytest.mark.parametrize("truth", [0.8, 0.95, 0.98])
@pytest.mark.parametrize("alike", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("documents", [6, 12])
def test_95_percent_of_intervals_hold_a_true_share_near_1(truth: float, alike: float, documents: int) -> None:
    """Rows resemble each other by document not at all, somewhat, or wholly (correlation `alike`)."""
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(150):
        rows = 1 + rng.poisson(4, documents)
        found = shared(rng.binomial(rows, _chances(truth, alike, documents, rng)).astype(float), rows)
        held += found.low <= truth <= found.high
    assert held / 150 >= 0.93


def _chances(truth: float, alike: float, documents: int, rng: np.random.Generator) -> Array:
    if alike in (0.0, 1.0):
        return rng.binomial(1, truth, documents).astype(float) if alike else np.full(documents, truth)
    size = 1 / alike - 1
    return rng.beta(truth * size, (1 - truth) * size, documents)
