"""What a twin was made of and how it did, for the page: the dataset, training runs while they run, evaluations.

Files are read when they are asked for, since another process may be at work on them. All of it is the author's: a key
that does not see the author's writing sees none of it. Not covered: changing anything.
"""

import json
from collections.abc import Callable
from math import isfinite, nan
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from llm_twin.adapters.track_files import METRICS, read_metrics
from llm_twin.errors import InputError, TwinError
from llm_twin.evaluation.report import Report
from llm_twin.evaluation.runs import Diff, RunRow, diff, find, listed
from llm_twin.reading import read_samples
from llm_twin.serving.refusals import Refusal, declared
from llm_twin.serving.room import Room
from llm_twin.serving.visitor import Authors, Seen, may_see
from llm_twin.types import Sample, Skipped, Value
from llm_twin.workspace import Workspace

T = TypeVar("T")
REPORT_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""A report is one file with its own styles, and no script of it may run."""
_PAGE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/html": {"schema": {"type": "string"}}}, "description": "The report's page"}
}
_CURVE = ("step", "loss", "learning_rate", "tokens_per_second")

Limit = Annotated[int, Query(ge=1, le=200)]
Offset = Annotated[int, Query(ge=0, le=10_000_000)]


class DatasetSummary(Value):
    """The dataset in numbers, and what was left out of it and why."""

    author: str
    counts: dict[str, int | float | str]
    dropped: tuple[Skipped, ...]


class SamplePage(Value):
    """Some samples, in the dataset's order; `total` is how many there are on that side."""

    total: int
    samples: tuple[Sample, ...]


class TrainingRun(Value):
    """A training run; `finished` is None while it runs, or where it was broken off."""

    id: str
    recipe: dict[str, Any]
    finished: dict[str, Any] | None
    steps: int


class TrainingRuns(Value):
    """All of them, the newest first."""

    runs: tuple[TrainingRun, ...]


class Curve(Value):
    """Points of a run behind the step that was asked for: step, loss, learning rate, tokens a second."""

    id: str
    finished: bool
    points: tuple[tuple[int, float, float, float], ...]


class Reports(Value):
    """Evaluations, the newest first."""

    reports: tuple[RunRow, ...]


class Records:
    """The files of one workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.evaluations = workspace.home / "evaluations"

    def check(self, seen: Authors) -> None:
        """Raise Refusal (403) for who may not see the author's writing."""
        author = self._workspace.author
        if not may_see(seen, author):
            raise Refusal(403, "this key does not see the twin's author", "author_not_allowed")

    def dataset(self) -> DatasetSummary:
        """Raises Refusal (404) before there is one."""
        finished = self._workspace.finished("dataset")
        if finished is None:
            raise Refusal(404, "there is no dataset yet: twin dataset", "no_dataset")
        report = finished.report
        return DatasetSummary(author=self._workspace.author, counts=report.counts, dropped=report.skipped)

    def samples(self, side: str | None, limit: int, offset: int) -> SamplePage:
        """Raises Refusal (404) before there is a dataset."""
        try:
            found = [s for s in read_samples(self._workspace) if side in (None, s.split)]
        except InputError as error:
            raise Refusal(404, str(error), "no_dataset") from error
        return SamplePage(total=len(found), samples=tuple(found[offset : offset + limit]))

    def runs(self) -> TrainingRuns:
        """By when they began, the newest first."""
        folders = list((self._workspace.home / "runs").glob("*/config.json"))
        folders.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        return TrainingRuns(runs=tuple(self._run(path.parent) for path in folders))

    def curve(self, run: str, after: int) -> Curve:
        """Raises Refusal (404) for a run that there is not."""
        folder = self._workspace.home / "runs" / run
        if folder.parent != self._workspace.home / "runs" or not (folder / "config.json").exists():
            raise Refusal(404, f"there is no run {run!r}", "run_not_found", "run_id")
        points = [row for row in _metrics(folder) if row[0] > after]
        return Curve(id=run, finished=(folder / "trained.json").exists(), points=tuple(points))

    def report(self, beginning: str) -> str:
        """The page of an evaluation; Refusal (404) where there is none."""
        name, _ = self._evaluation(beginning)
        return (self.evaluations / name / "report.html").read_text(encoding="utf-8")

    def compare(self, a: str, b: str) -> Diff:
        """Two evaluations side by side; Refusal (404) where one is not there."""
        return diff(self._evaluation(a), self._evaluation(b))

    def _evaluation(self, beginning: str) -> tuple[str, Report]:
        try:
            return find(self.evaluations, beginning)
        except InputError as error:
            raise Refusal(404, str(error), "report_not_found", "report_id") from error

    def _run(self, folder: Path) -> TrainingRun:
        trained = folder / "trained.json"
        points = _metrics(folder)
        return TrainingRun(
            id=folder.name,
            recipe=json.loads((folder / "config.json").read_text(encoding="utf-8")),
            finished=json.loads(trained.read_text(encoding="utf-8")) if trained.exists() else None,
            steps=points[-1][0] if points else 0,
        )


def _metrics(folder: Path) -> list[tuple[int, float, float, float]]:
    """What was logged so far; a step whose figures are not finite, or lack, has no place on a curve."""
    path = folder / METRICS
    try:
        rows = read_metrics(path) if path.exists() else []
    except InputError as error:  # whoever looks at the page cannot put it right
        raise TwinError(str(error), error.way_out) from error
    points = [tuple(row.get(name, nan) for name in _CURVE) for row in rows]
    return [point for point in points if all(map(isfinite, point))]


def record_routes(records: Records, room: Room) -> APIRouter:
    """The routes over `records`; files are read in `room`."""
    router = APIRouter(tags=["records"])

    async def read(do: Callable[[], T], seen: Authors, request: Request) -> T:
        records.check(seen)
        return await room.one(do, request)

    @router.get("/dataset", responses=declared(404, 429))
    async def dataset(request: Request, seen: Seen) -> DatasetSummary:
        """The dataset that the twin was trained on, in numbers."""
        return await read(records.dataset, seen, request)

    @router.get("/dataset/samples", responses=declared(404, 429))
    async def samples(
        request: Request,
        seen: Seen,
        split: Literal["train", "test"] | None = None,
        limit: Limit = 20,
        offset: Offset = 0,
    ) -> SamplePage:
        """Its samples, a page at a time."""
        return await read(lambda: records.samples(split, limit, offset), seen, request)

    @router.get("/runs", responses=declared(429))
    async def runs(request: Request, seen: Seen) -> TrainingRuns:
        """Training runs."""
        return await read(records.runs, seen, request)

    @router.get("/runs/{run_id}", responses=declared(404, 429))
    async def curve(
        run_id: str, request: Request, seen: Seen, after: Annotated[int, Query(ge=0, le=10_000_000)] = 0
    ) -> Curve:
        """A run's loss, from the step behind `after` on: ask again to follow it."""
        return await read(lambda: records.curve(run_id, after), seen, request)

    @router.get("/reports", responses=declared(429))
    async def reports(request: Request, seen: Seen) -> Reports:
        """Evaluations."""
        rows = await read(lambda: listed(records.evaluations), seen, request)
        return Reports(reports=tuple(rows))

    @router.get("/reports/{report_id}", responses={**declared(404, 429), **_PAGE}, response_model=None)
    async def report(report_id: str, request: Request, seen: Seen) -> HTMLResponse:
        """An evaluation's page, whole."""
        page = await read(lambda: records.report(report_id), seen, request)
        return HTMLResponse(page, headers={"content-security-policy": REPORT_POLICY})

    @router.get("/reports/{report_id}/against/{other_id}", responses=declared(404, 429))
    async def against(report_id: str, other_id: str, request: Request, seen: Seen) -> Diff:
        """Two evaluations side by side."""
        return await read(lambda: records.compare(report_id, other_id), seen, request)

    return router
