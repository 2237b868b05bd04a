"""What every Embedder promises. A new adapter joins with one line in EMBEDDERS."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_twin.adapters.embed_openvino import OpenVinoEmbedder
from llm_twin.adapters.pull import pull
from llm_twin.adapters.standins import HashEmbedder
from llm_twin.errors import InputError
from llm_twin.ports import Embedder

EMBEDDERS: dict[str, Callable[[Path], Embedder]] = {
    "hash": lambda models: HashEmbedder(),
    "openvino": lambda models: OpenVinoEmbedder(pull("all-minilm-l6-v2", models)),
}
NEED_A_MODEL = {"openvino"}

PARAMS = [pytest.param(n, marks=[pytest.mark.slow] if n in NEED_A_MODEL else []) for n in EMBEDDERS]


@pytest.fixture(scope="module", params=PARAMS)
def embedder(request: pytest.FixtureRequest, models_cache: Path) -> Embedder:
    return EMBEDDERS[request.param](models_cache)


def full(embedder: Embedder, spare: int = 0) -> str:
    """A text of exactly the window's tokens, or `spare` more or fewer."""
    special = 2
    return " ".join(["owl"] * (embedder.window - special + spare))


def test_rows_are_float32_of_length_1_one_a_text(embedder: Embedder) -> None:
    rows = embedder.embed(["An owl.", "Two mice and a fox went out."])
    assert rows.shape == (2, embedder.dimension)
    assert rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 1], abs=1e-3)


def test_no_texts_make_no_rows(embedder: Embedder) -> None:
    assert embedder.embed([]).shape == (0, embedder.dimension)


def test_rows_stand_in_the_order_given_whatever_the_lengths(embedder: Embedder) -> None:
    words = ["owl", "fox", "tax", "law", "river", "bread", "engine", "music", "winter", "doctor", "salt"]
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(words, rng.integers(3, 60))) for _ in range(60)]
    together = embedder.embed(texts)
    alone = np.concatenate([embedder.embed([text]) for text in texts])
    cosines = together @ alone.T
    assert cosines.diagonal().min() > 0.9995
    assert np.median(cosines - np.eye(60)) < 0.95, (
        "the texts are too much alike for this test to mean anything"
    )


def test_the_same_texts_give_the_same_rows(embedder: Embedder) -> None:
    texts = ["An owl.", "Two mice.", "A fox " * 50]
    assert np.array_equal(embedder.embed(texts), embedder.embed(texts))


def test_texts_alike_are_nearer_than_texts_that_are_not(embedder: Embedder) -> None:
    owl, owls, tax = embedder.embed(
        ["The owl hunts mice at night.", "At night owls hunt the mice.", "Tax law for small firms"]
    )
    assert owl @ owls > owl @ tax + 0.2


def test_a_text_of_the_whole_window_is_taken_and_one_token_more_is_an_error(embedder: Embedder) -> None:
    assert len(embedder.embed([full(embedder)])) == 1
    for texts in ([full(embedder, 1)], ["An owl.", full(embedder, 500), "A mouse."]):
        with pytest.raises(InputError, match=f"window of {embedder.window}"):
            embedder.embed(texts)


def test_the_end_of_a_full_text_counts(embedder: Embedder) -> None:
    text = full(embedder, -1)
    one, other = embedder.embed([text + " mouse", text + " tax"])
    assert not np.allclose(one, other, atol=1e-4)


def test_token_offsets_are_in_characters_and_without_special_tokens(embedder: Embedder) -> None:
    text = "🦉 Zoë’s owl — it’s café-bound!"
    spans = embedder.token_offsets(text)
    words = [text[start:end] for start, end in spans]
    assert "owl" in words
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))
    assert len(embedder.token_offsets("owl owl owl")) == 3
    assert embedder.token_offsets("") == []
    assert len(embedder.token_offsets(full(embedder, 300))) == embedder.window - 2 + 300


@pytest.mark.parametrize("text", ["", "   \n", "🦉🦉", "\0", "\u202e\u200d", "x" * 50_000, "日本語の文章"])
def test_odd_texts_have_a_row_of_length_1_too(embedder: Embedder, text: str) -> None:
    assert np.linalg.norm(embedder.embed([text, "An owl."]), axis=1) == pytest.approx([1, 1], abs=1e-3)


def test_progress_counts_up_to_all_texts(embedder: Embedder) -> None:
    told: list[tuple[int, int]] = []
    embedder.embed(["An owl. " * 20] * 40, lambda done, total, note: told.append((done, total)))
    assert told[-1] == (40, 40)
    assert told == sorted(told)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
def test_offsets_count_the_tokens_that_the_window_counts(embedder: Embedder, text: str) -> None:
    spans = embedder.token_offsets(text)
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    assert len(embedder.embed([text])) == 1
