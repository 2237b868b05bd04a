"""What only the qdrant-edge store promises: one owner, damage is named, kill -9 loses nothing, recall."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from llm_twin.adapters.vectors_qdrant_edge import QdrantEdgeVectors
from llm_twin.errors import InputError, TwinError
from llm_twin.ports import Vectors
from llm_twin.types import Chunk, Where


def passage(name: str, author: str = "Ada") -> Chunk:
    return Chunk(
        id=name,
        document_id="d",
        author=author,
        kind="post",
        title="T",
        text="Owls.",
        start=0,
        end=5,
        tokens=4,
    )


def clustered(count: int, dimension: int, seed: int = 0) -> Vectors:
    """Unit vectors in clusters, as texts about a few hundred subjects would lie."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(200, dimension))
    rows = centres[rng.integers(0, 200, count)] + 1.5 * rng.normal(size=(count, dimension))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_another_dimension_is_bad_input_with_the_way_out_and_the_index_stays(tmp_path: Path) -> None:
    QdrantEdgeVectors(tmp_path, 8).close()
    with pytest.raises(InputError, match="vectors of 8 numbers, the embedder makes 16") as caught:
        QdrantEdgeVectors(tmp_path, 16)
    assert "twin index --rebuild" in caught.value.way_out
    QdrantEdgeVectors(tmp_path, 8).close()


def test_a_second_opener_is_told_who_owns_the_index(tmp_path: Path) -> None:
    owner = QdrantEdgeVectors(tmp_path, 8)
    owner.upsert([passage("a")], clustered(1, 8))
    code = f"""
from pathlib import Path
from llm_twin.adapters.vectors_qdrant_edge import QdrantEdgeVectors
from llm_twin.errors import InputError, TwinError
try:
    QdrantEdgeVectors(Path({str(tmp_path)!r}), 8)
except TwinError as error:
    print(isinstance(error, InputError), error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == f"False the index in {tmp_path} is in use by process {os.getpid()}\n"
    with pytest.raises(TwinError, match="in use"):
        QdrantEdgeVectors(tmp_path, 8)
    assert owner.chunk_ids() == {"a"}
    owner.close()
    again = QdrantEdgeVectors(tmp_path, 8)
    assert again.chunk_ids() == {"a"}
    again.close()


@pytest.mark.parametrize(
    "damage",
    ["card.json", "edge_config.json", "segments/*/segment.json", "segments/*/version.info", "segments"],
)
def test_damage_is_bad_input_that_names_the_folder_and_frees_it(tmp_path: Path, damage: str) -> None:
    store = QdrantEdgeVectors(tmp_path, 8)
    store.upsert([passage("a")], clustered(1, 8))
    store.close()
    (target, *_) = (tmp_path / "shard").glob(damage)
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.write_text("garbage")
    with pytest.raises(InputError, match="damaged") as caught:
        QdrantEdgeVectors(tmp_path, 8)
    assert str(tmp_path) in str(caught.value)
    assert "twin index --rebuild" in caught.value.way_out
    shutil.rmtree(tmp_path / "shard")
    QdrantEdgeVectors(tmp_path, 8).close()


@pytest.mark.parametrize(
    "damage", ["payload_storage/page_0.dat", "vector_storage-dense/vectors/chunk_0.mmap"]
)
def test_verify_finds_rot_that_opening_does_not(tmp_path: Path, damage: str) -> None:
    store = QdrantEdgeVectors(tmp_path, 8)
    store.upsert([passage("a"), passage("b")], clustered(2, 8))
    assert store.verify() == []
    store.close()
    for target in (tmp_path / "shard" / "segments").glob(f"*/{damage}"):
        with open(target, "r+b") as file:
            file.write(b"\x11" * 4096)
    rotten = QdrantEdgeVectors(tmp_path, 8)
    assert rotten.verify() != []
    rotten.close()


def test_another_layout_is_refused(tmp_path: Path) -> None:
    QdrantEdgeVectors(tmp_path, 8).close()
    (tmp_path / "shard" / "card.json").write_text(json.dumps({"layout": 99, "dimension": 8}))
    with pytest.raises(InputError, match="layout 99"):
        QdrantEdgeVectors(tmp_path, 8)


def test_what_a_kill_left_of_an_index_being_made_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / "shard.new" / "segments").mkdir(parents=True)
    (tmp_path / "shard.new" / "edge_config.json").write_text("{")
    store = QdrantEdgeVectors(tmp_path, 8)
    store.upsert([passage("a")], clustered(1, 8))
    assert store.chunk_ids() == {"a"}
    store.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lock", "shard"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TwinError, match="can't be opened"):
        QdrantEdgeVectors(tmp_path / "file" / "vectors", 8)


_WRITE_FOR_EVER = """
import sys
from pathlib import Path
import numpy as np
from llm_twin.adapters.vectors_qdrant_edge import QdrantEdgeVectors
from llm_twin.types import Chunk
store, i = QdrantEdgeVectors(Path(sys.argv[1]), 8, full_scan_kb=1), 0
while True:
    chunks = [Chunk(id=f"{i}-{k}", document_id="d", author="A", kind="post", title="T", text="Owls " * 300,
                    start=0, end=1500, tokens=4) for k in range(50)]
    store.upsert(chunks, np.eye(8, dtype=np.float32)[[k % 8 for k in range(50)]])
    print("stored", i, flush=True)
    if i % 3 == 2:
        store.delete([f"{i - 2}-{k}" for k in range(50)])
        print("deleted", i - 2, flush=True)
    if i % 5 == 4:
        store.optimize()
    i += 1
"""


@pytest.mark.parametrize("after", [5, *[pytest.param(n, marks=pytest.mark.slow) for n in (0, 17, 40)]])
def test_kill_9_loses_nothing_that_returned(tmp_path: Path, after: int) -> None:
    command = [sys.executable, "-c", _WRITE_FOR_EVER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        told = [writer.stdout.readline().split() for _ in range(after + 1)]
        writer.send_signal(signal.SIGKILL)
        told += [line.split() for line in writer.stdout]
    stored = {i for word, i in told if word == "stored"}
    deleted = {i for word, i in told if word == "deleted"}
    store = QdrantEdgeVectors(tmp_path, 8, full_scan_kb=1)
    found = store.chunk_ids()
    under_way = len(stored)  # the batch that may have been half written, or half deleted, when the kill came
    for i in stored - deleted - {str(under_way - 3)}:
        assert {f"{i}-{k}" for k in range(50)} <= found
    assert not {name for name in found if name.split("-")[0] in deleted}
    assert {int(name.split("-")[0]) for name in found} <= set(range(under_way + 1))
    assert {h.chunk.id for h in store.search_words("owls", 10_000)} == found
    assert {h.chunk.id for h in store.search_dense(_AXIS, 10_000, exact=True)} == found
    store.close()


_AXIS = np.eye(8, dtype=np.float32)[0]


def recall_at_10(store: QdrantEdgeVectors, queries: Vectors, where: Where) -> float:
    shares = []
    for query in queries:
        exact = {h.chunk.id for h in store.search_dense(query, 10, where, exact=True)}
        shares.append(len(exact & {h.chunk.id for h in store.search_dense(query, 10, where)}) / 10)
    return float(np.mean(shares))


@pytest.mark.slow
def test_the_graph_finds_what_the_exact_search_finds(tmp_path: Path) -> None:
    rows = clustered(8100, 32)
    store = QdrantEdgeVectors(tmp_path, 32, full_scan_kb=10)
    store.upsert([passage(f"{i:04d}", "AB"[i % 2]) for i in range(8000)], rows[:8000])
    store.optimize()
    assert recall_at_10(store, rows[8000:], Where()) >= 0.98
    assert recall_at_10(store, rows[8000:], Where(author="A")) >= 0.98
    store.close()
    hasty = QdrantEdgeVectors(tmp_path, 32, hnsw_ef=1, full_scan_kb=10)
    assert recall_at_10(hasty, rows[8000:], Where()) < 0.95, "this was no graph search"
    hasty.close()
