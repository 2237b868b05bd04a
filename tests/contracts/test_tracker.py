"""What every Tracker promises. A new adapter joins with one line in TRACKERS: how to open it, how to read it."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_twin.adapters.track_files import METRICS, FileTracker, read_metrics
from llm_twin.errors import TwinError
from llm_twin.ports import Tracker

Rows = list[tuple[int, dict[str, float]]]


class Adapter(NamedTuple):
    open: Callable[[Path], Tracker]
    read: Callable[[Path], Rows]


def lines(run: Path) -> Rows:
    rows = read_metrics(run / METRICS)
    return [(row.pop("step"), row) for row in rows]


TRACKERS = {"files": Adapter(FileTracker, lines)}


@pytest.fixture(params=TRACKERS)
def adapter(request: pytest.FixtureRequest) -> Adapter:
    return TRACKERS[request.param]


def test_what_is_logged_can_be_read_at_once_and_after_the_end(adapter: Adapter, tmp_path: Path) -> None:
    tracker = adapter.open(tmp_path)
    tracker.log(1, {"loss": 2.5, "learning_rate": 1e-4})
    assert adapter.read(tmp_path) == [(1, {"loss": 2.5, "learning_rate": 1e-4})]
    tracker.log(2, {"loss": 0.1 + 0.2})
    expected = [(1, {"loss": 2.5, "learning_rate": 1e-4}), (2, {"loss": 0.1 + 0.2})]
    tracker.finish()
    assert adapter.read(tmp_path) == expected


def test_steps_logged_again_after_a_resume_take_the_place_of_the_lost_ones(
    adapter: Adapter, tmp_path: Path
) -> None:
    killed = adapter.open(tmp_path)
    for step in range(1, 6):
        killed.log(step, {"loss": float(step)})
    resumed = adapter.open(tmp_path)
    assert [step for step, _ in adapter.read(tmp_path)] == [1, 2, 3, 4, 5]
    resumed.log(4, {"loss": 40.0})
    assert adapter.read(tmp_path) == [
        (1, {"loss": 1.0}),
        (2, {"loss": 2.0}),
        (3, {"loss": 3.0}),
        (4, {"loss": 40.0}),
    ]


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=1, max_size=6))
def test_each_step_is_there_once_and_is_its_last_version(
    adapter: Adapter, tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[int, int]]
) -> None:
    run = tmp_path_factory.mktemp("run")
    expected: dict[int, float] = {}
    for part, (start, length) in enumerate(parts):
        tracker = adapter.open(run)
        for step in range(start, start + length):
            tracker.log(step, {"part": float(part)})
        expected = {s: p for s, p in expected.items() if s < start}
        expected |= dict.fromkeys(range(start, start + length), float(part))
    assert adapter.read(run) == [(step, {"part": part}) for step, part in sorted(expected.items())]


def test_a_loss_that_is_no_number_is_kept_as_such(adapter: Adapter, tmp_path: Path) -> None:
    tracker = adapter.open(tmp_path)
    tracker.log(1, {"loss": float("nan"), "grad_norm": float("inf")})
    tracker.finish()
    ((step, metrics),) = adapter.read(tmp_path)
    assert step == 1
    assert metrics.keys() == {"loss", "grad_norm"}
    assert metrics["loss"] != metrics["loss"]


def test_the_end_is_the_end(adapter: Adapter, tmp_path: Path) -> None:
    tracker = adapter.open(tmp_path)
    tracker.log(1, {"loss": 1.0})
    tracker.finish()
    tracker.finish()
    with pytest.raises(TwinError):
        tracker.log(2, {"loss": 1.0})
    assert [step for step, _ in adapter.read(tmp_path)] == [1]


def test_a_run_may_end_with_nothing_logged(adapter: Adapter, tmp_path: Path) -> None:
    adapter.open(tmp_path).finish()
    assert adapter.read(tmp_path) == []
