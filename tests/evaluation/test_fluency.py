import math

import numpy as np
import pytest

from llm_twin.evaluation.fluency import mean_log_likelihood, perplexity
from llm_twin.evaluation.intervals import draw

DOCUMENTS = ["a", "a", "b", "c"]
SIZES = (3, 5, 2, 9)
RNG = np.random.default_rng(0)
BASE = [-RNG.random(n) * 4 for n in SIZES]
TWIN = [-RNG.random(n) * 3 for n in SIZES]


def by_hand(scored: list[np.ndarray], rows: list[int]) -> float:
    total, tokens = 0.0, 0
    for row in rows:
        for logp in scored[row]:
            total += float(logp)
            tokens += 1
    return math.exp(-total / tokens)


def test_perplexity_is_that_of_a_plain_loop_over_all_tokens() -> None:
    found = perplexity(BASE, TWIN, DOCUMENTS, draw(DOCUMENTS))
    base, twin = by_hand(BASE, [0, 1, 2, 3]), by_hand(TWIN, [0, 1, 2, 3])
    assert found.base.value == pytest.approx(base)
    assert found.twin.value == pytest.approx(twin)
    assert found.change.value == pytest.approx(twin / base - 1)


def test_every_draw_is_the_perplexity_of_the_documents_drawn() -> None:
    rows = {"a": [0, 1], "b": [2], "c": [3]}
    draws = draw(DOCUMENTS, draws=400)
    redone = [
        by_hand(BASE, [r for d, n in zip("abc", counts, strict=True) for r in rows[d] * int(n)])
        for counts in draws.counts
    ]
    found = perplexity(BASE, TWIN, DOCUMENTS, draws).base
    assert min(redone) <= found.low < found.value < found.high <= max(redone)
    # Three documents leave (nearly) nothing out at either end, so the ends are the extremes.
    assert (found.low, found.high) == (pytest.approx(min(redone)), pytest.approx(max(redone)))


def test_a_uniform_model_over_twenty_tokens_has_perplexity_twenty() -> None:
    scored = [np.full(n, -math.log(20)) for n in (4, 8)]
    found = perplexity(scored, scored, ["a", "b"], draw(["a", "b"]))
    assert found.base.value == pytest.approx(20)
    assert (found.change.value, found.change.low, found.change.high) == (0, 0, 0)


def test_the_change_is_paired_over_documents() -> None:
    """A twin that always takes a quarter off has no uncertainty in the change, however documents differ."""
    twin = [scored + math.log(4 / 3) for scored in BASE]
    found = perplexity(BASE, twin, DOCUMENTS, draw(DOCUMENTS))
    assert [found.change.value, found.change.low, found.change.high] == pytest.approx([-0.25] * 3)
    assert found.base.high - found.base.low > 0.5


def test_the_mean_log_likelihood_is_by_token_of_each_text() -> None:
    assert mean_log_likelihood([np.array([-1.0, -3.0]), np.array([-5.0])]).tolist() == [-2.0, -5.0]
