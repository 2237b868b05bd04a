"""`twin serve` and `twin key …`."""

from typing import Annotated

import typer

from llm_twin.front import HOME, Home, Json, result, showing, table_of, workspace_at

key_app = typer.Typer(help="API keys of `twin serve`, and whose writing each may see.", no_args_is_help=True)


def serve(
    host: Annotated[
        str | None, typer.Option(help="Where to listen; beyond this machine, a key is needed.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="0 takes a free one.")] = None,
    mode: Annotated[str, typer.Option(help='"write", "quote", or as twin.toml says.')] = "",
    max_concurrent: Annotated[int | None, typer.Option(min=1, help="Answers written at once.")] = None,
    queue: Annotated[int | None, typer.Option(min=0, help="How many may wait; one more gets 429.")] = None,
    home: Home = HOME,
) -> None:
    """Serve the twin over HTTP: OpenAI's API, search, documents, feedback."""
    from llm_twin.errors import InputError
    from llm_twin.serving.app import Options, create_app
    from llm_twin.serving.app import serve as run

    with showing(False) as show:
        if mode not in ("", "write", "quote"):
            raise InputError(f"there is no mode {mode}", "choose write or quote")
        workspace = workspace_at(home)
        settings = workspace.settings.serve
        options = Options(
            host=settings.host if host is None else host,
            mode=mode,
            max_concurrent=max_concurrent or settings.max_concurrent,
            queue=settings.queue if queue is None else queue,
            cors=settings.cors,
        )
        with show.progress() as progress:
            app = create_app(workspace, options, progress("models"))
        run(
            app,
            options.host,
            settings.port if port is None else port,
            lambda url: show.out.print(f"serving at {url} (OpenAI's API at {url}/v1); Ctrl-C ends"),
        )


def mcp(
    mode: Annotated[str, typer.Option(help='"write", "quote", or as twin.toml says.')] = "",
    home: Home = HOME,
) -> None:
    """Serve the twin to assistants that speak MCP: ask, search_writing, draft_in_voice."""
    from contextlib import closing

    from llm_twin.asker import Asker
    from llm_twin.errors import InputError

    with showing(False) as show:  # errors and progress on standard error: output belongs to the protocol
        if mode not in ("", "write", "quote"):
            raise InputError(f"there is no mode {mode}", "choose write or quote")
        from llm_twin.serving.mcp import create_server

        with show.progress() as progress:
            asker = Asker(workspace_at(home), mode, progress=progress("models"))
        with closing(asker):
            create_server(asker).run("stdio")


@key_app.command(epilog='Example: twin key add reader --author "Wren Marlow"')
def add(
    name: Annotated[str, typer.Argument(help="Who or what will use it.")],
    author: Annotated[
        list[str] | None, typer.Option(help="Whose writing it may see; the twin's own when left out.")
    ] = None,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Make a key and print it, this once."""
    from llm_twin.serving.keys import keys_of

    with showing(as_json) as show:
        workspace = workspace_at(home)
        authors = tuple(author or [workspace.author])
        with workspace.locked(wait_seconds=10):
            token = keys_of(workspace.home).add(name, authors)
        result(
            show, {"name": name, "key": token, "authors": authors}, f"{token}\nkeep it: it is not shown again"
        )


@key_app.command("list", epilog="Example: twin key list --home my-twin")
def list_keys(home: Home = HOME, as_json: Json = False) -> None:
    """The keys, without what it takes to use them."""
    from llm_twin.serving.keys import keys_of

    with showing(as_json) as show:
        rows = [
            {
                "name": k.name,
                "authors": ", ".join(k.authors),
                "created": k.created.isoformat(timespec="seconds"),
            }
            for k in keys_of(home).read()
        ]
        table_of(show, rows, ("name", "authors", "created"))


@key_app.command(epilog="Example: twin key remove reader")
def remove(
    name: Annotated[str, typer.Argument(help="The key's name.")], home: Home = HOME, as_json: Json = False
) -> None:
    """Remove a key; a server that runs refuses it from then on."""
    from llm_twin.serving.keys import keys_of

    with showing(as_json) as show:
        workspace = workspace_at(home)
        with workspace.locked(wait_seconds=10):
            keys_of(workspace.home).remove(name)
        result(show, {"removed": name}, f"removed {name}")
