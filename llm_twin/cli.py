"""The command `twin`: parse, call the pipeline, show what came back. Exit codes: 0, 1 (failed), 2 (bad input)."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_twin.cli_deploy import app as deploy_app
from llm_twin.cli_evaluate import app as evaluate_app
from llm_twin.cli_jobs import app as jobs_app
from llm_twin.cli_serve import engine, key_app, mcp, serve, serve_llm
from llm_twin.front import HOME, Home, Json, home_of, result, showing, stage_of, table_of, workspace_at

if TYPE_CHECKING:
    from llm_twin.show import Show
    from llm_twin.workspace import Workspace

app = typer.Typer(
    help="Build, measure and question an AI twin of a person from what that person wrote.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
train_app = typer.Typer(help="Train the twin.", no_args_is_help=True)
models_app = typer.Typer(help="The models that can be used, and those that are here.")
app.add_typer(train_app, name="train")
app.add_typer(models_app, name="models")
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(key_app, name="key")
app.add_typer(deploy_app, name="deploy")
app.add_typer(jobs_app, name="jobs")
app.command(epilog="Example: twin serve --home my-twin")(serve)
app.command("serve-llm", epilog="Example: twin serve-llm --home my-twin")(serve_llm)
app.command(epilog="Example: twin engine vllm --home my-twin")(engine)
app.command(epilog="Example: twin mcp --home my-twin")(mcp)


@app.command(epilog='Example: twin init "Wren Marlow" --home my-twin')
def init(
    author: Annotated[str, typer.Argument(help="Whose twin it is.")], home: Home = HOME, as_json: Json = False
) -> None:
    """Write a commented twin.toml for a new twin."""
    from llm_twin.errors import InputError
    from llm_twin.files import write_text
    from llm_twin.settings import CONFIG, commented

    with showing(as_json) as show:
        path = home / CONFIG
        if path.exists():
            raise InputError(f"{path} exists", "edit it, or choose another --home")
        write_text(path, commented(author))
        result(show, {"config": str(path)}, f"wrote {path}; next: twin collect ./my-articles --home {home}")


@app.command(epilog="Example: twin collect ./my-articles https://example.org/feed.xml")
def collect(
    sources: Annotated[
        list[str] | None, typer.Argument(help="Files, folders, feeds, pages, repositories.")
    ] = None,
    author: Annotated[str | None, typer.Option(help="Whose writing it is, where it does not say.")] = None,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Collect writing; without sources, look at the known ones again."""
    from llm_twin import pipeline

    with stage_of(home, as_json, "collect") as (workspace, show, progress):
        show.report(pipeline.collect(workspace, [(s, author) for s in sources or []], progress))


@app.command(epilog="Example: twin index --home my-twin")
def index(
    home: Home = HOME,
    rebuild: Annotated[bool, typer.Option(help="Throw the index away first.")] = False,
    as_json: Json = False,
) -> None:
    """Clean, chunk, embed and store what was collected; only what changed."""
    import shutil

    from llm_twin import pipeline

    with stage_of(home, as_json, "index") as (workspace, show, progress):
        if rebuild and workspace.vectors.exists():
            shutil.rmtree(workspace.vectors)
        show.report(pipeline.index(workspace, progress))


@app.command(epilog="Example: twin dataset --home my-twin")
def dataset(home: Home = HOME, as_json: Json = False) -> None:
    """Make instruction samples from the author's own sentences."""
    _run(home, as_json, "dataset")


@train_app.command(epilog="Example: twin train sft --home my-twin")
def sft(home: Home = HOME, as_json: Json = False) -> None:
    """Fine-tune the base model on the samples (LoRA); goes on where a killed run stopped."""
    _run(home, as_json, "train")


@app.command(epilog='Example: twin ask "What do you think about tools?" --mode quote')
def ask(
    question: Annotated[str, typer.Argument(help="What to ask the twin.")],
    mode: Annotated[str, typer.Option(help='"write", "quote", or as twin.toml says.')] = "",
    base: Annotated[bool, typer.Option(help="Ask the base model instead of the twin.")] = False,
    trace: Annotated[bool, typer.Option("--trace", help="Show each step and how long it took.")] = False,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Answer a question in the author's voice, with sources."""
    from llm_twin.inference.tracing import Tracing

    with showing(as_json) as show:
        asker = _asker(workspace_at(home), mode, base, show)
        tracing = Tracing()
        try:
            answer = _streamed(asker, question, [], show, tracing)
            name = asker.model.name if asker.model else ""
            way = tracing.trace(question, asker.workspace.author, name, answer.mode) if trace else None
            show.answer(answer, shown=not as_json, trace=way)
        finally:
            asker.close()


@app.command(epilog="Example: twin chat --home my-twin")
def chat(
    mode: Annotated[str, typer.Option(help='"write", "quote", or as twin.toml says.')] = "",
    base: Annotated[bool, typer.Option(help="Talk to the base model instead of the twin.")] = False,
    home: Home = HOME,
) -> None:
    """Talk with the twin; an empty line or Ctrl-D ends."""
    from llm_twin.types import Message

    with showing(False) as show:
        asker = _asker(workspace_at(home), mode, base, show)
        history: list[Message] = []
        try:
            while question := _question():
                answer = _streamed(asker, question, history, show)
                show.answer(answer, shown=True)
                history += [
                    Message(role="user", content=question),
                    Message(role="assistant", content=answer.text),
                ]
        finally:
            asker.close()


@app.command(epilog="Example: twin batch questions.jsonl -o answers.jsonl")
def batch(
    questions: Annotated[
        Path, typer.Argument(help='A line each: {"question": "…", "id": "…", "author": "…"}.')
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the answers go, a line each.")],
    mode: Annotated[str, typer.Option(help='"write", "quote", or as twin.toml says.')] = "",
    base: Annotated[bool, typer.Option(help="Ask the base model instead of the twin.")] = False,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Answer a file of questions; goes on where a killed batch stopped. Exit code 1 when some were skipped."""
    from llm_twin import pipeline

    with showing(as_json) as show:
        _check_mode(mode)
        with show.progress() as progress:
            report = pipeline.batch(workspace_at(home), questions, out, mode, base, progress("batch"))
        show.report(report)
        if report.skipped:
            raise typer.Exit(1)


@app.command(epilog="Example: twin run --home my-twin")
def run(home: Home = HOME, as_json: Json = False) -> None:
    """Run every stage that is out of date, in order."""
    from llm_twin import pipeline

    with showing(as_json) as show:
        workspace = workspace_at(home)
        with workspace.locked(), show.progress() as progress:
            reports = pipeline.run(workspace, progress)
        if as_json:
            show.json([r.model_dump(mode="json") for r in reports])
            return
        for report in reports:
            show.report(report)
        if not reports:
            show.out.print("everything is up to date")


@app.command(epilog="Example: twin status --json")
def status(home: Home = HOME, as_json: Json = False) -> None:
    """What exists, and what is out of date."""
    from llm_twin import inspect

    with showing(as_json) as show:
        rows = inspect.status(workspace_at(home))
        table_of(show, rows, ("stage", "state", "finished", "results"))


@app.command(epilog="Example: twin verify --home my-twin")
def verify(home: Home = HOME, as_json: Json = False) -> None:
    """Check that nothing is missing, doubled or damaged; exit code 1 when something is."""
    from llm_twin import inspect

    with showing(as_json) as show:
        workspace = workspace_at(home)
        with workspace.locked():
            problems = inspect.verify(workspace)
        result(show, {"problems": problems}, "\n".join(problems) or "nothing missing, doubled or damaged")
        if problems:
            raise typer.Exit(1)


@app.command(epilog="Example: twin doctor")
def doctor(home: Home = HOME, as_json: Json = False) -> None:
    """What is installed, and what each missing part would unlock."""
    from llm_twin import inspect

    with showing(as_json) as show:
        table_of(show, inspect.doctor(workspace_at(home)), ("part", "state", "for"))


@models_app.callback(invoke_without_command=True)
def models(context: typer.Context, home: Home = HOME, as_json: Json = False) -> None:
    """List the catalogue: name, size, licence, and whether it is here."""
    if context.invoked_subcommand:
        return
    from llm_twin import inspect

    with showing(as_json) as show:
        table_of(
            show, inspect.models(workspace_at(home)), ("name", "role", "size", "licence", "here", "about")
        )


@models_app.command(epilog="Example: twin models pull qwen2.5-coder-0.5b")
def pull(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A name of `twin models`, a Hub id, a folder or a GGUF file.")],
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Fetch a model, check its sha256 and make it ready."""
    from llm_twin import wiring

    with showing(as_json) as show, show.progress() as progress:
        folder = wiring.pull_model(workspace_at(home_of(context, home)), name, progress("pull"))
        result(show, {"folder": str(folder)}, str(folder))


@models_app.command("verify", epilog="Example: twin models verify smollm2-135m")
def verify_model(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A pulled model.")],
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Read every byte of a pulled model and compare it with its sha256."""
    from llm_twin import models

    with showing(as_json) as show, show.progress() as progress:
        cache = workspace_at(home_of(context, home)).model_cache
        card = models.verify(name, cache, progress("verify"))
        result(show, {"name": card.name, "sha256": card.sha256}, f"{card.name} is whole")


@app.command(epilog="Example: twin demo")
def demo(
    home: Annotated[Path, typer.Option(help="Where the demo's twin is built.")] = Path(".twin-demo"),
    as_json: Json = False,
) -> None:
    """Build a twin of the sample author and show it working."""
    from llm_twin import demo as sample

    with showing(as_json) as show:
        sample.demo(home, show)


def main() -> None:
    """The entry point: `twin`."""
    # A pipe that closes early (`twin status | head`) is no failure of ours.
    try:
        app()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _run(home: Path, as_json: bool, stage: str) -> None:
    """One stage of the road, whether or not it is out of date."""
    from llm_twin import pipeline

    with stage_of(home, as_json, stage) as (workspace, show, progress):
        show.report(pipeline.ROAD[stage](workspace, progress))


def _asker(workspace: "Workspace", mode: str, base: bool, show: "Show") -> Any:
    from llm_twin.asker import Asker

    _check_mode(mode)
    with show.progress() as progress:
        return Asker(workspace, mode, base, progress("models"))


def _check_mode(mode: str) -> None:
    from llm_twin.errors import InputError

    if mode not in ("", "write", "quote"):
        raise InputError(f"there is no mode {mode}", "choose write or quote")


def _streamed(asker: Any, question: str, history: list[Any], show: "Show", tracing: Any = None) -> Any:
    from llm_twin.errors import InputError
    from llm_twin.types import Answer

    if not question.strip():
        raise InputError("the question is empty", 'ask something: twin ask "What do you think about tools?"')
    for piece in asker.stream(question, history, tracing):
        if isinstance(piece, Answer):
            if not show.as_json:
                show.out.print()
            return piece
        if not show.as_json:
            show.out.print(piece, end="", markup=False)
    raise AssertionError("a stream ends with its Answer")


def _question() -> str:
    try:
        return input("> ").strip()
    except EOFError:
        return ""
