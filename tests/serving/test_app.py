"""The server as a whole: what it declares, what it refuses to start as, and that it can be checked on."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from llm_twin.errors import InputError, TwinError
from llm_twin.serving.app import create_app
from llm_twin.serving.keys import keys_of
from llm_twin.serving.shell import Options
from llm_twin.settings import Settings
from llm_twin.workspace import Workspace

Client = Callable[..., TestClient]
ROUTES = {
    "/v1/chat/completions",
    "/v1/models",
    "/v1/models/{model_id}",
    "/v1/embeddings",
    "/search",
    "/documents",
    "/documents/{document_id}",
    "/feedback",
    "/voice",
    "/render",
    "/jobs",
    "/jobs/{job_id}",
    "/jobs/{job_id}/cancel",
    "/jobs/{job_id}/retry",
    "/traces",
    "/traces/{trace_id}",
    "/dataset",
    "/dataset/samples",
    "/runs",
    "/runs/{run_id}",
    "/reports",
    "/reports/{report_id}",
    "/reports/{report_id}/against/{other_id}",
    "/healthz",
    "/readyz",
    "/metrics",
}


def test_every_route_declares_its_answers_and_refusals(client: Client) -> None:
    paths = client().get("/openapi.json").json()["paths"]
    assert paths.keys() == ROUTES
    for path, methods in paths.items():
        for method, operation in methods.items():
            answers = operation["responses"]
            assert {"401", "403", "421", "500"} <= answers.keys(), path
            assert ("413" in answers) == ("408" in answers) == (method == "post"), path
            for status in (s for s in answers if s >= "400"):
                shape = answers[status]["content"]["application/json"]["schema"]["$ref"]
                assert shape.endswith("/ErrorBody"), (path, status)


def test_it_is_alive_and_ready(client: Client) -> None:
    made = client()
    assert made.get("/healthz").json() == {"status": "alive"}
    ready = made.get("/readyz").json()
    assert (ready["status"], ready["index"]) == ("ready", "open")
    assert "no twin was trained" in ready["twin"]


def test_it_is_not_ready_when_the_index_fails(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    made = client()

    def broken(*arguments: object) -> None:
        raise TwinError("the index is gone")

    monkeypatch.setattr("llm_twin.adapters.vectors_qdrant_edge.QdrantEdgeVectors.search_words", broken)
    response = made.get("/readyz")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "not_ready")


def test_beyond_this_machine_a_key_is_needed(client: Client, workspace: Workspace) -> None:
    with pytest.raises(InputError, match="no key"):
        client(host="0.0.0.0")
    keys_of(workspace.home).add("reader", ("Wren Marlow",))
    assert client(host="0.0.0.0").get("/healthz").status_code == 200


def test_without_an_index_it_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no index"):
        create_app(Workspace(tmp_path, Settings(author="Ada")), Options())


def test_the_index_is_free_when_it_has_ended(
    workspace: Workspace, stand_in: Callable[[object], None]
) -> None:
    stand_in(None)
    for _ in range(2):
        app = create_app(workspace, Options(mode="quote"), page=Path("none"))
        with TestClient(app, base_url="http://localhost") as made:
            assert made.post("/search", json={"query": "salt"}).status_code == 200


def test_what_was_asked_is_counted(client: Client) -> None:
    made = client()
    made.post("/search", json={"query": "salt"})
    made.get("/documents/nothing")
    made.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "Why grease it?"}]})
    told = made.get("/metrics").text
    assert 'twin_requests_total{route="/search",status="200"} 1.0' in told
    assert 'twin_requests_total{route="/documents/{document_id}",status="404"} 1.0' in told
    assert 'twin_errors_total{code="document_not_found"} 1.0' in told
    assert "twin_first_token_seconds_count 1.0" in told
    assert re.search(r'twin_tokens_total\{kind="completion"\} [1-9]', told)
    assert re.search(r"twin_resident_memory_bytes [1-9]", told)
    assert "twin_chat_waiting 0.0" in told and "twin_jobs_waiting 0.0" in told


def test_a_failure_of_ours_is_told_in_the_same_shape_and_counted(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*arguments: object, **more: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("llm_twin.serving.library.search", broken)
    made = client()
    response = made.post("/search", json={"query": "salt"})
    assert response.status_code == 500
    assert response.json()["error"]["type"] == "server_error"
    assert "secret" not in response.text
    assert response.headers["x-content-type-options"] == "nosniff"
    told = made.get("/metrics").text
    assert 'twin_requests_total{route="/search",status="500"} 1.0' in told
    assert 'twin_errors_total{code="unforeseen"} 1.0' in told
    assert "ZeroDivisionError" in caplog.text, "the log has more"
