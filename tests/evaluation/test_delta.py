import random

import numpy as np
import pytest
from faststylometry import Corpus, calculate_burrows_delta

from llm_twin.evaluation import delta

COMMON = ["the", "and", "of", "to", "in", "that", "it", "but", "not", "with", "for", "was"]


def text(seed: int, length: int = 400) -> str:
    """Common words in proportions of the writer's own; every word occurs."""
    rng = random.Random(seed)
    weights = [rng.uniform(1, 4) / (i + 1) for i in range(len(COMMON))]
    return " ".join([*COMMON, *rng.choices(COMMON, weights, k=length)])


@pytest.mark.parametrize("most_frequent", [12, 6])
def test_delta_is_that_of_faststylometry(most_frequent: int) -> None:
    known = {f"writer{i}": text(i) for i in range(4)}
    asked = {"one": text(10), "two": text(11, 900)}
    train, test = Corpus(), Corpus()
    for name, written in known.items():
        train.add_book(name, "book", written)
    for name, written in asked.items():
        test.add_book("somebody", name, written)
    for corpus in (train, test):
        corpus.tokenise(str.split)
    table = calculate_burrows_delta(train, test, vocab_size=most_frequent)
    fitted = delta.fit({name: [written] for name, written in known.items()}, most_frequent)
    assert set(fitted.vocabulary) == set(train.top_tokens) and len(fitted.vocabulary) == most_frequent
    found = fitted.distances(list(asked.values()))
    for name in known:
        theirs = [table.loc[name, f"somebody - {book}"] for book in asked]
        assert found[name] == pytest.approx(theirs)


def test_several_documents_a_side_by_hand() -> None:
    """Rates of "a" in three documents 0.5, 0.25, 0.75: mean 0.5, spread 0.25; of "b" the rest."""
    fitted = delta.fit({"author": ["a b", "a b b b"], "others": ["a a a b"]})
    assert fitted.vocabulary == ("a", "b")
    assert fitted.mean == pytest.approx([0.5, 0.5]) and fitted.spread == pytest.approx([0.25, 0.25])
    assert fitted.profiles["author"] == pytest.approx([(2 / 6 - 0.5) / 0.25, (4 / 6 - 0.5) / 0.25])
    assert fitted.distances(["a a a a"])["others"] == pytest.approx([1.0])
    assert fitted.distances(["a a a a"])["author"] == pytest.approx([(1 - 2 / 6) / 0.25])


def test_words_that_one_side_does_not_use_or_that_do_not_vary_are_not_counted() -> None:
    fitted = delta.fit(
        {"author": ["the sea the sea but", "the a but"], "others": ["the the a but", "a but the a"]}
    )
    assert "sea" not in fitted.vocabulary
    steady = delta.fit({"author": ["the but the", "a the but"], "others": ["but the a", "but a the"]})
    assert "but" not in steady.vocabulary


def test_a_text_without_words_is_a_number() -> None:
    fitted = delta.fit({"author": ["a b", "a b b"], "others": ["a a b"]})
    assert np.isfinite(fitted.distances(["", "…"])["author"]).all()
