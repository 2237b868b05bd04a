import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_twin.evaluation import answers

SPOKEN = st.lists(st.sampled_from(["the", "tide", "comes", "in", "and", "goes", "out"]), max_size=30)


def unit(*rows: tuple[float, float]) -> np.ndarray:
    array = np.array(rows, np.float32)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def test_relevance_is_the_cosine_of_each_pair() -> None:
    found = answers.relevance(unit((1, 0), (1, 1), (0, 1)), unit((2, 0), (1, 0), (0, -3)))
    assert found.tolist() == pytest.approx([1, np.sqrt(0.5), -1])


def test_the_bounds_of_relevance_by_hand() -> None:
    real = unit((1, 0), (0, 1), (1, 1), (-1, 0))
    floor, ceiling = answers.relevance_bounds(real, ["a", "a", "a", "b"])
    half = np.sqrt(0.5)
    assert floor.tolist() == pytest.approx([-1, 0, -half, (-1 + 0 - half) / 3])
    assert ceiling[:3].tolist() == pytest.approx([half / 2, half / 2, half])
    assert np.isnan(ceiling[3])


def test_with_one_document_there_is_no_floor() -> None:
    floor, ceiling = answers.relevance_bounds(unit((1, 0), (1, 0)), ["a", "a"])
    assert np.isnan(floor).all()
    assert ceiling.tolist() == pytest.approx([1, 1])


def test_variety_by_hand() -> None:
    assert answers.variety(["a b c d"], [4]) == 1.0
    assert answers.variety(["a b c a b c"], [6]) == pytest.approx(3 / 4)  # abc bca cab abc
    assert answers.variety(["a b c", "a b c"], [3, 3]) == 0.5
    assert answers.variety(["a b", ""], [2, 0]) == 0.0


def test_variety_looks_at_texts_cut_to_the_same_length() -> None:
    assert answers.variety(["a b c d a b c d a b c d"], [4]) == answers.variety(["w x y z"], [4]) == 1.0


def test_saying_it_twice_halves_variety() -> None:
    words = " ".join(f"w{i}" for i in range(60))
    twice = answers.said_twice(words, 40)
    assert twice.split() == words.split()[:20] * 2
    assert answers.variety([words], [40]) == 1.0
    assert 0.5 < answers.variety([twice], [40]) < 0.55


@given(SPOKEN, st.integers())
def test_shuffling_keeps_every_word(words: list[str], seed: int) -> None:
    assert sorted(answers.shuffled(" ".join(words), seed).split()) == sorted(words)


def test_shuffling_changes_the_order_and_repeats_with_the_seed() -> None:
    text = "One after another, they went down to the sea."
    assert answers.shuffled(text, 3) == answers.shuffled(text, 3) != text


def test_a_copy_is_caught_and_new_writing_is_not() -> None:
    training = " ".join(f"word{i}" for i in range(200))
    seen = answers.memory([training, "too short to count"])
    copied = " ".join(training.split()[50:90])
    loud = copied.upper().replace(" ", ", ")
    fresh = " ".join(f"other{i}" for i in range(40))
    mixed = " ".join([*training.split()[:20], *fresh.split()[:20]])  # 8 of its 28 runs lie in the copied half
    found = answers.memorised([copied, loud, fresh, mixed, "word1 word2", ""], seen)
    assert found.tolist() == pytest.approx([1, 1, 0, 8 / 28, 0, 0])


def test_twelve_words_in_a_row_are_not_a_copy_and_thirteen_are() -> None:
    line = [f"w{i}" for i in range(13)]
    seen = answers.memory([" ".join(line)])
    assert answers.memorised([" ".join([*line[:12], "new"]), " ".join(line)], seen).tolist() == [0, 1]


@given(SPOKEN)
def test_a_text_is_all_memory_of_itself(words: list[str]) -> None:
    text = " ".join(words)
    expected = 1.0 if len(words) >= answers.MEMORY_N else 0.0
    assert answers.memorised([text], answers.memory([text])).tolist() == [expected]
