import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from llm_twin.errors import InputError, MissingPart, TwinError
from llm_twin.evaluation.ablation import Ablation, Ranked, Together, ablate, compare, evenly
from llm_twin.evaluation.measure import Notes
from llm_twin.evaluation.retrieval import Question, per_question
from llm_twin.types import Chunk, Hit

QUESTIONS = [
    Question(f"q{i}", f"question {i}", f"d{i // 2}", {f"c{i}": 1}) for i in range(12)
]  # fmt: skip


def hit(name: str, document: str = "d") -> Hit:
    chunk = Chunk(
        id=name,
        document_id=document,
        author="A",
        kind="article",
        title="T",
        text="x",
        start=0,
        end=1,
        tokens=3,
    )
    return Hit(chunk=chunk, score=1.0)


def number(text: str) -> str:
    return text.split()[-1]


def right(text: str, limit: int) -> list[Hit]:
    return [hit(f"c{number(text)}"), hit("x")]


def second(text: str, limit: int) -> list[Hit]:
    return [hit("x"), hit(f"c{number(text)}")]


def nothing(text: str, limit: int) -> list[Hit]:
    return []


def test_every_arm_is_measured_and_compared_with_the_baseline() -> None:
    found = ablate(QUESTIONS, {"perfect": right, "second": second, "none": nothing}, "second")
    assert [arm.name for arm in found.arms] == ["second", "perfect", "none"]
    assert (found.questions, found.documents) == (12, 6)
    base, perfect, none = found.arms
    assert base.against == {}
    assert base.values["RR@10"].value == 0.5 and base.values["R@5"].value == 1
    assert perfect.against["RR@10"].difference.value == pytest.approx(0.5)
    assert perfect.against["RR@10"].p == pytest.approx(2 / 2**6)  # all six documents alike: 2 of 64 patterns
    assert perfect.against["RR@10"].p_holm == pytest.approx(4 / 2**6)  # two arms
    assert not perfect.against["RR@10"].significant
    assert perfect.against["R@5"].p == 1
    assert none.against["R@5"].difference.value == -1
    assert found.arm("none") == none
    with pytest.raises(InputError, match="no arm 'nnoe'"):
        found.arm("nnoe")


def test_it_is_json_and_comes_back_the_same() -> None:
    found = ablate(QUESTIONS, {"a": right, "b": second}, "a")
    text = found.model_dump_json()
    assert "NaN" not in text and Ablation.model_validate_json(text) == found


def test_differences_are_paired() -> None:
    rng = np.random.default_rng(0)
    questions = [Question(str(i), f"q {i}", f"d{i}", {"c": 1}) for i in range(40)]
    ranks = {q.text: int(rng.integers(1, 9)) for q in questions}

    def at(rank: int) -> list[Hit]:
        return [*(hit(f"x{i}") for i in range(rank - 1)), hit("c")]

    found = ablate(
        questions,
        {"low": lambda t, _: at(ranks[t] + 1), "high": lambda t, _: at(ranks[t])},
        "low",
    )
    gain = found.arm("high").against["nDCG@10"]
    alone = found.arm("high").values["nDCG@10"]
    assert gain.significant and gain.difference.low > 0
    assert gain.difference.high - gain.difference.low < alone.high - alone.low


def test_a_together_arm_gets_all_questions_at_once() -> None:
    asked: list[Sequence[str]] = []

    def all_of_them(texts: Sequence[str], limit: int) -> list[list[Hit]]:
        asked.append(texts)
        return [right(text, limit) for text in texts]

    found = ablate(QUESTIONS, {"one": second, "all": Together(all_of_them)}, "one")
    assert asked == [[q.text for q in QUESTIONS]]
    assert found.arm("all").values["RR@10"].value == 1
    assert (found.arm("one").timed, found.arm("all").timed) == ("each", "together")
    assert all((arm.seconds or 0) > 0 for arm in found.arms)
    with pytest.raises(TwinError, match="answered 1 of 12"):
        ablate(QUESTIONS, {"short": Together(lambda texts, limit: [[]])}, "short")


def test_where_documents_are_judged_the_best_chunk_counts_and_more_chunks_are_asked_for() -> None:
    questions = [Question(f"q{i}", "?", f"q{i}", {"d2": 2, "d3": 1}) for i in range(2)]
    limits = []

    def search(text: str, limit: int) -> list[Hit]:
        limits.append(limit)
        return [hit("1", "d1"), hit("2", "d1"), hit("3", "d2"), hit("4", "d1"), hit("5", "d3")]

    found = ablate(questions, {"a": search}, "a", judged="document", measures=("RR@10", "R@2", "nDCG@20"))
    assert limits == [100, 100]
    values = {name: value.value for name, value in found.arms[0].values.items()}
    ideal = 2 + 1 / np.log2(3)
    assert values == pytest.approx(
        {"RR@10": 1 / 2, "R@2": 1 / 2, "nDCG@20": (2 / np.log2(3) + 1 / np.log2(4)) / ideal}
    )


def test_a_killed_ablation_goes_on_where_it_stood(tmp_path: Path) -> None:
    def killed(text: str, limit: int) -> list[Hit]:
        raise KeyboardInterrupt

    def unasked(text: str, limit: int) -> list[Hit]:
        raise AssertionError("asked again")

    with pytest.raises(KeyboardInterrupt):
        ablate(QUESTIONS, {"a b": right, "a/b": killed}, "a b", notes=Notes(tmp_path))
    found = ablate(QUESTIONS, {"a b": unasked, "a/b": second}, "a b", notes=Notes(tmp_path))
    plain = ablate(QUESTIONS, {"a b": right, "a/b": second}, "a b")
    untimed = {"arms": {"__all__": {"seconds"}}}
    assert found.model_dump(exclude=untimed) == plain.model_dump(exclude=untimed)
    with pytest.raises(AssertionError):  # other questions are other work
        ablate(QUESTIONS[:4], {"a b": unasked}, "a b", notes=Notes(tmp_path))


def test_what_cannot_be_compared_is_refused() -> None:
    for questions, arms, baseline, said in (
        ([], {"a": right}, "a", "no question"),
        (QUESTIONS, {"a": right}, "b", "'b' is no arm"),
        ([QUESTIONS[0], QUESTIONS[0]], {"a": right}, "a", "same id"),
        (QUESTIONS[:2], {"a": right}, "a", "one held-out document"),
    ):
        with pytest.raises(InputError, match=said):
            ablate(questions, arms, baseline)
    with pytest.raises(InputError, match="no cutoff"):
        ablate(QUESTIONS, {"a": right}, "a", measures=("AP",))


def test_an_arm_that_cannot_be_asked_says_why_and_the_others_go_on() -> None:
    def lacking(text: str, limit: int) -> list[Hit]:
        raise MissingPart("it tells no probabilities", "ask another model")

    found = ablate(QUESTIONS, {"a": right, "mute": lacking, "b": second}, "a")
    assert [arm.name for arm in found.arms] == ["a", "b"]
    assert found.left_out == {"mute": "it tells no probabilities"}
    assert found.arm("b").against["RR@10"].p_holm == found.arm("b").against["RR@10"].p, "one comparison"
    with pytest.raises(MissingPart):
        ablate(QUESTIONS, {"mute": lacking, "a": right}, "mute")


@pytest.mark.parametrize("many", [1, 5, 12, 30])
def test_some_questions_lie_as_far_apart_as_can_be(many: int) -> None:
    places = [QUESTIONS.index(question) for question in evenly(QUESTIONS, many)]
    assert len(places) == min(many, 12) and places == sorted(set(places))
    gaps = {b - a for a, b in pairwise([*places, 12])}
    assert max(gaps) - min(gaps) <= 1


def test_run_files_are_compared_without_searching() -> None:
    ranked = {"one": Ranked({q.id: [next(iter(q.relevant))] for q in QUESTIONS}), "two": Ranked({})}
    found = compare(QUESTIONS, ranked, "two")
    assert found.arm("one").against["R@5"].difference.value == 1
    assert found.arm("one").seconds is None and found.arm("one").timed == "not timed"
    assert json.loads(found.model_dump_json())["arms"][0]["name"] == "two"


def test_values_agree_with_plain_formulas() -> None:
    rng = np.random.default_rng(5)
    pool = [f"c{i}" for i in range(30)]
    questions, ranked = [], {}
    for i in range(50):
        chosen = rng.choice(pool, 4, replace=False)
        grades = {str(c): int(rng.integers(1, 4)) for c in chosen}
        questions.append(Question(f"q{i}", "?", f"q{i}", grades))
        ranked[f"q{i}"] = [str(c) for c in rng.permutation(pool)[: rng.integers(0, 25)]]
    found = per_question(questions, ranked)
    for i, question in enumerate(questions):
        ids = ranked[question.id]
        gains = [question.relevant.get(c, 0) for c in ids[:10]]
        first = next((1 / rank for rank, gain in enumerate(gains, 1) if gain), 0.0)
        dcg = sum(gain / np.log2(rank + 1) for rank, gain in enumerate(gains, 1))
        best = sorted(question.relevant.values(), reverse=True)
        ideal = sum(gain / np.log2(rank + 1) for rank, gain in enumerate(best, 1))
        assert found["R@5"][i] == pytest.approx(len(set(ids[:5]) & set(question.relevant)) / 4)
        assert found["RR@10"][i] == pytest.approx(first)
        assert found["nDCG@10"][i] == pytest.approx(dcg / ideal)
