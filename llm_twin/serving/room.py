"""A room with so many places to run and so many to wait; a job leaves its place the moment its client does.

A job runs in a thread and hands over what it makes piece by piece. When the client goes away the job's
iterator is closed before its next piece, or where it waits for one (see `waiting`), which stops the model, and the
place is free. Texts may be joined on the way; None is no piece. Not covered: stopping a job that computes between two
pieces.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from starlette.requests import Request

from llm_twin import waiting
from llm_twin.serving.refusals import RETRY_AFTER, Refusal

T = TypeVar("T")
CLIENT_GONE = 499
"""What is counted where a client left; nobody reads it."""


class Gone(Exception):
    """The client went away before its answer was whole."""


class Room:
    """`running` jobs at once and `waiting` behind them; one more is refused with 429."""

    def __init__(self, name: str, running: int, waiting: int) -> None:
        self.name, self.most = name, running + waiting
        self.inside = 0
        self.running = 0
        self._places = asyncio.Semaphore(running)
        self._threads = ThreadPoolExecutor(running, thread_name_prefix=f"twin-{name}")

    @property
    def waiting(self) -> int:
        """How many jobs wait for a place."""
        return self.inside - self.running

    async def pieces(self, make: Callable[[], Iterator[T]], request: Request) -> AsyncGenerator[T, None]:
        """What `make()` yields. Raises Refusal when the room is full, Gone when the client of `request` leaves."""
        if self.inside >= self.most:
            raise Refusal(429, "all places are taken", "busy", retry_after=RETRY_AFTER)
        job: _Job[T] = _Job(make)
        watch = asyncio.create_task(_leaving(request, job))
        place = asyncio.ensure_future(self._places.acquire())
        self.inside += 1
        try:
            await asyncio.wait({place, watch}, return_when=asyncio.FIRST_COMPLETED)
            if not place.done():
                raise Gone
            job.thread = asyncio.get_running_loop().run_in_executor(self._threads, job.work)
            self.running += 1
            async for piece in job.made():
                yield piece
        finally:
            job.left.set()
            watch.cancel()
            self._leave(job, place)

    async def one(self, do: Callable[[], T], request: Request) -> T:
        """The result of `do`; raises as `pieces` does, and what `do` raises."""
        async with contextlib.aclosing(self.pieces(lambda: iter([do()]), request)) as found:
            async for result in found:
                return result
        raise Gone

    def close(self) -> None:
        """Wait for the threads to end."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _leave(self, job: "_Job[Any]", place: "asyncio.Future[Any]") -> None:
        """Free the place when the job's thread is done with it, not before."""
        if job.thread is not None:
            job.thread.add_done_callback(lambda _: self._free())
            return
        self.inside -= 1
        if place.done():
            self._places.release()
        else:
            place.cancel()

    def _free(self) -> None:
        self.inside -= 1
        self.running -= 1
        self._places.release()


class _End:
    """The last thing in a queue, with what went wrong."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class _Job(Generic[T]):
    """One client's work, between the event loop and a thread."""

    def __init__(self, make: Callable[[], Iterator[T]]) -> None:
        self.left = threading.Event()
        self.thread: asyncio.Future[None] | None = None
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Any] = asyncio.Queue()

    def leave(self) -> None:
        """The client is gone; called in the loop."""
        self.left.set()
        self._queue.put_nowait(_End(Gone()))

    async def made(self) -> AsyncGenerator[T, None]:
        """The pieces as they come; texts that wait are handed over as one, so that a busy loop catches up."""
        piece = await self._queue.get()
        while not isinstance(piece, _End):
            following = None
            while isinstance(piece, str) and following is None and not self._queue.empty():
                following = self._queue.get_nowait()
                if isinstance(following, str):
                    piece, following = piece + following, None
            yield piece
            piece = await self._queue.get() if following is None else following
        if piece.error is not None:
            raise piece.error

    def work(self) -> None:
        """In the thread: make pieces until the end, or until nobody wants them."""
        end = _End()
        try:
            with waiting.until(self.left):
                waiting.check()
                self._hand_over(self._make())
        except BaseException as error:
            end = _End(error)
        self._put(end)

    def _hand_over(self, pieces: Iterator[T]) -> None:
        try:
            for piece in pieces:
                if self.left.is_set():
                    break
                self._put(piece)
        finally:
            if isinstance(pieces, Generator):
                pieces.close()

    def _put(self, thing: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._queue.put_nowait, thing)


async def _leaving(request: Request, job: _Job[Any]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    job.leave()
