"""Who gets in: host, origin, kind and size of a body, key; and the headers on everything that goes out."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from llm_twin.serving import door
from llm_twin.serving.door import MOST_BYTES
from llm_twin.serving.keys import Keys, keys_of
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


def test_a_large_body_is_never_handed_on_and_a_slow_one_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "BODY_SECONDS", 0.05)
    begun: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        begun.append(await receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def asked(*pieces: tuple[float, bytes, bool]) -> tuple[list[Any], list[str]]:
        sent, failed, coming = [], [], list(pieces)

        async def receive() -> Any:
            if not coming:
                return {"type": "http.disconnect"}
            wait, body, more = coming.pop(0)
            await asyncio.sleep(wait)
            return {"type": "http.request", "body": body, "more_body": more}

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
        made = door.Door(
            app, "127.0.0.1", Keys(Path("none")), (), frozenset(), lambda *_: None, failed.append
        )
        asyncio.run(made(scope, receive, send))
        return sent, failed

    whole = asked((0, b"a", True), (0, b"b", True), (0, b"c", False))
    assert whole[0][0]["status"] == 200 and whole[1] == []
    assert begun == [{"type": "http.request", "body": b"abc", "more_body": False}]
    slow = asked((0.03, b"a", True), (0.03, b"b", True), (0, b"c", False))
    assert slow[0][0]["status"] == 408 and slow[1] == ["too_slow"]
    assert (b"connection", b"close") in slow[0][0]["headers"]
    large = asked((0, b"a" * MOST_BYTES, True), (0, b"b", True), (0, b"c", False))
    assert large[0][0]["status"] == 413 and large[1] == ["too_large"]
    assert asked((0, b"a", True)) == ([], []), "who left is told nothing"
    assert len(begun) == 1


def test_what_the_door_refuses_is_counted(client: Client, workspace: Workspace) -> None:
    made = client()
    token = {"authorization": "Bearer " + keys_of(workspace.home).add("reader", ("Wren Marlow",))}
    made.get("/documents")
    made.get("/healthz", headers={"host": "evil.example"})
    made.post("/search", json={"query": "a"}, headers={"origin": "null", **token})
    made.post("/search", content="a", headers={"content-type": "text/plain", **token})
    made.post("/search", content=b"a" * (MOST_BYTES + 1), headers=JSON | token)
    told = made.get("/metrics", headers=token).text
    for code in ("invalid_api_key", "wrong_host", "wrong_origin", "wrong_content_type", "too_large"):
        assert f'twin_errors_total{{code="{code}"}} 1.0' in told, code


def test_damaged_keys_let_nobody_in_and_are_told_in_the_usual_shape(
    client: Client, workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    made = client()
    (workspace.home / "keys.json").write_text("{")
    response = made.get("/documents")
    assert (response.status_code, response.json()["error"]["code"]) == (500, "unforeseen")
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "keys.json is damaged" in caplog.text
    assert made.get("/healthz").status_code == 200


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
