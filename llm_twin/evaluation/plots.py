"""Where things stand in a picture, as percentages of its width and height; the page's template draws them.

Percentages, so that one SVG fits a phone and a desk with its letters at reading size on both. Not covered:
pictures that need more than points, intervals and lines.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from llm_twin.evaluation.intervals import Estimate

Point = tuple[int, float]

_SMOOTHED_FROM = 30
_MARGIN = 0.05


@dataclass(frozen=True)
class Axis:
    """A stretch of numbers from `low` (the left end, 0%) to `high` (the right end, 100%)."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Where `value` stands, in percent; what lies beyond an end stands at that end."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 2)

    def beyond(self, value: float) -> str:
        """ "left" or "right" where `value` lies beyond an end, else nothing."""
        return "left" if value < self.low else "right" if value > self.high else ""


def score_axis(estimates: Iterable[Estimate]) -> Axis:
    """From floor to ceiling and as far past both as the intervals go, but never so far that 0 to 1 gets small."""
    found = list(estimates)
    low = min([0.0, *(e.low for e in found), *(e.value for e in found)])
    high = max([1.0, *(e.high for e in found), *(e.value for e in found)])
    return Axis(max(low, -0.5) - _MARGIN, min(high, 1.75) + _MARGIN)


def axis_from_zero(values: Iterable[float]) -> Axis:
    """From 0 to a little over the largest value."""
    return Axis(0.0, 1.05 * max(values, default=0.0) or 1.0)


@dataclass(frozen=True)
class Curve:
    """A line through `points` ("x,y x,y …", percent of width and height from the upper left).

    `smooth` is the running mean of long curves, empty for short ones; `rows` are at most ten of the points.
    """

    points: str
    smooth: str
    low: float
    high: float
    rows: tuple[Point, ...]


def curve(points: Sequence[Point]) -> Curve:
    """The picture of at least one point, steps increasing."""
    steps, values = np.array([p[0] for p in points], float), np.array([p[1] for p in points], float)
    low, high = float(values.min()), float(values.max())
    across = 100 * (steps - steps[0]) / max(steps[-1] - steps[0], 1)

    def line(heights: Iterable[float]) -> str:
        down = [100 * (high - y) / (high - low or 1) for y in heights]
        return " ".join(f"{x:.2f},{y:.2f}" for x, y in zip(across, down, strict=True))

    smooth = line(running_mean(values, len(values) // 10)) if len(values) >= _SMOOTHED_FROM else ""
    chosen = np.unique(np.linspace(0, len(points) - 1, min(10, len(points))).round().astype(int))
    return Curve(line(values), smooth, low, high, tuple(points[i] for i in chosen))


def running_mean(values: Sequence[float] | np.ndarray, reach: int) -> list[float]:
    """Mean of each value with up to `reach` neighbours on either side."""
    return [float(np.mean(values[max(0, i - reach) : i + reach + 1])) for i in range(len(values))]
