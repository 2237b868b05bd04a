"""After indexing the store holds the given documents' chunks and no others, and nothing is embedded twice."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from llm_twin.adapters.standins import HashEmbedder
from llm_twin.adapters.vectors_qdrant_edge import QdrantEdgeVectors
from llm_twin.features import index as module
from llm_twin.features.chunk import chunks
from llm_twin.features.index import index
from llm_twin.ports import Progress, Vectors, VectorStore, silent
from llm_twin.types import CleanDocument, Where

Cleaned = Callable[..., CleanDocument]


class Counting(HashEmbedder):
    """Counts the texts it embeds; `fails_after` texts it raises, as a process that is killed would end."""

    def __init__(self, fails_after: int = 10**9, dimension: int = 64) -> None:
        super().__init__(dimension)
        self.embedded: list[str] = []
        self.fails_after = fails_after

    def embed(self, texts: Sequence[str], progress: Progress = silent) -> Vectors:
        if len(self.embedded) + len(texts) > self.fails_after:
            raise KeyboardInterrupt
        self.embedded += texts
        return super().embed(texts, progress)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[VectorStore]:
    opened = QdrantEdgeVectors(tmp_path / "vectors", 64)
    yield opened
    opened.close()


@pytest.fixture
def documents(cleaned: Cleaned) -> list[CleanDocument]:
    """Five documents of two chunks each."""
    return [
        cleaned(f"Owl number {i} sleeps.\n\n# Night\n\nIt hunts {i} mice.", title=f"Owl {i}")
        for i in range(5)
    ]


def texts(store: VectorStore, where: Where = Where()) -> list[str]:
    """All the store holds, by search."""
    query = HashEmbedder().embed(["owl"])[0]
    return sorted(hit.chunk.text for hit in store.search_dense(query, 100, where))


def expected(documents: Sequence[CleanDocument]) -> list[str]:
    return sorted(chunk.text for each in documents for chunk in chunks(each, HashEmbedder()))


def test_what_was_indexed_is_found_by_meaning_and_by_words(
    store: VectorStore, documents: list[CleanDocument]
) -> None:
    report = index(documents, store, HashEmbedder())
    (hit, *_) = store.search_words("hunts 3 mice", 3)
    assert hit.chunk.title == "Owl 3" and hit.chunk == chunks(documents[3], HashEmbedder())[1]
    query = HashEmbedder().embed([hit.chunk.embedded_text])[0]
    (nearest, *_) = store.search_dense(query, 3)
    assert nearest.chunk == hit.chunk and nearest.score == pytest.approx(1, abs=1e-3)
    assert report.stage == "index" and report.seconds > 0
    measured = {"longest chunk": hit.chunk.tokens, "window": 256}
    assert report.counts == {
        "documents": 5, "chunks": 10, "embedded": 10, "kept": 0, "deleted": 0, **measured
    }  # fmt: skip


def test_a_second_run_embeds_nothing(store: VectorStore, documents: list[CleanDocument]) -> None:
    index(documents, store, HashEmbedder())
    embedder = Counting()
    report = index(documents, store, embedder)
    assert embedder.embedded == []
    assert (report.counts["embedded"], report.counts["kept"], report.counts["deleted"]) == (0, 10, 0)
    assert texts(store) == expected(documents)


def test_a_changed_passage_alone_is_embedded_and_its_old_form_leaves(
    store: VectorStore, documents: list[CleanDocument], cleaned: Cleaned
) -> None:
    index(documents, store, HashEmbedder())
    changed = cleaned("Owl number 2 sleeps.\n\n# Night\n\nIt fears 2 mice.", title="Owl 2")
    documents[2] = changed
    embedder = Counting()
    report = index(documents, store, embedder)
    assert embedder.embedded == ["Owl 2\n# Night\n\nIt fears 2 mice."]
    assert (report.counts["embedded"], report.counts["kept"], report.counts["deleted"]) == (1, 9, 1)
    assert texts(store) == expected(documents)


def test_documents_that_are_gone_leave_the_index(store: VectorStore, documents: list[CleanDocument]) -> None:
    index(documents, store, HashEmbedder())
    report = index(documents[:1], store, HashEmbedder())
    assert report.counts["deleted"] == 8
    assert texts(store) == expected(documents[:1])
    assert index([], store, HashEmbedder()).counts["deleted"] == 2
    assert store.chunk_ids() == set()


def test_other_authors_stay_apart_under_a_filter(
    store: VectorStore, documents: list[CleanDocument], cleaned: Cleaned
) -> None:
    other = cleaned("Mice fear owls.", author="Bea", title="Mice")
    index([*documents, other], store, HashEmbedder())
    assert texts(store, Where(author="Bea")) == ["Mice fear owls."]


def test_another_embedder_of_the_same_size_embeds_all_anew(
    store: VectorStore, documents: list[CleanDocument]
) -> None:
    index(documents, store, HashEmbedder())
    other = Counting()
    other.name = "another"
    report = index(documents, store, other)
    assert (report.counts["embedded"], report.counts["deleted"]) == (10, 10)
    assert texts(store) == expected(documents)


@pytest.mark.parametrize("killed_at", [0, 3, 7, 9])
def test_a_killed_run_loses_one_batch_and_the_next_goes_on(
    store: VectorStore, documents: list[CleanDocument], monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    first = Counting(fails_after=killed_at)
    with pytest.raises(KeyboardInterrupt):
        index(documents, store, first)
    assert len(store.chunk_ids()) == killed_at // 2 * 2
    second = Counting()
    index(documents, store, second)
    assert sorted(first.embedded + second.embedded) == sorted(
        chunk.embedded_text for each in documents for chunk in chunks(each, second)
    )
    assert texts(store) == expected(documents)


def test_a_run_killed_before_optimizing_is_made_good_by_the_next(
    store: VectorStore, documents: list[CleanDocument], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def killed() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "optimize", killed)
    with pytest.raises(KeyboardInterrupt):
        index(documents, store, HashEmbedder())
    monkeypatch.setattr(store, "optimize", lambda: calls.append("optimize"))
    index(documents, store, HashEmbedder())
    assert calls == ["optimize"]


def test_old_passages_are_found_until_the_new_ones_are_there(
    store: VectorStore, documents: list[CleanDocument], cleaned: Cleaned
) -> None:
    index(documents, store, HashEmbedder())
    changed = [cleaned("Owls changed.", title=f"Owl {i}") for i in range(5)]
    with pytest.raises(KeyboardInterrupt):
        index(changed, store, Counting(fails_after=0))
    assert texts(store) == expected(documents)


def test_progress_counts_the_chunks_to_embed(
    store: VectorStore, documents: list[CleanDocument], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 4)
    seen: list[tuple[int, int]] = []
    index(documents, store, HashEmbedder(), lambda done, total, note: seen.append((done, total)))
    assert seen == [(4, 10), (8, 10), (10, 10)]


def test_one_document_given_twice_is_indexed_once(store: VectorStore, documents: list[CleanDocument]) -> None:
    report = index([*documents, documents[0]], store, HashEmbedder())
    assert report.counts["chunks"] == len(store.chunk_ids()) == 10
    assert np.unique(texts(store)).size == 10
