import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from llm_twin.evaluation.calibration import calibration
from llm_twin.evaluation.separation import Judged


def judged(values: list[float], name: str) -> Judged:
    return Judged(np.array(values), tuple(f"{name}{i % 4}" for i in range(len(values))))


def test_by_hand() -> None:
    """Half the weight lies on the author's two texts, a quarter on each kind of background."""
    found = calibration(judged([0.95, 0.65], "a"), [judged([0.05], "o"), judged([0.65, 0.65], "m")])
    assert [(b.low, b.high, b.texts) for b in found.bins] == [(0, 0.1, 1), (0.6, 0.7, 3), (0.9, 1.0, 1)]
    assert [b.observed for b in found.bins] == pytest.approx([0, 0.5, 1])
    assert [b.predicted for b in found.bins] == pytest.approx([0.05, 0.65, 0.95])
    assert found.expected_error == pytest.approx(0.25 * 0.05 + 0.5 * 0.15 + 0.25 * 0.05)
    assert found.brier.value == pytest.approx((0.05**2 + 0.35**2) / 4 + 0.05**2 / 4 + 0.65**2 / 4)


def test_with_sides_of_equal_size_it_is_sklearns() -> None:
    rng = np.random.default_rng(0)
    own, theirs = rng.beta(4, 2, 200), rng.beta(2, 3, 200)
    found = calibration(judged(own.tolist(), "a"), [judged(theirs.tolist(), "o")])
    values, truth = np.concatenate([own, theirs]), [1] * 200 + [0] * 200
    observed, predicted = calibration_curve(truth, values, n_bins=10)
    assert [b.observed for b in found.bins] == pytest.approx(observed)
    assert [b.predicted for b in found.bins] == pytest.approx(predicted)
    assert found.brier.value == pytest.approx(brier_score_loss(truth, values))
    assert found.brier.low < found.brier.value < found.brier.high
    sizes = np.array([b.texts for b in found.bins]) / 400
    assert found.expected_error == pytest.approx(float(np.abs(observed - predicted) @ sizes))


def test_a_perfect_verifier_a_useless_one_and_a_wrong_one() -> None:
    perfect = calibration(judged([1.0] * 8, "a"), [judged([0.0] * 8, "o")])
    assert (perfect.expected_error, perfect.brier.value, perfect.brier.high) == (0, 0, 0)
    useless = calibration(judged([0.5] * 8, "a"), [judged([0.5] * 8, "o")])
    assert (useless.expected_error, useless.brier.value) == (0, 0.25)
    assert calibration(judged([0.0] * 8, "a"), [judged([1.0] * 8, "o")]).brier.value == 1
