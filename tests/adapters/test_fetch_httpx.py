"""What only the HTTP fetcher promises: politeness and guards, against real servers on this machine."""

import gzip
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from llm_twin.adapters import fetch_httpx
from llm_twin.adapters.fetch_cache import CachedPage, PageCache
from llm_twin.adapters.fetch_httpx import HttpxFetcher
from llm_twin.errors import InputError, TwinError

AGENT = "llm-twin/0.1 (+https://llm-twin.example)"
Reply = tuple[int, dict[str, str], bytes]
loopback = pytest.mark.enable_socket


class Web:
    """A web server on this machine. `routes` maps a path to a reply or a function of the request."""

    def __init__(self) -> None:
        self.routes: dict[str, Reply | Callable[[BaseHTTPRequestHandler], Reply | None]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        web = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.asked.append((self.path, dict(self.headers)))
                route = web.routes.get(self.path, (404, {}, b""))
                reply = route(self) if callable(route) else route
                if reply is not None:
                    self.answer(*reply)

            def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def paths(self) -> list[str]:
        """What was asked for, robots.txt aside."""
        return [path for path, _ in self.asked if path != "/robots.txt"]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def web() -> Iterator[Web]:
    serving = Web()
    yield serving
    serving.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fetcher(clock: Clock) -> Callable[..., HttpxFetcher]:
    """fetcher(…): one that may ask this machine and never really waits."""

    def make(**options: Any) -> HttpxFetcher:
        settings = {"allow_private": True, "clock": lambda: clock.now, "sleep": clock.sleep, **options}
        return HttpxFetcher(AGENT, **settings)

    return make


@loopback
def test_it_says_who_it_is_and_asks_for_gzip_only(web: Web, fetcher: Callable[..., HttpxFetcher]) -> None:
    web.routes["/a?x=1"] = (
        200,
        {"Content-Type": "text/html", "Content-Encoding": "gzip"},
        gzip.compress("it’s".encode()),
    )
    page = fetcher().fetch(web.url("/a?x=1#part"))
    assert (page.url, page.content_type, page.body.decode()) == (web.url("/a?x=1"), "text/html", "it’s")
    headers = web.asked[-1][1]
    assert headers["User-Agent"] == AGENT
    assert headers["Accept-Encoding"] == "gzip"
    assert headers["Host"] == f"127.0.0.1:{web.port}"


@loopback
def test_this_machine_is_refused_by_default(web: Web) -> None:
    for host in ("127.0.0.1", "localhost", "127.1", "2130706433", "[::ffff:127.0.0.1]"):
        with pytest.raises(InputError, match="not on the public internet"):
            HttpxFetcher(AGENT).fetch(f"http://{host}:{web.port}/a")
    assert web.asked == []


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://x.example/", "gopher://x/", "https://", "http://a:b@x/", "x"]
)
def test_other_addresses_are_refused(url: str, fetcher: Callable[..., HttpxFetcher]) -> None:
    with pytest.raises(InputError):
        fetcher(resolve=lambda host, port: pytest.fail("a name was looked up")).fetch(url)


def test_a_user_agent_names_a_product() -> None:
    for agent in ("", "/1.0", "zwilling-ä/1"):
        with pytest.raises(InputError, match="user agent"):
            HttpxFetcher(agent)


@loopback
def test_the_address_that_was_checked_is_the_one_asked(
    web: Web, fetcher: Callable[..., HttpxFetcher]
) -> None:
    web.routes["/a"] = (200, {}, b"words")
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    page = fetcher(resolve=resolve).fetch(f"http://no-such-name.invalid:{web.port}/a")
    assert page.body == b"words" and page.url.startswith("http://no-such-name.invalid")
    assert web.asked[-1][1]["Host"] == f"no-such-name.invalid:{web.port}"
    assert asked == ["no-such-name.invalid"] * 2  # robots.txt and the page: one look-up a connection


@loopback
def test_a_name_that_changes_its_address_gains_nothing(web: Web, clock: Clock) -> None:
    answers = iter([["8.8.8.8"], ["127.0.0.1"]])
    connected: list[str] = []
    fetcher = HttpxFetcher(
        AGENT,
        resolve=lambda host, port: next(answers),
        clock=lambda: clock.now,
        sleep=clock.sleep,
        attempts=1,
    )

    class Nowhere:
        def connect_tcp(self, host: str, *_: Any) -> Any:
            connected.append(host)
            raise fetch_httpx.httpcore.ConnectError("no network here")

    fetcher._network._plain = Nowhere()  # type: ignore[assignment]
    with pytest.raises(TwinError):
        fetcher.fetch(f"http://rebinding.example:{web.port}/a")
    with pytest.raises(InputError, match=r"127\.0\.0\.1, which is not on the public internet"):
        fetcher.fetch(f"http://rebinding.example:{web.port}/a")
    assert connected == ["8.8.8.8"] and web.asked == []


@loopback
def test_the_next_address_is_tried_when_one_takes_no_connection(
    web: Web, fetcher: Callable[..., HttpxFetcher]
) -> None:
    web.routes["/a"] = (200, {}, b"words")
    two = fetcher(resolve=lambda host, port: ["127.255.255.254", "127.0.0.1"])
    assert two.fetch(f"http://two.example:{web.port}/a").body == b"words"


@loopback
def test_redirects_are_followed_and_checked_one_by_one(
    web: Web, fetcher: Callable[..., HttpxFetcher]
) -> None:
    web.routes["/a"] = (301, {"Location": "b?x=1"}, b"")
    web.routes["/b?x=1"] = (307, {"Location": web.url("/c")}, b"")
    web.routes["/c"] = (200, {}, b"words")
    page = fetcher().fetch(web.url("/a"))
    assert (page.url, page.body) == (web.url("/c"), b"words")
    assert web.paths() == ["/a", "/b?x=1", "/c"]


@loopback
def test_a_redirect_to_this_machine_or_another_scheme_is_refused(
    web: Web, fetcher: Callable[..., HttpxFetcher]
) -> None:
    web.routes["/away"] = (302, {"Location": f"http://inner.example:{web.port}/secret"}, b"")
    web.routes["/file"] = (302, {"Location": "file:///etc/passwd"}, b"")
    web.routes["/secret"] = (200, {}, b"secret")
    addresses = {"outer.example": ["8.8.8.8"], "inner.example": ["127.0.0.1"]}
    public = fetcher(allow_private=False, resolve=lambda host, port: addresses[host])
    plain = public._network._plain

    class Internet:
        """8.8.8.8 stands on this machine; everything above it is the real thing."""

        def connect_tcp(self, host: str, *rest: Any) -> Any:
            assert host == "8.8.8.8"
            return plain.connect_tcp("127.0.0.1", *rest)

    public._network._plain = Internet()  # type: ignore[assignment]
    with pytest.raises(InputError, match=r"inner\.example: leads to 127\.0\.0\.1"):
        public.fetch(f"http://outer.example:{web.port}/away")
    with pytest.raises(InputError, match="only http and https"):
        public.fetch(f"http://outer.example:{web.port}/file")
    assert web.paths() == ["/away", "/file"]


@loopback
def test_five_redirects_and_no_more(web: Web, fetcher: Callable[..., HttpxFetcher]) -> None:
    for number in range(6):
        web.routes[f"/{number}"] = (302, {"Location": f"/{number + 1}"}, b"")
    web.routes["/6"] = (200, {}, b"words")
    assert fetcher().fetch(web.url("/1")).body == b"words"
    with pytest.raises(InputError, match=r"/0: more than 5 redirects"):
        fetcher().fetch(web.url("/0"))


@loopback
def test_robots_are_obeyed(web: Web, fetcher: Callable[..., HttpxFetcher], clock: Clock) -> None:
    rules = b"User-agent: llm-twin\nDisallow: /private\nCrawl-delay: 7\n\nUser-agent: *\nDisallow: /\n"
    web.routes |= {
        "/robots.txt": (200, {}, rules),
        "/open": (200, {}, b"a"),
        "/go": (302, {"Location": "/private/x"}, b""),
    }
    one = fetcher()
    assert one.fetch(web.url("/open")).body == b"a"
    for path in ("/private/x", "/go"):
        with pytest.raises(InputError, match=r"/private/x: the robots\.txt there asks not to read it"):
            one.fetch(web.url(path))
    assert web.paths() == ["/open", "/go"]
    assert [path for path, _ in web.asked].count("/robots.txt") == 1
    assert clock.slept == [1.0, 7.0]


@loopback
def test_no_robots_allows_all_and_no_answer_allows_nothing(
    web: Web, fetcher: Callable[..., HttpxFetcher]
) -> None:
    web.routes["/a"] = (200, {}, b"a")
    for status in (404, 403, 410):
        web.routes["/robots.txt"] = (status, {}, b"")
        assert fetcher().fetch(web.url("/a")).body == b"a"
    web.asked.clear()
    web.routes["/robots.txt"] = (503, {}, b"")
    with pytest.raises(TwinError, match=r"robots\.txt gives no answer") as caught:
        fetcher().fetch(web.url("/a"))
    assert not isinstance(caught.value, InputError) and web.paths() == []


@loopback
def test_one_host_is_asked_once_an_interval(
    web: Web, fetcher: Callable[..., HttpxFetcher], clock: Clock
) -> None:
    web.routes |= {"/a": (200, {}, b"a"), "/b": (200, {}, b"b")}
    one = fetcher(min_interval_s=2.0)
    one.fetch(web.url("/a"))
    clock.now += 0.5
    one.fetch(web.url("/b"))
    assert clock.slept == [2.0, 1.5]


@loopback
def test_busy_servers_are_tried_again_when_they_say(
    web: Web, fetcher: Callable[..., HttpxFetcher], clock: Clock
) -> None:
    replies = iter([(429, {"Retry-After": "9"}, b""), (503, {}, b""), (500, {}, b""), (200, {}, b"at last")])
    web.routes["/a"] = lambda _: next(replies)
    assert fetcher(min_interval_s=0.0).fetch(web.url("/a")).body == b"at last"
    assert clock.slept == [9.0, 2.0, 4.0]


@loopback
def test_a_server_that_stays_busy_is_given_up(
    web: Web, fetcher: Callable[..., HttpxFetcher], clock: Clock
) -> None:
    web.routes |= {"/a": (500, {}, b""), "/b": (429, {"Retry-After": "3600"}, b"")}
    with pytest.raises(TwinError, match=r"/a: the server answered 500$") as caught:
        fetcher(min_interval_s=0.0).fetch(web.url("/a"))
    assert not isinstance(caught.value, InputError)
    assert web.paths() == ["/a"] * 4 and clock.slept == [1.0, 2.0, 4.0]
    with pytest.raises(
        TwinError, match=r"/b: the server answered 429, and its next try would pass the limit"
    ):
        fetcher(min_interval_s=0.0).fetch(web.url("/b"))
    assert web.paths().count("/b") == 1


@loopback
def test_pages_known_are_asked_for_only_if_changed(
    web: Web, fetcher: Callable[..., HttpxFetcher], tmp_path: Path
) -> None:
    def answer(request: BaseHTTPRequestHandler) -> Reply:
        if request.headers.get("If-None-Match") == '"v1"':
            return 304, {}, b""
        return (
            200,
            {"ETag": '"v1"', "Last-Modified": "Tue, 05 Mar 2024 10:00:00 GMT", "Content-Type": "text/x"},
            b"words",
        )

    web.routes["/a"] = answer
    first = fetcher(cache_dir=tmp_path).fetch(web.url("/a"))
    again = fetcher(cache_dir=tmp_path).fetch(web.url("/a"))
    assert first == again and again.body == b"words"
    assert web.asked[-1][1]["If-Modified-Since"] == "Tue, 05 Mar 2024 10:00:00 GMT"
    for path in tmp_path.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-1])  # damage
    assert fetcher(cache_dir=tmp_path).fetch(web.url("/a")).body == b"words"
    assert "If-None-Match" not in web.asked[-1][1]


@loopback
def test_what_may_not_be_stored_is_not(
    web: Web, fetcher: Callable[..., HttpxFetcher], tmp_path: Path
) -> None:
    web.routes["/a"] = (200, {"ETag": '"v"', "Cache-Control": "no-store"}, b"words")
    web.routes["/b"] = (200, {}, b"words")
    for path in ("/a", "/b"):
        fetcher(cache_dir=tmp_path).fetch(web.url(path))
    assert list(tmp_path.rglob("*")) == []


@loopback
def test_an_unasked_not_modified_is_an_error(web: Web, fetcher: Callable[..., HttpxFetcher]) -> None:
    web.routes["/a"] = (304, {}, b"")
    with pytest.raises(InputError, match="304 Not Modified"):
        fetcher().fetch(web.url("/a"))


def bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(size // 2**20)) + packer.flush()


@loopback
def test_bombs_end_at_the_size_limit(web: Web, fetcher: Callable[..., HttpxFetcher]) -> None:
    packed = bomb(64 * 2**20)
    assert len(packed) < 100_000
    web.routes |= {
        "/packed": (200, {"Content-Encoding": "gzip"}, packed),
        "/many": (200, {"Content-Encoding": "gzip"}, gzip.compress(bytes(2**19)) * 8),
        "/plain": (200, {}, bytes(2 * 2**20)),
        "/lying": (200, {"Content-Length": str(2**30)}, b"x"),
    }

    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        try:
            for _ in range(1000):
                request.wfile.write(b"10000\r\n" + bytes(2**16) + b"\r\n")
        except OSError:
            return

    web.routes["/endless"] = endless
    for path in ("/packed", "/many", "/plain", "/endless", "/lying"):
        with pytest.raises(InputError, match=rf"{path}: larger than 1 MB"):
            fetcher(max_bytes=2**20).fetch(web.url(path))
    assert len(fetcher(max_bytes=4 * 2**20).fetch(web.url("/many")).body) == 8 * 2**19


def test_a_bomb_is_never_held_unpacked() -> None:
    import tracemalloc

    packed = bomb(256 * 2**20)
    tracemalloc.start()
    with pytest.raises(InputError, match="larger than 1 MB"):
        fetch_httpx._unzipped("x", [packed], 2**20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20


@loopback
@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd"])
def test_packings_that_were_not_asked_for_are_refused(
    web: Web, fetcher: Callable[..., HttpxFetcher], encoding: str
) -> None:
    web.routes["/a"] = (200, {"Content-Encoding": encoding}, b"x")
    with pytest.raises(InputError, match="not asked for"):
        fetcher().fetch(web.url("/a"))


@loopback
def test_bodies_that_end_too_early_are_no_pages(web: Web, fetcher: Callable[..., HttpxFetcher]) -> None:
    whole = gzip.compress(b"words " * 1000)
    web.routes |= {
        "/cut": (200, {"Content-Length": "1000"}, b"words"),
        "/packed": (200, {"Content-Encoding": "gzip"}, whole[:-12]),
        "/garbage": (200, {"Content-Encoding": "gzip"}, b"no gzip at all"),
        "/silent": lambda _: None,
    }
    for path in ("/cut", "/packed", "/silent"):
        with pytest.raises(TwinError, match=rf"{path}: no whole answer") as caught:
            fetcher(min_interval_s=0.0).fetch(web.url(path))
        assert not isinstance(caught.value, InputError)
        assert web.paths().count(path) == 4
    with pytest.raises(InputError, match="broken gzip"):
        fetcher().fetch(web.url("/garbage"))


def drip_head(request: BaseHTTPRequestHandler) -> None:
    try:
        request.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(100):
            request.wfile.write(f"X-{number}: 1\r\n".encode())
            time.sleep(0.05)
    except OSError:
        return


def drip_body(request: BaseHTTPRequestHandler) -> None:
    try:
        request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        for _ in range(100):
            request.wfile.write(b"x")
            time.sleep(0.05)
    except OSError:
        return


def stall(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    time.sleep(3)


@loopback
@pytest.mark.parametrize("drip", [drip_head, drip_body, stall])
def test_a_server_that_drips_or_stalls_ends_at_the_time_limit(web: Web, drip: Callable[[Any], None]) -> None:
    web.routes["/a"] = drip
    started = time.monotonic()
    with pytest.raises(TwinError, match=r"no whole answer .*limit of 0\.5 s"):
        HttpxFetcher(AGENT, allow_private=True, min_interval_s=0.0, max_seconds=0.5).fetch(web.url("/a"))
    assert time.monotonic() - started < 2


@loopback
def test_a_closed_port_is_no_answer(web: Web, fetcher: Callable[..., HttpxFetcher]) -> None:
    web.close()
    with pytest.raises(TwinError, match="no whole answer") as caught:
        fetcher().fetch(web.url("/a"))
    assert not isinstance(caught.value, InputError)


@loopback
def test_certificates_are_checked_against_the_name_and_not_the_address(
    web: Web, fetcher: Callable[..., HttpxFetcher]
) -> None:
    import ssl

    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    serving, asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("nell.example").configure_cert(serving)
    authority.configure_trust(asking)
    named: list[str | None] = []
    serving.sni_callback = lambda _socket, name, _context: named.append(name)
    web.server.socket = serving.wrap_socket(web.server.socket, server_side=True)
    web.routes["/a"] = (200, {}, b"words")
    one = fetcher(ssl_context=asking, resolve=lambda host, port: ["127.0.0.1"], attempts=1)
    assert one.fetch(f"https://nell.example:{web.port}/a").body == b"words"
    assert set(named) == {"nell.example"}
    with pytest.raises(TwinError, match="CERTIFICATE_VERIFY_FAILED"):
        one.fetch(f"https://other.example:{web.port}/a")


@pytest.mark.parametrize(
    ("text", "seconds"), [("9", 9.0), ("soon", None), ("", None), ("²", None), ("-1", None)]
)
def test_retry_after(text: str, seconds: float | None) -> None:
    assert fetch_httpx._retry_after(text) == seconds


def test_retry_after_a_date() -> None:
    from email.utils import formatdate

    assert fetch_httpx._retry_after(formatdate(time.time() + 30, usegmt=True)) == pytest.approx(30, abs=2)
    assert fetch_httpx._retry_after("Tue, 05 Mar 2019 10:00:00 GMT") == 0


def test_the_cache_keeps_pages_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = PageCache(tmp_path)
    page = CachedPage("https://nell.example/a", "text/html", '"v1"', "", b"line\nline\x00")
    assert cache.load(page.url) is None
    cache.save(page)
    assert cache.load(page.url) == page and page.conditions == {"If-None-Match": '"v1"'}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space"):
        cache.save(CachedPage(page.url, "text/html", '"v2"', "", b"new"))
    assert cache.load(page.url) == page
    assert len([each for each in tmp_path.rglob("*") if each.is_file()]) == 1
    PageCache(None).save(page)
    assert PageCache(None).load(page.url) is None
