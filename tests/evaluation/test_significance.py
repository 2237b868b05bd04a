from itertools import combinations, product

import numpy as np
import pytest
from scipy import stats

from llm_twin.evaluation.significance import SHUFFLES, holm, permutation_p


def enumerated(differences: list[float]) -> float:
    """The definition, one sign pattern after the other."""
    seen = abs(sum(differences))
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in product((1, -1), repeat=len(differences))
    ]
    return sum(total >= seen - 1e-9 for total in sums) / len(sums)


@pytest.mark.parametrize("seed", range(8))
def test_with_few_documents_every_sign_pattern_is_counted(seed: int) -> None:
    differences = np.random.default_rng(seed).normal(0.4, 1, size=9)
    documents = [f"d{i}" for i in range(9)]
    assert permutation_p(differences, documents) == pytest.approx(enumerated(differences.tolist()))


def test_scipy_says_the_same() -> None:
    differences = np.random.default_rng(3).normal(0.5, 1, size=10)
    reference = stats.permutation_test(
        (differences, np.zeros(10)),
        lambda a, b: (a - b).mean(),
        permutation_type="samples",
        n_resamples=np.inf,
    )
    assert permutation_p(differences, [str(i) for i in range(10)]) == pytest.approx(reference.pvalue)


def test_questions_of_a_document_change_sides_together() -> None:
    differences = np.array([0.5, 0.5, -0.2, 0.1, 0.3, 0.3])
    documents = ["a", "b", "a", "c", "b", "c"]
    assert permutation_p(differences, documents) == pytest.approx(enumerated([0.3, 0.8, 0.4]))
    assert (
        permutation_p(np.ones(40), ["one"] * 40) == 1.0
    )  # one document tells nothing, however many questions


def test_no_difference_is_no_evidence() -> None:
    assert permutation_p(np.zeros(5), list("abcde")) == 1.0
    assert permutation_p(np.array([]), []) == 1.0
    assert permutation_p(np.array([0.0, 1.0]), ["a", "b"]) == 1.0


def test_with_many_documents_the_sampled_p_agrees_with_an_exact_one() -> None:
    ones = np.array([1.0] * 16 + [-1.0] * 6)  # equal sizes: the exact p is the binomial sign test's
    p = permutation_p(ones, [str(i) for i in range(22)])
    assert p == pytest.approx(stats.binomtest(16, 22).pvalue, abs=4 * (0.05 * 0.95 / SHUFFLES) ** 0.5)
    assert permutation_p(np.ones(30), [str(i) for i in range(30)]) == pytest.approx(1 / (SHUFFLES + 1))
    assert p == permutation_p(ones, [str(i) for i in range(22)])


def test_the_p_value_is_uniform_where_nothing_differs() -> None:
    rng = np.random.default_rng(0)
    found = np.array([permutation_p(rng.normal(size=8), list("abcdefgh")) for _ in range(600)])
    assert (found <= 0.05).mean() == pytest.approx(0.05, abs=0.03)


def test_holm_by_hand_and_by_brute_force() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    p_values = [0.2, 0.004, 0.03, 0.0125, 0.6]
    # Closed testing with Bonferroni: a hypothesis falls only where every set that holds it does.
    for i, adjusted in enumerate(holm(p_values)):
        sets = [c for n in range(1, 6) for c in combinations(range(5), n) if i in c]
        closed = max(min(1.0, len(c) * min(p_values[j] for j in c)) for c in sets)
        assert adjusted == pytest.approx(closed)
