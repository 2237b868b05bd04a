"""The server: every route behind one door, its ports opened when it starts and closed when it ends."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from llm_twin import wiring
from llm_twin.errors import InputError, TwinError
from llm_twin.journal import Journal
from llm_twin.local_app import LOOPBACK, listening
from llm_twin.ports import Progress, Queue, silent
from llm_twin.serving import refusals
from llm_twin.serving.chat import chat_routes
from llm_twin.serving.door import Door
from llm_twin.serving.errands import Errands
from llm_twin.serving.jobs import Desk, job_routes
from llm_twin.serving.keys import Keys, keys_of
from llm_twin.serving.library import Library, library_routes
from llm_twin.serving.metrics import Metrics
from llm_twin.serving.opinions import Verdicts, opinion_routes
from llm_twin.serving.pages import page_routes
from llm_twin.serving.refusals import Refusal, declared
from llm_twin.serving.room import CLIENT_GONE, Gone, Room
from llm_twin.serving.speech import Speech
from llm_twin.serving.traces import trace_routes
from llm_twin.types import Feedback, Value
from llm_twin.workspace import Workspace

PAGE = Path(__file__).parents[1] / "web" / "app"
"""The page's own files, served at `/` where the folder is there."""
QUICK_JOBS = 4
"""Searches and the like that run at once, beside the models."""


@dataclass(frozen=True)
class Options:
    """How to serve; what is left out is as twin.toml's `[serve]` says. `mode` is that of `[ask]`."""

    host: str = "127.0.0.1"
    mode: str = ""
    max_concurrent: int = 8
    queue: int = 16
    cors: tuple[str, ...] = ()


class Alive(Value):
    """The answer of GET /healthz."""

    status: str = "alive"


class Ready(Value):
    """The answer of GET /readyz: what is open."""

    status: str = "ready"
    index: str
    twin: str


def create_app(
    workspace: Workspace, options: Options = Options(), progress: Progress = silent, page: Path = PAGE
) -> FastAPI:
    """The app over `workspace`, whose index it holds until its lifespan ends.

    Raises InputError for a host beyond this machine without a key, and without an index.
    """
    keys = keys_of(workspace.home)
    if options.host not in LOOPBACK and not keys.any():
        raise InputError(
            f"{options.host} is reached by other machines, and there is no key",
            "make one: twin key add NAME",
        )
    metrics, speech = Metrics(), Speech(workspace, options.mode, progress)
    queue, settings = wiring.open_queue(workspace), workspace.settings.jobs
    errands = Errands(speech, keys, wiring.open_post(workspace))
    rooms = (
        Room("chat", options.max_concurrent, options.queue),
        Room("quick", QUICK_JOBS, options.queue),
    )
    app = FastAPI(
        title=f"The twin of {speech.author}",
        version="1",
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan(speech, rooms, queue, errands),
    )
    for room in rooms:
        metrics.watch(room)
    chat, quick = rooms
    journal = Journal(workspace.home / "feedback.jsonl", Feedback)
    app.include_router(chat_routes(speech, chat, metrics))
    app.include_router(
        library_routes(Library(workspace), speech.store, speech.embedder, speech.author, quick)
    )
    app.include_router(opinion_routes(speech, journal, Verdicts(workspace), quick))
    app.include_router(job_routes(Desk(queue, errands, speech, settings), speech, quick))
    app.include_router(trace_routes(speech.traces))
    app.include_router(page_routes(quick))
    app.include_router(_state_routes(speech, quick, metrics))
    refusals.install(app, metrics.failed)
    app.add_exception_handler(Gone, _nobody_there)
    _guard(app, options, keys, metrics, page)
    return app


async def _nobody_there(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)  # for the count; nobody reads it


def _guard(app: FastAPI, options: Options, keys: Keys, metrics: Metrics, page: Path) -> None:
    files = [path.relative_to(page).as_posix() for path in page.rglob("*") if path.is_file()]
    open_paths = frozenset(["/healthz", *(f"/{name}" for name in files), *(["/"] if files else [])])
    if files:
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
    )


def _state_routes(speech: Speech, room: Room, metrics: Metrics) -> APIRouter:
    router = APIRouter(tags=["state"])

    @router.get("/healthz", responses=declared())
    async def healthz() -> Alive:
        """Whether the process answers."""
        return Alive()

    @router.get("/readyz", responses=declared(429, 503))
    async def readyz(request: Request) -> Ready:
        """Whether the index is open and can be searched."""
        try:
            return Ready(**await room.one(speech.ready, request))
        except TwinError as error:
            raise Refusal(503, str(error), "not_ready") from error

    @router.get("/metrics", responses=declared(), response_class=Response)
    async def told() -> Response:
        """Counters for Prometheus."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def _lifespan(
    speech: Speech, rooms: tuple[Room, ...], queue: Queue, errands: Errands
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            await asyncio.to_thread(queue.work, errands.do, errands.tell)
            yield
        finally:
            await asyncio.to_thread(queue.close)
            for room in rooms:
                await asyncio.to_thread(room.close)
            speech.close()

    return lifespan


def serve(app: FastAPI, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve until Ctrl-C; `announce` is told the address. Port 0 takes a free one; InputError for one that is taken."""
    import uvicorn

    with listening(host, port) as listener:
        reached = f"[{host}]" if ":" in host else host
        announce(f"http://{reached}:{listener.getsockname()[1]}")
        config = uvicorn.Config(
            app,
            http="h11",
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
