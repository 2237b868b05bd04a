"""`twin jobs`: the same queue that a server works at, seen and changed from outside it."""

import json
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from llm_twin import wiring
from llm_twin.cli import app
from llm_twin.front import workspace_at
from llm_twin.inference.batch import Answered
from llm_twin.serving.orders import Order, answered_at
from llm_twin.types import Job

runner = CliRunner()
LONG = 30.0
ORDER = Order(model="wren-marlow", webhook="https://x.org", secret="whsec_hidden").model_dump_json()


def twin(*arguments: object, code: int = 0) -> str:
    result = runner.invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout if "--json" in arguments else result.output


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A workspace in which two jobs wait."""
    home = tmp_path / "home"
    twin("init", "Wren Marlow", "--home", home)
    with closing(wiring.open_queue(workspace_at(home))) as queue:
        for name in ("first", "second"):
            queue.submit(Job(id=name, created=datetime.now(UTC), owner="a key", order=ORDER, total=2))
    return home


def rows(home: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(twin("jobs", "list", "--home", home, "--json"))
    return found


@pytest.mark.parametrize("command", ["list", "show", "cancel", "retry"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    assert f"Example: twin jobs {command}" in " ".join(twin("jobs", command, "--help").split())


def test_jobs_are_listed_the_newest_first_without_their_secrets(home: Path) -> None:
    assert [(row["id"], row["state"], row["total"]) for row in rows(home)] == [
        ("second", "queued", 2),
        ("first", "queued", 2),
    ]
    shown = twin("jobs", "list", "--home", home)
    assert shown.index("second") < shown.index("first")
    assert "whsec" not in shown + json.dumps(rows(home)) and "a key" not in json.dumps(rows(home))


def test_a_job_is_shown_with_the_answers_that_are_there(home: Path) -> None:
    answer = Answered(question="Why?", text="Salt.", mode="write", found=True, id="1", author="Wren Marlow")
    answered_at(home / "jobs", "first").write_text(answer.model_dump_json() + "\n")
    assert twin("jobs", "show", "first", "--home", home) == "queued, 0 of 2\n\n1. Why?\nSalt.\n"
    whole = json.loads(twin("jobs", "show", "first", "--home", home, "--json"))
    assert (whole["id"], whole["answers"][0]["text"]) == ("first", "Salt.")


def test_without_a_server_a_job_is_cancelled_and_tried_again(home: Path) -> None:
    assert "first: cancelled" in twin("jobs", "cancel", "first", "--home", home)
    assert [row["state"] for row in rows(home)] == ["queued", "cancelled"]
    told = json.loads(twin("jobs", "retry", "first", "--home", home, "--json"))
    assert told == {"id": "first", "state": "queued"}


def test_beside_a_server_a_job_is_cancelled_and_tried_again(home: Path) -> None:
    begun, go, told = threading.Event(), threading.Event(), list[str]()
    ended = threading.Semaphore(0)

    def do(job: Job, step: Any) -> None:
        begun.set()
        assert go.wait(LONG)
        step(2, 2)

    def tell(job: Job) -> None:
        told.append(f"{job.id} {job.state}")
        ended.release()

    with closing(wiring.open_queue(workspace_at(home))) as queue:
        queue.work(do, tell)
        assert begun.wait(LONG)
        assert "ends after the answers it is at" in twin("jobs", "cancel", "first", "--home", home)
        assert "second: cancelled" in twin("jobs", "cancel", "second", "--home", home)
        assert ended.acquire(timeout=LONG) and told == ["second cancelled"]
        twin("jobs", "retry", "second", "--home", home)
        go.set()
        assert ended.acquire(timeout=LONG) and ended.acquire(timeout=LONG)
    assert sorted(told) == ["first cancelled", "second cancelled", "second done"]


def test_what_is_unknown_or_in_no_state_for_it_is_bad_input(home: Path, tmp_path: Path) -> None:
    for command in ("show", "cancel", "retry"):
        assert "there is no job ../x" in twin("jobs", command, "../x", "--home", home, code=2)
    assert "the job is queued" in twin("jobs", "retry", "first", "--home", home, code=2)
    twin("jobs", "cancel", "first", "--home", home)
    assert "the job has ended" in twin("jobs", "cancel", "first", "--home", home, code=2)
    assert "does not say whose twin it is" in twin("jobs", "list", "--home", tmp_path / "none", code=2)
    assert not (tmp_path / "none").exists()
