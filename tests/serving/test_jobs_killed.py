"""A real `twin serve`, killed without warning while it is at a job, and started again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from llm_twin.serving.errands import TOGETHER

pytestmark = pytest.mark.slow
LONG = 120.0
QUESTIONS = [
    f"What does {word} do to a bearing in the watchroom clock?"
    for word in ("salt", "grease", "air", "rain", "dust", "rust")
]
PLUGIN = '''
"""Stand-ins for the models, chosen by twin.toml; with HOLD the second group is begun and never ends."""
import os, pathlib, time
from llm_twin.adapters.standins import HashEmbedder, ScriptedChat

def embedder(folder):
    return HashEmbedder()

class Chat(ScriptedChat):
    groups = 0
    def generate(self, prompts, sampling, *rest):
        Chat.groups += 1
        with open(os.environ["NOTES"], "a") as file:
            file.writelines(f"{messages[-1].content.splitlines()[-1]}\\n" for messages in prompts)
        if Chat.groups == 2 and os.environ["HOLD"]:
            pathlib.Path(os.environ["HOLD"]).touch()
            time.sleep(600)
        return super().generate(prompts, sampling)

def chat(folder):
    return Chat(lambda messages: "Salt gets into every bearing. I grease them twice a year.")
'''
TOML = """
[models]
chat = "smollm2-135m"
cache = {cache}
[adapters]
embedder = "held:embedder"
chat = "held:chat"
"""


@contextmanager
def serving(home: Path, folder: Path, hold: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and its address; the process is killed in the end."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder), os.getcwd()]),
        "HOLD": hold,
        "NOTES": str(folder / "notes"),
    }
    command = [sys.executable, "-m", "llm_twin", "serve", "--home", str(home), "--port", "0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = next(line for line in process.stdout if "http://" in line)
            yield process, next(word for word in line.split() if word.startswith("http://"))
        finally:
            process.send_signal(signal.SIGKILL)


def until(what: Any) -> Any:
    """What `what` returns once it is true."""
    end = time.monotonic() + LONG
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


@pytest.mark.parametrize("kept", ["sqlite", "redis"])
def test_a_killed_server_goes_on_with_its_jobs_and_doubles_nothing(
    workspace: Any,
    tmp_path: Path,
    smol_model: Path,
    models_cache: Path,
    kept: str,
    request: pytest.FixtureRequest,
) -> None:
    home = workspace.home
    text = f"author = {json.dumps(workspace.author)}\n" + TOML.format(cache=json.dumps(str(models_cache)))
    if kept == "redis":
        text += f"[jobs]\nredis = {json.dumps(request.getfixturevalue('redis_server'))}\n"
    (home / "twin.toml").write_text(text)
    (tmp_path / "held.py").write_text(PLUGIN)
    begun = tmp_path / "begun"
    with serving(home, tmp_path, hold=str(begun)) as (_, url):
        running, queued = (
            httpx.post(f"{url}/jobs", json={"questions": asked}).json()["id"]
            for asked in (QUESTIONS, QUESTIONS[:2])
        )
        until(begun.exists)
        states = [httpx.get(f"{url}/jobs/{job}").json() for job in (running, queued)]
        assert [(s["state"], s["done"]) for s in states] == [("running", TOGETHER), ("queued", 0)]
    with serving(home, tmp_path, hold="") as (_, url):
        jobs = [
            until(lambda job=job: (j := httpx.get(f"{url}/jobs/{job}").json())["ended"] and j)
            for job in (running, queued)
        ]
        assert httpx.get(f"{url}/jobs").json()["total"] == 2
    assert (home / "jobs" / "queue.db").exists() == (kept == "sqlite")
    assert [job["state"] for job in jobs] == ["done", "done"]
    assert [answer["question"] for answer in jobs[0]["answers"]] == QUESTIONS
    assert [answer["question"] for answer in jobs[1]["answers"]] == QUESTIONS[:2]
    assert jobs[0]["answers"][:TOGETHER] == states[0]["answers"]
    # What was on the disk was not asked again: the group at which it was killed was, and nothing else.
    notes = (tmp_path / "notes").read_text()
    times = [sum(question in line for line in notes.splitlines()) for question in QUESTIONS]
    assert times == [2, 2, 1, 1, 2, 2]
