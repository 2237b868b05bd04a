from collections.abc import Callable

import pytest

from llm_twin.evaluation import style
from llm_twin.evaluation.intervals import Estimate
from llm_twin.evaluation.power import Point, Power, power
from llm_twin.evaluation.style import Passage, auc
from llm_twin.evaluation.trust import aucs, notes, refusal

Writer = Callable[..., list[Passage]]


def auc_of(value: float, low: float, high: float = 1.0) -> Estimate:
    return Estimate(value=value, low=low, high=high)


SURE = {"all": auc_of(0.97, 0.9), "others": auc_of(0.95, 0.8), "machine": auc_of(0.99, 0.95)}


def found(enough: int | None, *lengths: int) -> Power:
    points = tuple(Point(words=n, texts=9, others=auc_of(0.9, 0.7), machine=None) for n in lengths)
    return Power(points=points, enough=enough, sure=None)


def test_a_verifier_that_tells_every_background_apart_is_trusted() -> None:
    assert refusal(3, SURE) == ""
    assert refusal(8, {"all": auc_of(0.8, 0.5), "machine": auc_of(0.8, 0.5)}) == ""


@pytest.mark.parametrize("kind", ["all", "others", "machine"])
def test_one_background_that_is_not_told_apart_is_enough_to_refuse(kind: str) -> None:
    assert "under 0.8 it cannot tell" in refusal(8, SURE | {kind: auc_of(0.79, 0.7)})
    assert "it may be guessing" in refusal(8, SURE | {kind: auc_of(0.85, 0.49)})


def test_the_reason_shows_every_auc_with_its_interval() -> None:
    told = refusal(8, {"all": auc_of(0.85, 0.41), "machine": auc_of(0.85, 0.41)})
    assert "0.85 [0.41, 1.00] (other authors none, machine 0.85 [0.41, 1.00])" in told


def test_two_documents_are_too_few_however_well_they_are_told() -> None:
    assert refusal(2, SURE) == "2 held-out documents are too few to tell anything by, and it takes 3"


def test_few_documents_and_short_passages_are_noted_and_not_refused() -> None:
    texts = ["one two three", "word " * 90]
    short = "1 of 2 held-out passages are shorter than the 20 words that it takes to tell this author"
    assert notes(8, texts, found(20, 20, 40), 0) == (short,)
    assert notes(6, texts[1:], found(80, 20, 40, 80), 0) == ()
    (few,) = notes(5, texts[1:], found(20, 20), 0)
    assert "5 documents" in few and "fewer than 6 are too narrow" in few
    assert notes(8, texts, found(None, 20, 40), 0)[0].startswith("pieces of 40 words, the longest")
    assert notes(8, texts, found(None), 0)[0].startswith("too little is held out to know")
    (repeated,) = notes(8, texts[1:], found(20, 20), 3)
    assert repeated == "passages by other authors left out because they repeat another: 3"


def test_aucs_are_those_of_the_verifier_over_each_background(writing: Writer) -> None:
    own, others, machine = (
        writing("brisk", "t", 3, 5),
        writing("formal", "p", 4, 5),
        writing("brisk", "t", 5, 5),
    )
    verifier = style.fit(
        writing("brisk", "a", 0), writing("formal", "o", 1), writing("formal", "a", 2), (own, others, machine)
    )
    told = aucs(verifier, own, others, machine)
    mine, theirs, its = (verifier.probability([p.text for p in side]) for side in (own, others, machine))
    assert told["others"].value == pytest.approx(auc(mine, theirs)) == pytest.approx(verifier.auc_others)
    assert told["machine"].value == pytest.approx(auc(mine, its)) == pytest.approx(verifier.auc_machine)
    assert told["all"].value == pytest.approx(verifier.auc)
    assert told["others"].low > 0.8 > told["machine"].low, "a machine that writes like the author is not told"
    assert set(aucs(verifier, own, [], machine)) == {"all", "machine"}
    assert "cannot tell this author" in refusal(5, told)


def test_the_words_needed_are_those_of_the_power_curve(writing: Writer) -> None:
    own, others = writing("brisk", "t", 3, 6), writing("formal", "p", 4, 6)
    verifier = style.fit(writing("brisk", "a", 0), writing("formal", "o", 1), [], (own, others, []))
    curve = power(verifier.probability, own, others, [])
    assert curve.enough == 20
    assert notes(6, [p.text for p in own], curve, 0) == ()
    assert "2 of 2" in notes(6, ["too short", "this too"], curve, 0)[0]
