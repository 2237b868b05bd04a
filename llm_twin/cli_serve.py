"""`twin serve`, `twin serve-llm`, `twin engine`, `twin mcp` and `twin key …`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_twin.front import HOME, Home, Json, result, showing, table_of, workspace_at

if TYPE_CHECKING:
    from llm_twin.serving.shell import Options
    from llm_twin.show import Show
    from llm_twin.workspace import Workspace

key_app = typer.Typer(help="API keys of `twin serve`, and whose writing each may see.", no_args_is_help=True)


Host = Annotated[str | None, typer.Option(help="Where to listen; beyond this machine, a key is needed.")]
Port = Annotated[int | None, typer.Option(help="0 takes a free one.")]
Concurrent = Annotated[int | None, typer.Option(min=1, help="Answers written at once.")]
Waiting = Annotated[int | None, typer.Option(min=0, help="How many may wait; one more gets 429.")]


def serve(
    host: Host = None,
    port: Port = None,
    mode: Annotated[str, typer.Option(help='"write", "quote", or as twin.toml says.')] = "",
    max_concurrent: Concurrent = None,
    queue: Waiting = None,
    llm_url: Annotated[
        str, typer.Option(help="Where `twin serve-llm` runs; the model is then not loaded here.")
    ] = "",
    home: Home = HOME,
) -> None:
    """Serve the twin over HTTP: OpenAI's API, search, documents, feedback."""
    from llm_twin.errors import InputError
    from llm_twin.serving.app import create_app
    from llm_twin.settings import behind

    with showing(False) as show:
        if mode not in ("", "write", "quote"):
            raise InputError(f"there is no mode {mode}", "choose write or quote")
        workspace = workspace_at(home)
        if llm_url:
            workspace.settings = behind(workspace.settings, llm_url)
        options = _options(workspace, host, mode, max_concurrent, queue)
        with show.progress() as progress:
            app = create_app(workspace, options, progress("models"))
        _run(app, options.host, workspace.settings.serve.port if port is None else port, show)


def serve_llm(
    host: Host = None,
    port: Port = None,
    max_concurrent: Concurrent = None,
    queue: Waiting = None,
    home: Home = HOME,
) -> None:
    """Serve the twin's model alone, for a `twin serve --llm-url` that runs elsewhere."""
    from llm_twin.serving.engine import create_engine

    with showing(False) as show:
        workspace = workspace_at(home)
        options = _options(workspace, host, "", max_concurrent, queue)
        with show.progress() as progress:
            app = create_engine(workspace, options, progress("models"))
        _run(app, options.host, workspace.settings.serve.llm_port if port is None else port, show)


def engine(
    name: Annotated[str, typer.Argument(help="vllm, tgi, tensorrt-llm or llama.cpp.")],
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Print the command that starts another engine with the twin, as `[engine]` says; it is not run."""
    import shlex

    from llm_twin.asker import trained_twin
    from llm_twin.ops.engines import command

    with showing(as_json) as show:
        workspace = workspace_at(home)
        words = command(name, trained_twin(workspace), workspace.settings.engine)
        if as_json:
            url = f"http://127.0.0.1:{workspace.settings.engine.port}/v1"
            show.json({"command": words, "url": url})
        else:
            show.out.print(shlex.join(words), markup=False, highlight=False, soft_wrap=True)


def _options(
    workspace: "Workspace", host: str | None, mode: str, max_concurrent: int | None, queue: int | None
) -> "Options":
    from llm_twin.serving.shell import Options

    settings = workspace.settings.serve
    return Options(
        host=settings.host if host is None else host,
        mode=mode,
        max_concurrent=max_concurrent or settings.max_concurrent,
        queue=settings.queue if queue is None else queue,
        cors=settings.cors,
    )


def _run(app: Any, host: str, port: int, show: "Show") -> None:
    from llm_twin.serving.shell import serve as run

    told = "serving at {url} (OpenAI's API at {url}/v1); Ctrl-C ends"
    run(app, host, port, lambda url: show.out.print(told.format(url=url)))


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
