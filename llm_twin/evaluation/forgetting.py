"""What a twin forgot: the same general-purpose tasks under base and twin, paired item by item.

A task comes from `run_task` here, which reads the task that ships and others as plain, or from the adapter for
lm-evaluation-harness, which reads all of its format; what both give is a `TaskRun`. A task that was not run is
named with its reason. Not covered: what a model can still do but no task asks.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from llm_twin.errors import InputError
from llm_twin.evaluation.choices import chosen_right
from llm_twin.evaluation.intervals import Estimate
from llm_twin.evaluation.paired import compared
from llm_twin.evaluation.rows import Part, part
from llm_twin.ports import ChatModel, Progress, silent
from llm_twin.types import Message, Value

EVERYDAY = "everyday"
"""The task that ships with the package."""
TASKS: Traversable = files("llm_twin.evaluation") / "tasks"
_PLAIN = {"doc_to_choice", "doc_to_target", "doc_to_text", "dataset_kwargs", "task"}


class TaskRun(Value):
    """One task under one model: `values` has the metric of each item, in the task's order."""

    task: str
    metric: str
    values: tuple[float, ...]


class TaskRuns(Value):
    """Tasks under one model; `not_run` says why of each that gave no values."""

    ran: tuple[TaskRun, ...] = ()
    not_run: dict[str, str] = Field({})


class TaskComparison(Value):
    """One task under both models: means of the metric, and twin less base, with intervals over items."""

    name: str
    metric: str
    items: int
    base: Estimate
    twin: Estimate
    difference: Estimate
    rows: Part | None = None
    """The twin's value of each item, for the gate."""

    @property
    def forgot(self) -> bool:
        """Whether the twin is worse than its base with 95% confidence, for a metric that higher is better in."""
        return self.difference.high < 0


class Forgetting(Value):
    """Every task that both models ran, and why the others were not."""

    tasks: tuple[TaskComparison, ...]
    not_run: dict[str, str]


def forgetting(base: TaskRuns, twin: TaskRuns) -> Forgetting:
    """Compare what both models were asked; a task that only one of them ran is not compared."""
    before, after = ({run.task: run for run in runs.ran} for runs in (base, twin))
    not_run = {task: reason for runs in (base, twin) for task, reason in runs.not_run.items()}
    tasks = []
    for name in [*before, *(task for task in after if task not in before)]:
        if name in not_run:
            continue
        if reason := _unlike(before.get(name), after.get(name)):
            not_run[name] = reason
        else:
            tasks.append(_comparison(before[name], after[name]))
    return Forgetting(tasks=tuple(tasks), not_run=not_run)


def _unlike(base: TaskRun | None, twin: TaskRun | None) -> str:
    """Why two runs of one task cannot be paired; empty where they can."""
    if base is None or twin is None:
        return f"only the {'twin' if base is None else 'base'} model ran it"
    if (base.metric, len(base.values)) != (twin.metric, len(twin.values)):
        return (
            f"base and twin ran different items: {len(base.values)} by {base.metric}, "
            f"{len(twin.values)} by {twin.metric}"
        )
    return "" if len(base.values) > 1 else f"{len(base.values)} items, and an interval needs two"


def _comparison(base: TaskRun, twin: TaskRun) -> TaskComparison:
    items = [f"{i:06}" for i in range(len(base.values))]
    found = compared(base.values, twin.values, items)
    return TaskComparison(
        name=base.task,
        metric=base.metric,
        items=len(items),
        base=found.base,
        twin=found.twin,
        difference=found.difference,
        rows=part(items, items, twin.values),
    )


# --- our own runner -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Item:
    """One multiple-choice item: what is asked, and what may be replied."""

    question: str
    choices: tuple[str, ...]
    right: int


def read_task(name: str = EVERYDAY, folder: Traversable | Path = TASKS) -> list[Item]:
    """Items of the plain multiple-choice task `name` in `folder`: `NAME.yaml` and the JSON lines that it names.

    Plain means: the choices and the target are fields, the text is a Jinja template. Raises InputError for a
    task that is not, which the adapter for lm-evaluation-harness runs.
    """
    import yaml
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    config = _plain(yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8")), name)
    lines = (folder / config["dataset_kwargs"]["data_files"]["test"]).read_text(encoding="utf-8")
    text = ImmutableSandboxedEnvironment().from_string(config["doc_to_text"])
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines.splitlines()]
    return [
        Item(
            text.render(**row),
            tuple(row[config["doc_to_choice"]]),
            int(row[config["doc_to_target"]]),
        )
        for row in rows
    ]


def _plain(config: Any, name: str) -> dict[str, Any]:
    known = isinstance(config, dict) and config.keys() >= _PLAIN
    if not known or config.get("output_type") != "multiple_choice" or config.get("target_delimiter") != "":
        raise InputError(
            f"{name} is not a plain multiple-choice task",
            "run it with lm-evaluation-harness: pip install 'llm-twin[lm-eval]'",
        )
    return dict(config)


def run_task(
    model: ChatModel, items: Sequence[Item], name: str = EVERYDAY, progress: Progress = silent
) -> TaskRun:
    """Accuracy of `model` item by item: right where the right choice is its likeliest reply to the question.

    The end of the turn is not counted, so that a model that has learnt to write at length is not taken for one
    that has forgotten. One batched call for all choices of all items; ties share the point.
    """
    asked = [[Message(role="user", content=item.question)] for item in items for _ in item.choices]
    replies = [choice for item in items for choice in item.choices]
    totals = [float(tokens[:-1].sum()) for tokens in model.score(asked, replies, progress)]
    values = []
    for item in items:
        mine, totals = totals[: len(item.choices)], totals[len(item.choices) :]
        values.append(float(chosen_right([mine], [item.right])[0]))
    return TaskRun(task=name, metric="acc", values=tuple(np.round(values, 6).tolist()))


def chance(items: Sequence[Item]) -> float:
    """What guessing gets."""
    return float(np.mean([1 / len(item.choices) for item in items]))
