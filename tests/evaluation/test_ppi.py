"""The prediction-powered interval against the paper's formulas by hand, and in simulations with a known truth."""

import math
import statistics

import numpy as np
import pytest
from scipy.stats import t

from llm_twin.errors import InputError
from llm_twin.evaluation.intervals import Array, Estimate
from llm_twin.evaluation.ppi import classical_mean, ppi_mean

GOOD_JUDGE, FAIR_JUDGE, BLIND_JUDGE = (0.05, 0.03), (0.25, 0.15), (0.5, 0.5)
"""(bad called good, good called bad)"""


def world(
    rng: np.random.Generator, share: float, wrong: tuple[float, float], labels: int, answers: int
) -> tuple[Array, Array, Array]:
    """Truth and verdict of the labelled, and the verdicts of all."""
    truth = rng.random(answers) < share
    judged = np.where(truth, rng.random(answers) >= wrong[1], rng.random(answers) < wrong[0]).astype(float)
    return truth[:labels].astype(float), judged[:labels], judged


def width(found: Estimate) -> float:
    return found.high - found.low


@pytest.mark.parametrize("wrong", [GOOD_JUDGE, FAIR_JUDGE, BLIND_JUDGE])
def test_95_percent_of_2000_intervals_hold_the_truth(wrong: tuple[float, float]) -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(2000):
        found = ppi_mean(*world(rng, 0.7, wrong, 150, 900))
        held += found.low <= 0.7 <= found.high
    assert 0.935 <= held / 2000 <= 0.965


@pytest.mark.parametrize("wrong", [(0.0, 0.0), (0.0, 0.05), FAIR_JUDGE, BLIND_JUDGE])
@pytest.mark.parametrize("share", [0.5, 0.97])
def test_with_few_labels_the_interval_is_rather_too_wide(share: float, wrong: tuple[float, float]) -> None:
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(400):
        found = ppi_mean(*world(rng, share, wrong, 20, 500))
        held += found.low <= share <= found.high
    assert held / 400 >= 0.94


def test_a_good_judge_narrows_the_interval_and_a_blind_one_costs_nothing() -> None:
    rng = np.random.default_rng(3)
    ratios: dict[tuple[float, float], list[float]] = {GOOD_JUDGE: [], BLIND_JUDGE: []}
    for wrong, found in ratios.items():
        for _ in range(300):
            truth, judged, everything = world(rng, 0.7, wrong, 100, 2000)
            found.append(width(ppi_mean(truth, judged, everything)) / width(classical_mean(truth)))
    assert np.mean(ratios[GOOD_JUDGE]) < 0.6
    assert max(ratios[BLIND_JUDGE]) < 1.05
    assert np.mean(ratios[BLIND_JUDGE]) == pytest.approx(1, abs=0.01)


def test_a_biased_judge_does_not_move_the_mean() -> None:
    rng = np.random.default_rng(4)
    found = [ppi_mean(*world(rng, 0.4, (0.5, 0.0), 100, 2000)).value for _ in range(300)]
    assert np.mean(found) == pytest.approx(0.4, abs=0.01)
    assert np.mean([world(rng, 0.4, (0.5, 0.0), 1, 2000)[2].mean() for _ in range(50)]) > 0.68


def test_unbounded_values_follow_the_published_formulas_worked_plainly() -> None:
    """Angelopoulos, Duchi, Zrnic (2023): the estimate is mean(Y) + power (mean(f on the rest) - mean(f on labels))."""
    rng = np.random.default_rng(5)
    truth = rng.normal(3, 2, 12)
    judged, rest = truth + rng.normal(1, 1, 12), rng.normal(4, 2.2, 60)
    found = ppi_mean(truth, judged, [*judged, *rest])
    y, f, others = list(truth), list(judged), list(rest)
    n, unlabelled = len(y), len(others)
    my, mf = statistics.fmean(y), statistics.fmean(f)
    covariance = sum((a - my) * (b - mf) for a, b in zip(y, f, strict=True)) / (n - 1)
    pooled = statistics.pvariance([*f, *others])
    power = covariance / (statistics.variance(f) + n / unlabelled * pooled)
    value = my + power * (statistics.fmean(others) - mf)
    left = [a - power * b for a, b in zip(y, f, strict=True)]
    error = math.sqrt(statistics.variance(left) / n + power**2 * pooled / unlabelled)
    assert 0 < power < 1
    assert found.value == pytest.approx(value)
    assert found.low == pytest.approx(value - t.ppf(0.975, n - 2) * error)
    assert found.high == pytest.approx(value + t.ppf(0.975, n - 2) * error)


def test_with_everything_labelled_the_value_is_the_plain_mean() -> None:
    truth, judged = [1.0, 0.0, 1.0, 1.0] * 5, [0.0, 0.0, 1.0, 1.0] * 5
    assert ppi_mean(truth, judged, judged) == classical_mean(truth)
    assert ppi_mean(truth, judged, judged).value == 0.75


def test_labels_without_a_single_bad_answer_still_leave_doubt() -> None:
    found = ppi_mean([1.0] * 20, [1.0] * 20, [1.0] * 500)
    assert found.value == found.high == 1
    assert 0.8 < found.low < 0.97


@pytest.mark.parametrize(
    ("truth", "judged", "everything"),
    [
        ([1.0] * 9, [1.0] * 9, [1.0] * 99),
        ([1.0] * 20, [1.0] * 19, [1.0] * 99),
        ([1.0] * 20, [1.0] * 20, [1.0] * 9),
    ],
)
def test_too_few_labels_and_lengths_that_do_not_fit_are_refused(
    truth: list[float], judged: list[float], everything: list[float]
) -> None:
    with pytest.raises(InputError, match=r"\d+ labels"):
        ppi_mean(truth, judged, everything)
