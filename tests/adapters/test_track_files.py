import math
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from llm_twin.adapters.track_files import METRICS, PLOT, FileTracker, read_metrics, smoothed
from llm_twin.errors import InputError, TwinError

SVG = "{http://www.w3.org/2000/svg}"


def steps(path: Path) -> list[int]:
    return [row["step"] for row in read_metrics(path / METRICS)]


@pytest.mark.parametrize("tail", ['{"step": 3, "lo', '{"step": 3, "loss": 1.0}', "{", "\0\0\0"])
def test_a_line_cut_short_is_dropped_when_the_run_goes_on(tmp_path: Path, tail: str) -> None:
    tracker = FileTracker(tmp_path)
    tracker.log(1, {"loss": 2.0})
    tracker.log(2, {"loss": 1.5})
    with (tmp_path / METRICS).open("a") as file:
        file.write(tail)
    resumed = FileTracker(tmp_path)
    assert steps(tmp_path) == [1, 2]
    resumed.log(3, {"loss": 1.0})
    assert (tmp_path / METRICS).read_text() == (
        '{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.5}\n{"step": 3, "loss": 1.0}\n'
    )


@pytest.mark.parametrize("line", ["[1]", "{}", '{"step": "one"}', '{"step": 1, "loss": "low"}', "loss 2"])
def test_damage_elsewhere_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / METRICS).write_text('{"step": 0}\n' + line + '\n{"step": 2}\n')
    with pytest.raises(InputError, match=r"metrics\.jsonl, line 2"):
        FileTracker(tmp_path)


def test_a_killed_run_loses_no_step_that_was_logged(tmp_path: Path) -> None:
    program = (
        "import itertools, sys; from pathlib import Path\n"
        "from llm_twin.adapters.track_files import FileTracker\n"
        "tracker = FileTracker(Path(sys.argv[1]))\n"
        "for step in itertools.count(1):\n"
        "    tracker.log(step, {'loss': 1.0}); print(step, flush=True)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, text=True)
    with run:
        assert run.stdout is not None
        for _ in range(20):
            run.stdout.readline()
        run.kill()
        said = 20 + len([line for line in run.stdout.read().split("\n") if line])
    logged = steps(tmp_path)
    assert logged == list(range(1, len(logged) + 1))
    assert said - 1 <= len(logged) <= said + 1


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = FileTracker(tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TwinError, match=r"metrics\.jsonl cannot be written: No space"):
        tracker.log(1, {"loss": 1.0})


def test_the_plot_shows_loss_smoothed_loss_and_learning_rate(tmp_path: Path) -> None:
    tracker = FileTracker(tmp_path)
    for step in range(1, 51):
        tracker.log(step, {"loss": 3 - step / 50, "learning_rate": 1e-4 * step})
    assert not (tmp_path / PLOT).exists()
    tracker.finish()
    root = ET.parse(tmp_path / PLOT).getroot()
    texts = {"".join(element.itertext()).strip() for element in root.iter(SVG + "text")}
    assert {"loss", "loss, smoothed", "learning rate", "step", "Training loss"} <= texts
    assert "50" in texts  # the last step is on the axis
    curves = [path.get("d", "").count("L") for path in root.iter(SVG + "path")]
    assert curves.count(49) >= 2  # the losses fall straight, and paths of 50 points are kept whole


@pytest.mark.parametrize("losses", [[2.0], [math.nan, math.nan], [2.0, math.nan, 1.0], [math.inf, 1.0]])
def test_few_and_broken_losses_are_drawn_without_complaint(tmp_path: Path, losses: list[float]) -> None:
    tracker = FileTracker(tmp_path)
    for step, loss in enumerate(losses):
        tracker.log(step, {"loss": loss})
    tracker.finish()
    ET.parse(tmp_path / PLOT)


def test_the_same_run_draws_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        tracker = FileTracker(tmp_path / name)
        tracker.log(1, {"loss": 2.0, "learning_rate": 1e-3})
        tracker.log(2, {"loss": 1.0, "learning_rate": 1e-3})
        tracker.finish()
        time.sleep(0.01)
    assert (tmp_path / "a" / PLOT).read_bytes() == (tmp_path / "b" / PLOT).read_bytes()


def test_drawing_leaves_matplotlib_as_it_was(tmp_path: Path) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    tracker = FileTracker(tmp_path)
    tracker.log(1, {"loss": 2.0})
    tracker.finish()
    assert dict(matplotlib.rcParams) == before
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def test_a_run_without_losses_draws_nothing(tmp_path: Path) -> None:
    tracker = FileTracker(tmp_path)
    tracker.log(1, {"tokens_per_second": 80.0})
    tracker.finish()
    assert not (tmp_path / PLOT).exists()


def test_smoothing_starts_at_the_first_loss_and_passes_over_gaps() -> None:
    assert smoothed([2.0, 2.0, 2.0]) == pytest.approx([2.0, 2.0, 2.0])
    assert smoothed([math.nan, 4.0, math.nan])[1:] == pytest.approx([4.0, 4.0])
    # By hand: (0.09 * 1 + 0.1 * 3) / (0.09 + 0.1).
    assert smoothed([1.0, 3.0])[1] == pytest.approx(0.39 / 0.19)
