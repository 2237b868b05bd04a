import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from llm_twin.adapters.lm_eval_harness import _generate, _loglikelihood, harness_model, run_tasks
from llm_twin.adapters.standins import ScriptedChat, echo
from llm_twin.errors import InputError, MissingPart
from llm_twin.evaluation.forgetting import read_task, run_task
from llm_twin.ports import Progress, silent
from llm_twin.types import Message

EVERYDAY = Path(__file__).parents[2] / "llm_twin" / "evaluation" / "tasks"


class Opinionated(ScriptedChat):
    """Has an opinion on every reply to every question, told by a hash, and a loud one on where a turn ends."""

    def score(
        self, prompts: Sequence[Sequence[Message]], responses: Sequence[str], progress: Progress = silent
    ) -> list[np.ndarray]:  # type: ignore[type-arg]
        rows = []
        for prompt, reply in zip(prompts, responses, strict=True):
            told = hashlib.sha256(f"{prompt[-1].content}|{reply}".encode()).digest()
            rows.append(-np.array([told[0], told[1], 100 * told[2]], np.float64))
        return rows


class Counting(ScriptedChat):
    """Counts batches of generation."""

    batches = 0

    def generate(self, *args: Any, **options: Any) -> Any:
        self.batches += 1
        return super().generate(*args, **options)


@pytest.fixture
def without_the_harness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)


@pytest.fixture
def harness() -> None:
    pytest.importorskip("lm_eval", reason="the extra lm-eval is not installed")


# --- what needs no harness -------------------------------------------------------------------------------------


def test_without_the_harness_its_extra_is_named(without_the_harness: None) -> None:
    model = ScriptedChat(echo)
    for call in (lambda: run_tasks(model, ["arc_easy"]), lambda: harness_model(model)):
        with pytest.raises(MissingPart, match="lm_eval") as caught:
            call()
        assert caught.value.way_out == "pip install 'llm-twin[lm-eval]'"


def test_likelihood_is_that_of_the_reply_alone() -> None:
    # The stand-in gives a word of the prompt 1/2, another 1/8, and the end of the turn 1.
    model = ScriptedChat(echo)
    found = _loglikelihood(
        model, [("red or blue", " red"), ("red or blue", " green red"), ("", "x")], False, silent
    )
    assert [total for total, _ in found] == pytest.approx([np.log(1 / 2), np.log(1 / 16), np.log(1 / 8)])
    assert [greedy for _, greedy in found] == [False] * 3


def test_greedy_is_what_the_model_would_write() -> None:
    model = ScriptedChat(lambda messages: "red and blue")
    found = _loglikelihood(
        model, [("which?", " red and"), ("which?", " blue"), ("which?", " red or")], True, silent
    )
    assert [greedy for _, greedy in found] == [True, False, False]


def test_generation_stops_where_the_task_says_and_asks_once_a_sampling() -> None:
    model = Counting(lambda messages: f"{messages[-1].content} one two\nthree. four")
    pairs: list[tuple[str, dict[str, Any]]] = [
        ("a", {"until": ["\n", "."], "max_gen_toks": 9}),
        ("b", {"until": ".", "max_gen_toks": 9, "temperature": 0.7}),
        ("c", {"max_gen_toks": 2}),
        ("d", {"until": [], "max_gen_toks": 9}),
    ]
    assert _generate(model, pairs, silent) == [
        "a one two",
        "b one two\nthree",
        "c one",
        "d one two\nthree. four",
    ]
    assert model.batches == 2, "a temperature without do_sample is greedy too"


# --- with the harness ------------------------------------------------------------------------------------------

LOOSE = pytest.mark.filterwarnings("ignore")  # the harness's own dependencies warn of many things


@LOOSE
@pytest.mark.slow
def test_the_harness_and_our_runner_agree_on_every_item(harness: None) -> None:
    model = Opinionated(echo)
    found = run_tasks(model, folder=EVERYDAY)
    assert not found.not_run
    (theirs,) = found.ran
    ours = run_task(model, read_task())
    assert theirs.values == ours.values
    assert 15 < sum(theirs.values) < 50, "about a quarter is right by chance"
    assert (theirs.task, theirs.metric) == (ours.task, ours.metric) == ("everyday", "acc")
    (few,) = run_tasks(model, ["everyday"], EVERYDAY, limit=7).ran
    assert few.values == ours.values[:7]


def task_folder(path: Path) -> Path:
    """Tasks of every output type, one of whose data is missing."""
    rows = [{"q": f"say {word}", "a": word} for word in ("tea", "milk", "oil")]
    (path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    common = (
        "dataset_path: json\ndataset_kwargs: {data_files: {test: rows.jsonl}}\ntest_split: test\n"
        "doc_to_text: '{{q}}'\ndoc_to_target: '{{a}}'\n"
    )
    mean = "aggregation: mean, higher_is_better: true"
    bodies = {
        "writes": f"output_type: generate_until\ngeneration_kwargs: {{until: ['.'], max_gen_toks: 8}}\n"
        f"metric_list: [{{metric: exact_match, {mean}}}]\n",
        "likes": f"output_type: loglikelihood\nmetric_list: [{{metric: acc, {mean}}}]\n",
        "reads": "output_type: loglikelihood_rolling\n"
        "metric_list: [{metric: word_perplexity, aggregation: weighted_perplexity, higher_is_better: false}]\n",
    }
    for name, body in bodies.items():
        (path / f"{name}.yaml").write_text(f"task: {name}\n{common}{body}")
    missing = common.replace("rows.jsonl", "gone.jsonl")
    (path / "astray.yaml").write_text(f"task: astray\n{missing}{bodies['likes']}")
    return path


@LOOSE
@pytest.mark.slow
def test_tasks_of_every_kind_run_or_say_why_not(harness: None, tmp_path: Path) -> None:
    model = ScriptedChat(
        lambda messages: {"say tea": "tea. yes", "say milk": "milk"}.get(messages[-1].content, "no")
    )
    here = Path.cwd()
    found = run_tasks(model, folder=task_folder(tmp_path))
    assert Path.cwd() == here
    assert {run.task: (run.metric, run.values) for run in found.ran} == {
        "writes": ("exact_match", (1.0, 1.0, 0.0)),
        "likes": ("acc", (1.0, 1.0, 0.0)),
    }
    assert set(found.not_run) == {"reads", "astray"}
    assert found.not_run["reads"] == "none of its metrics (word_perplexity) is one number an item"
    assert (
        found.not_run["astray"].startswith("it could not be loaded: ")
        and "gone.jsonl" in found.not_run["astray"]
    )


@LOOSE
@pytest.mark.slow
def test_an_unknown_task_and_no_task(harness: None, tmp_path: Path) -> None:
    model = ScriptedChat(echo)
    found = run_tasks(model, ["no-such-task-anywhere"])
    assert (
        found.ran == ()
        and "there is no task 'no-such-task-anywhere'" in found.not_run["no-such-task-anywhere"]
    )
    with pytest.raises(InputError, match="no task to run"):
        run_tasks(model)
    with pytest.raises(InputError, match="is no folder with tasks"):
        run_tasks(model, folder=tmp_path / "none")


@LOOSE
@pytest.mark.slow
def test_the_model_answers_the_harness_as_its_interface_says(harness: None) -> None:
    from lm_eval.api.model import LM

    model = harness_model(ScriptedChat(lambda messages: "x y"))
    assert isinstance(model, LM)
    ask = SimpleNamespace
    assert model.loglikelihood([ask(args=("x or y", " x"))]) == [(pytest.approx(np.log(0.5)), True)]
    assert model.loglikelihood_rolling([ask(args=("a b",))]) == [pytest.approx(2 * np.log(1 / 8))]
    assert model.generate_until([ask(args=("q", {"until": [" "]}))]) == ["x"]
