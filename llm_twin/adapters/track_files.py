"""A Tracker that keeps a training run's metrics in its folder: metrics.jsonl, and loss.svg at the end.

Promises: a step is on disk when `log` returns; each step is in the file once, in order, also after a kill
and a resume; drawing leaves no trace in matplotlib's global state. Does not cover: two processes that
write to the same run.
"""

import json
import math
import os
from pathlib import Path
from typing import Any

from llm_twin.errors import InputError, TwinError
from llm_twin.files import sync_folder, write_lines, write_text

METRICS, PLOT = "metrics.jsonl", "loss.svg"
_SMOOTHING = 0.9


class FileTracker:
    """Metrics of one run in `run/metrics.jsonl`, a line a step: {"step": 1, "loss": 2.5, ...}."""

    def __init__(self, run: Path) -> None:
        run.mkdir(parents=True, exist_ok=True)
        self.path, self.plot = run / METRICS, run / PLOT
        self._rows = read_metrics(self.path) if self.path.exists() else []
        self._finished = False
        self._rewrite()

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Append the metrics of one step. Steps from this one on are of a part that was lost: they go.

        Raises TwinError after `finish`, and when the disk does not take the line.
        """
        if self._finished:
            raise TwinError(f"{self.path} is finished and takes no step {step}")
        row = {"step": step, **metrics}
        try:
            if self._rows and self._rows[-1]["step"] >= step:
                self._rows = [earlier for earlier in self._rows if earlier["step"] < step]
                self._rewrite()
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(row) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise TwinError(f"{self.path} cannot be written: {error.strerror}", "Free some space.") from error
        self._rows.append(row)

    def finish(self) -> None:
        """Draw the losses that were logged; nothing is drawn when none were. Calling it twice is harmless."""
        if not self._finished and any("loss" in row for row in self._rows):
            write_text(self.plot, draw([row for row in self._rows if "loss" in row]))
        self._finished = True

    def _rewrite(self) -> None:
        write_lines(self.path, map(_line, self._rows))
        sync_folder(self.path.parent)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Rows of a metrics.jsonl, by step. A last line that a kill cut short is left out.

    What was not a finite number is NaN. Raises InputError, naming the line, for any other damage.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    rows = []
    for number, line in enumerate(lines[:-1], start=1):  # what stands after the last line feed is cut short
        try:
            row = json.loads(line)
            rows.append({"step": int(row.pop("step")), **{k: _number(v) for k, v in row.items()}})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f"{path}, line {number}, is not a step's metrics",
                "Delete the file: the run goes on and starts a new one.",
            ) from error
    return rows


def smoothed(losses: list[float]) -> list[float]:
    """Exponential moving average, corrected for its start (Kingma and Ba 2015, section 3). NaN is passed over."""
    average, weight, result = 0.0, 0.0, []
    for loss in losses:
        if math.isfinite(loss):
            average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
            weight = _SMOOTHING * weight + (1 - _SMOOTHING)
        result.append(average / weight if weight else math.nan)
    return result


def draw(rows: list[dict[str, Any]]) -> str:
    """The SVG of loss, smoothed loss and, on an axis of its own, learning rate over steps."""
    from io import StringIO

    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    steps, losses = [row["step"] for row in rows], [row["loss"] for row in rows]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasSVG(figure)
    left = figure.add_subplot()
    right = left.twinx()
    dot = "." if len(rows) < 3 else ""  # a line through one point is not seen
    lines = left.plot(steps, losses, color="tab:blue", alpha=0.35, linewidth=1, marker=dot, label="loss")
    lines += left.plot(steps, smoothed(losses), color="tab:blue", linewidth=2, label="loss, smoothed")
    rates = [row.get("learning_rate", math.nan) for row in rows]
    lines += right.plot(steps, rates, color="tab:orange", linewidth=1, linestyle="--", label="learning rate")
    left.set(xlabel="step", ylabel="loss (nats per token)", title="Training loss")
    left.grid(alpha=0.25)
    left.set_zorder(right.get_zorder() + 1)
    left.patch.set_visible(False)
    right.set_ylabel("learning rate")
    right.set_ylim(bottom=0)
    right.ticklabel_format(axis="y", style="scientific", scilimits=(0, 0))
    left.legend(handles=lines, loc="upper right", frameon=False)
    out = StringIO()
    # Text as text, and the same bytes for the same run.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "loss"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def _line(row: dict[str, Any]) -> str:
    finite = {k: v if math.isfinite(v) else None for k, v in row.items()}
    return json.dumps(finite, allow_nan=False)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
