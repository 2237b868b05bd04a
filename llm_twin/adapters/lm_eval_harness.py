"""Any task of lm-evaluation-harness on a ChatModel: by name, where its data can be fetched, or from a folder.

What the harness calls the context becomes one user message, few-shot examples included, in the model's own
chat layout; the continuation is the reply to it, without the white space that would join it to the context, and
without its end of turn. Figures are therefore those of a chat model and not comparable with published ones of
raw text completion. A text without context (perplexity) is the reply to an empty message. The task folder is
code: its YAML may name Python functions, which run. Not covered: tasks with pictures, tasks that run what the
model writes, and metrics that are no mean over items; each is reported as not run, with the reason.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_twin.errors import InputError, MissingPart, TwinError
from llm_twin.evaluation.forgetting import TaskRun, TaskRuns
from llm_twin.ports import ChatModel, Progress, silent
from llm_twin.types import Message, Sampling

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager

_MOST_TOKENS = 256
"""What the harness itself generates where a task does not say."""
_WAY_OUT = "pip install 'llm-twin[lm-eval]'"
Load = Callable[[str], list[Any]]


def run_tasks(
    model: ChatModel,
    names: Sequence[str] = (),
    folder: Path | None = None,
    limit: int | None = None,
    progress: Progress = silent,
) -> TaskRuns:
    """Run tasks, groups or tags by name; without names, every task of `folder`.

    `folder` holds tasks in the harness's own YAML, each with the data that it names beside it; its tasks come
    before the harness's own of the same name. `limit` is the most items of a task. Raises MissingPart without
    the harness and InputError where there is nothing to run.
    """
    _harness()
    load, found = _tasks(names, folder)
    if not found:
        raise InputError("there is no task to run", "name tasks, or a folder with the YAML of some")
    ran: list[TaskRun] = []
    not_run: dict[str, str] = {}
    for name in found:
        try:
            tasks = load(name)
        except Exception as error:  # whatever a task's own code, its data or the network raise
            not_run[name] = f"it could not be loaded: {_first_line(error)}"
            continue
        for task in tasks:
            _run_one(model, task, limit, progress, ran, not_run)
    return TaskRuns(ran=tuple(ran), not_run=not_run)


def _run_one(
    model: ChatModel,
    task: Any,
    limit: int | None,
    progress: Progress,
    ran: list[TaskRun],
    not_run: dict[str, str],
) -> None:
    try:
        ran.append(_values(task, _samples(model, task, limit, progress)))
    except TwinError as error:
        not_run[task.task_name] = str(error)
    except (ValueError, KeyError, TypeError, NotImplementedError) as error:  # the task's, not the model's
        not_run[task.task_name] = f"the harness refused: {_first_line(error)}"


# --- tasks --------------------------------------------------------------------------------------------------------


def _harness() -> None:
    try:
        import lm_eval  # noqa: F401
    except ImportError as error:
        raise MissingPart(f"lm-evaluation-harness needs {error.name}", _WAY_OUT) from error


def _tasks(names: Sequence[str], folder: Path | None) -> tuple[Load, list[str]]:
    """What loads a task by name, and the names to load."""
    from lm_eval.tasks import TaskManager

    own = TaskManager(include_path=str(_checked(folder)), include_defaults=False) if folder else None
    wanted = list(names) or (list(own.all_subtasks) if own else [])
    elsewhere = any(own is None or name not in own.all_tasks for name in wanted)
    shipped = TaskManager() if elsewhere else None  # reads some ten thousand files

    def load(name: str) -> list[Any]:
        manager = own if own is not None and name in own.all_tasks else shipped
        if manager is None or name not in manager.all_tasks:
            raise InputError(f"there is no task {name!r}")
        with _beside(manager, name, local=manager is own):
            return list(manager.load([name])["tasks"].values())

    return load, wanted


def _checked(folder: Path) -> Path:
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder with tasks")
    return folder.resolve()


@contextmanager
def _beside(manager: "TaskManager", name: str, local: bool) -> Iterator[None]:
    """Where a task of a folder is loaded: beside its YAML, because the harness looks for its data from here."""
    with _quiet():
        path = manager.task_index[name].yaml_path
        if not local or path is None:
            yield
        else:
            with chdir(path.parent):
                yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the harness's remarks on stderr, nor bars for data that takes a moment."""
    import datasets

    logger = logging.getLogger("lm_eval")
    level, bars = logger.level, datasets.are_progress_bars_disabled()
    logger.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        logger.setLevel(level)
        if not bars:
            datasets.enable_progress_bars()


def _samples(model: ChatModel, task: Any, limit: int | None, progress: Progress) -> list[dict[str, Any]]:
    from lm_eval.evaluator import evaluate

    if task.get_config("num_fewshot") is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=1234)  # the harness's own
    name = task.task_name
    wrapped = harness_model(model, exact=task.OUTPUT_TYPE == "loglikelihood", progress=progress)
    with _quiet():
        results = evaluate(
            lm=wrapped,
            task_dict={"tasks": {name: task}, "groups": {}, "group_map": {}},
            limit=limit,
            bootstrap_iters=0,
        )
    return list(results["samples"][name])


def _values(task: Any, samples: list[dict[str, Any]]) -> TaskRun:
    """The task's first metric that is a number an item, under its first filter."""
    first = [s for s in samples if s["filter"] == samples[0]["filter"]]
    metrics = [m["metric"] for m in task.config.metric_list or []]
    for metric in [*(m for m in metrics if m in first[0]), *first[0]["metrics"]]:
        if all(isinstance(s[metric], int | float) for s in first):
            values = [float(s[metric]) for s in sorted(first, key=lambda s: s["doc_id"])]
            return TaskRun(task=task.task_name, metric=str(metric), values=tuple(values))
    raise InputError(f"none of its metrics ({', '.join(first[0]['metrics'])}) is one number an item")


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__


# --- the model ----------------------------------------------------------------------------------------------------


def harness_model(model: ChatModel, exact: bool = True, progress: Progress = silent) -> Any:
    """`model` as an `lm_eval.api.model.LM`, for whoever calls the harness themselves.

    `exact` also finds out whether a continuation is what the model would write greedily, which only tasks of
    output type "loglikelihood" ask and which takes a generation more; without it the answer is always no.
    """
    _harness()
    from lm_eval.api.model import LM

    class PortModel(LM):  # type: ignore[misc]
        """The harness's three questions, each asked of the port in one batch."""

        def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
            pairs = [request.args for request in requests]
            return _loglikelihood(model, pairs, exact, progress)

        def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
            pairs = [("", request.args[0]) for request in requests]
            return [total for total, _ in _loglikelihood(model, pairs, False, progress)]

        def generate_until(self, requests: Sequence[Any]) -> list[str]:
            return _generate(model, [request.args for request in requests], progress)

    return PortModel()


def _loglikelihood(
    model: ChatModel, pairs: Sequence[tuple[str, str]], exact: bool, progress: Progress
) -> list[tuple[float, bool]]:
    """For each (context, continuation): summed natural-log probability, and whether it is the greedy reply."""
    asked = [_asked(context) for context, _ in pairs]
    replies = [continuation.lstrip() for _, continuation in pairs]
    scored = [tokens[:-1] for tokens in model.score(asked, replies, progress)]
    greedy = [False] * len(pairs)
    if exact and pairs:
        longest = max(1, *(len(tokens) for tokens in scored))
        sampling = Sampling(max_tokens=longest, temperature=0.0)
        written = model.generate(asked, sampling, progress)
        greedy = [w.text.startswith(reply.strip()) for w, reply in zip(written, replies, strict=True)]
    return [(float(tokens.sum()), same) for tokens, same in zip(scored, greedy, strict=True)]


def _generate(model: ChatModel, pairs: Sequence[tuple[str, dict[str, Any]]], progress: Progress) -> list[str]:
    """For each (context, options) what the model writes before the first stop string; one batch a sampling."""
    samplings = [_sampling(options) for _, options in pairs]
    texts = [""] * len(pairs)
    for sampling in dict.fromkeys(samplings):
        rows = [i for i, one in enumerate(samplings) if one == sampling]
        written = model.generate([_asked(pairs[i][0]) for i in rows], sampling, progress)
        for i, completion in zip(rows, written, strict=True):
            texts[i] = _cut(completion.text, pairs[i][1].get("until") or [])
    return texts


def _sampling(options: dict[str, Any]) -> Sampling:
    tokens = options.get("max_gen_toks") or options.get("max_new_tokens") or options.get("max_tokens")
    warm = bool(options.get("do_sample"))
    return Sampling(
        max_tokens=int(tokens or _MOST_TOKENS),
        temperature=float(options.get("temperature") or 0.0) if warm else 0.0,
        top_p=float(options.get("top_p") or 1.0),
    )


def _cut(text: str, until: str | Sequence[str]) -> str:
    for stop in [until] if isinstance(until, str) else until:
        text = text.split(stop)[0] if stop else text
    return text


def _asked(context: str) -> list[Message]:
    return [Message(role="user", content=context)]
