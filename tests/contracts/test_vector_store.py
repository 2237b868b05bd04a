"""What every VectorStore promises. A new adapter joins with one line in STORES."""

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_twin.adapters.vectors_qdrant_edge import QdrantEdgeVectors
from llm_twin.errors import TwinError
from llm_twin.ports import Vectors, VectorStore
from llm_twin.types import Chunk, Hit, Where

Open = Callable[[], VectorStore]
DIMENSION = 8

STORES: dict[str, Callable[[Path], VectorStore]] = {
    "qdrant-edge": lambda folder: QdrantEdgeVectors(folder / "new" / "vectors", DIMENSION),
}


@pytest.fixture(params=STORES)
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the same store anew each time it is called."""
    return lambda: STORES[request.param](tmp_path)


@pytest.fixture
def store(reopen: Open) -> Iterator[VectorStore]:
    opened = reopen()
    yield opened
    opened.close()


def passage(name: str, text: str = "Owls hunt at night.", **fields: object) -> Chunk:
    given_fields = {"document_id": "d", "author": "Ada", "kind": "article", **fields}
    values = {"id": name, "title": "T", "text": text, "start": 3, "end": 3 + len(text), "tokens": 9}
    return Chunk.model_validate(values | given_fields)


def unit(*numbers: float) -> Vectors:
    row = np.zeros(DIMENSION, np.float32)
    row[: len(numbers)] = numbers
    return row / np.linalg.norm(row)


def random_units(count: int, seed: int = 0) -> Vectors:
    rows = np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def ids(hits: list[Hit]) -> list[str]:
    return [hit.chunk.id for hit in hits]


def test_a_hit_returns_the_whole_chunk_and_its_cosine(store: VectorStore) -> None:
    full = passage(
        "a/1",
        "It’s — “odd”: 🦉\n\n```py\n    x = 1\n```",
        heading=("One", "Two"),
        url="https://example.org/ä?b=1",
        published=date(2024, 2, 29),
        kind="repository",
    )
    store.upsert([full], unit(1, 1)[np.newaxis])
    (hit,) = store.search_dense(unit(1), 5)
    assert hit.chunk == full
    assert hit.score == pytest.approx(0.7071, abs=1e-4)


def test_dense_search_orders_by_cosine_as_a_plain_product_would(store: VectorStore) -> None:
    vectors, (query,) = random_units(300), random_units(1, seed=1)
    chunks = [passage(f"{i:03d}") for i in range(300)]
    store.upsert(chunks, vectors)
    best = np.argsort(-(vectors @ query))[:20]
    hits = store.search_dense(query, 20, exact=True)
    assert ids(hits) == [chunks[i].id for i in best]
    assert [h.score for h in hits] == pytest.approx((vectors @ query)[best].tolist(), abs=1e-5)
    store.optimize()
    assert ids(store.search_dense(query, 20)) == ids(hits)


def test_the_newest_upsert_of_a_chunk_counts_and_it_stays_one_chunk(store: VectorStore) -> None:
    store.upsert([passage("a", "Old owls.")], unit(1)[np.newaxis])
    store.upsert([passage("a", "New mice.")], unit(0, 1)[np.newaxis])
    (hit,) = store.search_dense(unit(0, 1), 5)
    assert (hit.chunk.text, hit.score) == ("New mice.", pytest.approx(1))
    assert store.search_words("owls", 5) == []
    assert ids(store.search_words("mice", 5)) == ["a"]


def test_word_search_finds_only_chunks_that_share_a_word_and_rare_words_weigh_more(
    store: VectorStore,
) -> None:
    texts = ["Common owls.", "Common mice.", "Common foxes and a rare heron.", "Nothing of the kind."]
    store.upsert([passage(str(i), t) for i, t in enumerate(texts)], random_units(4))
    assert ids(store.search_words("rare common", 10))[0] == "2"
    assert set(ids(store.search_words("common", 10))) == {"0", "1", "2"}
    assert all(hit.score > 0 for hit in store.search_words("common", 10))
    assert store.search_words("zebra", 10) == []


def test_word_search_sees_the_title_and_headings(store: VectorStore) -> None:
    store.upsert([passage("a", heading=("Pancakes",)), passage("b")], random_units(2))
    assert ids(store.search_words("pancakes", 5)) == ["a"]


@pytest.mark.parametrize("query", ["", "   \n", "😀🎉", "\0", "\ud800", "!!! ??? --", "the and of"])
def test_a_query_without_words_finds_nothing(store: VectorStore, query: str) -> None:
    store.upsert([passage("a")], unit(1)[np.newaxis])
    assert store.search_words(query, 5) == []


@pytest.mark.parametrize(
    "query",
    [
        '"owls" AND (night OR -hunt) NOT x:y* ~2 ^3 [a TO b] \\',
        "owls'; DROP TABLE chunks; --",
        "owls " * 20_000,
        " ".join(f"word{i}" for i in range(15_000)) + " owls",
        "owls " + "a" * 100_000,
        "owls 日本語 Straße \u202e\u200d",
    ],
)
def test_a_huge_or_odd_query_is_only_words(store: VectorStore, query: str) -> None:
    store.upsert([passage("a"), passage("b", "Mice sleep.")], random_units(2))
    assert ids(store.search_words(query, 5)) == ["a"]


def test_filters_work_inside_every_search_not_after_it(store: VectorStore) -> None:
    near = [passage(f"near{i:02d}", author="Bo", kind="post", document_id="e") for i in range(50)]
    store.upsert(near, np.tile(unit(1), (50, 1)))
    store.upsert([passage("far"), passage("other", kind="post")], np.stack([unit(0, 1), unit(1, 2)]))
    for where, expected in (
        (Where(author="Ada"), ["other", "far"]),
        (Where(kind="article"), ["far"]),
        (Where(document_id="d", kind="post"), ["other"]),
        (Where(author="Bo", document_id="d"), []),
        (Where(author="ada"), []),
    ):
        assert ids(store.search_dense(unit(1), 5, where)) == expected
        assert ids(store.search_dense(unit(1), 5, where, exact=True)) == expected
        assert set(ids(store.search_words("owls", 5, where))) == set(expected)
        assert store.chunk_ids(where) == set(expected)


def test_dates_and_platforms_filter_inside_every_search_too(store: VectorStore) -> None:
    near = [passage(f"near{i:02d}", published=date(2020, 1, 1), platform="a.org") for i in range(50)]
    store.upsert(near, np.tile(unit(1), (50, 1)))
    dated = [
        passage("feb29", published=date(2024, 2, 29), platform="b.org"),
        passage("mar01", published=date(2024, 3, 1), platform="b.org/x"),
        passage("undated", platform="b.org"),
    ]
    store.upsert(dated, np.stack([unit(0, 1), unit(1, 2), unit(1, 1)]))
    leap = date(2024, 2, 29)
    for where, expected in (
        (Where(published_from=leap), {"feb29", "mar01"}),
        (Where(published_from=leap, published_to=leap), {"feb29"}),
        (Where(published_from=date(2020, 1, 2), published_to=date(2024, 2, 28)), set()),
        (Where(published_from=date(2024, 3, 2)), set()),
        (Where(published_to=date(2020, 1, 1)), {chunk.id for chunk in near}),
        (Where(platform="b.org"), {"feb29", "undated"}),
        (Where(platform="b.org", published_to=date(9999, 12, 31)), {"feb29"}),
        (Where(platform="b.org", author="Bo"), set()),
    ):
        assert store.chunk_ids(where) == expected
        assert set(ids(store.search_dense(unit(1), 50, where))) == expected
        assert set(ids(store.search_words("owls", 50, where))) == expected


def test_the_author_is_matched_whole_whatever_it_is_made_of(store: VectorStore) -> None:
    odd = 'Zoë "Z" O\'Neil; \\ {"a": 1} 🦉'
    store.upsert([passage("a", author=odd), passage("b", author="Zoë")], random_units(2))
    assert store.chunk_ids(Where(author=odd)) == {"a"}
    assert store.chunk_ids(Where(author="Zoë")) == {"b"}


def test_delete_removes_from_every_search_and_ignores_the_unknown(store: VectorStore) -> None:
    store.upsert([passage("a"), passage("b")], random_units(2))
    store.delete(iter(["a", "nobody"]))
    store.delete([])
    assert store.chunk_ids() == {"b"}
    assert ids(store.search_dense(unit(1), 5)) == ["b"]
    assert ids(store.search_words("owls", 5)) == ["b"]
    store.optimize()
    assert store.chunk_ids() == {"b"}


def test_an_empty_store_answers_every_question(store: VectorStore) -> None:
    assert store.chunk_ids() == set()
    assert store.search_dense(unit(1), 5) == []
    assert store.search_words("owls", 5) == []
    store.optimize()
    store.upsert([], np.zeros((0, DIMENSION), np.float32))
    store.delete([])
    assert store.chunk_ids() == set()


def test_ties_are_broken_by_chunk_id_even_where_the_limit_cuts_through_them(store: VectorStore) -> None:
    names = [f"{i:03d}" for i in range(120)]
    shuffled = [names[i] for i in np.random.default_rng(3).permutation(120)]
    store.upsert([passage(name) for name in shuffled], np.tile(unit(1, 1), (120, 1)))
    for limit in (1, 7, 100, 120, 500):
        assert ids(store.search_dense(unit(1), limit)) == names[:limit]
        assert ids(store.search_words("owls", limit)) == names[:limit]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_of_nothing_finds_nothing(store: VectorStore, limit: int) -> None:
    store.upsert([passage("a")], unit(1)[np.newaxis])
    assert store.search_dense(unit(1), limit) == []
    assert store.search_words("owls", limit) == []


def test_more_chunks_than_one_page_are_all_listed(store: VectorStore) -> None:
    names = {f"{i:05d}" for i in range(2500)}
    store.upsert([passage(name) for name in sorted(names)], random_units(2500))
    assert store.chunk_ids() == names
    assert len(store.search_dense(unit(1), 10_000)) == 2500
    store.delete(names - {"00007"})
    assert store.chunk_ids() == {"00007"}


@pytest.mark.parametrize(
    "vectors",
    [
        np.ones((1, DIMENSION), np.float32),
        np.full((1, DIMENSION), np.nan, np.float32),
        np.zeros((1, DIMENSION), np.float32),
        random_units(2),
        random_units(1)[:, :-1],
    ],
)
def test_vectors_that_are_not_one_unit_row_a_chunk_are_refused_whole(
    store: VectorStore, vectors: Vectors
) -> None:
    with pytest.raises(TwinError):
        store.upsert([passage("a")], vectors)
    assert store.chunk_ids() == set()


def test_what_was_stored_is_there_after_reopening(reopen: Open) -> None:
    first = reopen()
    first.upsert([passage("a"), passage("b"), passage("c", "Mice.")], random_units(3))
    first.delete(["a"])
    before = first.search_dense(unit(1), 5)
    first.close()
    second = reopen()
    assert second.chunk_ids() == {"b", "c"}
    assert second.search_dense(unit(1), 5) == before
    assert ids(second.search_words("mice", 5)) == ["c"]
    second.close()


def test_closing_twice_is_harmless_and_a_closed_store_says_so(reopen: Open) -> None:
    store = reopen()
    store.close()
    store.close()
    with pytest.raises(TwinError, match="closed"):
        store.chunk_ids()


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(-1, DIMENSION - 1)), max_size=10))
def test_any_sequence_of_upserts_and_deletes_ends_as_a_dict_would(
    store: VectorStore, steps: list[tuple[str, int]]
) -> None:
    store.delete("abcd")
    expected: dict[str, int] = {}
    for name, axis in steps:
        if axis < 0:
            store.delete([name])
            expected.pop(name, None)
        else:
            store.upsert([passage(name)], np.eye(DIMENSION, dtype=np.float32)[[axis]])
            expected[name] = axis
    assert store.chunk_ids() == set(expected)
    for axis in range(DIMENSION):
        best = [
            h.chunk.id
            for h in store.search_dense(np.eye(DIMENSION, dtype=np.float32)[axis], 9)
            if h.score > 0.9
        ]
        assert best == sorted(name for name, at in expected.items() if at == axis)
