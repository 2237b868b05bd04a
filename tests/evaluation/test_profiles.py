import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from llm_twin.evaluation import profiles
from llm_twin.evaluation.style import FUNCTION_WORDS


def test_function_words_by_hand() -> None:
    names = sorted(FUNCTION_WORDS)
    found = dict(zip(names, profiles.function_words("The lathe, and the clock; don’t!"), strict=True))
    assert found.pop("the") == pytest.approx(math.sqrt(2 / 6))
    assert found.pop("and") == found.pop("don't") == pytest.approx(math.sqrt(1 / 6))
    assert set(found.values()) == {0.0}


def test_marks_by_hand() -> None:
    before, after = profiles.marks("It wears it"), profiles.marks("It wears — it")
    changed = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    assert len(changed) == 1 and after[changed[0]] == pytest.approx(math.sqrt(1 / 3))
    listed = profiles.marks("Two THINGS:\n\n- one 12\n- two")
    assert [round(v * v * 4) for v in listed[-11:]] == [3, 1, 2, 0, 1, 2, 1, 1, 0, 1, 0]
    assert [round(v * v * 4) for v in profiles.marks("# Why\nso 🙂 it is")[-11:]] == [
        2,
        0,
        0,
        1,
        0,
        2,
        1,
        0,
        1,
        0,
        1,
    ]


def test_marks_do_not_see_the_words() -> None:
    assert profiles.marks("The tide, I say — 12!") == profiles.marks("The lathe, I say — 99!")


def test_rhythm_by_hand() -> None:
    found = profiles.rhythm("One two three. One.\n\nOne two three four five six seven eight nine.")
    logs = np.log([3, 1, 9])
    assert found[:2] == pytest.approx([logs.mean(), logs.std()])
    assert found[2:5] == pytest.approx(np.percentile(logs, [10, 50, 90]))
    assert found[5:8] == pytest.approx([(math.log(3) + math.log(9)) / 2, 2 / 3, 0])
    assert found[8:10] == pytest.approx([math.log(2) / 2, math.log(2) / 2])
    assert found[10] == pytest.approx((math.log(4) + math.log(9)) / 2)
    assert len(found) == len(profiles.rhythm("")) == 14


@given(st.text())
def test_any_text_has_a_profile_of_finite_numbers(text: str) -> None:
    for profile in (profiles.function_words, profiles.marks, profiles.rhythm):
        found = profile(text)
        assert np.isfinite(found).all() and len(found) == len(profile("It is so."))


def test_the_value_is_the_log_odds_of_a_shrunken_discriminant() -> None:
    """Two sides of equal size: sklearn's decision function, on the same standardised rates."""
    rng = np.random.default_rng(0)
    texts = [", ".join(["so"] * int(n)) + "!" * int(m) for n, m in rng.integers(1, 9, (40, 2))]
    own, others = texts[:20], [text + "?" for text in texts[20:]]
    value = profiles.fit(profiles.marks, {"author": own, "others": others})
    rows = np.array([profiles.marks(t) for t in [*own, *others]])
    spread = np.where(rows.std(axis=0) > 0, rows.std(axis=0), 1)
    scores = np.clip((rows - rows.mean(axis=0)) / spread, -3, 3)
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(scores, [1] * 20 + [0] * 20)
    assert value([*own, *others]) == pytest.approx(model.decision_function(scores), abs=1e-6)
    assert value([]).shape == (0,)


def test_the_author_weighs_as_much_as_all_others_together() -> None:
    """One normal rate, means 1 and -1, spread 1: the log odds of x are 2x, however many sides and texts."""
    rng = np.random.default_rng(0)
    own, others, machine = ([str(v) for v in rng.normal(m, 1, n)] for m, n in ((1, 400), (-1, 40), (-1, 900)))
    for sides in ({"author": own, "others": others}, {"author": own, "others": others, "machine": machine}):
        value = profiles.fit(lambda text: [float(text)], sides)
        assert value(["-1", "0", "1"]) == pytest.approx([-2, 0, 2], abs=0.6)


def test_a_clear_case_keeps_its_distance() -> None:
    rng = np.random.default_rng(0)
    sides = {
        "author": [str(v) for v in rng.normal(1, 0.01, 50)],
        "others": [str(v) for v in rng.normal(-1, 0.01, 50)],
    }
    one, two, three = profiles.fit(lambda text: [float(text)], sides)(["0.5", "0.8", "1.1"])
    assert two - one == pytest.approx(three - two) and one > 100
