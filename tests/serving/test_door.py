"""Who gets in: host, origin, kind and size of a body, key; and the headers on everything that goes out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from llm_twin.serving.door import MOST_BYTES
from llm_twin.serving.keys import keys_of
from llm_twin.workspace import Workspace

Client = Callable[..., TestClient]
JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8010", "127.0.0.1.nip.io", "10.0.0.1", ""])
def test_a_host_that_is_not_served_is_refused(client: Client, host: str) -> None:
    made = client()
    assert made.get("/healthz", headers={"host": host}).status_code == 421
    assert made.get("/healthz", headers={"host": "localhost:8010"}).status_code == 200


def test_another_sites_page_may_send_nothing(client: Client) -> None:
    made = client(cors=("https://mine.example",))
    asked = {"query": "salt"}
    assert made.post("/search", json=asked, headers={"origin": "https://evil.example"}).status_code == 403
    assert made.post("/search", json=asked, headers={"origin": "null"}).status_code == 403
    assert made.post("/search", json=asked, headers={"origin": "http://127.0.0.1:8010"}).status_code == 200
    allowed = made.post("/search", json=asked, headers={"origin": "https://mine.example"})
    assert allowed.headers["access-control-allow-origin"] == "https://mine.example"
    plain = made.post("/search", content='{"query": "salt"}', headers={"content-type": "text/plain"})
    assert plain.status_code == 415


def test_cors_is_closed_by_default(client: Client) -> None:
    response = client().get("/healthz", headers={"origin": "https://mine.example"})
    assert "access-control-allow-origin" not in response.headers


def test_a_large_body_is_refused_whether_or_not_it_says_so(client: Client) -> None:
    made = client()
    body = b'{"query": "' + b"a" * MOST_BYTES + b'"}'
    assert made.post("/search", content=body, headers=JSON).status_code == 413

    def pieces() -> Any:
        for at in range(0, len(body), 100_000):
            yield body[at : at + 100_000]

    assert made.post("/search", content=pieces(), headers=JSON).status_code == 413


def test_every_answer_carries_the_headers(client: Client) -> None:
    made = client()
    for path in ("/healthz", "/nowhere", "/v1/models", "/openapi.json"):
        headers = made.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff"
    assert "content-security-policy" in made.get("/healthz", headers={"host": "evil.example"}).headers


PATHS = ["/v1/models", "/documents", "/documents/x", "/readyz", "/metrics", "/openapi.json", "/nowhere"]
POSTS = ["/v1/chat/completions", "/v1/embeddings", "/search", "/feedback", "/voice"]


def test_with_a_key_everything_but_life_needs_one(client: Client, workspace: Workspace) -> None:
    made = client()
    assert made.get("/documents").status_code == 200
    token = keys_of(workspace.home).add("reader", ("Wren Marlow",))
    refused = [made.get(path) for path in PATHS] + [made.post(path, json={}) for path in POSTS]
    assert {response.status_code for response in refused} == {401}
    assert refused[0].json()["error"]["type"] == "authentication_error"
    assert made.get("/healthz").status_code == 200
    wrong = [f"Bearer {token}x", f"Basic {token}", "Bearer", token]
    assert {made.get("/documents", headers={"authorization": each}).status_code for each in wrong} == {401}
    assert made.get("/documents", headers={"authorization": f"Bearer {token}"}).status_code == 200


def test_the_pages_own_files_need_no_key(client: Client, workspace: Workspace, tmp_path: Path) -> None:
    page = tmp_path / "page"
    page.mkdir()
    (page / "index.html").write_text("<p>hello</p>")
    keys_of(workspace.home).add("reader", ("Wren Marlow",))
    made = client(page=page)
    assert made.get("/").text == "<p>hello</p>"
    assert made.get("/index.html").status_code == 200
    assert made.get("/v1/models").status_code == 401


def test_beyond_this_machine_the_last_key_leaves_the_door_shut(client: Client, workspace: Workspace) -> None:
    keys_of(workspace.home).add("reader", ("Wren Marlow",))
    made = client(host="0.0.0.0")
    keys_of(workspace.home).remove("reader")
    assert made.get("/documents").status_code == 401
