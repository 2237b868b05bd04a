"""The dataset, runs and evaluations over HTTP: what is there, while it grows, and for whom."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from llm_twin import pipeline, wiring
from llm_twin.adapters.standins import ScriptedChat
from llm_twin.serving.keys import keys_of
from llm_twin.serving.records import REPORT_POLICY
from llm_twin.text import words
from llm_twin.workspace import Workspace

Client = Callable[..., TestClient]
REPORTS = Path(__file__).parents[2] / "docs" / "reports"


def about(messages: Any) -> str:
    telling = sorted(set(words(messages[-1].content)), key=lambda w: (-len(w), w))[:6]
    return json.dumps({"instruction": "What do you say of " + " and ".join(telling) + "?"})


def evaluations(home: Path) -> None:
    for name, report in (("aaa1", "paul-iusztin"), ("bbb2", "maxime-labonne")):
        folder = home / "evaluations" / name
        folder.mkdir(parents=True)
        shutil.copy(REPORTS / f"{report}.json", folder / "report.json")
        (folder / "report.html").write_text(f"<style>p {{ color: red }}</style><p>{report}</p>")


def test_the_dataset_is_told_in_numbers_and_paged(
    client: Client, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = client()
    assert made.get("/dataset").status_code == made.get("/dataset/samples").status_code == 404
    monkeypatch.setattr(wiring, "open_chat", lambda workspace, folder, apart=False: ScriptedChat(about))
    pipeline.dataset(workspace)
    found = made.get("/dataset").json()
    assert found["author"] == "Wren Marlow" and found["counts"]["samples"] > 10
    whole = made.get("/dataset/samples?limit=200").json()
    assert whole["total"] == found["counts"]["samples"] == len(whole["samples"])
    held_out = made.get("/dataset/samples?split=test&limit=2&offset=1").json()
    assert held_out["total"] == found["counts"]["held out"]
    assert held_out["samples"] == [s for s in whole["samples"] if s["split"] == "test"][1:3]
    assert made.get("/dataset/samples?split=none").status_code == 422


def test_a_run_is_followed_while_it_goes_on(client: Client, workspace: Workspace) -> None:
    made = client()
    assert made.get("/runs").json() == {"runs": []}
    folder = workspace.home / "runs" / "sft-1"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"rank": 16}')
    rows = [{"step": i, "loss": 4 - i, "learning_rate": 0.1, "tokens_per_second": 100.5} for i in (1, 2, 3)]
    lines = [json.dumps(row) + "\n" for row in rows]
    (folder / "metrics.jsonl").write_text(lines[0] + lines[1] + lines[2][:20])
    (run,) = made.get("/runs").json()["runs"]
    assert run == {"id": "sft-1", "recipe": {"rank": 16}, "finished": None, "steps": 2}
    curve = made.get("/runs/sft-1").json()
    assert curve == {
        "id": "sft-1",
        "finished": False,
        "points": [[1, 3.0, 0.1, 100.5], [2, 2.0, 0.1, 100.5]],
    }
    (folder / "metrics.jsonl").write_text("".join(lines))
    (folder / "trained.json").write_text('{"steps": 3}')
    more = made.get("/runs/sft-1?after=2").json()
    assert more["finished"] and more["points"] == [[3, 1.0, 0.1, 100.5]]
    assert made.get("/runs").json()["runs"][0]["finished"] == {"steps": 3}


def test_a_loss_that_is_no_number_has_no_place_on_the_curve(client: Client, workspace: Workspace) -> None:
    folder = workspace.home / "runs" / "sft-1"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    good = {"step": 2, "loss": 2.0, "learning_rate": 0.1, "tokens_per_second": 9.0}
    bad = {**good, "step": 1, "loss": None}
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (bad, good)))
    assert client().get("/runs/sft-1").json()["points"] == [[2, 2.0, 0.1, 9.0]]


@pytest.mark.parametrize("name", ["sft-2", "..", "%2e%2e", "..%2fstate", "%2fetc"])
def test_a_run_that_there_is_not_is_not_looked_for_elsewhere(client: Client, name: str) -> None:
    assert client().get(f"/runs/{name}").status_code == 404


def test_evaluations_are_listed_shown_and_compared(client: Client, workspace: Workspace) -> None:
    made = client()
    assert made.get("/reports").json() == {"reports": []}
    evaluations(workspace.home)
    (workspace.home / "evaluations" / "ccc3").mkdir()
    (workspace.home / "evaluations" / "ccc3" / "report.json").write_text("{}")
    rows = made.get("/reports").json()["reports"]
    assert {row["id"] for row in rows if not row["reason"]} == {"aaa1", "bbb2"}
    assert next(row for row in rows if row["id"] == "ccc3")["reason"]
    page = made.get("/reports/aaa")
    assert "paul-iusztin" in page.text and page.headers["content-type"].startswith("text/html")
    assert page.headers.get_list("content-security-policy") == [REPORT_POLICY]
    found = made.get("/reports/aaa1/against/bbb2").json()
    assert (found["a"], found["b"]) == ("aaa1", "bbb2") and found["rows"]
    assert made.get("/reports/zzz").status_code == made.get("/reports/aaa/against/zzz").status_code == 404


def test_who_may_not_see_the_author_sees_none_of_it(client: Client, workspace: Workspace) -> None:
    evaluations(workspace.home)
    token = keys_of(workspace.home).add("other", ("Edmund Hale",))
    made, head = client(), {"authorization": f"Bearer {token}"}
    paths = ("/dataset", "/dataset/samples", "/runs", "/runs/sft-1", "/reports", "/reports/aaa1")
    for path in (*paths, "/reports/aaa1/against/bbb2"):
        assert made.get(path, headers=head).status_code == 403, path
