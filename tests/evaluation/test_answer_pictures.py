from collections.abc import Callable
from typing import Any

import pytest

from llm_twin.evaluation.ablation import Compared, Ranked, compare
from llm_twin.evaluation.answer_pictures import (
    arm_name,
    gains,
    gains_in_words,
    grounded,
    measure_name,
    searched,
    verdict,
)
from llm_twin.evaluation.intervals import Estimate
from llm_twin.evaluation.plots import Small
from llm_twin.evaluation.retrieval import Question

Sections = Callable[..., dict[str, Any]]


def estimate(low: float, value: float, high: float) -> Estimate:
    return Estimate(low=low, value=value, high=high)


def of(pictures: list[Small], title: str) -> Small:
    return next(p for p in pictures if p.title == title)


# --- the search -------------------------------------------------------------------------------------------------


def test_every_search_is_a_row_with_its_verdict(sections: Sections) -> None:
    found = searched(sections("nothing")["search"])
    assert found.measure == "nDCG@10"
    assert [(r.name, r.verdict) for r in found.rows] == [
        ("hybrid", "baseline"), ("nothing", "worse"), ("dense", "same"),
    ]  # fmt: skip
    assert found.rows[0].p is None
    assert found.rows[1].p is not None and found.rows[1].p < 0.01
    assert (found.axis.low, found.axis.high) == (0.0, 1.0)


def test_without_ndcg_the_last_measure_is_drawn() -> None:
    asked = [Question(f"q{i}", "?", f"d{i}", {"a": 1}) for i in range(3)]
    ranked = Ranked({q.id: ["b", "a"] for q in asked})
    found = searched(compare(asked, {"x": ranked}, "x", measures=["R@5", "RR@10"]))
    assert (found.measure, found.rows[0].value.value) == ("RR@10", 0.5)
    assert found.axis.low <= 0.5 < found.axis.high


@pytest.mark.parametrize(
    ("gain", "p_holm", "said"), [(0.2, 0.01, "better"), (-0.2, 0.01, "worse"), (0.2, 0.06, "same")]
)
def test_a_verdict_needs_significance_after_correction(gain: float, p_holm: float, said: str) -> None:
    found = Compared(difference=estimate(gain - 0.1, gain, gain + 0.1), p=0.001, p_holm=p_holm)
    assert verdict(found) == said


def test_measures_have_the_names_that_readers_know() -> None:
    assert [measure_name(m) for m in ("R@5", "RR@10", "nDCG@10", "P@1")] == [
        "recall@5", "MRR@10", "nDCG@10", "P@1",
    ]  # fmt: skip


# --- answers ----------------------------------------------------------------------------------------------------


def test_both_silences_and_every_quantity_have_a_lane_an_arm(sections: Sections) -> None:
    found = grounded(sections()["rag"])
    assert [p.title for p in found] == [
        "Grounded", "Citation recall", "Citation precision", "Cited", "Left unanswered", "Silent where it should be",
        "Silent near by",
    ]  # fmt: skip
    wrong, right = (
        {lane.name: lane.value.value for lane in of(found, title).lanes}
        for title in ("Left unanswered", "Silent where it should be")
    )
    assert wrong == {"Twin": 0.5, "Base": 0.0, "Quotes": 0.0}
    assert right == {"Twin": 1.0, "Base": 0.5, "Quotes": 1.0}


def test_silence_is_shown_near_the_authors_subjects_too(sections: Sections) -> None:
    rag = sections()["rag"]
    near = rag.arms["twin write"].model_copy(update={"abstentions_others": estimate(0.4, 0.75, 0.9)})
    found = of(grounded(rag.model_copy(update={"arms": {**rag.arms, "twin write": near}})), "Silent near by")
    assert [(lane.name, lane.value.value) for lane in found.lanes] == [("Twin", 0.75)]
    assert found.missing == ("Base", "Quotes")


def test_an_arm_without_a_value_is_named_as_missing(sections: Sections) -> None:
    found = of(grounded(sections()["rag"]), "Grounded")
    assert [lane.name for lane in found.lanes] == ["Base", "Quotes"]
    assert found.missing == ("Twin",)  # one of its two documents has a statement


def test_gains_are_pairs_around_zero(sections: Sections) -> None:
    rag = sections()["rag"]
    found = gains(rag)
    silence = of(found, "Left unanswered")
    assert [(lane.who, lane.name, lane.value.value) for lane in silence.lanes] == [
        ("base", "Base", 0.5), ("author", "Quotes", 0.5),
    ]  # fmt: skip
    assert all(p.axis == silence.axis and p.axis.at(0) == 50 for p in found)
    assert "Silent where it should be" not in [p.title for p in found]
    assert gains(rag.model_copy(update={"differences": {}})) == []


def test_what_pairs_show_in_words(sections: Sections) -> None:
    differences = {
        "twin write - base write": {"grounded": estimate(-0.2, 0.1, 0.3)},
        "twin write - quote": {
            "grounded": estimate(-0.5, -0.3, -0.1),
            "cited": estimate(-0.5, -0.3, -0.1),
            "relevance": estimate(0.1, 0.2, 0.3),
            "relevance_author": estimate(0.1, 0.2, 0.3),
        },
    }
    rag = sections()["rag"].model_copy(update={"differences": differences})
    assert gains_in_words(rag) == [
        "Against base, nothing is shown to differ.",
        "Against quotes, the twin stands higher in relevance and lower in grounded, cited.",
    ]


def test_an_arm_that_is_not_known_keeps_its_name() -> None:
    assert [arm_name(name) for name in ("twin write", "quote", "other")] == ["Twin", "Quotes", "other"]
