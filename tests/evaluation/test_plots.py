import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_twin.evaluation.calibration import Bin
from llm_twin.evaluation.intervals import Estimate
from llm_twin.evaluation.plots import (
    Axis,
    Lane,
    Small,
    around_zero,
    axis_from_zero,
    curve,
    reliability,
    running_mean,
    score_axis,
    spots,
    tenths,
)

NUMBERS = st.floats(-50, 50)


def estimate(low: float, value: float, high: float) -> Estimate:
    return Estimate(low=low, value=value, high=high)


def test_an_axis_places_values_in_percent_and_keeps_the_rest_at_its_ends() -> None:
    axis = Axis(-1, 3)
    assert [axis.at(v) for v in (-1, 0, 1, 3, -9, 9)] == [0, 25, 50, 100, 0, 100]
    assert [axis.beyond(v) for v in (-1, 3, -1.1, 3.1)] == ["", "", "left", "right"]


@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS).map(sorted), max_size=5))
def test_a_score_axis_always_shows_floor_and_ceiling_well_apart(found: list[list[float]]) -> None:
    axis = score_axis([estimate(*three) for three in found])
    assert axis.at(0) > 0 and axis.at(1) < 100
    assert axis.at(1) - axis.at(0) > 40
    for low, _, high in found:
        if low >= -0.5 and high <= 1.75:
            assert not axis.beyond(low) and not axis.beyond(high)


def test_an_axis_from_zero_shows_its_largest_value() -> None:
    assert axis_from_zero([3, 7]).at(7) == pytest.approx(100 / 1.05, abs=0.01)
    assert axis_from_zero([0.0, 0.0]).at(0) == axis_from_zero([]).at(0) == 0


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [([0.31, 0.66], 0.3, 0.7), ([0.3, 0.7], 0.3, 0.7), ([0.0, 0.25], 0.0, 0.3), ([1.0, 1.0], 1.0, 1.2)],
)
def test_tenths_hold_all_values_and_end_at_tenths(values: list[float], low: float, high: float) -> None:
    axis = tenths(values)
    assert (axis.low, axis.high) == (pytest.approx(low), pytest.approx(high))


@given(st.lists(NUMBERS, max_size=5))
def test_an_axis_around_zero_has_zero_in_its_middle_and_hides_nothing(values: list[float]) -> None:
    axis = around_zero(values)
    assert axis.at(0) == 50
    assert not any(axis.beyond(v) for v in values if abs(v) > 1e-6)


def test_lanes_share_the_height_and_the_author_has_the_last() -> None:
    two = tuple(Lane("twin", "Twin", estimate(0, 0.5, 1)) for _ in range(2))
    assert [Small("t", "n", Axis(0, 1), two).height(i) for i in (0, 1)] == [25, 75]
    with_author = Small("t", "n", Axis(0, 1), two, author=1.0)
    assert with_author.lines == 3
    assert [with_author.height(i) for i in range(3)] == [16.67, 50, 83.33]


def test_a_dot_stands_over_what_was_said_and_as_high_as_what_was_so() -> None:
    bins = [
        Bin(low=0.0, high=0.1, predicted=0.02, observed=0.1, texts=100),
        Bin(low=0.5, high=0.6, predicted=0.55, observed=1.0, texts=25),
        Bin(low=0.9, high=1.0, predicted=0.95, observed=0.0, texts=1),
    ]
    dots = reliability(bins)
    assert [(d.x, d.y) for d in dots] == [(2, 90), (55, 0), (95, 100)]
    assert [d.radius for d in dots] == [10, 5, 3]  # area by texts, and none too small to see
    assert reliability([]) == ()


def test_spots_stand_in_the_middle_of_their_columns() -> None:
    found = spots([estimate(0.6, 0.7, 0.9), None], Axis(0.5, 1.0))
    assert [(s.x, s.y, s.low, s.high) for s in found] == [(25, 60, 80, 20)]
    assert spots([estimate(0, 0, 0)], Axis(0, 1), aside=0.1)[0].x == 60


def test_a_curve_runs_from_upper_left_to_lower_right() -> None:
    drawn = curve([(10, 4.0), (20, 3.0), (40, 2.0)])
    assert drawn.points == "0.00,0.00 33.33,50.00 100.00,100.00"
    assert (drawn.low, drawn.high, drawn.smooth) == (2.0, 4.0, "")
    assert drawn.rows == ((10, 4.0), (20, 3.0), (40, 2.0))


def test_where_a_curve_began_and_ended_is_no_single_steps_affair() -> None:
    drawn = curve([(i, 4.0 - i / 20 + (3 if i in (0, 39) else 0)) for i in range(40)])
    assert drawn.tenth == 4
    assert drawn.began == pytest.approx(np.mean([7.0, 3.95, 3.9, 3.85]))
    assert drawn.ended == pytest.approx(np.mean([2.2, 2.15, 2.1, 5.05]))
    assert (curve([(5, 2.0)]).began, curve([(5, 2.0)]).tenth) == (2.0, 1)


def test_one_point_and_a_flat_line_are_curves_too() -> None:
    assert curve([(5, 2.0)]).points == "0.00,0.00"
    assert curve([(1, 2.0), (2, 2.0)]).points == "0.00,0.00 100.00,0.00"


def test_a_long_curve_is_smoothed_and_its_table_is_short() -> None:
    drawn = curve([(i, 10.0 - i % 2) for i in range(100)])
    heights = [float(pair.split(",")[1]) for pair in drawn.smooth.split()]
    assert len(heights) == 100
    assert all(40 < height < 60 for height in heights)
    assert len(drawn.rows) == 10
    assert (drawn.rows[0], drawn.rows[-1]) == ((0, 10.0), (99, 9.0))


def test_the_running_mean_by_hand() -> None:
    assert running_mean([1, 2, 3, 10], 1) == [1.5, 2, 5, 6.5]
    assert running_mean([1, 5], 0) == [1, 5]
