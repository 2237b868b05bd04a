"""JSON over HTTP to one server of the user's choice: tried again while it is busy, its errors told as ours.

429, 5xx and connections that break are tried again with growing pauses, or after the server's Retry-After.
What the user can put right (address, key, name, a request that the server refuses) is an InputError at once.
The key goes into one header and into no message. Redirects are not followed, so it goes to no other server. Pauses,
and waits for the server's words, end when nobody wants them any more (see `waiting`), and hang up.

Not covered: proxies and `.netrc` (the environment is not read), answers that are not JSON, and leaving while a
connection is made (10 s at most). Threads may share an endpoint.
"""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx

from llm_twin import waiting
from llm_twin.adapters.endpoint_network import Transport
from llm_twin.errors import InputError, Refused, Unavailable, Unreachable

_T = TypeVar("_T")
_LONGEST_WAIT = 120.0
_LOOK = httpx.Timeout(10.0)
"""For whether the server is there at all."""
_THEIRS = (400, 413, 422)
"""Statuses about the request itself, which whoever made it may read of."""
_CHECK_URL = "start the server there, or correct endpoint.url"
_KEY = "put a key that it knows into TWIN_ENDPOINT__API_KEY (environment or .env)"


class Refusal(Refused):
    """The server answered 4xx: what was asked for is not to be had. `said` is its own explanation."""

    def __init__(self, message: str, way_out: str, status: int, said: str) -> None:
        super().__init__(message, way_out, said if status in _THEIRS else "")
        self.status, self.said = status, said


class Endpoint:
    """See the module. `url` ends where paths begin ("http://127.0.0.1:8000/v1"); `root` is the same without /v1.

    At most `places` texts are written at once; what is asked beside them (`get`, `post`) waits for none of them.
    """

    def __init__(
        self,
        url: str,
        api_key: str = "",
        *,
        places: int = 8,
        timeout_s: float = 300.0,
        attempts: int = 5,
        sleep: Callable[[float], None] = waiting.pause,
    ) -> None:
        self.url = _checked(url)
        self.root = self.url.removesuffix("/v1")
        self._key, self._timeout, self._attempts, self._sleep = api_key, timeout_s, attempts, sleep
        self._places = threading.Semaphore(places)
        # Identity, because what unpacks has no limit; no environment, because .netrc may hold other keys.
        headers = {"Accept-Encoding": "identity", "User-Agent": "llm-twin"}
        if api_key:
            if not (api_key.isascii() and api_key.isprintable()):
                raise InputError("the endpoint's key holds characters that no key has", _KEY)
            headers["Authorization"] = f"Bearer {api_key}"
        self._client = httpx.Client(
            headers=headers,
            timeout=httpx.Timeout(timeout_s, connect=10.0),
            transport=Transport(),
            trust_env=False,
        )

    def get(self, url: str) -> Any:
        """The JSON at `url`."""
        return self._tried(lambda: self._json(self._client.get(url)))

    def look(self, url: str) -> None:
        """Ask for `url` once, in little time; raises as `get` does."""
        self._tried(lambda: self._json(self._client.get(url, timeout=_LOOK)), attempts=1)

    def post(self, url: str, body: dict[str, Any]) -> Any:
        """The JSON that `url` answers to `body`."""
        return self._tried(lambda: self._json(self._client.post(url, json=body)))

    def written(self, url: str, body: dict[str, Any]) -> Any:
        """The same where a model writes the answer."""
        with waiting.place(self._places):
            return self.post(url, body)

    def events(self, url: str, body: dict[str, Any]) -> Iterator[Any]:
        """The server-sent events that `url` answers to `body`, up to [DONE]; closing the iterator hangs up.

        Tried again only before the first event. Raises Unavailable when the stream ends without [DONE].
        """
        request = self._client.build_request("POST", url, json=body)
        with waiting.place(self._places):
            response = self._tried(lambda: self._opened(request))
            try:
                with self._explained(), closing(response):
                    for line in response.iter_lines():
                        if line.strip() == "data: [DONE]" or line.strip() == "data:[DONE]":
                            return
                        if line.startswith("data:"):
                            yield self._event(line[5:])
            except _Busy as broken:
                raise Unavailable(f"{self.url}: {broken}", "ask again") from broken
        raise Unavailable(f"{self.url}: the stream broke off", "ask again")

    def close(self) -> None:
        """Hang up; calling it twice is harmless."""
        self._client.close()

    def _opened(self, request: httpx.Request) -> httpx.Response:
        response = self._client.send(request, stream=True)
        if response.status_code != 200:
            with closing(response):
                response.read()
            self._check(response)
        return response

    def _event(self, text: str) -> Any:
        event = _parsed(text)
        if not isinstance(event, dict) or "error" in event:
            raise Unavailable(f"{self.url}: the server failed: {self._said(text)}", "ask again")
        return event

    def _tried(self, ask: Callable[[], _T], attempts: int = 0) -> _T:
        pause, problem, asked = 0.0, "", None
        for attempt in range(attempts or self._attempts):
            if attempt:
                self._sleep(pause)
            try:
                with self._explained():
                    return ask()
            except _Busy as busy:
                problem, asked = str(busy), busy.pause
                pause = asked or 0.5 * 2**attempt * (1 + random.random() / 4)
            if pause > _LONGEST_WAIT:
                problem += f", and asks to wait {pause:.0f} s"
                break
        way_out = "try again later, or lower endpoint.concurrency"
        raise Unavailable(f"{self.url}: {problem}", way_out, asked or 0.0)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """The client's own errors as ours."""
        try:
            yield
        except httpx.ConnectError as error:
            raise Unreachable(f"{self.url}: no connection ({self._said(str(error))})", _CHECK_URL) from error
        except httpx.ReadTimeout as error:
            waited = error.request.extensions["timeout"]["read"]
            raise Unavailable(
                f"{self.url}: no answer within {waited:g} s", "raise endpoint.timeout_seconds"
            ) from error
        except httpx.ConnectTimeout as error:
            raise Unreachable(f"{self.url}: no connection within 10 s", _CHECK_URL) from error
        except httpx.TransportError as error:
            raise _Busy(f"the connection broke ({self._said(str(error) or type(error).__name__)})") from error

    def _json(self, response: httpx.Response) -> Any:
        self._check(response)
        found = _parsed(response.text)
        if found is None:
            raise Refused(f"{response.url}: the answer is not JSON", "endpoint.url must end in /v1")
        return found

    def _check(self, response: httpx.Response) -> None:
        status, said = response.status_code, self._said(response.text)
        if status == 200:
            return
        told = f"{response.url}: the server answered {status}" + (f": {said}" if said else "")
        if status in (408, 429) or status >= 500:
            raise _Busy(told.partition(": ")[2], _retry_after(response.headers.get("retry-after", "")))
        if status in (401, 403):
            what = "refuses the key" if self._key else "asks for a key"
            raise Refusal(f"{self.url} {what}" + (f": {said}" if said else ""), _KEY, status, said)
        raise Refusal(told, "correct endpoint.url, endpoint.model or the request", status, said)

    def _said(self, text: str) -> str:
        """The server's own words in one short line, without the key, should it repeat it."""
        found = _parsed(text)
        for name in ("error", "message", "detail"):
            if isinstance(found, dict) and name in found:
                found = found[name]
        line = " ".join((found if isinstance(found, str) else text).split())
        return (line.replace(self._key, "[key]") if self._key else line)[:300]


class _Busy(Exception):
    """Worth another try, after `pause` seconds where the server says so."""

    def __init__(self, problem: str, pause: float | None = None) -> None:
        super().__init__(problem)
        self.pause = pause


def _checked(url: str) -> str:
    try:
        parsed = httpx.URL(url.strip())
    except (httpx.InvalidURL, ValueError) as error:
        raise InputError(f"endpoint.url {url!r} is no address ({error})", "write one") from error
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo:
        raise InputError(
            "endpoint.url must be http(s)://HOST/v1, without a key in it",
            'such as "http://127.0.0.1:8000/v1"',
        )
    return str(parsed.copy_with(query=None, fragment=None)).rstrip("/")


def _parsed(text: str) -> Any:
    """What the JSON says; None for what is not JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def _retry_after(text: str) -> float | None:
    """Seconds that a Retry-After header asks for: a number, or a date."""
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
