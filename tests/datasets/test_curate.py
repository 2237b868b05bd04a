"""Nothing leaks across the split: documents are split first, and likeness across it goes from training."""

from collections.abc import Callable, Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_twin.datasets.curate import (
    Kept,
    contamination,
    prepare,
    split,
    without_contamination,
    without_near_duplicates,
)
from llm_twin.datasets.spans import Span, spans
from llm_twin.errors import InputError
from llm_twin.text import ngrams, words
from llm_twin.types import CleanDocument, Split

MakeClean = Callable[..., CleanDocument]
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def prose(seed: int, length: int = 60) -> list[str]:
    """Words that no other seed shares."""
    random = Random(seed)
    return ["".join(random.choices(LETTERS, k=8)) for _ in range(length)]


def whole(document: CleanDocument) -> Span:
    return Span(document, 0, len(document.text), ())


def texts(kept: Kept, side: Split) -> list[str]:
    return [span.text for span, where in kept.spans if where == side]


def sides(test: Sequence[CleanDocument], train: Sequence[CleanDocument]) -> dict[str, Split]:
    return {d.document.id: "test" for d in test} | {d.document.id: "train" for d in train}


@given(st.integers(6, 80), st.floats(0.01, 0.99), st.integers(0, 5))
def test_a_share_is_held_out_and_enough_stays_on_each_side(
    cleaned: MakeClean, count: int, share: float, seed: int
) -> None:
    found = split([cleaned("x", title=str(i)) for i in range(count)], share, seed)
    held_out = sum(side == "test" for side in found.values())
    assert len(found) == count and 3 <= held_out <= count - 3
    assert held_out == min(max(3, round(share * count)), count - 3)


def test_the_split_follows_from_ids_and_seed_alone(cleaned: MakeClean) -> None:
    documents = [cleaned("x", title=str(i)) for i in range(40)]
    first = split(documents, 0.25, 7)
    again = split([cleaned("y", title=str(i)) for i in reversed(range(40))], 0.25, 7)
    assert first == again != split(documents, 0.25, 8)


def test_a_new_document_moves_few_old_ones(cleaned: MakeClean) -> None:
    documents = [cleaned("x", title=str(i)) for i in range(41)]
    before, after = split(documents[:40], 0.25, 0), split(documents, 0.25, 0)
    assert sum(before[each] != after[each] for each in before) <= 1


def test_too_few_documents_are_an_error_that_says_how_many_it_takes(cleaned: MakeClean) -> None:
    documents = [cleaned("x", title=str(i)) for i in range(5)]
    with pytest.raises(InputError, match="5 documents") as caught:
        split(documents, 0.25, 0)
    assert caught.value.way_out == "collect at least 6"
    assert sum(side == "test" for side in split(documents, 0.25, 0, least=1).values()) == 1


def test_of_twins_across_the_split_the_training_one_goes(cleaned: MakeClean) -> None:
    text = prose(1)
    held, twin, other = (
        cleaned(" ".join(each), title=str(i)) for i, each in enumerate([text, [*text[:-3], "x"], prose(2)])
    )
    kept = without_near_duplicates(
        [whole(d) for d in (twin, other, held)], sides([held], [twin, other]), threshold=0.5
    )
    assert texts(kept, "test") == [held.text] and texts(kept, "train") == [other.text]
    (dropped,) = kept.dropped
    assert dropped.why == "near-duplicate of a held-out span" and dropped.what == f"1 [0:{len(twin.text)}]"


def test_of_twins_on_one_side_the_later_goes(cleaned: MakeClean) -> None:
    one, two = (cleaned(" ".join(prose(1)), title=title) for title in "ab")
    kept = without_near_duplicates([whole(one), whole(two)], sides([], [one, two]), 0.5)
    assert [span.document for span, _ in kept.spans] == [one]
    assert [each.why for each in kept.dropped] == ["near-duplicate of another span"]


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8])
def test_the_true_overlap_of_5_grams_decides(cleaned: MakeClean, threshold: float) -> None:
    base = prose(0, 104)
    for shared in range(5, 104, 3):
        other = base[:shared] + prose(shared, 104 - shared)
        grams = [set(ngrams(each, 5)) for each in (base, other)]
        overlap = len(grams[0] & grams[1]) / len(grams[0] | grams[1])
        documents = [cleaned(" ".join(each), title=str(i)) for i, each in enumerate((base, other))]
        kept = without_near_duplicates([whole(d) for d in documents], sides([], documents), threshold)
        assert len(kept.spans) == 2 or overlap >= threshold
        assert len(kept.spans) == 1 or overlap < threshold + 0.1


def test_short_texts_are_compared_by_all_their_words(cleaned: MakeClean) -> None:
    documents = [
        cleaned(text, title=str(i)) for i, text in enumerate(["Owls hunt.", "Owls sleep.", "owls HUNT"])
    ]
    kept = without_near_duplicates([whole(d) for d in documents], sides([], documents), 0.5)
    assert texts(kept, "train") == ["Owls hunt.", "Owls sleep."]


def test_contamination_is_the_share_of_test_n_grams_seen_in_training() -> None:
    assert contamination(["a b c d e"], ["b c d", "x y z w"], n=3) == pytest.approx(1 / 3)
    assert contamination(["A, b — c!"], ["a b c"], n=3) == 1
    assert contamination(["a b"], ["b a"], n=3) == contamination([], ["a b c"], n=3) == 0


def test_training_spans_that_share_long_runs_with_held_out_ones_go(cleaned: MakeClean) -> None:
    run, filler = prose(1, 20), prose(2, 80)
    held = cleaned(" ".join([*run, *prose(3, 40)]), title="held")
    copies = cleaned(" ".join([*filler, *run]), title="copies")
    little = cleaned(" ".join([*prose(4, 200), *run[:13]]), title="little")
    spans_ = [(whole(held), "test"), (whole(copies), "train"), (whole(little), "train")]
    kept = without_contamination(Kept(tuple(spans_), ()), most=0.05)  # type: ignore[arg-type]
    assert [span.document.document.title for span, _ in kept.spans] == ["held", "little"]
    assert [(each.what, each.why) for each in kept.dropped] == [
        (f"copies [0:{len(copies.text)}]", "shares 13-grams with a held-out span")
    ]
    none = without_contamination(Kept(tuple(spans_), ()), most=0)  # type: ignore[arg-type]
    assert texts(none, "train") == [] and contamination(texts(none, "train"), texts(none, "test")) == 0


def test_all_of_it_on_the_examples_leaks_nothing(examples: list[CleanDocument]) -> None:
    kept = prepare(examples, 0.25, 0.5, 0.05, 0, (40, 90, 300))
    test, train = texts(kept, "test"), texts(kept, "train")
    documents = {
        side: {s.document.document.id for s, where in kept.spans if where == side}
        for side in ("test", "train")
    }
    assert not documents["test"] & documents["train"]
    assert len(documents["test"]) == round(0.25 * len(examples))
    assert len(train) > 2 * len(test) > 40
    assert contamination(train, test) < 0.01
    held = [span for d in examples if d.document.id in documents["test"] for span in spans(d)]
    assert sorted(test) == sorted(span.text for span in held)  # the test side lost nothing


def test_real_articles_leak_little(articles: list[CleanDocument]) -> None:
    theirs = [each for each in articles if each.document.author == "Paul Iusztin"]
    kept = prepare(theirs, 0.25, 0.5, 0.05, 0, (40, 90, 300))
    raw = [span for d in theirs for span in spans(d)]
    side = split(theirs, 0.25, 0)
    before = contamination(
        *([s.text for s in raw if side[s.document.document.id] == w] for w in ("train", "test"))
    )
    after = contamination(texts(kept, "train"), texts(kept, "test"))
    assert after < 0.02 < before
    assert all(each.why for each in kept.dropped)
    assert sum(len(words(text)) for text in texts(kept, "train")) > 15_000


def test_documents_without_prose_are_an_error_that_names_the_setting(cleaned: MakeClean) -> None:
    documents = [cleaned("Too short.", title=str(i)) for i in range(6)]
    with pytest.raises(InputError) as caught:
        prepare(documents, 0.25, 0.5, 0.05, 0, (40, 90, 300))
    assert "least_words" in caught.value.way_out
