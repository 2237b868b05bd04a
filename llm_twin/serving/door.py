"""The door of the server, before any route: host, origin, size and key are looked at here, headers put on here.

A body is taken in whole before a route is asked, so that one which is too large or too slow occupies nothing else.

On a loopback address a Host that it was not started under is refused, so a name that was re-pointed at this
machine is too. A page of another site may send nothing unless its origin is in `[serve] cors`. With keys, every
path asks for one but those in `open_paths`.
"""

import asyncio
import logging
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llm_twin.local_app import HEADERS, LOOPBACK, known_host
from llm_twin.serving.keys import Keys
from llm_twin.serving.refusals import Refusal, refuse

MOST_BYTES = 1 << 20
"""Of a body."""
BODY_SECONDS = 30
"""For a body to arrive, from its first byte to its last."""
_UNFORESEEN = "something failed on this side; the server's log has more"
_LOG = logging.getLogger(__name__)
_WRITING = ("POST", "PUT", "PATCH", "DELETE")


class Door:
    """Middleware that refuses what should not come in. `answered` is told the route and status of each response,
    `failed` the code of each refusal of its own and of each failure that nobody foresaw, which is logged and answered
    with 500.
    """

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        keys: Keys,
        cors: tuple[str, ...],
        open_paths: frozenset[str],
        answered: Callable[[str, int], None],
        failed: Callable[[str], None],
    ) -> None:
        self.app, self.host, self.keys, self.cors = app, host, keys, cors
        self.open_paths, self.answered, self.failed = open_paths, answered, failed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        begun = False

        async def guarded(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                self.answered(_route(scope), message["status"])
                told = list(message.get("headers", []))
                own = {name for name, _ in told}  # a route may be stricter than the rest
                extra = [
                    (n.encode(), value.encode()) for n, value in HEADERS.items() if n.encode() not in own
                ]
                message = {**message, "headers": [*told, *extra]}
            await send(message)

        try:
            await self._let_in(scope, receive, guarded)
        except Exception:
            self.failed("unforeseen")
            if begun:  # too late to say so in an answer
                raise
            _LOG.exception("%s %s failed", scope["method"], _route(scope))
            await refuse(500, _UNFORESEEN, "unforeseen")(scope, receive, guarded)

    async def _let_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._check(scope)
            given = await _whole(receive)
        except Refusal as refusal:
            self.failed(refusal.code)
            await _told(refusal)(scope, receive, send)
            return
        if given is not None:  # else the client has gone
            await self.app(scope, given, send)

    def _check(self, scope: Scope) -> None:
        """Raise Refusal for what may not come in; what it may see is in the scope's state then."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self._check_host(scope)
        if _length(headers) > MOST_BYTES:
            raise _too_large()
        self._check_origin(scope, headers)
        self._check_key(scope, headers)

    def _check_host(self, scope: Scope) -> None:
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or (self.host in LOOPBACK and not known_host(hosts[0], self.host)):
            raise Refusal(421, "this address is not served here", "wrong_host")

    def _check_origin(self, scope: Scope, headers: dict[str, str]) -> None:
        if scope["method"] not in _WRITING:
            return
        origin, own = headers.get("origin"), headers["host"]
        if origin is not None and origin not in (f"http://{own}", f"https://{own}", *self.cors):
            raise Refusal(403, "requests from another site's page are not taken", "wrong_origin")
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refusal(415, "the body must be application/json", "wrong_content_type")

    def _check_key(self, scope: Scope, headers: dict[str, str]) -> None:
        scope.setdefault("state", {}).update(authors=None, owner=None)
        if scope["path"] in self.open_paths or _is_preflight(scope, headers) or not self._needs_key():
            return
        scheme, _, token = headers.get("authorization", "").partition(" ")
        key = self.keys.of(token.strip()) if scheme.lower() == "bearer" else None
        if key is None:
            raise Refusal(401, "a key is needed: Authorization: Bearer …", "invalid_api_key")
        scope["state"].update(authors=frozenset(key.authors), owner=key.sha256)

    def _needs_key(self) -> bool:
        # Wider than this machine one is needed even when the last was removed while the server ran.
        return self.host not in LOOPBACK or self.keys.any()


async def _whole(receive: Receive) -> Receive | None:
    """A Receive that gives the body in one piece; None when the client left. Refusal for one too large or too slow."""
    body = bytearray()
    more = True
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > MOST_BYTES:
                    raise _too_large()
    except TimeoutError:
        raise Refusal(408, f"the body took more than {BODY_SECONDS} seconds", "too_slow") from None
    return _replayed(bytes(body), receive)


def _replayed(body: bytes, rest: Receive) -> Receive:
    given = False

    async def receive() -> Message:
        nonlocal given
        if given:
            return await rest()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _told(refusal: Refusal) -> Response:
    headers = {401: {"www-authenticate": "Bearer"}, 408: {"connection": "close"}}.get(refusal.status)
    return refuse(refusal.status, str(refusal), refusal.code, headers=headers)


def _too_large() -> Refusal:
    return Refusal(413, f"a body has at most {MOST_BYTES} bytes", "too_large")


def _length(headers: dict[str, str]) -> int:
    told = headers.get("content-length", "0")
    return int(told) if told.isdecimal() else 0


def _is_preflight(scope: Scope, headers: dict[str, str]) -> bool:
    return scope["method"] == "OPTIONS" and "access-control-request-method" in headers


def _route(scope: Scope) -> str:
    """The path as it was declared, so that there are few of them."""
    return getattr(scope.get("route"), "path", "other")
