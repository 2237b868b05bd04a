"""The demo: build a twin of the sample author from `examples/`, and end with a screen worth keeping.

It is the ordinary pipeline with settings that suit a laptop's coffee break; nothing is prepared or faked.
"""

from contextlib import closing
from pathlib import Path
from typing import Any

from llm_twin import pipeline
from llm_twin.asker import Asker
from llm_twin.errors import InputError
from llm_twin.files import write_text
from llm_twin.settings import CONFIG, load
from llm_twin.show import Show
from llm_twin.types import Answer
from llm_twin.workspace import Workspace

AUTHOR = "Wren Marlow"
_BARS = " ▁▂▃▄▅▆▇█"
_SETTINGS = """\
author = "{author}"
sources = [
  {{ location = "{examples}/marlow" }},
  {{ location = "{examples}/background" }},
]

[train]
rehearsal = 0.1
grounded = 0.08

[evaluate]
passages = 24
machine_passages = 48
max_tokens = 120
questions = 60
sections = ["opinions", "search"]
"""


def demo(home: Path, show: Show) -> None:
    """Run the whole road on the sample corpus in `home` and show what came of it."""
    examples = sample_corpus()
    if not (home / CONFIG).exists():
        write_text(home / CONFIG, _SETTINGS.format(author=AUTHOR, examples=examples))
    workspace = Workspace(home, load(home))
    with workspace.locked(), show.progress() as progress:
        pipeline.run(workspace, progress)
    answers = {mode: _answers(workspace, mode, examples) for mode in ("write", "quote")}
    reports = {stage: done.report for stage in pipeline.ROAD if (done := workspace.finished(stage))}
    if show.as_json:
        show.json(
            {
                "reports": {stage: report.model_dump(mode="json") for stage, report in reports.items()},
                "answers": {
                    mode: [a.model_dump(mode="json") for a in found] for mode, found in answers.items()
                },
            }
        )
        return
    _screen(workspace, show, reports, answers)


def sample_corpus() -> Path:
    """The folder `examples/` of the repository; InputError where the package came without it."""
    for root in (Path.cwd(), Path(__file__).resolve().parent.parent):
        if (root / "examples" / "marlow").is_dir():
            return root / "examples"
    raise InputError("the sample corpus is not here", "run the demo in a clone of the repository: make demo")


def _answers(workspace: Workspace, mode: str, examples: Path) -> list[Answer]:
    questions = (examples / "questions.txt").read_text(encoding="utf-8").split("\n")
    with closing(Asker(workspace, mode)) as asker:
        return [
            piece
            for question in questions
            if question.strip()
            for piece in asker.stream(question.strip())
            if isinstance(piece, Answer)
        ]


def _screen(
    workspace: Workspace, show: Show, reports: dict[str, Any], answers: dict[str, list[Answer]]
) -> None:
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    out = show.out
    out.rule(f"A twin of {workspace.author}")
    stages = Table.grid(padding=(0, 2))
    for stage, report in reports.items():
        figures = [f"{name} {_short(value)}" for name, value in report.counts.items()]
        mark = "\n" if stage == "evaluate" else " · "
        stages.add_row(Text(stage, "bold"), f"{report.seconds:.0f} s", Text(mark.join(figures)))
    stages.add_row(Text("loss", "bold"), "", Text(_sparkline(_losses(Path(reports["train"].artefacts[1])))))
    out.print(stages, soft_wrap=False)
    for mode, found in answers.items():
        for answer in found:
            sources = "\n".join(
                f"[{c.number}] {c.title} · {c.url or c.document_id}" for c in answer.citations
            )
            body = Text.assemble(answer.text, "\n", (sources, "cyan"))
            title = Text(f"{mode}: {answer.question}")
            out.print(Panel(body, title=title, title_align="left"), soft_wrap=False)
    out.print(Text.assemble(("Where it lies  ", "bold"), str(workspace.home.resolve())))
    for report in reports.values():
        for path in report.artefacts:
            out.print(Text(f"  {path}", "cyan"))
    out.print(Text("Now with your own writing:", "bold"))
    for command in (
        'twin init "Your Name" --home my-twin',
        "twin collect ./my-articles --home my-twin",
        "twin run --home my-twin",
    ):
        out.print(f"  {command}", markup=False)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _losses(metrics: Path) -> list[float]:
    import json

    return [float(json.loads(line)["loss"]) for line in metrics.read_text(encoding="utf-8").splitlines()]


def _sparkline(values: list[float], width: int = 60) -> str:
    """The values as a row of bars, averaged down to `width`, with the first and last in figures."""
    step = max(1, len(values) // width)
    means = [sum(values[i : i + step]) / len(values[i : i + step]) for i in range(0, len(values), step)]
    low, high = min(means), max(means)
    heights = [round((v - low) / max(high - low, 1e-9) * (len(_BARS) - 2)) + 1 for v in means]
    return f"{means[0]:.2f} {''.join(_BARS[h] for h in heights)} {means[-1]:.2f}"
