"""Fetcher over HTTP: polite to servers, guarded against what they may answer.

Polite: it says who it is, obeys robots.txt (RFC 9309: 4xx allows all, no answer forbids all) and its
Crawl-delay up to 30 s, asks one host at most every `min_interval_s`, retries 429, 5xx and broken
connections with growing pauses or the server's Retry-After, and asks for pages it knows only "if
changed". Guarded: http and https only, public addresses only (see `fetch_network.py`), every redirect
checked anew and at most five of them, one limit of time for everything a fetch does, one of size for
the body, packed and unpacked. Only gzip is asked for, because it can be unpacked piece by piece.

Not covered: JavaScript, cookies, logins, proxies (environment variables for them are not read). One
fetcher serves one thread.
"""

import ssl
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path

import httpcore
import httpx
from protego import Protego

from llm_twin.adapters.fetch_cache import CachedPage, PageCache
from llm_twin.adapters.fetch_network import GuardedNetwork
from llm_twin.collect.guard import Resolve, checked_url, system_resolve
from llm_twin.errors import InputError, TwinError

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_MAX_CRAWL_DELAY = 30.0
_MAX_ROBOTS = 500 * 2**10
_WAITS = {"connect": 10.0, "read": 15.0, "write": 10.0, "pool": 10.0}
_LATER = "Try again later."
_CHECK = "Check the address."


@dataclass
class FetchedPage:
    """What a fetch returned; `url` is the address after redirects."""

    url: str
    content_type: str
    body: bytes


@dataclass(frozen=True)
class _Reply:
    status: int
    headers: httpx.Headers
    body: bytes


class _Refused(InputError):
    """The server answered with a status that is no page."""

    def __init__(self, url: str, status: int) -> None:
        names = {known.value: known.phrase for known in HTTPStatus}
        super().__init__(f"{url}: the server answered {status} {names.get(status, '')}".strip(), _CHECK)
        self.status = status


class _Broken(Exception):
    """A body that ended too early."""


class HttpxFetcher:
    """See the module. `clock` and `sleep` count seconds; `resolve` gives a host's addresses.

    `user_agent` begins with the product name that robots.txt files may address, such as
    "llm-twin/0.1 (+https://example.org/llm-twin)".
    """

    def __init__(
        self,
        user_agent: str,
        allow_private: bool = False,
        cache_dir: Path | None = None,
        min_interval_s: float = 1.0,
        *,
        max_seconds: float = 60.0,
        max_bytes: int = 20 * 2**20,
        attempts: int = 4,
        ssl_context: ssl.SSLContext | None = None,
        resolve: Resolve = system_resolve,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._user_agent = user_agent
        self._product = user_agent.partition("/")[0].strip()
        if not self._product or not user_agent.isascii():
            raise InputError(f"user agent {user_agent!r}: names no product", "Write one like llm-twin/0.1.")
        self._cache = PageCache(cache_dir)
        self._interval = min_interval_s
        self._max_seconds = max_seconds
        self._max_bytes = max_bytes
        self._attempts = attempts
        self._clock = clock
        self._sleep = sleep
        self._network = GuardedNetwork(allow_private, resolve, clock)
        # no connection is kept: one left open for a minute saves little at one request a second
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl_context or httpx.create_ssl_context(),
            max_keepalive_connections=0,
            network_backend=self._network,
        )
        self._robots: dict[str, Protego] = {}
        self._free_at: dict[str, float] = {}

    def fetch(self, url: str) -> FetchedPage:
        """The resource after redirects.

        Raises InputError when the address, robots.txt or the server (4xx) refuses or the body is too
        large, and TwinError when no whole answer came in time (5xx, 429, broken connections).
        """
        self._network.deadline = self._clock() + self._max_seconds
        return self._follow(url, obey_robots=True)

    def _follow(self, url: str, obey_robots: bool) -> FetchedPage:
        first = url
        for _ in range(_MAX_REDIRECTS + 1):
            url = _normal(url)
            if obey_robots:
                self._obey_robots(url)
            known = self._cache.load(url)
            reply = self._get(url, known.conditions if known else {})
            target = reply.headers.get("location")
            if reply.status in _REDIRECTS and target:
                url = _joined(url, target)
                continue
            return self._page(url, reply, known)
        raise InputError(f"{first}: more than {_MAX_REDIRECTS} redirects", _CHECK)

    def _page(self, url: str, reply: _Reply, known: CachedPage | None) -> FetchedPage:
        if reply.status == 304 and known:
            return FetchedPage(url, known.content_type, known.body)
        if reply.status != 200:
            raise _Refused(url, reply.status)
        kind, etag = reply.headers.get("content-type", ""), reply.headers.get("etag", "")
        modified = reply.headers.get("last-modified", "")
        if (etag or modified) and "no-store" not in reply.headers.get("cache-control", ""):
            self._cache.save(CachedPage(url, kind, etag, modified, reply.body))
        return FetchedPage(url, kind, reply.body)

    def _obey_robots(self, url: str) -> None:
        origin = _origin(url)
        if origin not in self._robots:
            self._robots[origin] = self._read_robots(f"{origin}/robots.txt")
        if not self._robots[origin].can_fetch(url, self._product):
            raise InputError(
                f"{url}: the robots.txt there asks not to read it", "Save the page and give the file."
            )

    def _read_robots(self, url: str) -> Protego:
        try:
            body = self._follow(url, obey_robots=False).body
        except _Refused:
            body = b""
        except InputError:
            raise
        except TwinError as error:
            raise TwinError(f"{url} gives no answer, so nothing there is read ({error})", _LATER) from error
        return Protego.parse(body[:_MAX_ROBOTS].decode("utf-8", "replace"))

    def _get(self, url: str, conditions: dict[str, str]) -> _Reply:
        """One request, tried again while the server is busy. Raises TwinError when that does not help."""
        problem = ""
        for attempt in range(self._attempts):
            self._wait_turn(url)
            pause = 2.0**attempt
            try:
                reply = self._ask(url, conditions)
            except (
                httpcore.TimeoutException,
                httpcore.NetworkError,
                httpcore.ProtocolError,
                _Broken,
            ) as error:
                problem = f"no whole answer ({str(error) or type(error).__name__})"
            else:
                if reply.status != 429 and reply.status < 500:
                    return reply
                problem = f"the server answered {reply.status}"
                pause = _retry_after(reply.headers.get("retry-after", "")) or pause
            if self._clock() + pause >= self._network.deadline:
                break
            if attempt + 1 < self._attempts:
                self._sleep(pause)
        over = self._clock() + pause >= self._network.deadline
        limit = f", and its next try would pass the limit of {self._max_seconds:g} s" if over else ""
        raise TwinError(f"{url}: {problem}{limit}", _LATER)

    def _wait_turn(self, url: str) -> None:
        """Wait until this host may be asked again."""
        host = httpx.URL(url).host
        pause = self._free_at.get(host, 0.0) - self._clock()
        if pause > 0:
            self._sleep(pause)
        rules = self._robots.get(_origin(url))
        asked = (rules.crawl_delay(self._product) if rules else None) or 0.0
        self._free_at[host] = self._clock() + max(self._interval, min(asked, _MAX_CRAWL_DELAY))

    def _ask(self, url: str, conditions: dict[str, str]) -> _Reply:
        headers = {"User-Agent": self._user_agent, "Accept": "*/*", "Accept-Encoding": "gzip", **conditions}
        pairs = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]
        with self._pool.stream("GET", url, headers=pairs, extensions={"timeout": _WAITS}) as response:
            answered = httpx.Headers(response.headers)
            if response.status != 200:
                return _Reply(response.status, answered, b"")
            if _number(answered.get("content-length", "")) > self._max_bytes:
                raise _too_large(url, self._max_bytes)
            encoding = answered.get("content-encoding", "").strip().lower()
            return _Reply(200, answered, _body(url, response.iter_stream(), encoding, self._max_bytes))


def _normal(url: str) -> str:
    """`url` as it is asked for: checked, host in ASCII, no fragment."""
    checked_url(url)
    try:
        parsed = httpx.URL(url).copy_with(fragment=None)
    except (httpx.InvalidURL, ValueError, UnicodeError) as error:
        raise InputError(f"{url}: not a web address ({error})", _CHECK) from error
    return str(parsed)


def _origin(url: str) -> str:
    parsed = httpx.URL(url)
    return f"{parsed.scheme}://{parsed.netloc.decode('ascii')}"


def _joined(url: str, target: str) -> str:
    try:
        return str(httpx.URL(url).join(target))
    except (httpx.InvalidURL, ValueError, UnicodeError) as error:
        raise InputError(f"{url}: redirects to no address ({error})", _CHECK) from error


def _body(url: str, pieces: Iterable[bytes], encoding: str, cap: int) -> bytes:
    """The body, unpacked. Raises InputError over `cap` bytes and for encodings that were not asked for."""
    if encoding in ("gzip", "x-gzip"):
        return _unzipped(url, pieces, cap)
    if encoding not in ("", "identity"):
        raise InputError(f"{url}: packed as {encoding[:40]!r}, which was not asked for", "Leave it out.")
    body = bytearray()
    for piece in pieces:
        body += piece
        if len(body) > cap:
            raise _too_large(url, cap)
    return bytes(body)


def _unzipped(url: str, pieces: Iterable[bytes], cap: int) -> bytes:
    """gzip, one member or several, never holding more than `cap` bytes and a piece."""
    body = bytearray()
    unpacker = zlib.decompressobj(31)
    whole = True
    for piece in pieces:
        while piece:
            if unpacker.eof:
                unpacker = zlib.decompressobj(31)
            try:
                body += unpacker.decompress(piece, cap + 1 - len(body))
            except zlib.error as error:
                raise InputError(f"{url}: broken gzip ({error})", "Leave it out.") from error
            if len(body) > cap:
                raise _too_large(url, cap)
            piece = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
            whole = unpacker.eof
    if not whole:
        raise _Broken("the packed body ended too early")
    return bytes(body)


def _too_large(url: str, cap: int) -> InputError:
    return InputError(f"{url}: larger than {cap / 2**20:g} MB", "Leave it out.")


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def _retry_after(text: str) -> float | None:
    """Seconds that a Retry-After header asks for: a number, or a date."""
    if text.isascii() and text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
