"""Search, documents, embeddings: what is found, whose it is, and in which shape."""

import base64
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from llm_twin import pipeline
from llm_twin.serving import library
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
    reads: list[Workspace] = []
    read = library.clean_documents
    monkeypatch.setattr(library, "clean_documents", lambda given: reads.append(given) or read(given))
    assert made.get("/documents").json()["total"] == before and reads == []
    (tmp_path / "new.md").write_text("# A new one\n\nI oiled the hinge of the oil store today, at last.\n")
    pipeline.collect(workspace, [(str(tmp_path / "new.md"), None)])
    page = made.get("/documents?limit=200").json()
    assert page["total"] == before + 1 and "A new one" in [each["title"] for each in page["documents"]]
    made.get("/documents")
    assert len(reads) == 1


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
        ({"input": ["a"] * 129}, 400),
        ({"input": "a", "model": "another"}, 404),
        ({"input": [1, 2]}, 422),
        ({"input": "a", "dimensions": 3}, 422),
    ]:
        assert made.post("/v1/embeddings", json=body).status_code == status, body
