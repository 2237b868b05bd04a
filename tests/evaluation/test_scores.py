import numpy as np
import pytest

from llm_twin.evaluation.intervals import Estimate, draw
from llm_twin.evaluation.scores import Bracketed, Scores, difference, scores

DOCUMENTS = ["a", "a", "b", "b", "c", "d"]
DRAWS = draw(DOCUMENTS)


def flat(floor: float, ceiling: float, base: float, twin: float) -> Bracketed:
    ones = np.ones(len(DOCUMENTS))
    return Bracketed(floor * ones, ceiling * ones, {"base": base * ones, "twin": twin * ones})


def quantities(**changed: Bracketed) -> dict[str, Bracketed]:
    return {
        "style": flat(0.1, 0.6, 0.1, 0.5),  # base 0, twin 0.8
        "relevance": flat(0.2, 0.7, 0.6, 0.5),  # base 0.8, twin 0.6
        "fluency": flat(-8, -4, -3, -5),  # base 1.25, twin 0.75
        "variety": flat(0.5, 0.9, 0.9, 0.9),  # both 1
        **changed,
    }


def test_each_score_by_hand() -> None:
    twin = scores("twin", quantities(), DOCUMENTS, DRAWS)
    found = [twin.style, twin.relevance, twin.fluency, twin.variety, twin.sense, twin.twin]
    assert [e.value for e in found] == pytest.approx([0.8, 0.6, 0.75, 1, 0.6, 2 * 0.8 * 0.6 / 1.4])
    assert twin.raw == pytest.approx({"style": 0.5, "relevance": 0.5, "fluency": -5, "variety": 0.9})


def test_a_model_at_the_floor_of_style_has_no_twin_score_however_much_sense_it_makes() -> None:
    base = scores("base", quantities(), DOCUMENTS, DRAWS)
    assert (base.style.value, base.twin.value) == (0, 0)
    assert base.sense.value == pytest.approx(0.8)


def test_perfect_style_without_sense_has_no_twin_score() -> None:
    nonsense = quantities(style=flat(0.1, 0.6, 0.1, 0.7), fluency=flat(-8, -4, -3, -9))
    twin = scores("twin", nonsense, DOCUMENTS, DRAWS)
    assert twin.style.value == pytest.approx(1.2)
    assert (twin.fluency.value, twin.sense.value, twin.twin.value) == (-0.25, 0, 0)


def test_over_imitation_needs_the_whole_interval_above_the_author() -> None:
    over = scores("twin", quantities(style=flat(0.1, 0.6, 0.1, 0.7)), DOCUMENTS, DRAWS)
    assert over.over_imitates
    uncertain = np.array([0.2, 0.2, 0.9, 0.9, 0.9, 0.8])
    ones = np.ones(6)
    unsure = Bracketed(0.1 * ones, 0.6 * ones, {"twin": uncertain})
    wide = scores("twin", quantities(style=unsure), DOCUMENTS, DRAWS)
    assert wide.style.value > 1
    assert not wide.over_imitates


def test_sense_is_clipped_and_style_is_not() -> None:
    base = scores("base", quantities(relevance=flat(0, 1, 2, 1), variety=flat(0, 1, 3, 1)), DOCUMENTS, DRAWS)
    assert (base.relevance.value, base.sense.value) == (2, 1)


def test_passages_without_a_bound_are_left_out_of_its_mean_only() -> None:
    nan = float("nan")
    ceiling = np.array([0.8, 0.6, 0.7, 0.7, nan, nan])  # documents c and d have one passage each
    values = np.array([0.7, 0.7, 0.7, 0.7, 0.1, 0.1])
    relevance = Bracketed(np.full(6, 0.2), ceiling, {"twin": values})
    found = scores("twin", quantities(relevance=relevance), DOCUMENTS, DRAWS).relevance
    assert found.value == pytest.approx((0.5 - 0.2) / (0.7 - 0.2))


def test_the_difference_is_paired_and_agrees_with_the_two_scores() -> None:
    rng = np.random.default_rng(0)
    ups = rng.normal(0, 0.1, 6)
    style = Bracketed(np.full(6, 0.1), np.full(6, 0.6), {"base": 0.25 + ups, "twin": 0.35 + ups})
    given = quantities(style=style)
    base, twin = (scores(name, given, DOCUMENTS, DRAWS).twin for name in ("base", "twin"))
    found = difference("twin", "base", given, DOCUMENTS, DRAWS)
    assert found.value == pytest.approx(twin.value - base.value)
    assert found.high - found.low < (twin.high - twin.low + base.high - base.low) / 2


def test_scores_survive_json() -> None:
    twin = scores("twin", quantities(), DOCUMENTS, DRAWS)
    assert Scores.model_validate_json(twin.model_dump_json()) == twin
    assert isinstance(twin.style, Estimate)
