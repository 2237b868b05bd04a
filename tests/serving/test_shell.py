"""The shell of every server: who may be let in without a key, and what is said of its state."""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from llm_twin.errors import InputError, TwinError, Unreachable
from llm_twin.serving.keys import keys_of
from llm_twin.serving.metrics import Metrics
from llm_twin.serving.room import Room
from llm_twin.serving.shell import DEFAULT, check_host, guard, state_routes

ENDLESS = """
import time
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from llm_twin.serving.room import Room
from llm_twin.serving.shell import serve

app, room = FastAPI(), Room("endless", 20, 0)

def words():
    while True:
        time.sleep(0.001)
        yield "word "

@app.get("/")
async def say(request: Request):
    return StreamingResponse(room.pieces(words, request))

serve(app, "127.0.0.1", 0, lambda url: print(url, flush=True))
"""


def test_beyond_this_machine_a_key_is_needed(tmp_path: Path) -> None:
    keys = keys_of(tmp_path)
    for host in ("127.0.0.1", "localhost", "::1"):
        check_host(host, keys)
    with pytest.raises(InputError, match="there is no key"):
        check_host("0.0.0.0", keys)
    keys.add("one", ("Ada",))
    check_host("0.0.0.0", keys)


def test_what_is_not_ready_does_not_say_where_the_models_server_is(tmp_path: Path) -> None:
    def ready() -> dict[str, str]:
        raise Unreachable("http://10.0.0.5:8000/v1: no connection", "correct endpoint.url")

    app, metrics = FastAPI(), Metrics()
    app.include_router(state_routes(ready, Room("quick", 1, 1), metrics))
    guard(app, DEFAULT, keys_of(tmp_path), metrics)
    refused = TestClient(app, base_url="http://127.0.0.1").get("/readyz")
    assert refused.status_code == 503
    assert refused.json()["error"]["message"] == "the model's server does not answer"


def test_what_is_not_ready_says_why_and_lives_all_the_same(tmp_path: Path) -> None:
    def ready() -> dict[str, str]:
        raise TwinError("the index is damaged")

    app, metrics = FastAPI(), Metrics()
    app.include_router(state_routes(ready, Room("quick", 1, 1), metrics))
    guard(app, DEFAULT, keys_of(tmp_path), metrics)
    client = TestClient(app, base_url="http://127.0.0.1")
    assert client.get("/healthz").json() == {"status": "alive"}
    refused = client.get("/readyz")
    assert refused.status_code == 503 and refused.json()["error"]["message"] == "the index is damaged"
    assert 'twin_errors_total{code="not_ready"} 1.0' in client.get("/metrics").text
    assert client.get("/nothing").json()["error"]["code"] == "http_404"


def test_the_files_of_a_page_are_open_to_all(tmp_path: Path) -> None:
    page = tmp_path / "page"
    page.mkdir()
    (page / "index.html").write_text("<p>hello</p>")
    app, keys = FastAPI(), keys_of(tmp_path)
    keys.add("one", ("Ada",))
    guard(app, DEFAULT, keys, Metrics(), page)
    client = TestClient(app, base_url="http://127.0.0.1")
    assert client.get("/").text == client.get("/index.html").text == "<p>hello</p>"
    assert client.get("/other.html").status_code == 401


@pytest.mark.slow
def test_a_server_ends_when_it_is_told_to_though_answers_are_being_read() -> None:
    command = [sys.executable, "-c", ENDLESS]
    with ExitStack() as stack, subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        client = stack.enter_context(httpx.Client(timeout=60))
        held = []  # an iterator that is let go hangs up
        for _ in range(20):
            held.append(stack.enter_context(client.stream("GET", url)).iter_bytes())
            assert next(held[-1])
        process.terminate()
        try:
            process.wait(30)
        finally:
            process.kill()
