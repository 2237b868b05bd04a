"""How the command line speaks: progress and reports, for people in a terminal, in a pipe, or as JSON.

In a terminal one live display holds a bar per step; elsewhere a plain line comes every few seconds. With
`--json` everything but the result goes to standard error.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from llm_twin.errors import TwinError
from llm_twin.inference.tracing import Trace
from llm_twin.ports import Progress
from llm_twin.types import Answer, StageReport

_PLAIN_SECONDS = 5.0
_SKIPPED_SHOWN = 8


class Show:
    """Standard output for results, standard error for everything on the way there."""

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self.out = Console(highlight=False, soft_wrap=True)
        self.err = Console(stderr=True, highlight=False, soft_wrap=True)
        self._live: Any = None

    @contextmanager
    def progress(self) -> Iterator[Any]:
        """`with show.progress() as stage: collect(..., progress=stage("collect"))`."""
        if not self.err.is_terminal:
            yield self._plain
            return
        from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        columns = (
            SpinnerColumn(),
            TextColumn("[bold]{task.fields[stage]}[/]"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
        )
        with Bars(*columns, console=self.err, transient=True) as self._live:
            yield self._bars

    def _bars(self, stage: str) -> Progress:
        tasks: dict[str, Any] = {}

        def show(done: int, total: int, note: str = "") -> None:
            label = escape(note)
            if stage not in tasks:
                tasks[stage] = self._live.add_task(label, stage=stage, total=total or None)
            self._live.update(tasks[stage], completed=done, total=total or None, description=label)

        return show

    def _plain(self, stage: str) -> Progress:
        last_time, last_note = 0.0, ""

        def show(done: int, total: int, note: str = "") -> None:
            nonlocal last_time, last_note
            now = time.monotonic()
            ends = bool(total) and done >= total and note != last_note
            if now - last_time < _PLAIN_SECONDS and not ends:
                return
            last_time, last_note = now, note
            amount = f"{done}/{total} " if total else ""
            self.err.print(f"{stage}: {amount}{note}", markup=False)

        return show

    def report(self, report: StageReport) -> None:
        """What a stage did."""
        if self.as_json:
            self.json(report.model_dump(mode="json"))
            return
        table = Table(
            title=f"{report.stage} · {report.seconds:.1f} s", title_justify="left", show_header=False
        )
        for name, value in report.counts.items():
            table.add_row(escape(name), escape(f"{value:,}" if isinstance(value, int) else str(value)))
        self.out.print(table)
        for item in report.skipped[:_SKIPPED_SHOWN]:
            self.out.print(f"  skipped {item.what}: {item.why}", markup=False, style="yellow")
        if len(report.skipped) > _SKIPPED_SHOWN:
            self.out.print(f"  … and {len(report.skipped) - _SKIPPED_SHOWN} more (all with --json)")
        for path in report.artefacts:
            self.out.print(f"  → {path}", markup=False, style="cyan")

    def answer(self, answer: Answer, shown: bool = False, trace: Trace | None = None) -> None:
        """An answer and its sources, and how it came about; `shown` when its text was streamed already."""
        if self.as_json:
            way = {"trace": trace.model_dump(mode="json")} if trace else {}
            self.json({**answer.model_dump(mode="json"), **way})
            return
        if not shown:
            self.out.print(answer.text, markup=False)
        for citation in answer.citations:
            place = citation.url or citation.document_id
            self.out.print(f"  [{citation.number}] {citation.title} · {place}", markup=False, style="cyan")

        if trace:
            self._trace(trace)

    def _trace(self, trace: Trace) -> None:
        table = Table(title=f"first word after {trace.first_token_ms or 0:.0f} ms", title_justify="left")
        for column in ("step", "ms", "what came of it"):
            table.add_column(column, justify="right" if column == "ms" else "left")
        for step in trace.steps:
            table.add_row(step.name, f"{step.milliseconds:.1f}", escape(step.said))
        table.add_row("all", f"{trace.total_ms:.1f}", "")
        self.out.print(table)

    def json(self, value: Any) -> None:
        """One JSON value on standard output."""
        sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=1) + "\n")

    def error(self, error: TwinError) -> None:
        """What went wrong, and the way out."""
        if self.as_json:
            self.json({"error": str(error), "way_out": error.way_out})
        self.err.print(f"error: {error}", markup=False, style="bold red")
        if error.way_out:
            self.err.print(f"  → {error.way_out}", markup=False)
