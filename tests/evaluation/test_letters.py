import math
import random

import pytest

from llm_twin.evaluation import letters
from llm_twin.evaluation.letters import Letters, learn


def test_probabilities_by_hand() -> None:
    """After "ab" and "ac", with an alphabet of 4, by Witten and Bell's interpolation."""
    model = learn(["ab", "ac"], alphabet=4)
    # Without context: a a b c, so 3 kinds in 4. P(b) = (1 + 3/4) / 7, and P(z) = (3/4) / 7.
    assert model.probability("", "b") == pytest.approx((1 + 3 / 4) / 7)
    assert model.probability("", "z") == pytest.approx((3 / 4) / 7)
    # After "a": b and c once each.
    assert model.probability("a", "b") == pytest.approx((1 + 2 * (1.75 / 7)) / 4)
    assert model.probability("qqqa", "b") == model.probability("a", "b")


def test_probabilities_add_up_to_one_after_any_context() -> None:
    rng = random.Random(0)
    alphabet = "abcd"
    texts = ["".join(rng.choices(alphabet, [4, 3, 2, 1], k=60)) for _ in range(5)]
    model = learn(texts, alphabet=len(alphabet) + 1)
    for context in ("", "a", "ab", "dcba", "zzzz", "\n\n\n\n"):
        total = sum(model.probability(context, c) for c in [*alphabet, "never seen"])
        assert total == pytest.approx(1)


def test_the_log_likelihood_is_a_plain_loop_over_characters() -> None:
    model = learn(["it is so", "is it so"], alphabet=9)
    text, padded = "so is", "\n\n\n\nso is"
    plain = sum(math.log(model.probability(padded[i : i + 4], padded[i + 4])) for i in range(5)) / 5
    assert model.log_likelihood(text) == pytest.approx(plain)
    assert model.log_likelihood("") == 0


def test_all_sides_learn_from_as_many_characters() -> None:
    models = letters.fit({"author": ["so it is. " * 30, "so so. " * 20], "others": ["but no! " * 3]})
    assert {model.sizes[""] for model in models.values()} == {len("but no! " * 3)}
    assert models["author"].alphabet == models["others"].alphabet


def test_the_author_is_expected_best_by_the_authors_own_model_and_the_nearest_other_counts() -> None:
    sides = {
        "author": ["so — it is — so. " * 9],
        "others": ["it is, so it is, so. " * 9],
        "machine": ["It is so! " * 16],
    }
    models = letters.fit(sides)
    own, other, third = letters.value(
        models, ["so — it is — so.", "it is, so it is, so.", "It is so! It is so!"]
    )
    assert own > 0.2 and other < -0.2 and third < -0.2
    alone = letters.value({k: m for k, m in models.items() if k != "machine"}, ["It is so! It is so!"])
    assert alone[0] > third


def test_the_topic_counts_for_nothing() -> None:
    models: dict[str, Letters] = letters.fit({"author": ["a tide — so"], "others": ["a lathe, so"]})
    one, two = letters.value(models, ["the tide — so it is", "the lathe — so it is"])
    assert one == two
