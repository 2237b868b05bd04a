"""GET /traces: newest first, one's own alone, no more than wanted, and there again after a restart."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from llm_twin.errors import InputError
from llm_twin.inference.tracing import Trace, Tracing
from llm_twin.serving.keys import keys_of
from llm_twin.serving.traces import Traces
from llm_twin.workspace import Workspace

Client = Callable[..., TestClient]


def trace(question: str) -> Trace:
    return Tracing().trace(question, "Ada", "tiny", "write")


def asked(traces: Traces, owner: str | None = None) -> list[str]:
    return [each.question for each in traces.of(owner)]


def test_an_answer_leaves_its_steps(client: Client, ask: Any) -> None:
    made = client()
    assert made.get("/traces").json() == {"total": 0, "traces": []}
    ask(made)
    ask(made, "And in winter?", model="wren-marlow:quote", stream=True)
    page = made.get("/traces").json()
    assert page["total"] == 2
    newest, first = page["traces"]
    assert newest["question"] == "And in winter?" and newest["mode"] == "quote"
    assert [step["name"] for step in first["steps"]] == [
        "embedding",
        "search",
        "packing",
        "reading",
        "writing",
    ]
    assert first["first_token_ms"] <= first["total_ms"] and "owner" not in first
    assert made.get(f"/traces/{first['id']}").json() == first
    assert made.get("/traces?limit=1&offset=1").json()["traces"] == [first]
    assert made.get("/traces/none").status_code == 404


def test_a_trace_is_its_askers_alone(client: Client, ask: Any, workspace: Workspace) -> None:
    keys = [keys_of(workspace.home).add(name, ("Wren Marlow",)) for name in ("one", "two")]
    made = client()
    heads = [{"authorization": f"Bearer {key}"} for key in keys]
    body = {"messages": [{"role": "user", "content": "What does salt do to a bearing?"}]}
    made.post("/v1/chat/completions", json=body, headers=heads[0])
    (mine,) = made.get("/traces", headers=heads[0]).json()["traces"]
    assert made.get("/traces", headers=heads[1]).json() == {"total": 0, "traces": []}
    assert made.get(f"/traces/{mine['id']}", headers=heads[1]).status_code == 404


def test_the_newest_are_kept_and_are_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    traces = Traces(path, 3)
    for i in range(20):
        traces.add(trace(str(i)), None)
        assert len(path.read_text().splitlines()) <= 6
    assert asked(traces) == asked(Traces(path, 3)) == ["19", "18", "17"]
    assert path.stat().st_mode & 0o077 == 0
    assert asked(Traces(path, 2)) == ["19", "18"]


def test_what_cannot_be_written_down_is_not_kept_and_breaks_nothing(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    traces = Traces(path, 3)
    with pytest.raises(ValueError, match="surrogates"):
        traces.add(trace("\ud800"), None)
    assert asked(traces) == [] and not path.exists()
    traces.add(trace("a"), None)
    assert asked(traces) == asked(Traces(path, 3)) == ["a"]


def test_nobody_else_may_ever_read_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "traces.jsonl"
    monkeypatch.setattr(Path, "chmod", lambda *given: pytest.fail("it was open until now"))
    traces = Traces(path, 1)
    for i in range(3):  # the last writes the file anew
        traces.add(trace(str(i)), None)
        assert path.stat().st_mode & 0o777 == 0o600
    monkeypatch.undo()
    path.chmod(0o644)
    Traces(path, 1)
    assert path.stat().st_mode & 0o777 == 0o600


def test_none_are_kept_where_none_are_wanted(tmp_path: Path) -> None:
    traces = Traces(tmp_path / "traces.jsonl", 0)
    traces.add(trace("?"), None)
    assert asked(traces) == [] and not (tmp_path / "traces.jsonl").exists()


def test_a_line_that_was_cut_off_is_no_trace_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    traces = Traces(path, 9)
    traces.add(trace("a"), None)
    whole = path.read_text()
    path.write_text(whole + whole[:40])
    again = Traces(path, 9)
    again.add(trace("b"), None)
    assert asked(again) == asked(Traces(path, 9)) == ["b", "a"]
    path.write_text("{}\n" + whole)
    with pytest.raises(InputError, match="line 1 is not a trace"):
        Traces(path, 9)
