"""`twin deploy …`: the twin's model on machines of somebody else's, which cost money and so are asked about first."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_twin.front import HOME, Home, Json, result, showing, workspace_at

if TYPE_CHECKING:
    from llm_twin.show import Show

app = typer.Typer(help="Host the twin's model elsewhere.", no_args_is_help=True)
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Name = Annotated[str, typer.Option(help="Another deployment than this twin's, such as an earlier one's.")]


@app.command(epilog="Example: twin deploy sagemaker --home my-twin")
def sagemaker(yes: Yes = False, home: Home = HOME, as_json: Json = False) -> None:
    """Host the twin on Amazon SageMaker as `[sagemaker]` says; tells what it costs and asks first."""
    from llm_twin import wiring
    from llm_twin.asker import trained_twin
    from llm_twin.ops.hosting import checked, cost

    with showing(as_json) as show:
        workspace = workspace_at(home)
        plan = checked(wiring.hosting_plan(workspace, trained_twin(workspace)))
        price = cost(plan, workspace.settings.sagemaker.usd_per_hour)
        machines = f"{plan.instances} to {plan.most_instances} of {plan.instance_type}"
        told = f"{plan.name}: {machines}, ${price.an_hour} to ${price.most_an_hour} an hour"
        _confirm(f"{told} (${price.a_month:.0f} a month at least; {price.source})", yes, show)
        with show.progress() as progress:
            hosted = wiring.open_hosting(workspace).deploy(plan, progress("deploy"))
        result(
            show,
            {**hosted.model_dump(), "cost": price.model_dump()},
            f'{hosted.name} is {hosted.state}. Use it: [adapters] chat = "sagemaker". '
            f"End it: twin deploy delete --home {home}",
        )


@app.command(epilog="Example: twin deploy status --home my-twin")
def status(name: Name = "", home: Home = HOME, as_json: Json = False) -> None:
    """What is hosted, and in what state. Exit code 1 when nothing is."""
    from llm_twin import wiring

    with showing(as_json) as show:
        workspace = workspace_at(home)
        name = name or _name(workspace)
        found = wiring.open_hosting(workspace).status(name)
        if found is None:
            result(show, {"name": name, "state": "none"}, f"nothing is hosted as {name}")
            raise typer.Exit(1)
        problem = f": {found.problem}" if found.problem else ""
        result(show, found.model_dump(), f"{name} is {found.state} on {found.instances} machines{problem}")


@app.command(epilog="Example: twin deploy delete --home my-twin")
def delete(yes: Yes = False, name: Name = "", home: Home = HOME, as_json: Json = False) -> None:
    """Remove what `twin deploy sagemaker` made: endpoint, configuration, model, uploaded weights."""
    from llm_twin import wiring

    with showing(as_json) as show:
        workspace = workspace_at(home)
        name = name or _name(workspace)
        _confirm(f"remove {name} and all that was made for it", yes, show)
        removed = wiring.open_hosting(workspace).delete(name, workspace.settings.sagemaker.bucket)
        result(show, {"removed": removed}, f"removed: {', '.join(removed) or 'nothing was there'}")


def _name(workspace: Any) -> str:
    from llm_twin import wiring
    from llm_twin.asker import trained_twin

    named: str = workspace.settings.sagemaker.name
    return named or wiring.hosting_plan(workspace, trained_twin(workspace)).name


def _confirm(what: str, yes: bool, show: "Show") -> None:
    """Raise InputError unless it was agreed to."""
    from llm_twin.errors import InputError

    show.err.print(what, markup=False)
    if yes:
        return
    if show.as_json or not show.err.is_terminal:
        raise InputError("nobody is here to agree", "add --yes")
    if not typer.confirm("Go on?", err=True):
        raise InputError("nothing was done", "run it again when you agree")
