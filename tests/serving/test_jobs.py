"""/jobs on the real app: answers in order, one's own alone, cancelled, tried again, within limits, told."""

import base64
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from starlette.testclient import TestClient

from llm_twin.adapters.standins import ScriptedChat
from llm_twin.errors import TwinError
from llm_twin.serving import app
from llm_twin.serving.errands import TOGETHER
from llm_twin.serving.keys import keys_of
from llm_twin.types import Completion, Message, Sampling
from llm_twin.workspace import Workspace

Client = Callable[..., TestClient]
OWN, OTHER = "Wren Marlow", "Edmund Hale"
SALT = "Salt gets into every bearing. I grease them twice a year, and I note it in the log book."
WORDS = ("salt", "grease", "air", "rain", "dust", "rust")
QUESTIONS = [f"What does {word} do to a bearing in the watchroom clock?" for word in WORDS]
SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
LONG = 30.0


def limited(workspace: Workspace, **limits: Any) -> None:
    jobs = workspace.settings.jobs.model_copy(update=limits)
    workspace.settings = workspace.settings.model_copy(update={"jobs": jobs})


def make(made: TestClient, questions: Sequence[str] = QUESTIONS, **more: Any) -> str:
    response = made.post("/jobs", json={"questions": list(questions), **more})
    assert response.status_code == 202, response.text
    return str(response.json()["id"])


def ended(made: TestClient, job: str, **more: Any) -> dict[str, Any]:
    """The job once it has ended."""
    until = time.monotonic() + LONG
    while (found := made.get(f"/jobs/{job}", **more).json())["ended"] is None:
        assert time.monotonic() < until, found
        time.sleep(0.01)
    return dict(found)


class Held(ScriptedChat):
    """Waits before each group until it may go on; `mute` has no answer."""

    def __init__(self) -> None:
        super().__init__(lambda messages: "" if self.mute else SALT)
        self.mute = False
        self.begun, self.go = threading.Semaphore(0), threading.Semaphore(0)

    def generate(self, prompts: Sequence[Sequence[Message]], sampling: Sampling, *_: Any) -> list[Completion]:
        self.begun.release()
        assert self.go.acquire(timeout=LONG)
        return super().generate(prompts, sampling)


@pytest.fixture
def held() -> Any:
    """A model that is let go in the end, so that the server can."""
    chat = Held()
    yield chat
    chat.go.release(100)


def test_the_answers_come_in_order_with_their_citations(client: Client) -> None:
    made = client()
    found = ended(made, make(made))
    assert (found["state"], found["done"], found["total"], found["error"]) == ("done", 6, 6, "")
    assert [each["number"] for each in found["answers"]] == list(range(1, 7))
    assert [each["question"] for each in found["answers"]] == QUESTIONS
    assert all(each["found"] and each["text"] for each in found["answers"])
    assert any(each["citations"] for each in found["answers"])
    assert (found["model"], found["webhook"], found["told"]) == ("wren-marlow", None, "no")


def test_a_job_may_quote(client: Client) -> None:
    made = client()
    found = ended(made, make(made, ["What do you keep in the log book?"], model="wren-marlow:quote"))
    assert found["state"] == "done" and len(found["answers"]) == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"questions": []}, 422),
        ({"questions": ["?!"]}, 422),
        ({"questions": ["Owls \ud800?"]}, 422),
        ({"questions": ["Owls?"], "shout": True}, 422),
        ({"questions": ["Owls?"] * 4}, 422),
        ({"questions": ["Owls?"], "model": "nobody"}, 404),
        ({"questions": ["Owls?"], "model": "wren-marlow:plain"}, 400),
        ({"questions": ["Owls?"], "webhook": "https://example.org"}, 422),
        ({"questions": ["Owls?"], "webhook": "https://example.org", "webhook_secret": "x"}, 400),
        ({"questions": ["Owls?"], "webhook": "http://127.0.0.1/", "webhook_secret": SECRET}, 400),
    ],
)
def test_what_cannot_be_done_is_refused(
    client: Client, workspace: Workspace, body: dict[str, Any], status: int
) -> None:
    limited(workspace, most_questions=3)
    made = client()
    response = made.post("/jobs", content=json.dumps(body), headers={"content-type": "application/json"})
    assert response.status_code == status, response.text
    assert made.get("/jobs").json() == {"total": 0, "jobs": []}


def test_unknown_jobs_and_wrong_states(client: Client) -> None:
    made = client()
    assert made.get("/jobs/none").status_code == 404
    assert made.post("/jobs/none/cancel", json={}).status_code == 404
    job = make(made, ["Owls?"])
    ended(made, job)
    for verb in ("cancel", "retry"):
        response = made.post(f"/jobs/{job}/{verb}", json={})
        assert (response.status_code, response.json()["error"]["code"]) == (409, "wrong_state")


def test_a_running_job_is_cancelled_and_goes_on_where_it_was(client: Client, held: Held) -> None:
    made = client(held)
    job = make(made)
    assert held.begun.acquire(timeout=LONG)
    assert made.get(f"/jobs/{job}").json()["state"] == "running"
    made.post(f"/jobs/{job}/cancel", json={})
    held.go.release()
    found = ended(made, job)
    assert (found["state"], len(found["answers"])) == ("cancelled", TOGETHER)
    first = found["answers"]
    held.go.release()
    assert made.post(f"/jobs/{job}/retry", json={}).status_code == 200
    found = ended(made, job)
    assert (found["state"], found["answers"][:TOGETHER]) == ("done", first)
    assert len(found["answers"]) == len(QUESTIONS)


def test_a_job_with_a_question_left_failed_and_a_retry_asks_that_alone(client: Client, held: Held) -> None:
    made = client(held)
    held.mute = True
    held.go.release()
    job = make(made, QUESTIONS[:2])
    found = ended(made, job)
    assert found["state"] == "failed" and "2 of 2 questions have no answer" in found["error"]
    held.mute = False
    held.go.release()
    made.post(f"/jobs/{job}/retry", json={})
    assert ended(made, job)["state"] == "done"


def test_too_many_waiting_are_told_to_come_again(client: Client, workspace: Workspace, held: Held) -> None:
    limited(workspace, waiting=1)
    made = client(held)
    make(made)
    assert held.begun.acquire(timeout=LONG)
    second = make(made)
    full = made.post("/jobs", json={"questions": ["Owls?"]})
    assert (full.status_code, full.json()["error"]["code"]) == (429, "busy")
    assert int(full.headers["retry-after"]) > 0
    assert made.post(f"/jobs/{second}/cancel", json={}).json()["state"] == "cancelled"
    make(made)


def test_old_ones_are_forgotten_with_their_files(client: Client, workspace: Workspace) -> None:
    limited(workspace, keep=1)
    made = client()
    jobs = []
    for _ in range(4):
        jobs.append(make(made, ["Owls?"]))
        ended(made, jobs[-1])
    left = {each["id"] for each in made.get("/jobs").json()["jobs"]}
    assert left == set(jobs[-2:])  # the one that is kept, and the one that came after
    files = {path.name.partition(".")[0] for path in (workspace.home / "jobs").glob("*.jsonl")}
    assert files == left


def test_one_keys_jobs_fill_and_drive_out_none_of_anothers(
    client: Client, workspace: Workspace, held: Held
) -> None:
    limited(workspace, waiting=1, keep=2)
    made, keys = client(held), keys_of(workspace.home)
    quiet, busy = ({"authorization": f"Bearer {keys.add(name, (OWN,))}"} for name in ("quiet", "busy"))
    asked = {"questions": QUESTIONS[:1]}
    held.go.release(1)
    kept = made.post("/jobs", json=asked, headers=quiet).json()["id"]
    answers = ended(made, kept, headers=quiet)["answers"]
    assert held.begun.acquire(timeout=LONG)
    made.post("/jobs", json=asked, headers=busy)
    assert held.begun.acquire(timeout=LONG)
    statuses = [made.post("/jobs", json=asked, headers=who).status_code for who in (busy, busy, quiet)]
    assert statuses == [202, 429, 202]
    held.go.release(100)
    for _ in range(3):
        ended(made, made.get("/jobs", headers=busy).json()["jobs"][0]["id"], headers=busy)
        assert made.post("/jobs", json=asked, headers=busy).status_code == 202
    assert made.get("/jobs", headers=busy).json()["total"] == 3  # two that are kept, and the newest
    assert made.get(f"/jobs/{kept}", headers=quiet).json()["answers"] == answers


def test_a_job_whose_webhook_was_not_told_is_not_forgotten(
    client: Client, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(workspace, keep=0)
    sent = Sent(failing=1)
    monkeypatch.setattr(app.wiring, "open_post", lambda workspace: sent)
    made = client()
    job = make(made, QUESTIONS[:1], webhook="https://hooks.example.org/a", webhook_secret=SECRET)
    assert ended(made, job)["told"] in ("owed", "yes")
    ended(made, make(made, QUESTIONS[:1]))
    make(made, QUESTIONS[:1])
    assert sent.taken.wait(LONG), "the second try comes after five seconds"
    assert json.loads(sent.posts[-1][1])["id"] == job


def test_a_key_sees_its_own_jobs_alone(client: Client, workspace: Workspace) -> None:
    made = client()
    unowned = make(made)
    keys = keys_of(workspace.home)
    names = {"one": OWN, "two": OWN, "hale": OTHER}
    one, two, hale = (
        {"authorization": f"Bearer {keys.add(name, (author,))}"} for name, author in names.items()
    )
    job = made.post("/jobs", json={"questions": QUESTIONS[:1]}, headers=one).json()["id"]
    assert ended(made, job, headers=one)["state"] == "done"
    assert [each["id"] for each in made.get("/jobs", headers=one).json()["jobs"]] == [job]
    for other in (two, hale):
        assert made.get("/jobs", headers=other).json()["total"] == 0
        for method, path in (("GET", ""), ("POST", "/cancel"), ("POST", "/retry")):
            for each in (job, unowned):
                response = made.request(method, f"/jobs/{each}{path}", headers=other, json={})
                assert response.status_code == 404, (method, path)
    asked = {"questions": ["What does salt do?"]}
    for model in ("", "wren-marlow", "wren-marlow:quote"):
        response = made.post("/jobs", json={**asked, "model": model}, headers=hale)
        assert response.status_code == 404, "a job would tell of writing that this key does not see"


def test_a_job_whose_key_was_removed_is_not_answered(
    client: Client, workspace: Workspace, held: Held
) -> None:
    made, keys = client(held), keys_of(workspace.home)
    stays, goes = ({"authorization": f"Bearer {keys.add(name, (OWN,))}"} for name in ("stays", "goes"))
    made.post("/jobs", json={"questions": QUESTIONS[:1]}, headers=stays)
    assert held.begun.acquire(timeout=LONG)
    job = made.post("/jobs", json={"questions": QUESTIONS[:1]}, headers=goes).json()["id"]
    keys.remove("stays")
    keys.remove("goes")
    held.go.release(2)
    found = ended(made, job)
    assert found["state"] == "failed" and "key that made this job is gone" in found["error"]
    assert found["answers"] == []


def test_a_new_server_goes_on_with_what_the_old_one_left(
    client: Client, workspace: Workspace, held: Held
) -> None:
    first = client(held)
    job = make(first)
    waiting = make(first, ["Owls?"])
    held.go.release()
    for _ in range(2):
        assert held.begun.acquire(timeout=LONG)  # the first group is on the disk, the second begun
    held.go.release(100)
    first.__exit__(None, None, None)
    asked: list[str] = []
    second = client(ScriptedChat(lambda messages: asked.append(messages[-1].content) or SALT))  # type: ignore[func-returns-value]
    found = [ended(second, each) for each in (job, waiting)]
    assert [each["state"] for each in found] == ["done", "done"]
    assert [each["number"] for each in found[0]["answers"]] == list(range(1, 7))
    assert not any(question in text for question in QUESTIONS[:TOGETHER] for text in asked)


class Sent:
    """In the place of the network: what was posted; the first `failing` posts are not taken."""

    def __init__(self, failing: int) -> None:
        self.failing = failing
        self.posts: list[tuple[str, bytes, Mapping[str, str]]] = []
        self.taken = threading.Event()

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        self.posts.append((url, body, headers))
        if len(self.posts) <= self.failing:
            raise TwinError("not now")
        self.taken.set()


def test_the_end_is_told_to_the_webhook_without_the_secret(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = Sent(failing=0)
    monkeypatch.setattr(app.wiring, "open_post", lambda workspace: sent)
    made = client()
    job = make(made, QUESTIONS[:1], webhook="https://hooks.example.org/a", webhook_secret=SECRET)
    assert sent.taken.wait(LONG)
    ((url, body, headers),) = sent.posts
    told = json.loads(body)
    assert url == "https://hooks.example.org/a"
    assert (told["id"], told["state"], told["done"]) == (job, "done", 1)
    assert headers["webhook-id"].startswith(job) and headers["webhook-signature"].startswith("v1,")
    shown = made.get(f"/jobs/{job}").text + made.get("/jobs").text + body.decode()
    assert SECRET not in shown and "owner" not in shown
