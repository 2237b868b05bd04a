from collections.abc import Callable
from math import log2
from typing import Any

import pytest

from llm_twin.evaluation.canaries import exposed
from llm_twin.evaluation.intervals import Estimate
from llm_twin.evaluation.knowledge import ChoiceAccuracy
from llm_twin.evaluation.paired import Compared
from llm_twin.evaluation.pictures import (
    UNSEEN_BITS,
    Words,
    choices_in_words,
    judged,
    knows,
    opinions,
    words,
)
from llm_twin.evaluation.plots import Small
from llm_twin.evaluation.power import Point, Power

Sections = Callable[..., dict[str, Any]]


def estimate(low: float, value: float, high: float) -> Estimate:
    return Estimate(low=low, value=value, high=high)


def lanes(picture: Small) -> list[tuple[str, str, float]]:
    return [(lane.who, lane.name, round(lane.value.value, 4)) for lane in picture.lanes]


def test_every_opinion_is_a_picture_on_one_axis_and_a_refused_one_says_why(sections: Sections) -> None:
    style, delta, rhythm = opinions(sections()["opinions"])
    assert lanes(style) == [("base", "Base", 0.01), ("twin", "Twin", 0.85)]
    assert lanes(delta) == [("base", "Base", 0.02), ("twin", "Twin", 0.75)]
    assert (style.title, style.note, style.author, style.refused) == ("style", "Plain words.", 1.0, "")
    assert (rhythm.lanes, rhythm.refused) == ((), "it cannot tell. Plain words.")
    assert style.axis == delta.axis and style.axis.at(1) > style.axis.at(0.95)


def test_the_power_curve_by_hand() -> None:
    found = words(
        Power(
            points=(
                Point(words=20, texts=9, others=estimate(0.55, 0.6, 0.7), machine=None),
                Point(words=40, texts=5, others=estimate(0.8, 0.9, 1.0), machine=estimate(0.9, 1.0, 1.0)),
            ),
            enough=40,
            sure=None,
        )
    )
    assert isinstance(found, Words)
    assert (found.up.low, found.up.high, found.enough) == (0.5, 1.0, 40.0)  # 0.8 is 40% down from 1 to 0.5
    assert [(s.x, s.y, s.low, s.high) for s in found.others] == [(21, 80, 90, 60), (71, 20, 40, 0)]
    assert [(s.x, s.y) for s in found.machine] == [(79, 0)]


def test_power_without_a_length_is_no_picture() -> None:
    assert words(Power(points=(), enough=None, sure=None)) is None


def test_an_auc_under_a_coin_is_still_on_the_power_curve() -> None:
    low = Point(words=20, texts=9, others=estimate(0.31, 0.4, 0.5), machine=None)
    found = words(Power(points=(low,), enough=None, sure=None))
    assert found is not None and found.up.low == 0.3
    assert found.others[0].low < 100


def test_what_a_model_knows_stands_beside_what_needs_no_knowledge(sections: Sections) -> None:
    given = sections("everyday")
    found = knows(given["knowledge"], given["forgetting"], given["general"])
    assert [p.title for p in found] == [
        "Multiple choice", "everyday", "Perplexity", "ROUGE-L", "chrF", "Cosine",
    ]  # fmt: skip
    choices, task, perplexity, rouge, *_ = found
    assert lanes(choices)[2] == ("other", "Topic alone", 0.46)
    assert (0.25, "chance") in choices.bounds
    assert lanes(rouge)[2] == ("other", "Unrelated", 0.11)
    assert rouge.axis.high == pytest.approx(0.3)  # 0.25 is the highest end
    assert task.axis == choices.axis
    assert perplexity.axis.high > 48 and perplexity.digits == 1


def test_nothing_known_is_no_picture() -> None:
    assert knows(None, None, None) == []


@pytest.mark.parametrize(
    ("twin", "topic", "said"),
    [
        ((0.6, 0.7, 0.8), (0.3, 0.4, 0.5), "knows more than the topic gives away"),
        ((0.3, 0.5, 0.7), (0.3, 0.4, 0.5), "the topic alone may explain it"),
        ((0.2, 0.5, 0.7), (0.1, 0.2, 0.3), "shows no knowledge"),
    ],
)
def test_accuracy_is_held_against_guessing_and_topic(
    twin: tuple[float, ...], topic: tuple[float, ...], said: str
) -> None:
    same = estimate(*twin)
    found = ChoiceAccuracy(
        questions=24,
        documents=24,
        chance=0.25,
        topic_alone=estimate(*topic),
        accuracy=Compared(base=same, twin=same, difference=same),
    )
    assert said in choices_in_words(found)


def test_a_judge_is_drawn_by_what_it_said(sections: Sections) -> None:
    found = sections()["judged"]
    preferred, style = judged(found)
    assert lanes(preferred) == [("twin", "Twin", 0.62)]
    assert preferred.note == "20 pairs won, 10 lost, 16 tied"
    assert [name for _, name, _ in lanes(style)] == ["Base", "Twin", "Author"]
    assert style.axis.at(1) < style.axis.at(3)
    assert judged(found.model_copy(update={"preference": None, "style": None})) == []


def test_a_model_that_saw_no_canary_exposes_them_by_a_bit_and_a_half() -> None:
    ranks = [float(n) for n in range(2**12)]  # every rank as likely as the other
    assert exposed(["a"] * len(ranks), ranks, len(ranks) - 1).mean == pytest.approx(UNSEEN_BITS, abs=0.01)
    assert pytest.approx(1.4427, abs=1e-4) == UNSEEN_BITS == log2(2.718281828459045)
