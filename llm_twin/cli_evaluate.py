"""`twin evaluate …`: the whole measurement, any texts or model, two evaluations, and what people say."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_twin.front import (
    HOME,
    Home,
    Json,
    check_options,
    part_of,
    result,
    showing,
    stage_of,
    table_of,
    workspace_at,
)

if TYPE_CHECKING:
    from llm_twin.evaluation.ablation import Ablation
    from llm_twin.evaluation.appraise import Appraisal

app = typer.Typer(
    help="Measure style, sense, knowledge, retrieval, answers and privacy, with error bars; write report.html.",
    epilog="Example: twin evaluate --quick",
)
Host = Annotated[str, typer.Option(help="Which address to listen on.")]
Port = Annotated[int, typer.Option(help="Where to serve the page; 0 takes a free one.")]
Browser = Annotated[bool, typer.Option(help="Open the page.")]


_GOES_WITH: dict[str, tuple[str, ...]] = {
    "compare": (),
    "texts": ("author",),
    "run": ("beir",),
    "beir": ("model_arms",),
    "": ("quick", "model", "judge"),
}
"""What each way of measuring takes beside --home and --json; "" is the evaluation of a model."""
_NEEDS = {"author": "texts", "run": "beir", "model_arms": "beir"}


@app.callback(invoke_without_command=True)
def evaluate(
    context: typer.Context,
    home: Home = HOME,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer passages; no section that asks a model.")
    ] = False,
    model: Annotated[
        str,
        typer.Option(
            help='Measure this model: a name of `twin models`, Hub id, folder, GGUF, or "endpoint".'
        ),
    ] = "",
    judge: Annotated[
        bool, typer.Option("--judge", help="Ask the model of [endpoint] to judge, too.")
    ] = False,
    texts: Annotated[
        Path | None,
        typer.Option(help="Score these texts instead: a file, or a folder of .md and .txt files."),
    ] = None,
    author: Annotated[
        str, typer.Option(help="Whose writing --texts is held against; default: the twin's.")
    ] = "",
    beir: Annotated[
        Path | None,
        typer.Option(help="Measure the search on a BEIR-format folder instead; its qrels may be TREC's."),
    ] = None,
    run: Annotated[
        list[Path] | None,
        typer.Option(help="With --beir: measure this TREC run instead; several are compared with the first."),
    ] = None,
    model_arms: Annotated[
        int,
        typer.Option(
            min=0, help="With --beir: questions for the steps that ask the chat model; 0 asks none."
        ),
    ] = 0,
    compare: Annotated[
        tuple[str, str] | None, typer.Option(help="Champion and candidate: ids of `twin evaluate list`.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure the twin beside its base model; or texts, a model, a search benchmark, or two evaluations."""
    with showing(as_json):
        check_options(context, _GOES_WITH, _NEEDS)
    if context.invoked_subcommand:
        return
    if compare:
        _compare(home, compare, as_json)
    elif texts:
        _texts(home, texts, author, as_json)
    elif beir:
        _beir(home, beir, run or [], model_arms, as_json)
    else:
        from llm_twin import pipeline

        with stage_of(home, as_json, "evaluate") as (workspace, show, progress):
            show.report(pipeline.evaluate(workspace, progress, quick, model, judge))


def _compare(home: Path, runs: tuple[str, str], as_json: bool) -> None:
    from llm_twin import assess

    with showing(as_json) as show:
        verdict = assess.compare(workspace_at(home), *runs)
        lines = [str(dimension) for dimension in verdict.dimensions]
        lines += [f"{'passed' if c.passed else 'FAILED'}: {c.asked}: {c.reason}" for c in verdict.checks]
        lines.append("the candidate passes" if verdict.passes else "the candidate does not pass")
        value = {**verdict.model_dump(mode="json"), "passes": verdict.passes}
        result(show, value, "\n".join(lines))
        if verdict.exit_code:
            raise typer.Exit(verdict.exit_code)


def _texts(home: Path, place: Path, author: str, as_json: bool) -> None:
    from llm_twin import assess

    with showing(as_json) as show:
        found, skipped = assess.texts(workspace_at(home), place, author)
        passed_over = [s.model_dump() for s in skipped]
        result(
            show,
            {**found.model_dump(mode="json"), "skipped": passed_over},
            "\n".join([*_appraised(found), *(f"skipped {s.what}: {s.why}" for s in skipped)]),
        )


def _appraised(found: "Appraisal") -> list[str]:
    if found.refused:
        lines = [f"no text gets a number: {found.refused}"]
    else:
        lines = [f"0 is {found.floor_is}, 1 the held-out writing of {found.author}"]
    for text in found.texts:
        told = (
            f"{text.place} (P(author) {text.probability:.2f})" if text.place else f"no number: {text.refused}"
        )
        lines.append(f"{text.name}: {told}" + (f"; COPY: {text.copy_flag}" if text.copy_flag else ""))
    if found.place:
        lines.append(f"all texts: {found.place}")
    return lines


def _beir(home: Path, folder: Path, runs: list[Path], model_arms: int, as_json: bool) -> None:
    from llm_twin import assess

    with showing(as_json) as show:
        if runs:
            found = assess.rankings(folder, runs)
        else:
            with show.progress() as progress:
                found = assess.benchmark(workspace_at(home), folder, model_arms, progress("search"))
        if show.as_json:
            show.json(found.model_dump(mode="json"))
            return
        for table in found.tables:
            table_of(show, _arms(table), ("search", *table.measures, "against " + table.baseline))
            result(show, None, f"{table.questions} of {found.questions} questions; p after Holm's correction")
        for name, why in found.left_out.items():
            result(show, None, f"left out: {name}: {why}")


def _arms(found: "Ablation") -> list[dict[str, Any]]:
    measure = found.measures[-1]
    return [
        {
            "search": arm.name,
            **{name: str(arm.values[name]) for name in found.measures},
            "against " + found.baseline: (
                f"{arm.against[measure].difference} (p {arm.against[measure].p_holm:.3f})"
                if measure in arm.against
                else ""
            ),
        }
        for arm in found.arms
    ]


@app.command("list", epilog="Example: twin evaluate list --home my-twin")
def listed(context: typer.Context, home: Home = HOME, as_json: Json = False) -> None:
    """The evaluations there are, newest first."""
    from llm_twin.evaluation.runs import listed as runs

    with part_of(context, home, as_json) as (workspace, show):
        rows = runs(workspace.home / "evaluations")
        if show.as_json:
            show.json([row.model_dump(mode="json") for row in rows])
            return
        if not rows:
            result(show, None, f"{workspace.home} holds no evaluations yet; make one: twin evaluate")
            return
        plain = [
            {
                "id": row.id,
                "when": row.created.strftime("%Y-%m-%d %H:%M") if row.created else "",
                "twin": row.twin,
                "twin score": row.figures.get("twin score", row.reason or row.figures.get("scores", "")),
            }
            for row in rows
        ]
        table_of(show, plain, ("id", "when", "twin", "twin score"))


@app.command(epilog="Example: twin evaluate diff 3bde 9323")
def diff(
    context: typer.Context,
    first: Annotated[str, typer.Argument(help="The beginning of an evaluation's id.")],
    second: Annotated[str, typer.Argument(help="Another's.")],
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Every figure of two evaluations side by side."""
    from llm_twin.evaluation import runs

    with part_of(context, home, as_json) as (workspace, show):
        folder = workspace.home / "evaluations"
        found = runs.diff(runs.find(folder, first), runs.find(folder, second))
        rows = [row.model_dump(mode="json") for row in found.rows]
        if show.as_json:
            show.json(found.model_dump(mode="json"))
            return
        result(show, None, "\n".join(str(line) for line in found.differences))
        table_of(show, rows, tuple(rows[0]) if rows else ())


@app.command(epilog="Example: twin evaluate blind")
def blind(
    context: typer.Context,
    home: Home = HOME,
    seed: Annotated[int, typer.Option(help="Another order, for another person.")] = 0,
    host: Host = "127.0.0.1",
    port: Port = 0,
    browser: Browser = True,
    as_json: Json = False,
) -> None:
    """Show a person real and generated passages in random order, and say how often they are told apart."""
    from llm_twin import assess, pages

    with part_of(context, home, as_json) as (workspace, show):
        items, store = assess.blind_test(workspace, seed), workspace.home / "blind.jsonl"
        pages.serve_blind(items, store, workspace.author, host, port, browser, _announce)
        found = pages.blind_result(items, store, workspace.author)
        said = {**found.blind.model_dump(mode="json"), "guessed_before": found.guessed_before}
        result(show, said, found.words)


@app.command(epilog="Example: twin evaluate label --terminal")
def label(
    context: typer.Context,
    home: Home = HOME,
    terminal: Annotated[bool, typer.Option("--terminal", help="Ask here instead of on a page.")] = False,
    host: Host = "127.0.0.1",
    port: Port = 0,
    browser: Browser = True,
    as_json: Json = False,
) -> None:
    """Collect a person's labels of the twin's answers, for prediction-powered intervals."""
    from llm_twin import assess, pages
    from llm_twin.label import label_in_terminal

    with part_of(context, home, as_json) as (workspace, show):
        items, path = assess.to_label(workspace), workspace.home / "labels.jsonl"
        if terminal:
            from llm_twin.evaluation.people import Label
            from llm_twin.journal import Journal

            label_in_terminal(items, input, Journal(path, Label))
        else:
            pages.serve_label(items, path, host=host, port=port, open_browser=browser, announce=_announce)
        result(show, {"labels": str(path)}, f"labels are kept in {path}")


def _announce(text: str) -> None:
    typer.echo(text, err=True)
