"""What verdicts amount to, on tables worked by hand and judges whose habits are known."""

import random
from collections.abc import Callable
from typing import Literal

import pytest
from sklearn.metrics import roc_auc_score

from llm_twin.evaluation import judged
from llm_twin.evaluation.verdicts import Pair, Score

Letter = Literal["A", "B", "tie"]


def score(value: int | None) -> Score | None:
    return None if value is None else Score.model_validate({"reason": "", "score": value})


def scores(*values: int | None) -> list[Score | None]:
    return [score(v) for v in values]


def pairs(*letters: str | None) -> list[Pair | None]:
    return [None if x is None else Pair.model_validate({"reason": "", "better": x}) for x in letters]


DOCUMENTS = ["a", "a", "b", "b", "c"]


def test_orders_worked_by_hand() -> None:
    """Twin twice, base, tie, and one that always takes the first: 4 of 5 agree; A 5, B 3, tie 2 of 10."""
    orders = pairs("A", "A", "B", "tie", "A"), pairs("B", "B", "A", "tie", "A")
    found = judged.consistency(orders, DOCUMENTS)
    assert found is not None
    assert (found.pairs, found.agree, found.flipped) == (5, 0.8, 1)
    assert found.first_place == pytest.approx(5 / 8)
    without_replacement = (2 * 5 * 3 + 2 * 1) / (10 * 9)
    assert found.chance == pytest.approx(without_replacement, abs=0.02)
    preferred = judged.preference(orders, DOCUMENTS)
    assert preferred is not None
    assert (preferred.wins, preferred.losses, preferred.ties) == (2, 1, 2)
    assert preferred.share.value == pytest.approx(3 / 5)


def test_a_pair_without_a_valid_reply_is_left_out_and_too_few_tell_nothing() -> None:
    orders = pairs("A", None, "B", "A", None), pairs("B", "B", "A", None, "B")
    found = judged.consistency(orders, DOCUMENTS)
    assert found is not None and (found.pairs, found.agree) == (2, 1)
    short = pairs("A", "A", None, None, None), pairs("B", "B", "A", "A", "A")
    assert judged.consistency(short, DOCUMENTS) is None
    assert judged.preference(short, DOCUMENTS) is None
    assert "two documents" in judged.unusable({"pair": 1.0}, None)


def habits(choose: Callable[[random.Random, str], Letter], seed: int) -> str:
    """Why a judge with this way to choose, shown who stands first, is unusable."""
    rng = random.Random(seed)
    orders = [pairs(*(choose(rng, first) for _ in range(60))) for first in ("twin", "base")]
    documents = [f"d{i % 15}" for i in range(60)]
    return judged.unusable({"pair": 1.0}, judged.consistency((orders[0], orders[1]), documents))


def test_judges_who_do_not_look_are_unusable() -> None:
    """At a level of 5%, one in twenty slips through: of 100 no more than 11, which 99% of such counts keep to."""
    coins = [habits(lambda rng, _: rng.choice(("A", "B", "tie")), seed) for seed in range(100)]
    assert 1 <= sum(why == "" for why in coins) <= 11
    leaning = [
        habits(lambda rng, _: "A" if rng.random() < 0.9 else rng.choice(("B", "tie")), s) for s in range(100)
    ]
    assert sum(why == "" for why in leaning) <= 11
    assert "no more than chance" in next(why for why in coins if why)
    assert "0% of 60 pairs" in habits(lambda rng, _: "A", 0)
    assert "ties" in habits(lambda rng, _: "tie", 0)


def test_judges_who_look_are_usable_also_where_one_side_always_wins() -> None:
    assert habits(lambda rng, first: "A" if first == "twin" else "B", 0) == ""

    def mostly(rng: random.Random, first: str) -> Letter:
        right: Letter = "A" if first == "twin" else "B"
        return right if rng.random() < 0.8 else rng.choice(("A", "B", "tie"))

    assert [habits(mostly, seed) for seed in range(20)] == [""] * 20


@pytest.mark.parametrize(("pairs_", "p"), [(6, 64 / 924), (8, 256 / 12870)])
def test_the_p_value_is_that_of_counting_every_deal(pairs_: int, p: float) -> None:
    """2^n of the (2n over n) ways to deal n A and n B out give every pair one of each."""
    documents = [f"d{i}" for i in range(pairs_)]
    found = judged.consistency((pairs(*["A"] * pairs_), pairs(*["B"] * pairs_)), documents)
    assert found is not None and found.p_value == pytest.approx(p, abs=0.012)
    assert (judged.unusable({"pair": 1.0}, found) == "") == (p < 0.05)


def test_the_worst_kind_of_reply_decides() -> None:
    fine = judged.consistency((pairs(*"A" * 9), pairs(*"B" * 9)), list("abcabcabc"))
    assert judged.unusable({"style": 1.0, "pair": 0.9}, fine) == ""
    assert "89% of the judge's replies to style" in judged.unusable({"style": 0.89, "pair": 0.9}, fine)


def test_means_by_hand_leave_invalid_replies_out() -> None:
    given: judged.Scores = {
        ("style", "twin"): scores(3, None, 2, 2, 3),
        ("style", "base"): scores(1, 2, None, 2, 1),
        ("style", "author"): scores(3, 3, 3, 2, 3),
        ("accuracy", "twin"): scores(1, 1, 1, 1, 1),
        ("accuracy", "base"): scores(2, 2, 2, 2, 2),
    }
    style, accuracy = (judged.graded(given, which, DOCUMENTS) for which in judged.RUBRICS[::-1])
    assert style is not None and style.author is not None and accuracy is not None
    assert style.twin.value == pytest.approx(10 / 4)
    assert style.base.value == pytest.approx(6 / 4)
    assert style.author.value == pytest.approx(14 / 5)
    assert style.difference.value == pytest.approx((2 + 0 + 2) / 3)
    assert (accuracy.author, accuracy.difference.value, accuracy.difference.low) == (None, -1, -1)


def test_means_of_one_document_are_not_given() -> None:
    given: judged.Scores = {
        ("style", "twin"): scores(3, 2, None, None, None),
        ("style", "base"): scores(1, 2, 3, 3, 3),
    }
    assert judged.graded(given, "style", DOCUMENTS) is None


def test_self_agreement_is_over_the_texts_with_both() -> None:
    once: judged.Scores = {("style", "twin"): scores(1, 2, 3, None, 2), ("accuracy", "twin"): scores(1)}
    twice: judged.Scores = {("style", "twin"): scores(1, 3, 3, 3, None), ("accuracy", "twin"): scores(None)}
    found = judged.self_agreement(once, twice)
    assert set(found) == {"style"}
    assert (found["style"].items, found["style"].equal) == (3, pytest.approx(2 / 3))


@pytest.mark.parametrize("seed", range(5))
def test_agreement_with_users_ranks_like_scikit_learn(seed: int) -> None:
    rng = random.Random(seed)
    values = [(rng.choice((1, 2, 3)), rng.choice((1, 2, 3))) for _ in range(30)]
    liked = [True, False, *(rng.random() < 0.5 for _ in range(28))]
    given: judged.Scores = {
        ("accuracy", "users"): scores(*(a for a, _ in values)),
        ("style", "users"): scores(*(s for _, s in values)),
    }
    found = judged.with_users(given, liked)
    assert found is not None
    assert found.auc == pytest.approx(roc_auc_score(liked, [a + s for a, s in values]))
    equal = sum((a + s >= 4) == up for (a, s), up in zip(values, liked, strict=True)) / 30
    assert found.agreement.equal == pytest.approx(equal)


def test_without_thumbs_or_with_one_kind_of_thumb_that_is_said() -> None:
    assert judged.with_users({}, []) is None
    given: judged.Scores = {("accuracy", "users"): scores(3, 3), ("style", "users"): scores(3, 1)}
    found = judged.with_users(given, [True, True])
    assert found is not None and found.auc is None
    assert judged.with_users({**given, ("style", "users"): scores(None, None)}, [True, True]) is None
