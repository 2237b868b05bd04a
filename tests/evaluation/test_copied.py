import time

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_twin.evaluation.copied import NOTHING, Spans
from llm_twin.text import words

FEW_WORDS = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=14).map(" ".join)


def brute_force(text: str, documents: dict[str, str]) -> int:
    """Every span of the text, looked for at every place of every document."""
    asked = words(text)
    best = 0
    for document in documents.values():
        held = words(document)
        for i in range(len(asked)):
            for j in range(len(held)):
                n = 0
                while i + n < len(asked) and j + n < len(held) and asked[i + n] == held[j + n]:
                    n += 1
                best = max(best, n)
    return best


def contains(document: str, span: str) -> bool:
    return f" {span} " in f" {' '.join(words(document))} "


@settings(max_examples=300, deadline=None)
@given(st.lists(FEW_WORDS, max_size=4), FEW_WORDS)
def test_the_longest_span_is_as_long_as_brute_force_says(texts: list[str], text: str) -> None:
    documents = {f"d{i}": t for i, t in enumerate(texts)}
    found = Spans(documents).longest(text)
    assert found.words == brute_force(text, documents)
    if found.words:
        assert len(found.text.split()) == found.words
        assert contains(text, found.text)
        assert contains(documents[found.document_id], found.text)


def test_by_hand_case_and_punctuation_hide_nothing() -> None:
    spans = Spans({"one": "I oiled the lathe on Sunday.", "two": "The lamp burned all night, and I slept."})
    found = spans.longest("She said: THE LAMP burned... all night; nobody slept")
    assert (found.words, found.text, found.document_id) == (5, "the lamp burned all night", "two")


def test_a_span_does_not_run_from_one_document_into_the_next() -> None:
    assert Spans({"one": "red green", "two": "blue gold"}).longest("red green blue gold").words == 2


def test_an_unknown_word_ends_a_span() -> None:
    assert Spans({"one": "red green blue"}).longest("red green zebra blue").words == 2


def test_nothing_in_common() -> None:
    assert Spans({"one": "red green"}).longest("zebra") == NOTHING
    assert Spans({"one": "red"}).longest("") == NOTHING
    assert Spans({}).longest("red") == NOTHING
    assert Spans({"one": "..."}).longest("red") == NOTHING


def test_a_large_corpus_is_searched_quickly() -> None:
    rng = np.random.default_rng(0)
    draw = [f"w{i}" for i in rng.zipf(1.3, 200_000).clip(0, 5000)]
    started = time.process_time()
    spans = Spans({"a": " ".join(draw[:100_000]), "b": " ".join(draw[100_000:])})
    for i in range(200):
        at = 500 * i
        piece = [*draw[at + 100 : at + 150], "zebra", *draw[at : at + 30]]
        assert spans.longest(" ".join(piece)).words >= 50
    assert time.process_time() - started < 10
