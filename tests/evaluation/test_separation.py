import numpy as np
import pytest
from scipy.stats import kendalltau
from sklearn.metrics import roc_auc_score

from llm_twin.errors import InputError
from llm_twin.evaluation.intervals import draw, estimate
from llm_twin.evaluation.separation import Judged, drawn, rank_correlation, separation


def judged(values: list[float], documents: list[str]) -> Judged:
    return Judged(np.array(values), tuple(documents))


def some(seed: int, shift: float, names: str, each: int = 5) -> Judged:
    rng = np.random.default_rng(seed)
    documents = [name for name in names for _ in range(each)]
    return judged(rng.normal(shift, 1, len(documents)).round(1).tolist(), documents)


def test_the_auc_is_sklearns_and_the_interval_holds_it() -> None:
    own, theirs = some(0, 0.8, "abcdef"), some(1, 0.0, "uvwxyz")
    found = separation(own, theirs)
    labels = [1] * 30 + [0] * 30
    assert found.value == pytest.approx(roc_auc_score(labels, np.concatenate([own.values, theirs.values])))
    assert 0 <= found.low < found.value < found.high <= 1


def test_each_draw_is_the_auc_of_the_documents_drawn() -> None:
    """Documents repeated as often as they were drawn, and sklearn on the repeated texts."""
    own, theirs = some(0, 0.8, "abc"), some(1, 0.0, "xyz", each=4)
    mine, its, _ = drawn(own, theirs)
    wins = (own.values[:, None] > theirs.values) + 0.5 * (own.values[:, None] == theirs.values)
    for row in (0, 1, 7, 500):
        repeated = [np.repeat(s.values, w[row].astype(int)) for s, w in ((own, mine), (theirs, its))]
        labels = [1] * len(repeated[0]) + [0] * len(repeated[1])
        ours = (mine[row] @ wins @ its[row]) / (mine[row].sum() * its[row].sum())
        assert ours == pytest.approx(roc_auc_score(labels, np.concatenate(repeated)))


def test_documents_that_both_sides_speak_of_are_drawn_together() -> None:
    own, machine = some(0, 0.8, "abc"), some(1, 0.0, "abc")
    mine, its, draws = drawn(own, machine)
    assert (mine == its).all() and draws.documents == ("a", "b", "c")
    mine, its, _ = drawn(own, some(1, 0.0, "xyz"))
    assert not (mine == its).all()


def test_few_background_documents_make_a_wide_interval_and_one_own_document_is_refused() -> None:
    own = some(0, 0.8, "abcdefghij")
    many, few = (separation(own, some(1, 0.0, names)) for names in ("klmnopqrst", "kl"))
    assert few.high - few.low > many.high - many.low
    assert drawn(own, some(1, 0.0, "kl"))[2].documents == ("k", "l")
    assert drawn(own, some(1, 0.0, "k"))[2].documents == tuple("abcdefghij")
    with pytest.raises(InputError, match="one held-out document"):
        separation(some(0, 0.8, "a"), some(1, 0.0, "xyz"))


def test_the_rank_correlation_is_scipys_in_every_draw() -> None:
    rng = np.random.default_rng(3)
    first = rng.normal(size=24).round(1)
    second = (first + rng.normal(size=24)).round(1)
    documents = [f"d{i // 3}" for i in range(24)]
    draws = draw(documents, draws=200)
    found = rank_correlation(first, second, documents, draws)
    assert found.value == pytest.approx(kendalltau(first, second).statistic)
    counts = draws.counts[:, [draws.documents.index(d) for d in documents]].astype(int)
    each = [kendalltau(np.repeat(first, row), np.repeat(second, row)).statistic for row in counts[1:]]
    same = estimate(np.array([found.value, *each]), draws)
    assert (found.low, found.high) == pytest.approx((same.low, same.high))


def test_the_same_ranking_is_1_the_reverse_is_minus_1_and_no_ranking_is_0() -> None:
    values, documents = np.arange(6.0), list("abcdef")
    draws = draw(documents)
    assert rank_correlation(values, values**3, documents, draws).value == pytest.approx(1)
    assert rank_correlation(values, -values, documents, draws).value == pytest.approx(-1)
    assert rank_correlation(values, np.ones(6), documents, draws).value == 0
