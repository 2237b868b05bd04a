"""Remembered vectors are the embedder's own, and each text is read once."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from llm_twin.adapters.standins import HashEmbedder
from llm_twin.inference.remembered import Remembered
from llm_twin.ports import Progress, Vectors, silent


class Counting(HashEmbedder):
    """It notes what it had to read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []

    def embed(self, texts: Sequence[str], progress: Progress = silent) -> Vectors:
        self.read += texts
        return super().embed(texts, progress)


@pytest.fixture
def counting() -> Counting:
    return Counting()


def test_each_text_is_read_once_and_all_stand_in_the_order_given(counting: Counting) -> None:
    remembered = Remembered(counting)
    remembered.embed(["salt", "rust"])
    found = remembered.embed(["tide", "rust", "salt", "tide"])
    assert counting.read == ["salt", "rust", "tide"]
    np.testing.assert_array_equal(found, HashEmbedder().embed(["tide", "rust", "salt", "tide"]))
    assert found.dtype == np.float32


def test_it_is_an_embedder_of_the_same_kind(counting: Counting) -> None:
    remembered = Remembered(counting)
    assert (remembered.name, remembered.dimension, remembered.window) == (
        counting.name,
        counting.dimension,
        counting.window,
    )
    assert remembered.token_offsets("salt air") == counting.token_offsets("salt air")
    assert remembered.embed([]).shape == (0, counting.dimension)


def test_what_was_asked_for_longest_ago_is_forgotten_first(counting: Counting) -> None:
    remembered = Remembered(counting, most=2)
    for text in ("salt", "rust", "salt", "tide", "salt", "rust"):
        remembered.embed([text])
    assert counting.read == ["salt", "rust", "tide", "rust"]
    assert len(remembered.embed(["one", "two", "three"])) == 3, "more at once than are kept"


def test_what_a_caller_does_with_its_vectors_changes_nothing(counting: Counting) -> None:
    remembered = Remembered(counting)
    remembered.embed(["salt"])[:] = 0
    np.testing.assert_array_equal(remembered.embed(["salt"]), HashEmbedder().embed(["salt"]))


def test_threads_share_it(counting: Counting) -> None:
    remembered = Remembered(counting, most=8)
    texts = [f"text {i}" for i in range(20)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda i: remembered.embed([texts[i % 20]])[0], range(400)))
    np.testing.assert_array_equal(found, HashEmbedder().embed([texts[i % 20] for i in range(400)]))
