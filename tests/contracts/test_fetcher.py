"""What every Fetcher promises. A new adapter joins with one line in FETCHERS."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from llm_twin.adapters.fetch_httpx import HttpxFetcher
from llm_twin.errors import InputError, TwinError
from llm_twin.ports import Fetcher

pytestmark = pytest.mark.enable_socket

FETCHERS: dict[str, Callable[[], Fetcher]] = {
    "httpx": lambda: HttpxFetcher("llm-twin-tests/1.0", True, min_interval_s=0.0, sleep=lambda _: None),
}


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = {"/page": 200, "/moved": 301, "/busy": 503}.get(self.path, 404)
        body = "it’s here".encode() if status == 200 else b""
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        if status == 301:
            self.send_header("Location", "/page")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    """The address of a small web site on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(params=FETCHERS)
def fetcher(request: pytest.FixtureRequest) -> Fetcher:
    return FETCHERS[request.param]()


@pytest.mark.parametrize("path", ["/page", "/moved"])
def test_it_gives_the_body_and_the_address_after_redirects(fetcher: Fetcher, site: str, path: str) -> None:
    page = fetcher.fetch(site + path)
    assert (page.url, page.body.decode()) == (f"{site}/page", "it’s here")
    assert page.content_type.startswith("text/plain")


def test_a_page_that_is_not_there_is_the_caller_s_to_put_right(fetcher: Fetcher, site: str) -> None:
    with pytest.raises(InputError, match=f"{site}/absent: .*404"):
        fetcher.fetch(f"{site}/absent")


def test_a_server_that_fails_is_not(fetcher: Fetcher, site: str) -> None:
    with pytest.raises(TwinError, match=f"{site}/busy: .*503") as caught:
        fetcher.fetch(f"{site}/busy")
    assert not isinstance(caught.value, InputError)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://site.example/", "/etc/passwd", ""])
def test_only_the_web_is_fetched(fetcher: Fetcher, url: str) -> None:
    with pytest.raises(InputError):
        fetcher.fetch(url)
