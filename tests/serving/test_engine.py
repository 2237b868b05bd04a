"""The model alone: asked as it is, counted, scoped; and behind it a `twin serve` that needs no model of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from llm_twin.adapters.standins import ScriptedChat
from llm_twin.errors import InputError
from llm_twin.serving.engine import create_engine
from llm_twin.serving.keys import keys_of
from llm_twin.serving.shell import Options
from llm_twin.types import Message, StageReport
from llm_twin.workspace import Workspace

ASKED = {"messages": [{"role": "user", "content": "Why grease it?"}]}
LONG = 120.0


@pytest.fixture
def engine(workspace: Workspace, stand_in: Callable[[Any], None]) -> TestClient:
    def said(messages: Sequence[Message]) -> str:
        return " | ".join(f"{m.role}: {m.content}" for m in messages)

    stand_in(ScriptedChat(said, context=300))
    trained = workspace.home / "models" / "a-twin"
    report = StageReport(stage="train", counts={}, artefacts=(str(trained),), seconds=0.0)
    workspace.finish("train", "f", report)
    return TestClient(create_engine(workspace), base_url="http://127.0.0.1:8011")


def test_the_twin_and_the_base_model_are_asked_as_they_are(engine: TestClient, workspace: Workspace) -> None:
    rows = engine.get("/v1/models").json()["data"]
    assert [row["id"] for row in rows] == ["a-twin", workspace.settings.models.chat]
    assert all(row["max_model_len"] == 300 for row in rows)
    turns = [{"role": "system", "content": "Be brief."}, *ASKED["messages"]]
    for model in ("", *(row["id"] for row in rows)):
        answer = engine.post("/v1/chat/completions", json={"messages": turns, "model": model}).json()
        assert answer["choices"][0]["message"]["content"] == "system: Be brief. | user: Why grease it?"
    assert engine.post("/v1/chat/completions", json={**ASKED, "model": "other"}).status_code == 404


def test_tokens_are_counted_as_the_model_counts_them(engine: TestClient) -> None:
    found = engine.post("/tokenize", json=ASKED).json()
    turns = [Message(role="user", content="Why grease it?")]
    count = ScriptedChat(lambda messages: "").count_tokens(turns)
    assert found == {"count": count, "max_model_len": 300}
    assert engine.post("/tokenize", json={**ASKED, "add_generation_prompt": False}).status_code == 400
    assert engine.post("/tokenize", json={**ASKED, "model": "other"}).status_code == 404


def test_half_a_surrogate_pair_is_refused_before_it_is_counted_or_asked(engine: TestClient) -> None:
    body = '{"messages": [{"role": "user", "content": "\\ud800"}]}'
    for path in ("/v1/chat/completions", "/tokenize"):
        refused = engine.post(path, content=body, headers={"content-type": "application/json"})
        assert (refused.status_code, refused.json()["error"]["param"]) == (422, "messages.0.content")


def test_it_is_alive_ready_and_counts(engine: TestClient) -> None:
    assert engine.get("/healthz").json() == {"status": "alive"}
    assert engine.get("/readyz").json() == {"status": "ready", "index": "none", "twin": "a-twin"}
    engine.post("/v1/chat/completions", json=ASKED)
    assert 'twin_requests_total{route="/v1/chat/completions",status="200"} 1.0' in engine.get("/metrics").text
    assert engine.post("/search", json={"query": "salt"}).status_code == 404


def test_a_key_that_does_not_see_the_author_has_the_base_model_alone(
    engine: TestClient, workspace: Workspace
) -> None:
    token = keys_of(workspace.home).add("other", ("Edmund Hale",))
    head = {"authorization": f"Bearer {token}"}
    assert engine.get("/v1/models").status_code == 401
    rows = engine.get("/v1/models", headers=head).json()["data"]
    assert [row["id"] for row in rows] == [workspace.settings.models.chat]
    asked = engine.post("/v1/chat/completions", json={**ASKED, "model": "a-twin"}, headers=head)
    assert asked.status_code == 404


def test_beyond_this_machine_it_needs_a_key(workspace: Workspace) -> None:
    with pytest.raises(InputError, match="there is no key"):
        create_engine(workspace, Options(host="0.0.0.0"))


# --- two processes ---------------------------------------------------------------------------------------------------

PLUGIN = '''
"""Stand-ins for the models, chosen by twin.toml."""
from llm_twin.adapters.standins import HashEmbedder, ScriptedChat

def embedder(folder):
    return HashEmbedder()

def chat(folder):
    return ScriptedChat(lambda messages: "Salt gets into every bearing. I grease them twice a year.")
'''
TOML = """
[models]
chat = "smollm2-135m"
cache = {cache}
[adapters]
embedder = "played:embedder"
chat = "played:chat"
"""


@contextmanager
def running(folder: Path, *command: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and its address; the process is killed in the end."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), os.getcwd()])}
    whole = [sys.executable, "-m", "llm_twin", *command]
    with subprocess.Popen(whole, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = next(line for line in process.stdout if "http://" in line)
            yield process, next(word for word in line.split() if word.startswith("http://"))
        finally:
            process.send_signal(signal.SIGKILL)


@pytest.mark.slow
def test_two_processes_answer_as_one_and_a_dead_model_is_told_and_comes_back(
    workspace: Workspace, tmp_path: Path, smol_model: Path, models_cache: Path
) -> None:
    home = str(workspace.home)
    text = f"author = {json.dumps(workspace.author)}\n" + TOML.format(cache=json.dumps(str(models_cache)))
    (workspace.home / "twin.toml").write_text(text)
    (tmp_path / "played.py").write_text(PLUGIN)
    asked = {"messages": [{"role": "user", "content": "What does salt do to a bearing?"}]}

    def answer(url: str) -> httpx.Response:
        return httpx.post(f"{url}/v1/chat/completions", json=asked, timeout=LONG)

    nobody = [sys.executable, "-m", "llm_twin", "serve", "--home", home, "--llm-url", "http://127.0.0.1:1"]
    refused = subprocess.run(nobody, capture_output=True, text=True, check=False)
    assert refused.returncode == 2 and "127.0.0.1:1/v1: no connection" in refused.stderr
    with running(tmp_path, "serve-llm", "--home", home, "--port", "0") as (model, llm_url):
        port = llm_url.rpartition(":")[2]
        command = ("serve", "--home", home, "--port", "0", "--llm-url", llm_url)
        with running(tmp_path, *command) as (_, url):
            first = answer(url).json()["choices"][0]["message"]
            assert first["content"].startswith("Salt gets into every bearing. [1]")
            assert first["twin"]["hits"]
            assert httpx.get(f"{url}/readyz").status_code == 200
            model.kill()
            model.wait()
            gone = answer(url)
            assert gone.status_code == 503 and gone.headers["retry-after"]
            assert gone.json()["error"]["code"] == "model_unreachable"
            assert httpx.get(f"{url}/readyz").status_code == 503
            assert httpx.post(f"{url}/search", json={"query": "salt"}).status_code == 200
            with running(tmp_path, "serve-llm", "--home", home, "--port", port):
                assert until(lambda: answer(url)).json()["choices"][0]["message"] == first


def until(ask: Callable[[], httpx.Response]) -> httpx.Response:
    """The first answer that is a success."""
    end = time.monotonic() + LONG
    while (found := ask()).status_code != 200:
        assert time.monotonic() < end, found.text
        time.sleep(0.1)
    return found
