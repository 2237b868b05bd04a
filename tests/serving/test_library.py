"""Search, documents, embeddings: what is found, whose it is, and in which shape."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from llm_twin import pipeline
from llm_twin.adapters.documents_sqlite import SqliteDocuments
from llm_twin.adapters.standins import HashEmbedder
from llm_twin.serving import library
from llm_twin.serving.keys import keys_of
from llm_twin.workspace import Workspace

Client = Callable[..., TestClient]


def test_search_finds_spans_of_the_twins_author(client: Client) -> None:
    made = client()
    found = made.post("/search", json={"query": "grease the bearing", "limit": 3}).json()
    assert 0 < len(found["hits"]) <= 3
    assert found["nearest"] <= 1
    for hit in found["hits"]:
        document = made.get(f"/documents/{hit['document_id']}").json()
        assert document["text"][hit["start"] : hit["end"]] == hit["text"]


def test_search_filters(client: Client) -> None:
    made = client()
    ids = {d["id"]: d["author"] for d in made.get("/documents?limit=200").json()["documents"]}
    other = made.post("/search", json={"query": "tools", "author": "Edmund Hale"}).json()["hits"]
    assert {ids[hit["document_id"]] for hit in other} == {"Edmund Hale"}
    nothing = made.post("/search", json={"query": "tools", "published_from": "2999-01-01"}).json()
    assert nothing == {"hits": [], "nearest": -1.0}
    assert made.post("/search", json={"query": "tools", "kind": "poem"}).status_code == 422
    assert made.post("/search", json={"query": "?!"}).status_code == 400


def test_documents_come_in_pages(client: Client) -> None:
    made = client()
    first = made.get("/documents?limit=2").json()
    second = made.get("/documents?limit=2&offset=2").json()
    assert first["total"] == second["total"] > 4
    ids = [each["id"] for each in first["documents"] + second["documents"]]
    assert ids == sorted(set(ids)) and len(ids) == 4
    assert made.get("/documents?limit=0").status_code == 422
    assert made.get("/documents/nothing").json()["error"]["code"] == "document_not_found"


def test_documents_are_read_again_when_there_are_new_ones_and_not_otherwise(
    client: Client, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = client()
    before = made.get("/documents").json()["total"]
    reads: list[tuple[Any, ...]] = []
    read = library.clean_documents
    monkeypatch.setattr(library, "clean_documents", lambda *given: reads.append(given) or read(*given))
    assert made.get("/documents").json()["total"] == before and reads == []
    (tmp_path / "new.md").write_text("# A new one\n\nI oiled the hinge of the oil store today, at last.\n")
    pipeline.collect(workspace, [(str(tmp_path / "new.md"), None)])
    page = made.get("/documents?limit=200").json()
    assert page["total"] == before + 1 and "A new one" in [each["title"] for each in page["documents"]]
    made.get("/documents")
    assert len(reads) == 1


def test_the_store_is_asked_for_the_authors_that_a_key_sees_and_no_others(
    client: Client, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, asked = client(), []
    everyone = made.get("/documents?limit=200").json()["documents"]
    both = {author: author.split()[0] for author in ("Wren Marlow", "Edmund Hale")}
    tokens = {author: keys_of(workspace.home).add(name, (author,)) for author, name in both.items()}
    tokens["nobody"] = keys_of(workspace.home).add("nobody", ("Nobody",))
    tokens["both"] = keys_of(workspace.home).add("both", tuple(both))
    documents = SqliteDocuments.documents

    def noted(self: SqliteDocuments, author: str | None = None) -> Any:
        asked.append(author)
        return documents(self, author)

    monkeypatch.setattr(SqliteDocuments, "documents", noted)

    def seen(who: str) -> Any:
        head = {"authorization": f"Bearer {tokens[who]}"}
        return made.get("/documents?limit=200", headers=head).json()["documents"]

    for author in both:
        assert seen(author) == [each for each in everyone if each["author"] == author] != []
    assert seen("both") == everyone and seen("nobody") == []
    assert sorted(asked) == ["Edmund Hale", "Nobody", "Wren Marlow"], "each read once"
    (tmp_path / "new.md").write_text("# A new one\n\nI oiled the hinge of the oil store today, at last.\n")
    pipeline.collect(workspace, [(str(tmp_path / "new.md"), None)])
    assert len(seen("both")) == len(everyone) + 1


def test_embeddings_in_both_encodings_are_the_same(client: Client) -> None:
    made = client()
    plain = made.post("/v1/embeddings", json={"input": ["salt and rust", "tea"]}).json()
    coded = made.post("/v1/embeddings", json={"input": "salt and rust", "encoding_format": "base64"}).json()
    vector = np.frombuffer(base64.b64decode(coded["data"][0]["embedding"]), "<f4")
    assert vector.tolist() == plain["data"][0]["embedding"]
    assert float(np.linalg.norm(vector)) == pytest.approx(1, abs=1e-5)
    assert [each["index"] for each in plain["data"]] == [0, 1]
    assert plain["usage"] == {"prompt_tokens": 4, "total_tokens": 4}


def test_embeddings_refuse_what_they_cannot_do(client: Client) -> None:
    made = client()
    for body, status in [
        ({"input": []}, 400),
        ({"input": ""}, 400),
        ({"input": "a " * 1000}, 400),
        ({"input": ["a"] * 2049}, 400),
        ({"input": "a", "model": "another"}, 404),
        ({"input": "a", "dimensions": 3}, 422),
        ({"input": "a", "encoding_format": "int8"}, 422),
    ]:
        assert made.post("/v1/embeddings", json=body).status_code == status, body


def test_many_texts_are_embedded_in_batches_and_come_back_in_order(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, sizes = client(), []
    embed = HashEmbedder.embed

    def noted(self: HashEmbedder, texts: Any, *more: Any) -> Any:
        sizes.append(len(texts))
        return embed(self, texts, *more)

    monkeypatch.setattr(HashEmbedder, "embed", noted)
    texts = [f"salt {number} rust" for number in range(200)]
    body = {"input": texts, "dimensions": 64, "encoding_format": None, "user": "someone"}
    told = made.post("/v1/embeddings", json=body).json()
    assert sizes == [64, 64, 64, 8]
    assert [each["index"] for each in told["data"]] == list(range(200))
    assert np.array([each["embedding"] for each in told["data"]], np.float32).tolist() == (
        embed(HashEmbedder(), texts).tolist()
    )
    assert told["usage"] == {"prompt_tokens": 600, "total_tokens": 600}
    assert (told["object"], told["model"]) == ("list", "hash-64")
    assert made.post("/v1/embeddings", json={"input": ["a"] * 2048}).status_code == 200


def test_token_ids_are_refused_with_the_way_out(client: Client) -> None:
    made = client()
    for ids in ([1, 2], [[1, 2], [3]]):
        refused = made.post("/v1/embeddings", json={"input": ids})
        assert (refused.status_code, refused.json()["error"]["param"]) == (422, "input")
        assert "check_embedding_ctx_length=False" in refused.json()["error"]["message"]
