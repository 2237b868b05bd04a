"""What every command shares: errors as messages and exit codes, a locked workspace, results as tables or JSON."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from llm_twin.show import Show
    from llm_twin.workspace import Workspace

Home = Annotated[Path, typer.Option(envvar="TWIN_HOME", help="The workspace folder.", show_default=True)]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
HOME = Path(".twin")


@contextmanager
def showing(as_json: bool) -> Iterator["Show"]:
    """Turn errors into a message and an exit code; anything unforeseen keeps its traceback."""
    from llm_twin.errors import InputError, TwinError
    from llm_twin.show import Show

    show = Show(as_json)
    try:
        yield show
    except TwinError as error:
        show.error(error)
        raise typer.Exit(2 if isinstance(error, InputError) else 1) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        show.error(
            TwinError(f"{where}{error.strerror or error}", "what was finished is kept: run the command again")
        )
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        show.error(TwinError("stopped", "run the command again: it goes on where it stood"))
        raise typer.Exit(1) from error


@contextmanager
def stage_of(home: Path, as_json: bool, stage: str) -> "Iterator[tuple[Workspace, Show, Any]]":
    """A locked workspace, where to show results, and a progress for one stage."""
    with showing(as_json) as show:
        workspace = workspace_at(home)
        with workspace.locked(), show.progress() as progress:
            yield workspace, show, progress(stage)


def workspace_at(home: Path) -> "Workspace":
    """The workspace of `home` with its settings."""
    from llm_twin.settings import load
    from llm_twin.workspace import Workspace

    return Workspace(home, load(home))


def result(show: "Show", value: Any, text: str) -> None:
    """Show `value` as JSON where that was asked for, else `text`."""
    if show.as_json:
        show.json(value)
    else:
        show.out.print(text, markup=False)


def table_of(show: "Show", rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    """Show `rows` as a table of `columns`, or as JSON with all they hold."""
    if show.as_json:
        show.json(rows)
        return
    from rich.table import Table

    table = Table(*columns)
    for row in rows:
        table.add_row(*(str(row[column]) for column in columns))
    show.out.print(table)
