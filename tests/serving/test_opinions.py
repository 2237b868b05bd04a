"""Feedback that is kept, and how much a text sounds like the author."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from llm_twin.errors import InputError
from llm_twin.evaluation import appraise
from llm_twin.journal import Journal
from llm_twin.serving import opinions
from llm_twin.types import Feedback
from llm_twin.workspace import Workspace

Client = Callable[..., TestClient]
SAID = {
    "model": "wren-marlow",
    "question": "Why grease?",
    "answer": "Salt.",
    "thumb": "down",
    "edit": "Salt air.",
}


def test_feedback_is_on_the_disk_when_it_is_answered(client: Client, workspace: Workspace) -> None:
    response = client().post("/feedback", json=SAID)
    assert response.status_code == 201
    (kept,) = Journal(workspace.home / "feedback.jsonl", Feedback).read()
    assert kept.id == response.json()["id"]
    assert (kept.model, kept.thumb, kept.edit) == ("wren-marlow", "down", "Salt air.")


def test_feedback_that_says_nothing_is_refused(client: Client) -> None:
    made = client()
    assert made.post("/feedback", json={**SAID, "thumb": None, "edit": None}).status_code == 422
    assert made.post("/feedback", json={**SAID, "thumb": "sideways"}).status_code == 422
    assert made.post("/feedback", json={**SAID, "model": "nobody"}).status_code == 404


class Verifier:
    """Sure of everything."""

    auc, told_from = 0.9, "other authors"

    def of(self, text: str) -> tuple[int, float | None, str]:
        words = len(text.split())
        return (words, 0.75, "") if words > 5 else (words, None, "it has too few words")


def test_voice_gives_a_probability_or_the_reason_for_none(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = []
    monkeypatch.setattr(opinions, "voice", lambda *both: fitted.append(both) or Verifier())
    made = client()
    told = made.post("/voice", json={"text": "I greased the bearing again this morning."}).json()
    assert told == {
        "author": "Wren Marlow",
        "words": 7,
        "probability": 0.75,
        "refused": "",
        "auc": 0.9,
        "told_from": "other authors",
    }
    short = made.post("/voice", json={"text": "I greased it."}).json()
    assert (short["probability"], short["refused"]) == (None, "it has too few words")
    ((train, held_out),) = fitted
    assert {p.document_id for p in train.author}.isdisjoint(p.document_id for p in held_out.author)


def test_while_the_verifier_is_fitted_nothing_else_waits(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = threading.Event(), threading.Event()
    fitted = []

    def slowly(*both: object) -> Verifier:
        fitted.append(both)
        begun.set()
        assert go.wait(60)
        return Verifier()

    monkeypatch.setattr(opinions, "voice", slowly)
    made = client()
    with ThreadPoolExecutor(5) as clicks:
        first = [clicks.submit(made.post, "/voice", json={"text": "a text"}) for _ in range(4)]
        assert begun.wait(60)
        try:
            assert clicks.submit(made.post, "/search", json={"query": "salt"}).result(60).status_code == 200
            for path in ("/readyz", "/documents"):
                assert clicks.submit(made.get, path).result(60).status_code == 200
        finally:
            go.set()
        assert [each.result(60).status_code for each in first] == [200] * 4
    assert len(fitted) == 1


def test_voice_says_when_there_is_too_little_to_fit_on(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_little(train: object, held_out: object) -> appraise.Voice:
        raise InputError("too little was collected", "collect more")

    monkeypatch.setattr(opinions, "voice", too_little)
    response = client().post("/voice", json={"text": "a text"})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "cannot_tell")


def test_the_verifier_of_the_sample_corpus_tells_or_says_why_not(client: Client, built: Path) -> None:
    told = client().post("/voice", json={"text": "Salt gets in. " * 40}).json()
    assert (told["probability"] is None) == bool(told["refused"])
    assert 0 <= told["auc"] <= 1
