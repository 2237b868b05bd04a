import random
from collections.abc import Callable

import numpy as np
import pytest

from llm_twin.errors import InputError
from llm_twin.evaluation import verifiers
from llm_twin.evaluation.intervals import Estimate
from llm_twin.evaluation.separation import separation
from llm_twin.evaluation.style import Passage

Writer = Callable[..., list[Passage]]
NAMES = ["delta", "function words", "punctuation", "rhythm", "letters"]


def test_habits_on_the_same_topics_are_told_apart_by_each(writing: Writer) -> None:
    fitted = verifiers.fit(writing("brisk", "a", 0), writing("formal", "o", 1), writing("formal", "a", 2))
    assert [second.name for second in fitted] == NAMES
    for second in fitted:
        own, theirs = second.judge(writing("brisk", "b", 3)), second.judge(writing("formal", "p", 4))
        assert separation(own, theirs).value >= 0.95, second.name
        assert len(own.values) == (8 if second.by_document else 32)
        assert own.values.mean() > 0 > theirs.values.mean(), second.name


def dealt(writing: Writer, seed: int) -> tuple[list[Passage], list[Passage]]:
    """Writing in both habits, half the documents of each dealt to either of two "authors"."""
    names = range(12)
    first = set(random.Random(seed).sample(names, 6))
    both = [writing(habit, habit, seed, 12, 3) for habit in ("brisk", "formal")]
    heaps: tuple[list[Passage], list[Passage]] = ([], [])
    for passages in both:
        for passage in passages:
            heaps[int(passage.document_id.removeprefix("brisk").removeprefix("formal")) in first].append(
                passage
            )
    return heaps


def test_with_labels_that_say_nothing_none_tells_anything(writing: Writer) -> None:
    found: dict[str, list[float]] = {name: [] for name in NAMES}
    for seed in range(6):
        (one, two), (one_test, two_test) = dealt(writing, seed), dealt(writing, seed + 50)
        for second in verifiers.fit(one, two, []):
            found[second.name].append(separation(second.judge(one_test), second.judge(two_test)).value)
    for name, aucs in found.items():
        assert np.mean(aucs) == pytest.approx(0.5, abs=0.12), name


def test_passages_of_a_document_are_joined_in_order() -> None:
    passages = [Passage("b", "One."), Passage("a", "Two."), Passage("b", "Three.")]
    assert verifiers.joined(passages) == [Passage("b", "One.\n\nThree."), Passage("a", "Two.")]


def test_an_auc_under_08_over_either_kind_is_a_refusal_that_names_it() -> None:
    def auc(value: float) -> Estimate:
        return Estimate(value=value, low=value, high=value)

    assert verifiers.refusal({"other authors": auc(0.8), "the base model": None}) == ""
    said = verifiers.refusal({"other authors": auc(0.9), "the base model": auc(0.79)})
    assert "the base model (0.79)" in said and "other authors" not in said


def test_no_background_and_too_little_writing_are_said(writing: Writer) -> None:
    with pytest.raises(InputError, match="no background"):
        verifiers.fit(writing("brisk", "a", 0), [], [])
    with pytest.raises(InputError, match="there are 2"):
        verifiers.fit(writing("brisk", "a", 0, documents=2), writing("formal", "o", 1), [])


@pytest.mark.slow
def test_two_real_authors_are_told_apart_by_each(
    real_authors: dict[str, tuple[list[Passage], list[Passage]]],
) -> None:
    for author, (train, test) in real_authors.items():
        others, others_test = next(sides for name, sides in real_authors.items() if name != author)
        told = 0
        for second in verifiers.fit(train, others, []):
            found = separation(second.judge(test), second.judge(others_test))
            if not verifiers.refusal({"other authors": found}):
                told += 1
                assert found.low > 0.6, (author, second.name, found)
        assert told >= 4
