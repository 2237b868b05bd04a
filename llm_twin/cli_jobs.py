"""`twin jobs …`: the jobs of the workspace's own queue, beside a server that runs, or without one.

Whoever has the workspace sees the jobs of every key. Not covered: making jobs, which is the API's (`POST /jobs`).
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llm_twin.front import HOME, Home, Json, result, showing, table_of, workspace_at

if TYPE_CHECKING:
    from llm_twin.ports import Queue
    from llm_twin.show import Show

app = typer.Typer(help="Many questions at once: how far they are.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(help="The job's id.", metavar="ID")]


@app.command("list", epilog="Example: twin jobs list --home my-twin")
def list_jobs(home: Home = HOME, as_json: Json = False) -> None:
    """All jobs, the newest first."""
    from llm_twin.serving.orders import JobLine

    with _queue_of(home, as_json) as (queue, show):
        rows = [JobLine.of(job).model_dump(mode="json") for job in reversed(queue.jobs())]
        table_of(show, rows, ("id", "state", "done", "total", "created"))


@app.command(epilog="Example: twin jobs show 0b3f… --home my-twin")
def show(job: Id, home: Home = HOME, as_json: Json = False) -> None:
    """How far a job is, and its answers."""
    from llm_twin.serving.orders import JobWhole

    with _queue_of(home, as_json) as (queue, show):
        whole = JobWhole.read(home / "jobs", queue.job(job))
        error = f": {whole.error}" if whole.error else ""
        lines = [f"{whole.state}, {whole.done} of {whole.total}{error}"]
        lines += [f"\n{answer.number}. {answer.question}\n{answer.text}" for answer in whole.answers]
        result(show, whole.model_dump(mode="json"), "\n".join(lines))


@app.command(epilog="Example: twin jobs cancel 0b3f… --home my-twin")
def cancel(job: Id, home: Home = HOME, as_json: Json = False) -> None:
    """A queued job never runs; a running one ends after the answers it is at."""
    with _queue_of(home, as_json) as (queue, show):
        found = queue.cancel(job)
        said = "cancelled" if found.state == "cancelled" else "ends after the answers it is at"
        result(show, {"id": job, "state": found.state}, f"{job}: {said}")


@app.command(epilog="Example: twin jobs retry 0b3f… --home my-twin")
def retry(job: Id, home: Home = HOME, as_json: Json = False) -> None:
    """Queue a failed or cancelled job again; what it answered stays."""
    with _queue_of(home, as_json) as (queue, show):
        found = queue.retry(job)
        result(show, {"id": job, "state": found.state}, f"{job}: queued; a running `twin serve` answers it")


@contextmanager
def _queue_of(home: Path, as_json: bool) -> "Iterator[tuple[Queue, Show]]":
    """The queue, and where to show what it holds. It is not worked at here."""
    from llm_twin import wiring

    with showing(as_json) as show, closing(wiring.open_queue(workspace_at(home))) as queue:
        yield queue, show
