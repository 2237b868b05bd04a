"""The server: every route behind one door, its ports opened when it starts and closed when it ends."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

from llm_twin import wiring
from llm_twin.journal import Journal
from llm_twin.ports import Progress, Queue, silent
from llm_twin.serving.chat import chat_routes
from llm_twin.serving.errands import Errands
from llm_twin.serving.jobs import Desk, job_routes
from llm_twin.serving.keys import keys_of
from llm_twin.serving.library import Library, library_routes
from llm_twin.serving.metrics import Metrics
from llm_twin.serving.opinions import Verdicts, opinion_routes
from llm_twin.serving.pages import page_routes
from llm_twin.serving.records import Records, record_routes
from llm_twin.serving.room import Room
from llm_twin.serving.shell import DEFAULT, Options, check_host, guard, state_routes
from llm_twin.serving.speech import Speech
from llm_twin.serving.traces import trace_routes
from llm_twin.types import Feedback
from llm_twin.workspace import Workspace

PAGE = Path(__file__).parents[1] / "web" / "app"
"""The page's own files, served at `/` where the folder is there."""
QUICK_JOBS = 4
"""Searches and the like that run at once, beside the models."""
VOICES_WAITING = 16


def create_app(
    workspace: Workspace, options: Options = DEFAULT, progress: Progress = silent, page: Path = PAGE
) -> FastAPI:
    """The app over `workspace`, whose index it holds until its lifespan ends.

    Raises InputError for a host beyond this machine without a key, and without an index.
    """
    keys = keys_of(workspace.home)
    check_host(options.host, keys)
    metrics, speech = Metrics(), Speech(workspace, options.mode, progress)
    queue, settings = wiring.open_queue(workspace), workspace.settings.jobs
    errands = Errands(speech, keys, wiring.open_post(workspace))
    rooms = chat, quick, voice = (
        Room("chat", options.max_concurrent, options.queue),
        Room("quick", QUICK_JOBS, options.queue),
        Room("voice", 1, VOICES_WAITING),  # who waits for the verifier to be fitted takes nobody's place
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
    metrics.watch_jobs(queue)
    journal = Journal(workspace.home / "feedback.jsonl", Feedback)
    app.include_router(chat_routes(speech, chat, metrics))
    app.include_router(
        library_routes(Library(workspace), speech.store, speech.embedder, speech.author, quick)
    )
    app.include_router(opinion_routes(speech, journal, Verdicts(workspace), quick, voice))
    app.include_router(job_routes(Desk(queue, errands, speech, settings), speech, quick))
    app.include_router(trace_routes(speech.traces))
    app.include_router(record_routes(Records(workspace), quick))
    app.include_router(page_routes(quick))
    app.include_router(state_routes(speech.ready, quick, metrics))
    guard(app, options, keys, metrics, page)
    return app


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
