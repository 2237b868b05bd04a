"""What every command shares: errors as messages and exit codes, a locked workspace, results as tables or JSON."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
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


@contextmanager
def part_of(context: typer.Context, home: Path, as_json: bool) -> "Iterator[tuple[Workspace, Show]]":
    """The workspace of a subcommand and where to show results; --home and --json may stand before it as well.

    A workspace that is not there is an InputError: a mistyped --home must not look like an empty one.
    """
    from llm_twin.errors import InputError
    from llm_twin.settings import CONFIG

    above = context.parent
    with showing(as_json or bool(above and above.params["as_json"])) as show:
        home = home_of(context, home)
        if not any((home / each).exists() for each in (CONFIG, "evaluations")):
            raise InputError(
                f"there is no workspace at {home}", f'make one: twin init "Your Name" --home {home}'
            )
        yield workspace_at(home), show


def home_of(context: typer.Context, home: Path) -> Path:
    """The workspace of a subcommand, named behind it or before; InputError for two different ones."""
    from llm_twin.errors import InputError

    above = context.parent
    if not above or not _given(above.get_parameter_source("home")):
        return home
    before: Path = above.params["home"]
    if _given(context.get_parameter_source("home")) and before != home:
        raise InputError(f"--home {before} does not go with --home {home}", "leave one of the two out")
    return before


def check_options(
    context: typer.Context, goes_with: Mapping[str, tuple[str, ...]], needs: Mapping[str, str]
) -> None:
    """Raise InputError for an option that would be passed over, naming it and what it does not go with.

    `goes_with` holds the options that choose what is done, the first that is given wins, each with those that go
    with it; "" is for none of them. `needs` holds options that mean nothing without another. A subcommand takes none of
    them. --home and --json go with everything.
    """
    from llm_twin.errors import InputError

    said = [name for name in context.params if _given(context.get_parameter_source(name))]
    given = [name for name in said if name not in ("home", "as_json")]
    way = next((name for name in goes_with if name in given), "")
    chosen = context.invoked_subcommand or (_option(way) if way else "")
    taken = () if context.invoked_subcommand else (way, *goes_with[way])
    for name in given:
        if chosen and name not in taken:
            raise InputError(f"{_option(name)} does not go with {chosen}", "leave one of the two out")
        needed = needs.get(name, name)
        if needed not in given:
            raise InputError(f"{_option(name)} needs {_option(needed)}", "give both, or neither")


def _given(source: Enum | None) -> bool:
    """Whether a value comes from the command line: the environment may hold TWIN_HOME for every command."""
    return source is not None and source.name == "COMMANDLINE"


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


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
    from rich.text import Text

    table = Table(*columns)
    for row in rows:
        table.add_row(*(Text(str(row[column])) for column in columns))
    show.out.print(table)
