"""What every server of this package stands in: the door, what is said of its state, and the loop that serves it."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from llm_twin.errors import InputError, TwinError
from llm_twin.local_app import LOOPBACK, listening
from llm_twin.serving import refusals
from llm_twin.serving.door import Door
from llm_twin.serving.keys import Keys
from llm_twin.serving.metrics import Metrics
from llm_twin.serving.refusals import Refusal, as_refusal, declared
from llm_twin.serving.room import CLIENT_GONE, Gone, Room
from llm_twin.types import Value


@dataclass(frozen=True)
class Options:
    """How to serve; what is left out is as twin.toml's `[serve]` says. `mode` is that of `[ask]`."""

    host: str = "127.0.0.1"
    mode: str = ""
    max_concurrent: int = 8
    queue: int = 16
    cors: tuple[str, ...] = ()


DEFAULT = Options()


class Alive(Value):
    """The answer of GET /healthz."""

    status: str = "alive"


class Ready(Value):
    """The answer of GET /readyz: what is open; a server of the model alone has no index."""

    status: str = "ready"
    index: str = "none"
    twin: str


def check_host(host: str, keys: Keys) -> None:
    """Raise InputError for a host beyond this machine without a key."""
    if host not in LOOPBACK and not keys.any():
        raise InputError(
            f"{host} is reached by other machines, and there is no key", "make one: twin key add NAME"
        )


def guard(app: FastAPI, options: Options, keys: Keys, metrics: Metrics, page: Path | None = None) -> None:
    """Put `app` behind the door, its errors in one shape; the files of `page` are open to all."""
    refusals.install(app, metrics.failed)
    app.add_exception_handler(Gone, _nobody_there)
    paths = page.rglob("*") if page else ()
    files = [path.relative_to(page).as_posix() for path in paths if page and path.is_file()]
    open_paths = frozenset(["/healthz", *(f"/{name}" for name in files), *(["/"] if files else [])])
    if files and page:
        app.mount("/", StaticFiles(directory=page, html=True), name="page")
    if options.cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(options.cors),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type"],
        )
    app.add_middleware(
        Door,
        host=options.host,
        keys=keys,
        cors=options.cors,
        open_paths=open_paths,
        answered=metrics.answered,
        failed=metrics.failed,
    )


async def _nobody_there(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)  # for the count; nobody reads it


def state_routes(ready: Callable[[], dict[str, str]], room: Room, metrics: Metrics) -> APIRouter:
    """Whether it lives, whether it is ready (`ready` tells what is open, or raises TwinError), and what it counted."""
    router = APIRouter(tags=["state"])

    @router.get("/healthz", responses=declared())
    async def healthz() -> Alive:
        """Whether the process answers."""
        return Alive()

    @router.get("/readyz", responses=declared(429, 503))
    async def readyz(request: Request) -> Ready:
        """Whether what answers need is open, here and on a server behind this one."""
        try:
            return Ready(**await room.one(ready, request))
        except TwinError as error:
            raise Refusal(503, str(as_refusal(error)), "not_ready") from error

    @router.get("/metrics", responses=declared(), response_class=Response)
    def told() -> Response:
        """Counters for Prometheus; in a thread, since some are read from files."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def serve(app: FastAPI, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve until Ctrl-C; `announce` is told the address. Port 0 takes a free one; InputError for one that is taken."""
    import uvicorn

    from llm_twin.serving.connections import MOST_HEAD_BYTES, Connection

    with listening(host, port) as listener:
        reached = f"[{host}]" if ":" in host else host
        announce(f"http://{reached}:{listener.getsockname()[1]}")
        config = uvicorn.Config(
            app,
            http=Connection,
            h11_max_incomplete_event_size=MOST_HEAD_BYTES,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=3,
        )
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
