"""Posting to an address that a stranger named."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from llm_twin.adapters.post_httpcore import post
from llm_twin.errors import InputError, TwinError

loopback = pytest.mark.enable_socket


class Listener:
    """A web server on this machine that answers `status` and keeps what it was sent."""

    def __init__(self) -> None:
        self.status, self.got = 204, []  # type: ignore[var-annotated]
        listener = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                listener.got.append((self.path, dict(self.headers), body))
                self.send_response(listener.status)
                self.send_header("location", "/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.server.shutdown()
    made.server.server_close()
    made.thread.join()


@loopback
def test_the_body_and_the_headers_arrive(listener: Listener) -> None:
    post(listener.url, b"{}", {"webhook-id": "a"}, allow_private=True)
    ((path, headers, body),) = listener.got
    assert (path, headers["webhook-id"], body) == ("/hook", "a", b"{}")


@loopback
@pytest.mark.parametrize("status", [302, 404, 500])
def test_anything_but_2xx_failed_and_no_redirect_is_followed(listener: Listener, status: int) -> None:
    listener.status = status
    with pytest.raises(TwinError, match=str(status)):
        post(listener.url, b"{}", {}, allow_private=True)
    assert len(listener.got) == 1


@loopback
def test_addresses_behind_the_door_are_not_reached(listener: Listener) -> None:
    with pytest.raises(InputError, match="not on the public internet"):
        post(listener.url, b"{}", {})
    named = listener.url.replace("127.0.0.1", "hook.example")
    with pytest.raises(InputError, match="not on the public internet"):
        post(named, b"{}", {}, resolve=lambda host, port: ["127.0.0.1"])
    assert listener.got == []


@loopback
def test_nobody_there_is_told(listener: Listener) -> None:
    listener.server.shutdown()
    listener.server.server_close()
    with pytest.raises(TwinError, match="no answer"):
        post(listener.url, b"{}", {}, allow_private=True)
