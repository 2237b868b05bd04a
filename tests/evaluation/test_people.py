"""Intervals and tests against scipy's own, edit distance against rapidfuzz, verdicts against hand-made cases."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein
from scipy.stats import binomtest

from llm_twin.evaluation.people import (
    LEAST_GUESSES,
    Guess,
    binomial_p,
    blind_verdict,
    changed_share,
    feedback_stats,
    wilson,
)
from llm_twin.types import Feedback

NOW = datetime(2026, 11, 23, tzinfo=UTC)
CASES = [(0, 1), (1, 1), (0, 20), (20, 20), (3, 5), (10, 20), (34, 48), (7, 1000)]


def guesses(correct: int, wrong: int, kind: str = "article") -> list[Guess]:
    """Half of the author's passages first, whatever was picked."""
    return [
        Guess(
            id=f"{kind}{n}",
            created=NOW,
            model="twin",
            kind=kind,
            real_first=n % 2 == 0,
            picked_first=(n % 2 == 0) == (n < correct),
        )
        for n in range(correct + wrong)
    ]


@pytest.mark.parametrize(("right", "of"), CASES)
def test_the_wilson_interval_is_scipys(right: int, of: int) -> None:
    theirs = binomtest(right, of).proportion_ci(method="wilson")
    ours = wilson(right, of)
    assert (ours.value, ours.low, ours.high) == pytest.approx(
        (right / of, theirs.low, theirs.high), abs=1e-12
    )


@pytest.mark.parametrize(("right", "of"), CASES)
def test_the_p_value_is_scipys(right: int, of: int) -> None:
    assert binomial_p(right, of) == pytest.approx(binomtest(right, of).pvalue)


def test_the_least_number_of_guesses_is_what_its_docstring_says() -> None:
    needed = next(
        k for k in range(LEAST_GUESSES + 1) if k > LEAST_GUESSES / 2 and binomial_p(k, LEAST_GUESSES) < 0.05
    )
    rng = np.random.default_rng(0)
    assert np.mean(rng.binomial(LEAST_GUESSES, 0.8, 100_000) >= needed) == pytest.approx(0.80, abs=0.01)


@pytest.mark.parametrize(
    ("right", "wrong", "verdict"),
    [
        (15, 5, "told apart"),
        (14, 6, "not told apart"),
        (5, 15, "taken for the author"),
        (19, 0, "too few guesses"),
    ],
)
def test_a_verdict_differs_from_chance_or_says_that_it_cannot(right: int, wrong: int, verdict: str) -> None:
    found = blind_verdict(guesses(right, wrong))
    assert found.verdict == verdict
    assert found.total and (found.total.correct, found.total.guesses) == (right, right + wrong)
    assert bool(found.refused) == (found.p_value is None) == (verdict == "too few guesses")


def test_the_number_of_guesses_that_a_verdict_takes_is_named() -> None:
    assert blind_verdict(guesses(3, 2)).refused == "no verdict: 5 guesses, and it takes 20 to say anything"
    nothing = blind_verdict([])
    assert (nothing.verdict, nothing.total) == ("too few guesses", None)


def test_every_kind_stands_with_its_own_share() -> None:
    found = blind_verdict(guesses(9, 3, "article") + guesses(2, 8, "post"))
    assert [(k.kind, k.correct, k.guesses) for k in found.kinds] == [("article", 9, 12), ("post", 2, 10)]
    assert found.total and found.total.correct == 11


def feedback(number: int, model: str = "twin", **said: str) -> Feedback:
    return Feedback(id=str(number), created=NOW, model=model, question="Why?", answer="a b c d", **said)


def test_thumbs_and_edits_are_counted() -> None:
    (found,) = feedback_stats(
        [
            feedback(1, thumb="up"),
            feedback(2, thumb="up", edit="a b c d"),
            feedback(3, thumb="down", edit="a b c"),
            feedback(4, edit=""),
            feedback(5),
        ]
    )
    assert (found.answers, found.up, found.down, found.edited) == (5, 2, 1, 3)
    assert found.liked == wilson(2, 3)
    assert found.distance == (0.125, 0.25, 0.625)  # of 0, 1/4 and 1


def test_what_nobody_said_is_not_measured() -> None:
    assert feedback_stats([]) == []
    (found,) = feedback_stats([feedback(1)])
    assert (found.liked, found.distance) == (None, None)


def test_models_are_told_apart_where_there_are_several() -> None:
    found = feedback_stats([feedback(1, "b", thumb="up"), feedback(2, "a", thumb="down"), feedback(3, "b")])
    assert [(f.model, f.answers, f.up) for f in found] == [("", 3, 1), ("a", 1, 0), ("b", 2, 1)]


@pytest.mark.parametrize(
    ("before", "after", "share"),
    [
        ("", "", 0),
        ("a", "", 1),
        ("", "a b", 1),
        ("I am here", "I am here", 0),
        ("one two three four", "one too three", 0.5),
    ],
)
def test_how_far_a_text_was_changed(before: str, after: str, share: float) -> None:
    assert changed_share(before, after) == share


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=12))
def test_edit_distance_is_rapidfuzzs(before: list[str], after: list[str]) -> None:
    ours = changed_share(" ".join(before), " ".join(after))
    assert ours == pytest.approx(Levenshtein.normalized_distance(before, after))
