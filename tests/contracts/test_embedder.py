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
from llm_twin.ports import TokenEmbedder

EMBEDDERS: dict[str, Callable[[Path], TokenEmbedder]] = {
    "hash": lambda models: HashEmbedder(),
    "openvino": lambda models: OpenVinoEmbedder(pull("all-minilm-l6-v2", models)),
}
NEED_A_MODEL = {"openvino"}

PARAMS = [pytest.param(n, marks=[pytest.mark.slow] if n in NEED_A_MODEL else []) for n in EMBEDDERS]


@pytest.fixture(scope="module", params=PARAMS)
def embedder(request: pytest.FixtureRequest, models_cache: Path) -> TokenEmbedder:
    return EMBEDDERS[request.param](models_cache)


def full(embedder: TokenEmbedder, spare: int = 0) -> str:
    """A text of exactly the window's tokens, or `spare` more or fewer."""
    special = 2
    return " ".join(["owl"] * (embedder.window - special + spare))


def test_rows_are_float32_of_length_1_one_a_text(embedder: TokenEmbedder) -> None:
    rows = embedder.embed(["An owl.", "Two mice and a fox went out."])
    assert rows.shape == (2, embedder.dimension)
    assert rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 1], abs=1e-3)


def test_no_texts_make_no_rows(embedder: TokenEmbedder) -> None:
    assert embedder.embed([]).shape == (0, embedder.dimension)


def test_rows_stand_in_the_order_given_whatever_the_lengths(embedder: TokenEmbedder) -> None:
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


def test_the_same_texts_give_the_same_rows(embedder: TokenEmbedder) -> None:
    texts = ["An owl.", "Two mice.", "A fox " * 50]
    assert np.array_equal(embedder.embed(texts), embedder.embed(texts))


def test_texts_alike_are_nearer_than_texts_that_are_not(embedder: TokenEmbedder) -> None:
    owl, owls, tax = embedder.embed(
        ["The owl hunts mice at night.", "At night owls hunt the mice.", "Tax law for small firms"]
    )
    assert owl @ owls > owl @ tax + 0.2


def test_a_text_of_the_whole_window_is_taken_and_one_token_more_is_an_error(embedder: TokenEmbedder) -> None:
    assert len(embedder.embed([full(embedder)])) == 1
    for texts in ([full(embedder, 1)], ["An owl.", full(embedder, 500), "A mouse."]):
        with pytest.raises(InputError, match=f"window of {embedder.window}"):
            embedder.embed(texts)


def test_the_end_of_a_full_text_counts(embedder: TokenEmbedder) -> None:
    text = full(embedder, -1)
    one, other = embedder.embed([text + " mouse", text + " tax"])
    assert not np.allclose(one, other, atol=1e-4)


def test_token_offsets_are_in_characters_and_without_special_tokens(embedder: TokenEmbedder) -> None:
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
def test_odd_texts_have_a_row_of_length_1_too(embedder: TokenEmbedder, text: str) -> None:
    assert np.linalg.norm(embedder.embed([text, "An owl."]), axis=1) == pytest.approx([1, 1], abs=1e-3)


def test_progress_counts_up_to_all_texts(embedder: TokenEmbedder) -> None:
    told: list[tuple[int, int]] = []
    embedder.embed(["An owl. " * 20] * 40, lambda done, total, note: told.append((done, total)))
    assert told[-1] == (40, 40)
    assert told == sorted(told)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
def test_offsets_count_the_tokens_that_the_window_counts(embedder: TokenEmbedder, text: str) -> None:
    spans = embedder.token_offsets(text)
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    assert len(embedder.embed([text])) == 1


def test_tokens_have_unit_vectors_of_their_own_one_for_each_offset(embedder: TokenEmbedder) -> None:
    texts = ["The owl hunts mice, at night!", "owl", "Two mice and a fox went out. " * 9, ""]
    found = embedder.token_vectors(texts)
    assert [rows.shape for rows in found] == [
        (len(embedder.token_offsets(text)), embedder.dimension) for text in texts
    ]
    assert all(rows.dtype == np.float32 for rows in found)
    norms = np.concatenate([np.linalg.norm(rows, axis=1) for rows in found])
    assert norms == pytest.approx(np.ones(len(norms)), abs=1e-3)
    assert embedder.token_vectors([]) == []


def test_a_word_is_nearest_to_itself_in_another_text(embedder: TokenEmbedder) -> None:
    text, other = "The owl hunts a mouse.", "A law about tax, and an owl."
    one, two = embedder.token_vectors([text, other])
    at = [text[start:end] for start, end in embedder.token_offsets(text)].index("owl")
    nearest = int(np.argmax(two @ one[at]))
    start, end = embedder.token_offsets(other)[nearest]
    assert other[start:end] == "owl"


def test_token_vectors_do_not_depend_on_what_else_is_in_the_batch(embedder: TokenEmbedder) -> None:
    texts = ["An owl.", "Two mice and a fox went out into the night. " * 4, "Tax law for small firms"]
    for together, text in zip(embedder.token_vectors(texts), texts, strict=True):
        assert (together * embedder.token_vectors([text])[0]).sum(1).min() > 0.998


def test_token_vectors_of_a_text_over_the_window_are_refused(embedder: TokenEmbedder) -> None:
    with pytest.raises(InputError, match=f"window of {embedder.window}"):
        embedder.token_vectors([full(embedder, 1)])
