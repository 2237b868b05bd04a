"""A small web app for the person at this machine: one page, its state, and one kind of answer to it.

Who may talk to it: whoever knows its address, which holds a random token. A page of another site cannot: a Host
that it was not started under is refused (so a name that was re-pointed at this machine is, too), and so is an
answer that is not JSON from the page's own origin, or larger than a few lines. The page may load nothing but its
own files and run no inline script. Not covered: encryption. Served to other machines (a host other than this
one's loopback), everything including the token crosses the network in the clear.
"""

import ipaddress
import re
import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llm_twin.errors import InputError, TwinError

MOST_BYTES = 4096
"""Of an answer."""
EVERYWHERE = ("0.0.0.0", "::", "")
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}

State = dict[str, Any]
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[\w.-]+)(?::\d{1,5})?")


def local_app(
    page: str, state: Callable[[], State], answer: Callable[[bytes], State], token: str, host: str
) -> Starlette:
    """The app: `/TOKEN/` is web/PAGE.html, `/TOKEN/state` the state; a POST to `/TOKEN/answer` gives the next.

    `answer` raises InputError for a body that makes no sense.
    """
    own = {"": f"{page}.html", f"{page}.js": f"{page}.js", "page.js": "page.js", "page.css": "page.css"}
    web = files("llm_twin") / "web"
    contents = {path: (web / name).read_bytes() for path, name in own.items()}

    async def file(request: Request) -> Response:
        path = request.path_params.get("file", "")
        if path not in contents:
            raise HTTPException(404)
        return Response(contents[path], media_type=TYPES[own[path].rpartition(".")[2]])

    async def tell(request: Request) -> Response:
        return _told(state)

    async def take(request: Request) -> Response:
        _check_origin(request)
        body = await _body(request)
        return _told(lambda: answer(body))

    return Starlette(
        routes=[
            Route("/{token}/state", tell),
            Route("/{token}/answer", take, methods=["POST"]),
            Route("/{token}/{file}", file),
            Route("/{token}/", file),
        ],
        middleware=[Middleware(Guard, token=token, host=host)],
    )


def _told(make: Callable[[], State]) -> Response:
    """What `make` returns, or why it failed, as JSON."""
    try:
        return JSONResponse(make())
    except TwinError as error:
        why = f"{error}. {error.way_out}".strip()
        return JSONResponse({"error": why}, status_code=400 if isinstance(error, InputError) else 500)


def _check_origin(request: Request) -> None:
    if request.headers.get("origin") != f"http://{request.headers['host']}":
        raise HTTPException(403, "answers come from the page itself")
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "answers are JSON")


async def _body(request: Request) -> bytes:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            raise HTTPException(413, f"an answer has at most {MOST_BYTES} bytes")
    return body


class Guard:
    """Refuses a wrong Host or token before anything else is looked at, and puts HEADERS on every response."""

    def __init__(self, app: ASGIApp, token: str, host: str) -> None:
        self.app = app
        self.token = token
        self.host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *extra]}
            await send(message)

        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (refusal or self.app)(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not known_host(hosts[0], self.host):
            return Response("this address is not served here", 421, media_type="text/plain")
        given = scope["path"].split("/")[1] if "/" in scope["path"] else ""
        if not secrets.compare_digest(given.encode(), self.token.encode()):
            return Response("not found", 404, media_type="text/plain")
        return None


def known_host(header: str, served: str) -> bool:
    """Whether a Host header names what is `served`. Served everywhere, any plain address does, but no name."""
    match = _HOST.fullmatch(header.lower())
    if not match:
        return False
    name = match[1].strip("[]")
    if name in LOOPBACK:
        return served in LOOPBACK or served in EVERYWHERE
    if served not in EVERYWHERE:
        return name == served.lower()
    with suppress(ValueError):
        return bool(ipaddress.ip_address(name))
    return False


def serve(
    make: Callable[[str, str], ASGIApp],
    host: str,
    port: int,
    open_browser: bool,
    announce: Callable[[str], None],
) -> None:
    """Serve `make(token, host)` until Ctrl-C; `announce` is told the address. Port 0 takes a free one.

    Raises InputError where host and port cannot be had.
    """
    import uvicorn

    token = secrets.token_urlsafe(16)
    app = make(token, host)
    with listening(host, port) as listener:
        reached = f"[{host}]" if ":" in host else host
        name = "127.0.0.1" if host in EVERYWHERE else reached
        url = f"http://{name}:{listener.getsockname()[1]}/{token}/"
        announce(url)
        if open_browser:
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,  # it would write the token down
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens; raises InputError where host and port cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"cannot serve on {host}, port {port}: {error}", "choose another with --host and --port; 0 is any"
        ) from error
