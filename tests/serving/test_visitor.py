"""Two keys, two authors: each sees only its own, on every route."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from llm_twin.serving.keys import keys_of
from llm_twin.serving.refusals import Refusal
from llm_twin.serving.visitor import chosen, may_see
from llm_twin.workspace import Workspace

Client = Callable[..., TestClient]
OWN, OTHER = "Wren Marlow", "Edmund Hale"


def test_whose_writing_is_searched() -> None:
    assert chosen(None, None, "Ada") == "Ada"
    assert chosen(None, "Bob", "Ada") == "Bob"
    assert chosen(frozenset({"Bob", "Cy"}), None, "Ada") == "Bob"
    assert chosen(frozenset({"Bob", "Ada"}), None, "Ada") == "Ada"
    assert may_see(None, "Bob") and not may_see(frozenset({"Ada"}), "Bob")
    with pytest.raises(Refusal):
        chosen(frozenset({"Ada"}), "Bob", "Ada")


@pytest.fixture
def calls(client: Client, workspace: Workspace) -> dict[str, Callable[..., Any]]:
    """By author: a way to call as who holds a key for that author alone."""
    made = client()
    tokens = {author: keys_of(workspace.home).add(author, (author,)) for author in (OWN, OTHER)}

    def caller(token: str) -> Callable[..., Any]:
        def call(method: str, path: str, **more: Any) -> Any:
            return made.request(method, path, headers={"authorization": f"Bearer {token}"}, **more)

        return call

    return {author: caller(token) for author, token in tokens.items()}


def test_documents_are_their_own(calls: dict[str, Callable[..., Any]]) -> None:
    ids = {}
    for author, call in calls.items():
        page = call("GET", "/documents?limit=200").json()
        assert {each["author"] for each in page["documents"]} == {author}
        assert page["total"] == len(page["documents"])
        ids[author] = [each["id"] for each in page["documents"]]
    assert calls[OWN]("GET", f"/documents/{ids[OWN][0]}").status_code == 200
    assert calls[OWN]("GET", f"/documents/{ids[OTHER][0]}").status_code == 404
    assert calls[OTHER]("GET", f"/documents/{ids[OWN][0]}").status_code == 404


def test_search_finds_their_own(calls: dict[str, Callable[..., Any]]) -> None:
    for author, call in calls.items():
        mine = {each["id"] for each in call("GET", "/documents?limit=200").json()["documents"]}
        hits = call("POST", "/search", json={"query": "the keeping of tools", "limit": 100}).json()["hits"]
        assert hits and {hit["document_id"] for hit in hits} <= mine
        foreign = {"query": "tools", "author": OTHER if author == OWN else OWN}
        assert call("POST", "/search", json=foreign).status_code == 403


def test_the_twin_answers_those_who_may_read_its_author(calls: dict[str, Callable[..., Any]]) -> None:
    asked = {"messages": [{"role": "user", "content": "What does salt do to a bearing?"}]}
    base = calls[OWN]("GET", "/v1/models").json()["data"][-1]["id"]
    assert [each["id"] for each in calls[OTHER]("GET", "/v1/models").json()["data"]] == [base]
    assert calls[OWN]("POST", "/v1/chat/completions", json=asked).status_code == 200
    for model in ("", "wren-marlow", "wren-marlow:quote", "wren-marlow:plain"):
        body = {**asked, "model": model}
        assert calls[OTHER]("POST", "/v1/chat/completions", json=body).status_code == 404, model
    plain = calls[OTHER]("POST", "/v1/chat/completions", json={**asked, "model": base}).json()
    assert plain["choices"][0]["message"]["twin"]["hits"] == []


def test_voice_and_feedback_are_for_them_too(calls: dict[str, Callable[..., Any]]) -> None:
    assert calls[OTHER]("POST", "/voice", json={"text": "Salt gets in."}).status_code == 403
    said = {"model": "wren-marlow", "question": "a", "answer": "b", "thumb": "up"}
    assert calls[OTHER]("POST", "/feedback", json=said).status_code == 404
    assert calls[OWN]("POST", "/feedback", json=said).status_code == 201
