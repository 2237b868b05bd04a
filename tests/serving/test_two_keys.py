"""Two authors, two keys: whatever is called in whatever order, neither key is shown the other author's writing."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from starlette.testclient import TestClient

from llm_twin.adapters.documents_sqlite import SqliteDocuments
from llm_twin.adapters.standins import ScriptedChat
from llm_twin.adapters.vectors_qdrant_edge import QdrantEdgeVectors
from llm_twin.reading import clean_documents
from llm_twin.serving.keys import keys_of
from llm_twin.text import ngrams, words
from llm_twin.types import Where
from llm_twin.workspace import Workspace

pytestmark = pytest.mark.slow  # they take half a minute together
AUTHORS = ("Wren Marlow", "Edmund Hale")
MODELS = ("wren-marlow", "wren-marlow:quote", "wren-marlow:plain", "edmund-hale")
RUN = 6
"""Words in a row that nobody asked in; questions are shorter, so that an echo is no leak."""
SETTINGS = hypothesis.settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
BROKEN = hypothesis.settings(SETTINGS, phases=[Phase.generate], report_multiple_bugs=False)
"""Where a leak is meant to be found: the first will do, however long the way to it."""
Call = tuple[str, str, Any]
"""Method, path, body."""


def chat(world: "World", text: str, number: int) -> Call:
    model = ("", *MODELS)[number % (1 + len(MODELS))]
    turns = [{"role": "user", "content": text}]
    return "POST", "/v1/chat/completions", {"model": model, "messages": turns, "stream": number % 2 == 1}


def search(world: "World", text: str, number: int) -> Call:
    author = (None, *AUTHORS)[number % 3]
    return "POST", "/search", {"query": text, "limit": 20, **({"author": author} if author else {})}


def make_job(world: "World", text: str, number: int) -> Call:
    return "POST", "/jobs", {"questions": [text], "model": "wren-marlow:quote"}


def feedback(world: "World", text: str, number: int) -> Call:
    return "POST", "/feedback", {"model": "wren-marlow", "question": text, "answer": text, "thumb": "up"}


CALLS: dict[str, Callable[["World", str, int], Call]] = {
    "POST /v1/chat/completions": chat,
    "GET /v1/models": lambda w, text, n: ("GET", "/v1/models", None),
    "GET /v1/models/{model_id}": lambda w, text, n: ("GET", f"/v1/models/{MODELS[n % len(MODELS)]}", None),
    "POST /v1/embeddings": lambda w, text, n: ("POST", "/v1/embeddings", {"input": text}),
    "POST /search": search,
    "GET /documents": lambda w, text, n: ("GET", f"/documents?limit=200&offset={n % 3}", None),
    "GET /documents/{document_id}": lambda w, text, n: ("GET", f"/documents/{w.ids[n % len(w.ids)]}", None),
    "POST /feedback": feedback,
    "POST /voice": lambda w, text, n: ("POST", "/voice", {"text": text}),
    "POST /render": lambda w, text, n: ("POST", "/render", {"text": text}),
    "POST /jobs": make_job,
    "GET /jobs": lambda w, text, n: ("GET", "/jobs", None),
    "GET /jobs/{job_id}": lambda w, text, n: ("GET", f"/jobs/{w.job(n)}", None),
    "POST /jobs/{job_id}/cancel": lambda w, text, n: ("POST", f"/jobs/{w.job(n)}/cancel", {}),
    "POST /jobs/{job_id}/retry": lambda w, text, n: ("POST", f"/jobs/{w.job(n)}/retry", {}),
    "GET /traces": lambda w, text, n: ("GET", "/traces?limit=200", None),
    "GET /traces/{trace_id}": lambda w, text, n: ("GET", f"/traces/{w.trace(n)}", None),
    "GET /dataset": lambda w, text, n: ("GET", "/dataset", None),
    "GET /dataset/samples": lambda w, text, n: ("GET", f"/dataset/samples?limit=200&offset={n % 3}", None),
    "GET /runs": lambda w, text, n: ("GET", "/runs", None),
    "GET /runs/{run_id}": lambda w, text, n: ("GET", "/runs/sft-1", None),
    "GET /reports": lambda w, text, n: ("GET", "/reports", None),
    "GET /reports/{report_id}": lambda w, text, n: ("GET", "/reports/abc", None),
    "GET /reports/{report_id}/against/{other_id}": lambda w, text, n: (
        "GET",
        "/reports/abc/against/abd",
        None,
    ),
    "GET /healthz": lambda w, text, n: ("GET", "/healthz", None),
    "GET /readyz": lambda w, text, n: ("GET", "/readyz", None),
    "GET /metrics": lambda w, text, n: ("GET", "/metrics", None),
}


class World:
    """The server, a key for each author, and what each of them must not be shown."""

    def __init__(self, client: TestClient, workspace: Workspace) -> None:
        documents, _ = clean_documents(workspace)
        self.client = client
        self.keys = {who: keys_of(workspace.home).add(who, (who,)) for who in AUTHORS}
        self.ids = [d.document.id for d in documents]
        self.jobs: dict[str, str] = {}
        self.makers: set[str] = set()
        own: dict[str, set[tuple[str, ...]]] = {who: set() for who in AUTHORS}
        self.titles: dict[str, set[str]] = {who: set() for who in AUTHORS}
        for document in documents:
            who = document.document.author
            own[who] |= set(ngrams(words(document.text), RUN))
            self.titles[who] |= {document.document.id, document.document.title}
        self.foreign = {who: own[other] - own[who] for who, other in zip(AUTHORS, AUTHORS[::-1], strict=True)}
        self.vocabulary = sorted({gram[0] for grams in own.values() for gram in grams})

    def forget(self) -> None:
        """Begin anew: the jobs of an earlier run are nobody's to ask for."""
        self.jobs.clear()

    def job(self, number: int) -> str:
        known = sorted(self.jobs)
        return known[number % len(known)] if known else "none"

    def trace(self, number: int) -> str:
        header = {"authorization": f"Bearer {self.keys[AUTHORS[0]]}"}
        known = [trace["id"] for trace in self.client.get("/traces", headers=header).json()["traces"]]
        return known[number % len(known)] if known else "none"

    def call(self, who: str, name: str, text: str, number: int) -> None:
        method, path, body = CALLS[name](self, text, number)
        header = {"authorization": f"Bearer {self.keys[who]}"}
        response = self.client.request(method, path, json=body, headers=header)
        assert response.status_code < 500, response.text
        assert response.status_code != 422, f"{name} does not take its own body: {response.text}"
        shown = "\n".join(strings(response.text))
        assert not self.foreign[who] & set(ngrams(words(shown), RUN)), f"{name} shows another's words"
        other = AUTHORS[1 - AUTHORS.index(who)]
        asked_for = {path.rpartition("/")[2]}
        for title in self.titles[other] - self.titles[who] - asked_for:
            assert title not in shown, f"{name} shows another's title"
        self._jobs(who, name, path, response)

    def _jobs(self, who: str, name: str, path: str, response: Any) -> None:
        """A job is its maker's alone."""
        if name == "POST /jobs" and response.status_code == 202:
            self.jobs[response.json()["id"]] = who
            self.makers.add(who)
        elif name == "GET /jobs":
            assert {self.jobs.get(job["id"], AUTHORS[0]) for job in response.json()["jobs"]} <= {who}
        elif "{job_id}" in name and self.jobs.get(path.split("/")[2], who) != who:
            assert response.status_code == 404, f"{who} called {path}: {response.status_code}"


def strings(text: str) -> Iterator[str]:
    """All strings of an answer: JSON, or events whose pieces belong together."""
    if text.startswith("data:"):
        events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
        yield "".join(c.get("delta", {}).get("content") or "" for e in events for c in e.get("choices", []))
        yield from flat(events)
        return
    try:
        yield from flat(json.loads(text))
    except json.JSONDecodeError:
        yield text


def flat(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from flat(each)


@pytest.fixture
def world(client: Callable[..., TestClient], workspace: Workspace) -> World:
    """The model repeats all that it is told, so what is found for it is shown."""
    telling = ScriptedChat(lambda messages: " ".join(m.content for m in messages)[-4000:], context=100_000)
    return World(client(chat=telling), workspace)


def explore(world: World, settings: hypothesis.settings = SETTINGS) -> None:
    questions = st.lists(st.sampled_from(world.vocabulary), min_size=1, max_size=RUN - 2).map(" ".join)

    class AnyOrder(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            world.forget()

        @rule(
            who=st.sampled_from(AUTHORS),
            name=st.sampled_from(sorted(CALLS)),
            text=questions,
            number=st.integers(0, 60),
        )
        def call(self, who: str, name: str, text: str, number: int) -> None:
            world.call(who, name, text, number)

    run_state_machine_as_test(AnyOrder, settings=settings)


def test_every_route_is_called(world: World) -> None:
    header = {"authorization": f"Bearer {world.keys[AUTHORS[0]]}"}
    paths = world.client.get("/openapi.json", headers=header).json()["paths"]
    assert CALLS.keys() == {f"{m.upper()} {path}" for path, methods in paths.items() for m in methods}


def test_no_order_of_calls_shows_another_authors_writing(world: World) -> None:
    explore(world)
    assert world.makers == {AUTHORS[0]}, "the other has no twin to ask"


@pytest.mark.parametrize("half", ["search_dense", "search_words"])
def test_without_the_filter_in_the_query_it_is_seen(
    world: World, half: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    filtered = getattr(QdrantEdgeVectors, half)
    monkeypatch.setattr(
        QdrantEdgeVectors, half, lambda self, query, limit, where=None: filtered(self, query, limit, Where())
    )
    with pytest.raises(AssertionError, match="shows another's"):
        explore(world, BROKEN)


def test_without_the_author_in_the_query_documents_are_seen(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = SqliteDocuments.documents
    monkeypatch.setattr(SqliteDocuments, "documents", lambda self, author=None: documents(self))
    with pytest.raises(AssertionError, match=r"GET /documents.* shows another's"):
        explore(world, BROKEN)
