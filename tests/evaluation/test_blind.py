"""Passages are made alike without touching their words, and nothing but the words tells which is which."""

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_twin.errors import InputError
from llm_twin.evaluation.blind import (
    ALIKE,
    LEAST_WORDS,
    MOST_WORDS,
    BlindItem,
    alike,
    blind_items,
    first_of_each_pair,
    pair_of,
    plain,
    verdict,
)
from llm_twin.evaluation.people import Guess, in_words
from llm_twin.text import words
from llm_twin.types import Sample

REAL = "I oil the lathe on Sundays, and then I write down what it told us. " * 4
MADE = "Lathes should be maintained regularly, because moving parts wear out in use. " * 4


def sample(number: int, response: str = REAL) -> Sample:
    return Sample(
        id=f"s{number}",
        document_id=f"d{number}",
        author="Wren",
        instruction=f"Question {number}?",
        response=f"Piece {number}. {response}",
        start=0,
        end=10,
        split="test",
        written_by="template",
    )


def items(count: int, seed: int = 0, **options: object) -> list[BlindItem]:
    made = [f"Answer {n}. {MADE}" for n in range(count)]
    return blind_items([sample(n) for n in range(count)], made, seed, "twin", **options)  # type: ignore[arg-type]


def test_one_passage_is_the_authors_and_the_item_knows_which() -> None:
    for item in items(30):
        real = item.first if item.real_first else item.second
        assert real.startswith("Piece ") and "I oil the lathe" in real
        assert {item.first, item.second} != {real}
        assert (item.model, item.kind) == ("twin", "under 60 words")


@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_the_author_stands_first_as_often_as_second(count: int) -> None:
    first = sum(item.real_first for item in items(count))
    assert abs(2 * first - count) <= 1


def test_the_order_is_random_over_places_and_seeds() -> None:
    rounds = np.array([[item.real_first for item in items(40, seed)] for seed in range(200)])
    shares = rounds.mean(axis=0)  # each place: 200 draws of one half, standard error 0.035
    assert shares.min() > 0.36 and shares.max() < 0.64
    flips = [a != b for order in rounds for a, b in pairwise(order)]
    assert np.mean(flips) == pytest.approx(0.5, abs=0.03)  # neither in turn nor in runs
    assert len({item.id for item in items(40, 1)} & {item.id for item in items(40, 2)}) == 0


def test_the_same_seed_gives_the_same_items_so_a_stopped_test_goes_on() -> None:
    assert items(12, 5) == items(12, 5)
    assert [item.instruction for item in items(12, 5)] != [item.instruction for item in items(12, 6)]


def test_an_id_is_the_same_whichever_passage_is_the_authors() -> None:
    one = blind_items([sample(1)], [MADE], 0)[0]
    real = one.first if one.real_first else one.second
    made = one.second if one.real_first else one.first
    other = sample(1).model_copy(update={"response": made})
    assert blind_items([other], [real], 0)[0].id == one.id


def test_ids_say_nothing_about_the_order() -> None:
    found = [item for seed in range(100) for item in items(40, seed)]
    bits = np.array([[int(c, 16) >> b & 1 for c in item.id for b in range(4)] for item in found], float)
    truth = np.array([item.real_first for item in found], float)
    correlation = [abs(np.corrcoef(column, truth)[0, 1]) for column in bits.T]
    assert max(correlation) < 4.5 / len(found) ** 0.5


def test_a_pair_is_the_same_under_every_seed_and_another_models_is_another() -> None:
    one, two = (sorted(pair_of(item.id) for item in items(12, seed)) for seed in (1, 2))
    assert one == two and len(set(one)) == 12
    made = [f"Answer {n}. {MADE}" for n in range(12)]
    other = blind_items([sample(n) for n in range(12)], made, 1, "another twin")
    assert not {pair_of(item.id) for item in other} & set(one)


def guess(item: BlindItem, right: bool) -> Guess:
    said = {"created": "2026-11-23T00:00:00Z", "model": item.model, "kind": item.kind}
    picked = item.real_first == right
    return Guess.model_validate(
        {**said, "id": item.id, "real_first": item.real_first, "picked_first": picked}
    )


def test_a_pair_counts_once_the_first_time_whatever_the_seed() -> None:
    """Ten pairs are missed under one seed, and all twelve told under another: two of twelve, ten left out."""
    first, again = items(12, 1), items(12, 2)
    guesses = [*(guess(item, False) for item in first[:10]), *(guess(item, True) for item in again)]
    counted, repeats = first_of_each_pair(guesses)
    assert (len(counted), repeats) == (12, 10) and counted[:10] == guesses[:10]
    found = verdict(guesses)
    assert found.total and (found.total.guesses, found.total.correct, found.repeats) == (12, 2, 10)
    assert "10 later guesses about the same passages are left out" in in_words(found, "Wren")
    assert "left out" not in in_words(verdict(guesses[:10]), "Wren")
    assert verdict(guesses[:10]).repeats == 0 and verdict([]).total is None


def test_answers_to_other_samples_are_refused() -> None:
    with pytest.raises(InputError, match="2 answers are not answers to 1 samples") as caught:
        blind_items([sample(1)], [MADE, MADE], 0)
    assert "twin evaluate" in caught.value.way_out


def test_kinds_come_from_the_documents_where_they_are_known() -> None:
    kinds = {"d0": "article", "d1": "post"}
    assert sorted(item.kind for item in items(3, kinds=kinds)) == ["article", "other", "post"]


def test_at_most_so_many_are_asked() -> None:
    assert len(items(30, most=8)) == 8
    first = sum(item.real_first for item in items(30, most=8))
    assert first == 4


def test_pairs_that_cannot_be_compared_are_left_out() -> None:
    made = ["Too short.", f"Piece 1. {REAL}", MADE, ""]
    found = blind_items([sample(n) for n in range(4)], made, 0)
    assert [item.instruction for item in found] == ["Question 2?"]
    with pytest.raises(InputError, match="of 1 instructions none"):
        blind_items([sample(1)], ["Too short."], 0)


def test_lengths_are_trimmed_alike_to_whole_sentences() -> None:
    long = "This sentence has exactly seven words here. " * 20
    pair = alike(long, "And that sentence, well, it has ten words in all. " * 4)
    assert pair is not None
    assert [len(words(text)) for text in pair] == [42, 40]
    assert all(text.endswith((".", "all.")) for text in pair)


def test_a_sentence_that_was_broken_off_is_not_shown() -> None:
    pair = alike(REAL, MADE + "And then I wanted to")
    assert pair is not None and "wanted" not in pair[1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 60), max_size=8), st.lists(st.integers(1, 60), max_size=8))
def test_no_pair_is_too_short_too_long_or_unlike(one: list[int], two: list[int]) -> None:
    texts = [" ".join("So" + " and so" * n + "." for n in lengths) for lengths in (one, two)]
    pair = alike(texts[0], texts[1] and f"Yes. {texts[1]}")
    if pair:
        shorter, longer = sorted(len(words(text)) for text in pair)
        assert shorter >= LEAST_WORDS and longer <= MOST_WORDS and shorter >= ALIKE * longer
        assert texts[0].startswith(pair[0]) and f"Yes. {texts[1]}".startswith(pair[1])


def test_formatting_is_the_same_for_both() -> None:
    marked = """## A **bold** title

- first, with a [link](https://example.org/x) and `code`
2. second “quoted” — it’s so…
> said *somebody*
![picture](a.png)
```python
C# and snake_case stay
```
---"""
    assert plain(marked) == [
        "A bold title",
        "first, with a link and code",
        'second "quoted" — it\'s so...',
        "said somebody",
        "C# and snake_case stay",
    ]
    assert plain("") == []


def test_paragraphs_stay_apart() -> None:
    pair = alike(f"{REAL.strip()}\n\n{REAL.strip()}", f"{MADE}\nAnd the rest of it. {MADE}")
    assert pair is not None
    assert all(re.search(r"\S\n\n\S", text) for text in pair)
