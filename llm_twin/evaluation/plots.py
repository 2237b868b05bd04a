"""Where things stand in a picture, as percentages of its width and height; the page's template draws them.

Percentages, so that one SVG fits a phone and a desk with its letters at reading size on both. Not covered:
pictures that need more than points, intervals and lines.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, sqrt
from typing import Literal

import numpy as np

from llm_twin.evaluation.calibration import Bin
from llm_twin.evaluation.intervals import Estimate

Point = tuple[int, float]
Who = Literal["base", "twin", "author", "other"]
Bounds = tuple[tuple[float, str], ...]
"""Lines across an axis, each with what is written at it."""

_SMOOTHED_FROM = 30
_MARGIN = 0.05
_LEAST_RADIUS, _MOST_RADIUS = 3.0, 10.0


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


def tenths(values: Iterable[float]) -> Axis:
    """From the tenth at or under the smallest value to the tenth at or over the largest, two tenths at least."""
    found = list(values)
    low, high = floor(round(10 * min(found), 6)), ceil(round(10 * max(found), 6))
    return Axis(low / 10, max(high, low + 2) / 10)


def around_zero(values: Iterable[float]) -> Axis:
    """As far to either side of 0 as the largest value, in tenths."""
    reach = max(1, ceil(round(10 * max(map(abs, values), default=0.0), 6))) / 10
    return Axis(-reach, reach)


# --- small pictures -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lane:
    """A mark with its interval, on a line of its own."""

    who: Who
    name: str
    value: Estimate


@dataclass(frozen=True)
class Small:
    """One of several pictures of the same kind, with a lane a line; its figures stand under it.

    `author` is where the author stands by definition, `missing` are the names of lanes that have no value, and
    `refused` is why there is nothing to draw.
    """

    title: str
    note: str
    axis: Axis
    lanes: tuple[Lane, ...]
    bounds: Bounds = ()
    author: float | None = None
    missing: tuple[str, ...] = ()
    refused: str = ""
    digits: int = 2

    @property
    def lines(self) -> int:
        """How many lines it has, the author's included, which is the last."""
        return len(self.lanes) + (self.author is not None)

    def height(self, line: int) -> float:
        """Where a line runs, in percent from the top."""
        return round(100 * (line + 0.5) / self.lines, 2)


# --- pictures with two axes ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dot:
    """A bin of a reliability diagram: percent from the left and from the top; its area grows with its texts."""

    x: float
    y: float
    radius: float
    """Pixels."""
    bin: Bin


def reliability(bins: Sequence[Bin]) -> tuple[Dot, ...]:
    """A dot a bin, predicted to the right and observed upwards, both from 0 to 1."""
    unit, most = Axis(0.0, 1.0), max((b.texts for b in bins), default=1)
    return tuple(
        Dot(
            x=unit.at(b.predicted),
            y=round(100 - unit.at(b.observed), 2),
            radius=round(max(_LEAST_RADIUS, _MOST_RADIUS * sqrt(b.texts / most)), 1),
            bin=b,
        )
        for b in bins
    )


@dataclass(frozen=True)
class Spot:
    """A value over its place in a row: percent from the left and the top, `low` and `high` its interval's ends."""

    x: float
    y: float
    low: float
    high: float


def spots(values: Sequence[Estimate | None], up: Axis, aside: float = 0.0) -> tuple[Spot, ...]:
    """The values that are there, each in the middle of its column; `aside` moves all, in columns."""
    across = Axis(0.0, float(len(values)))

    def down(value: float) -> float:
        return round(100 - up.at(value), 2)

    return tuple(
        Spot(across.at(i + 0.5 + aside), down(e.value), down(e.low), down(e.high))
        for i, e in enumerate(values)
        if e
    )


@dataclass(frozen=True)
class Curve:
    """A line through `points` ("x,y x,y …", percent of width and height from the upper left).

    `smooth` is the running mean of long curves, empty for short ones; `rows` are at most ten of the points. `began` and
    `ended` are the means of the first and the last `tenth` steps: one step says little where batches differ.
    """

    points: str
    smooth: str
    low: float
    high: float
    rows: tuple[Point, ...]
    began: float
    ended: float
    tenth: int


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
    rows, tenth = tuple(points[i] for i in chosen), max(1, len(points) // 10)
    began, ended = float(values[:tenth].mean()), float(values[-tenth:].mean())
    return Curve(line(values), smooth, low, high, rows, began, ended, tenth)


def running_mean(values: Sequence[float] | np.ndarray, reach: int) -> list[float]:
    """Mean of each value with up to `reach` neighbours on either side."""
    return [float(np.mean(values[max(0, i - reach) : i + reach + 1])) for i in range(len(values))]
