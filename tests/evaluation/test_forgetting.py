import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from llm_twin.adapters.standins import ScriptedChat, echo
from llm_twin.errors import InputError
from llm_twin.evaluation.forgetting import (
    Item,
    TaskRun,
    TaskRuns,
    chance,
    forgetting,
    read_task,
    run_task,
)
from llm_twin.ports import Progress, silent
from llm_twin.types import Message


class Oracle(ScriptedChat):
    """Finds `liked` replies likelier; its end-of-turn probability argues for the others."""

    def __init__(self, liked: set[tuple[str, str]]) -> None:
        super().__init__(echo)
        self.liked, self.calls = liked, 0

    def score(
        self, prompts: Sequence[Sequence[Message]], responses: Sequence[str], progress: Progress = silent
    ) -> list[np.ndarray]:  # type: ignore[type-arg]
        self.calls += 1
        fits = [(p[-1].content, r) in self.liked for p, r in zip(prompts, responses, strict=True)]
        return [np.array([-1.0, -1.0, -90.0]) if fit else np.array([-1.5, -1.5, 0.0]) for fit in fits]


def runs(task: str, *values: float) -> TaskRuns:
    return TaskRuns(ran=(TaskRun(task=task, metric="acc", values=values),))


# --- the task that ships ---------------------------------------------------------------------------------------


def test_the_everyday_task_is_sound() -> None:
    items = read_task()
    assert len(items) == 120 == len({item.question for item in items})
    assert chance(items) == 0.25
    assert Counter(item.right for item in items).most_common(1)[0][1] < 50, (
        "the right answer has no usual place"
    )
    for item in items:
        assert len(set(item.choices)) == 4
        assert item.question.endswith("? Answer with as few words as you can."), item.question
        for one in item.choices:
            assert one == one.strip()
            assert [two for two in item.choices if two.startswith(one)] == [one], (
                f"{one!r} would always be likelier than what it begins"
            )


def test_arithmetic_of_the_everyday_task_is_right() -> None:
    told = {"plus": int.__add__, "minus": int.__sub__, "times": int.__mul__, "divided by": int.__floordiv__}
    checked = 0
    for item in read_task():
        words = item.question.split("?")[0].removeprefix("What is ")
        for name, does in told.items():
            left, mark, right = words.partition(f" {name} ")
            if mark:
                assert item.choices[item.right] == str(does(int(left), int(right))), item.question
                checked += 1
    assert checked >= 10


# --- our runner ------------------------------------------------------------------------------------------------


def test_a_model_that_knows_everything_and_one_that_knows_nothing() -> None:
    items = read_task()
    knows = Oracle({(item.question, item.choices[item.right]) for item in items})
    errs = Oracle({(item.question, item.choices[item.right - 1]) for item in items})
    assert run_task(knows, items) == TaskRun(task="everyday", metric="acc", values=(1.0,) * 120)
    assert set(run_task(errs, items).values) == {0.0}
    assert set(run_task(Oracle(set()), items).values) == {0.25}, "ties share the point"
    assert knows.calls == 1


def test_items_may_have_different_numbers_of_choices() -> None:
    items = [Item("a?", ("x", "y"), 1), Item("b?", ("p", "q", "r"), 0), Item("c?", ("s", "t"), 0)]
    model = Oracle({("a?", "y"), ("b?", "r"), ("c?", "s")})
    assert run_task(model, items, "mine").values == (1.0, 0.0, 1.0)
    assert chance(items) == pytest.approx((1 / 2 + 1 / 3 + 1 / 2) / 3)


def test_a_task_of_ones_own_is_read_as_the_harness_would(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "task: mine\noutput_type: multiple_choice\ntarget_delimiter: ''\ndataset_path: json\n"
        "dataset_kwargs: {data_files: {test: rows.jsonl}}\ntest_split: test\n"
        "doc_to_text: 'Q: {{q}}'\ndoc_to_choice: options\ndoc_to_target: gold\n"
    )
    (tmp_path / "rows.jsonl").write_text(
        json.dumps({"q": "Ναι;", "options": ["ναι", "όχι"], "gold": 1}) + "\n"
    )
    assert read_task("mine", tmp_path) == [Item("Q: Ναι;", ("ναι", "όχι"), 1)]
    (tmp_path / "other.yaml").write_text("task: other\noutput_type: generate_until\n")
    with pytest.raises(InputError, match="other is not a plain multiple-choice task"):
        read_task("other", tmp_path)


# --- base and twin ---------------------------------------------------------------------------------------------


def test_a_drop_is_seen_and_a_wobble_is_not() -> None:
    base = [1.0] * 50 + [0.0] * 10
    worse = [1.0] * 30 + [0.0] * 30
    wobble = [1.0] * 49 + [0.0] + [1.0] + [0.0] * 9
    (dropped,) = forgetting(runs("t", *base), runs("t", *worse)).tasks
    (same,) = forgetting(runs("t", *base), runs("t", *wobble)).tasks
    assert dropped.difference.value == pytest.approx(-1 / 3) and dropped.forgot
    assert (dropped.name, dropped.metric, dropped.items) == ("t", "acc", 60)
    assert same.difference.value == 0 and same.difference.low < 0 < same.difference.high and not same.forgot
    # pairing: sd of the difference of means is sqrt(mean(d^2) - mean(d)^2) / sqrt(n)
    spread = 1.96 * np.std(np.subtract(worse, base)) / np.sqrt(60)
    assert dropped.difference.high - dropped.difference.low == pytest.approx(2 * spread, rel=0.1)


def test_what_cannot_be_paired_is_not_run_and_says_why() -> None:
    base = TaskRuns(
        ran=(
            *runs("both", 1, 0).ran,
            *runs("few", 1).ran,
            *runs("alone", 1, 1).ran,
            *runs("longer", 1, 1).ran,
        ),
        not_run={"far": "no network"},
    )
    twin = TaskRuns(
        ran=(
            *runs("both", 1, 1).ran,
            *runs("few", 1).ran,
            *runs("longer", 1, 1, 0).ran,
            *runs("far", 1, 1).ran,
        )
    )
    found = forgetting(base, twin)
    assert [task.name for task in found.tasks] == ["both"]
    assert found.not_run == {
        "far": "no network",
        "few": "1 items, and an interval needs two",
        "alone": "only the base model ran it",
        "longer": "base and twin ran different items: 2 by acc, 3 by acc",
    }
    assert json.loads(json.dumps(found.model_dump(), allow_nan=False)) == found.model_dump(mode="json")


@pytest.mark.slow
def test_a_small_model_knows_some_of_it(smol_model: Path) -> None:
    from llm_twin.adapters.chat_openvino import OpenVinoChat

    model = OpenVinoChat(smol_model)
    items = read_task()
    values = run_task(model, items).values
    model.close()
    assert np.mean(values) - 3 * np.std(values) / np.sqrt(len(values)) > chance(items)
