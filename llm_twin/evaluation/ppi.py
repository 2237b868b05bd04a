"""Prediction-powered inference: a mean, from few labels by people and many by a judge.

The judge's mean over everything, corrected by how far the judge is off where people labelled too
(Angelopoulos et al. 2023, Science 382), with the weight of the judge tuned so that a judge that knows nothing
costs nothing (Angelopoulos, Duchi, Zrnic 2023, "PPI++", power tuning for the mean).

Few labels with few mistakes in them would make a plain interval too sure of itself, or of no width at all. For
values within [0, 1] the labels therefore count half an observation more at each corner, (0, 0) to (1, 1), which
is Agresti and Min's adjustment for matched proportions (2005, Statistics in Medicine 24); and Student's t takes
the normal's place. Not covered: labels that were not drawn at random, and dependence between answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llm_twin.errors import InputError
from llm_twin.evaluation.intervals import Array, Estimate

LEAST_LABELS = 10
_CORNERS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
_CORNER_WEIGHT = 0.5


def ppi_mean(
    labelled_truth: Sequence[float], labelled_judged: Sequence[float], all_judged: Sequence[float]
) -> Estimate:
    """Mean of the truth with its 95% interval.

    `labelled_truth` and `labelled_judged` hold the people's and the judge's value for each labelled thing;
    `all_judged` the judge's value of everything, the labelled things among it. Where everything is labelled, the
    judge adds nothing. Raises InputError with fewer than 10 labels, or lengths that do not fit.
    """
    truth, judged, everything = (
        np.asarray(v, np.float64) for v in (labelled_truth, labelled_judged, all_judged)
    )
    _check(truth, judged, everything)
    rest = _rest(judged, everything)
    bounded = all(v.min() >= 0 and v.max() <= 1 for v in (truth, judged, everything))
    centre = _estimated(_Labels(truth, judged, np.ones(len(truth))), rest)
    spread = _estimated(_adjusted(truth, judged), rest) if bounded else centre
    half = _t(len(truth)) * spread.error
    low, high = spread.value - half, spread.value + half
    if bounded:
        value, low, high = (float(np.clip(v, 0, 1)) for v in (centre.value, low, high))
        return Estimate(value=value, low=min(low, value), high=max(high, value))
    return Estimate(value=centre.value, low=low, high=high)


def classical_mean(labelled_truth: Sequence[float]) -> Estimate:
    """The same without a judge: what the labels alone say."""
    return ppi_mean(labelled_truth, [0.0] * len(labelled_truth), [0.0] * len(labelled_truth))


@dataclass(frozen=True)
class _Labels:
    """Truth and judgement of each label, and how much each counts."""

    truth: Array
    judged: Array
    weight: Array


@dataclass(frozen=True)
class _Rest:
    """The judge's values of what has no label: how many, their mean, and the variance of the judge's values."""

    size: int
    mean: float
    variance: float


@dataclass(frozen=True)
class _Found:
    value: float
    error: float


def _check(truth: Array, judged: Array, everything: Array) -> None:
    if len(truth) < LEAST_LABELS:
        raise InputError(
            f"{len(truth)} labels are too few for an interval", f"label {LEAST_LABELS} things or more"
        )
    if len(truth) != len(judged) or len(everything) < len(judged):
        raise InputError(
            f"{len(truth)} labels, {len(judged)} judgements of them and {len(everything)} of everything do not fit",
            "judge every labelled thing, and count the labelled things among everything",
        )


def _rest(judged: Array, everything: Array) -> _Rest:
    size = len(everything) - len(judged)
    mean = float(everything.sum() - judged.sum()) / size if size else 0.0
    return _Rest(size, mean, float(everything.var()))


def _adjusted(truth: Array, judged: Array) -> _Labels:
    corners = np.full(len(_CORNERS), _CORNER_WEIGHT)
    return _Labels(
        np.concatenate([truth, _CORNERS[:, 0]]),
        np.concatenate([judged, _CORNERS[:, 1]]),
        np.concatenate([np.ones(len(truth)), corners]),
    )


def _estimated(labels: _Labels, rest: _Rest) -> _Found:
    """value = mean(truth) + power * (mean(rest) - mean(judged)), with the power of least variance."""
    n, truth = labels.weight.sum(), float(np.average(labels.truth, weights=labels.weight))
    judged = float(np.average(labels.judged, weights=labels.weight))
    power = _power(labels, rest, truth, judged)
    residual = labels.truth - truth - power * (labels.judged - judged)
    variance = float((labels.weight * residual**2).sum()) / (n - 1) / n
    if rest.size:
        variance += power**2 * rest.variance / rest.size
    return _Found(truth + power * (rest.mean - judged), float(np.sqrt(variance)))


def _power(labels: _Labels, rest: _Rest, truth: float, judged: float) -> float:
    """PPI++'s tuned weight of the judge, within 0 and 1; 0 where it says the same of everything."""
    if not rest.size or rest.variance == 0:
        return 0.0
    n = labels.weight.sum()
    covariance = float((labels.weight * (labels.truth - truth) * (labels.judged - judged)).sum()) / (n - 1)
    # The judge's variance on the labels steadies a slope that is fitted on the same labels.
    own = float((labels.weight * (labels.judged - judged) ** 2).sum()) / (n - 1)
    return float(np.clip(covariance / (own + n / rest.size * rest.variance), 0, 1)) if own else 0.0


def _t(labels: int) -> float:
    """97.5% point of Student's t; one degree of freedom goes to the mean, one to the power."""
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    return float(stdtrit(labels - 2, 0.975))
