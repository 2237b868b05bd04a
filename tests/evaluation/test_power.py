from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from llm_twin.evaluation import power as module
from llm_twin.evaluation.power import count, cut, power
from llm_twin.evaluation.style import Passage


def test_pieces_keep_marks_and_layout_and_have_exactly_as_many_words() -> None:
    text = "— One, two!\n\n- three 4 don't … six"
    assert cut(text, 2) == ["One, two!\n\n-", "three 4", "don't … six"]
    assert cut(text, 4) == ["One, two!\n\n- three 4"]
    assert cut(text, 7) == [] == cut("", 1)
    assert count(text) == 6


@given(st.text(alphabet="ab— .\n"), st.integers(1, 5))
def test_every_piece_has_its_words(text: str, length: int) -> None:
    pieces = cut(text, length)
    assert len(pieces) == count(text) // length
    assert all(count(piece) == length for piece in pieces)


def side(
    name: str, word: str, other: str, share: float, documents: int = 6, length: int = 700
) -> list[Passage]:
    rng = np.random.default_rng(sum(map(ord, name)))
    return [
        Passage(f"{name}{d}", " ".join(rng.choice([word, other], length, p=[share, 1 - share])))
        for d in range(documents)
    ]


def share_of_a(texts: Sequence[str]) -> NDArray[np.float64]:
    return np.array([text.split().count("a") / len(text.split()) for text in texts])


def test_longer_texts_are_told_better_and_the_lengths_needed_are_found() -> None:
    found = power(share_of_a, side("own", "a", "b", 0.55), side("their", "a", "b", 0.45), [])
    assert [p.words for p in found.points] == [20, 40, 80, 160, 320, 640]
    assert [p.texts for p in found.points] == [210, 102, 48, 24, 12, 6]
    aucs = [p.auc for p in found.points]
    assert aucs[0] < 0.9 < aucs[-1] and all(p.machine is None and p.others for p in found.points)
    assert found.enough == next(p.words for p in found.points if p.auc >= 0.8)
    assert found.sure == next(p.words for p in found.points if p.auc >= 0.9) > found.enough
    # Binomial shares of n words: the AUC is that of normals 0.1 apart with variances 0.2475 / n.
    from scipy.stats import norm

    for point in found.points[:4]:
        theory = norm.cdf(0.1 / np.sqrt(2 * 0.2475 / point.words))
        assert point.auc == pytest.approx(theory, abs=0.06)


def test_both_kinds_of_background_must_be_told() -> None:
    own, far, near = (side(n, "a", "b", share) for n, share in (("own", 0.9), ("far", 0.1), ("near", 0.9)))
    found = power(share_of_a, own, far, near)
    assert all(
        p.others and p.others.value == 1 and p.machine and p.auc == p.machine.value for p in found.points
    )
    assert found.enough is None and found.sure is None


def test_lengths_with_too_few_pieces_are_left_out() -> None:
    own = side("own", "a", "b", 0.9)
    assert [p.words for p in power(share_of_a, own, side("few", "a", "b", 0.1, 2, 120), []).points] == [
        20,
        40,
    ]
    assert power(share_of_a, own, side("few", "a", "b", 0.1, 1, 50), []).points == ()
    assert power(share_of_a, side("own", "a", "b", 0.9, 1), side("few", "a", "b", 0.1), []).points == ()


@pytest.mark.parametrize(
    ("aucs", "least"), [([0.7, 0.8, 0.9], 40), ([0.9, 0.7, 0.9], 80), ([0.9, 0.9, 0.7], None)]
)
def test_the_least_length_is_where_it_stays_enough(aucs: list[float], least: int | None) -> None:
    from llm_twin.evaluation.intervals import Estimate

    points = [
        module.Point(words=words, texts=9, others=Estimate(value=a, low=a, high=a), machine=None)
        for words, a in zip((20, 40, 80), aucs, strict=True)
    ]
    found: Callable[..., int | None] = module._from
    assert found(points, 0.8) == least
