"""The door of the server, before any route: host, origin, size and key are looked at here, headers put on here.

On a loopback address a Host that it was not started under is refused, so a name that was re-pointed at this
machine is too. A page of another site may send nothing unless its origin is in `[serve] cors`. With keys, every
path asks for one but those in `open_paths`.
"""

import logging
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llm_twin.local_app import HEADERS, LOOPBACK, known_host
from llm_twin.serving.keys import Keys
from llm_twin.serving.refusals import refuse

MOST_BYTES = 1 << 20
"""Of a body."""
_TOO_LARGE = f"a body has at most {MOST_BYTES} bytes"
_UNFORESEEN = "something failed on this side; the server's log has more"
_LOG = logging.getLogger(__name__)
_WRITING = ("POST", "PUT", "PATCH", "DELETE")


class Door:
    """Middleware that refuses what should not come in. `answered` is told the route and status of each response,
    `failed` the code of a failure that nobody foresaw, which is logged and answered with 500.
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

        refusal = self._refusal(scope)
        try:
            await (refusal or self.app)(scope, _limited(receive), guarded)
        except Exception:
            if begun:  # too late to say so in an answer
                raise
            _LOG.exception("%s %s failed", scope["method"], _route(scope))
            self.failed("unforeseen")
            await refuse(500, _UNFORESEEN, "unforeseen")(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        return (
            self._wrong_host(scope)
            or (_too_large() if _length(headers) > MOST_BYTES else None)
            or self._wrong_origin(scope, headers)
            or self._wrong_key(scope, headers)
        )

    def _wrong_host(self, scope: Scope) -> Response | None:
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(hosts) == 1 and (self.host not in LOOPBACK or known_host(hosts[0], self.host)):
            return None
        return refuse(421, "this address is not served here", "wrong_host")

    def _wrong_origin(self, scope: Scope, headers: dict[str, str]) -> Response | None:
        if scope["method"] not in _WRITING:
            return None
        origin, own = headers.get("origin"), headers["host"]
        if origin is not None and origin not in (f"http://{own}", f"https://{own}", *self.cors):
            return refuse(403, "requests from another site's page are not taken", "wrong_origin")
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return refuse(415, "the body must be application/json", "wrong_content_type")
        return None

    def _wrong_key(self, scope: Scope, headers: dict[str, str]) -> Response | None:
        scope.setdefault("state", {}).update(authors=None, owner=None)
        if scope["path"] in self.open_paths or _is_preflight(scope, headers) or not self._needs_key():
            return None
        scheme, _, token = headers.get("authorization", "").partition(" ")
        key = self.keys.of(token.strip()) if scheme.lower() == "bearer" else None
        if key is None:
            asked = {"www-authenticate": "Bearer"}
            return refuse(401, "a key is needed: Authorization: Bearer …", "invalid_api_key", headers=asked)
        scope["state"].update(authors=frozenset(key.authors), owner=key.sha256)
        return None

    def _needs_key(self) -> bool:
        # Wider than this machine one is needed even when the last was removed while the server ran.
        return self.host not in LOOPBACK or self.keys.any()


def _limited(receive: Receive) -> Receive:
    read = 0

    async def limited() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > MOST_BYTES:
            raise HTTPException(413, _TOO_LARGE)  # the one error that the body's reader lets pass
        return message

    return limited


def _too_large() -> Response:
    return refuse(413, _TOO_LARGE, "too_large")


def _length(headers: dict[str, str]) -> int:
    told = headers.get("content-length", "0")
    return int(told) if told.isdecimal() else 0


def _is_preflight(scope: Scope, headers: dict[str, str]) -> bool:
    return scope["method"] == "OPTIONS" and "access-control-request-method" in headers


def _route(scope: Scope) -> str:
    """The path as it was declared, so that there are few of them."""
    return getattr(scope.get("route"), "path", "other")
