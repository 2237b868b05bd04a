"""Clients that are too slow, and too many of them, at a real server."""

import json
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

import httpx
import pytest

from llm_twin.serving import connections

SERVER = """
from pathlib import Path
from fastapi import FastAPI
from pydantic import BaseModel
from llm_twin.serving import connections, door
from llm_twin.serving.keys import keys_of
from llm_twin.serving.metrics import Metrics
from llm_twin.serving.room import Room
from llm_twin.serving.shell import DEFAULT, guard, serve, state_routes

door.BODY_SECONDS, connections.REQUEST_SECONDS = 1, 3
connections.most_connections = lambda: 5
app, metrics = FastAPI(), Metrics()

class Said(BaseModel):
    word: str

@app.post("/say")
def say(said: Said) -> str:
    return said.word

app.include_router(state_routes(lambda: {"twin": "none"}, Room("quick", 1, 1), metrics))
guard(app, DEFAULT, keys_of(Path("nowhere")), metrics)
serve(app, "127.0.0.1", 0, lambda url: print(url, flush=True))
"""
BODY = b'{"word": "salt"}'


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def connected(url: str) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=20)
    return made


def head(length: int = len(BODY), kind: str = "application/json") -> bytes:
    lines = [
        "POST /say HTTP/1.1",
        "host: 127.0.0.1",
        f"content-type: {kind}",
        f"content-length: {length}",
        "",
        "",
    ]
    return "\r\n".join(lines).encode()


def heard(made: socket.socket) -> bytes:
    """All until the server hangs up."""
    found = b""
    try:
        while piece := made.recv(65536):
            found += piece
    except ConnectionResetError:
        pass
    return found


@pytest.mark.slow
def test_a_body_that_drips_in_is_answered_with_408_and_hung_up_on(url: str) -> None:
    with closing(connected(url)) as made:
        begun = time.monotonic()
        made.sendall(head())
        for at in range(3):  # never still for long, and far from done
            made.sendall(BODY[at : at + 1])
            time.sleep(0.2)
        status, body = heard(made).split(b"\r\n\r\n")
        assert status.startswith(b"HTTP/1.1 408 ") and b"connection: close" in status.lower()
        assert json.loads(body)["error"]["code"] == "too_slow"
        assert 0.9 < time.monotonic() - begun < 10
    assert httpx.post(f"{url}/say", json={"word": "salt"}).json() == "salt"
    told = httpx.get(f"{url}/metrics").text
    assert 'twin_errors_total{code="too_slow"} 1.0' in told
    assert 'twin_requests_total{route="other",status="408"} 1.0' in told


@pytest.mark.slow
def test_what_never_becomes_a_request_is_hung_up_on(url: str) -> None:
    with closing(connected(url)) as silent, closing(connected(url)) as dripping:
        dripping.sendall(head()[:20])
        assert heard(silent) == heard(dripping) == b""


@pytest.mark.slow
def test_who_drips_on_behind_a_refusal_is_hung_up_on(url: str) -> None:
    with closing(connected(url)) as made:
        made.sendall(head(length=1000, kind="text/plain"))
        begun = time.monotonic()
        assert b" 415 " in made.recv(65536)
        try:
            while time.monotonic() - begun < 20:
                made.sendall(b"x")
                time.sleep(0.2)
        except OSError:
            pass
        assert time.monotonic() - begun < 15


@pytest.mark.slow
def test_a_request_that_is_whole_in_time_may_be_one_of_many_on_its_connection(url: str) -> None:
    with closing(HTTPConnection(urlsplit(url).netloc, timeout=20)) as made:
        made.connect()
        first = made.sock
        for _ in range(4):
            made.request("POST", "/say", BODY, {"content-type": "application/json"})
            assert made.getresponse().read() == b'"salt"'
            time.sleep(0.9)  # longer together than a request may take
        assert made.sock is first


@pytest.mark.slow
def test_one_connection_too_many_is_hung_up_on_and_the_others_live(url: str) -> None:
    time.sleep(0.2)  # those of the other tests have gone
    held = [connected(url) for _ in range(5)]
    try:
        with closing(connected(url)) as sixth:
            assert heard(sixth) == b""
        held[0].sendall(head() + BODY)
        assert held[0].recv(65536).startswith(b"HTTP/1.1 200 ")
    finally:
        for each in held:
            each.close()


@pytest.mark.slow
def test_a_head_without_end_is_refused(url: str) -> None:
    with closing(connected(url)) as made:
        made.sendall(b"GET /healthz HTTP/1.1\r\nx: " + b"a" * (connections.MOST_HEAD_BYTES + 1))
        assert heard(made).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(("allowed", "most"), [(1024, 768), (256, 128), (resource.RLIM_INFINITY, 1_000_000)])
def test_connections_leave_files_to_open(allowed: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (allowed, allowed))
    assert connections.most_connections() == most
