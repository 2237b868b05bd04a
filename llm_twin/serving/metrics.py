"""What the server counts, for Prometheus: GET /metrics. Labels are routes, never paths, so they stay few."""

import math
import os
import resource
import time
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import aclosing, suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from llm_twin.errors import TwinError
from llm_twin.ports import Queue
from llm_twin.serving.room import Room
from llm_twin.serving.speech import Ending, Said

_FIRST = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SPEED = (1, 2, 5, 10, 20, 40, 80, 160, 320, 640)
_PAGE = resource.getpagesize()


class Metrics:
    """One server's counters, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = here = CollectorRegistry()
        self._requests = Counter("twin_requests", "Requests answered", ("route", "status"), registry=here)
        self._errors = Counter("twin_errors", "Refusals and failures", ("code",), registry=here)
        self._tokens = Counter("twin_tokens", "Tokens read and written", ("kind",), registry=here)
        until_first = "Until the first piece of an answer, waiting included"
        self._first = Histogram("twin_first_token_seconds", until_first, buckets=_FIRST, registry=here)
        self._speed = Histogram("twin_tokens_per_second", "Of one answer", buckets=_SPEED, registry=here)
        of_all = "Resident memory of this process and of those it started; what they share counts in each"
        memory = Gauge("twin_resident_memory_bytes", of_all, registry=here)
        memory.set_function(_resident)

    def watch(self, room: Room) -> None:
        """Tell how full `room` is."""
        running = Gauge(f"twin_{room.name}_running", "Jobs that run", registry=self.registry)
        running.set_function(lambda: room.running)
        waiting = Gauge(f"twin_{room.name}_waiting", "Jobs that wait for a place", registry=self.registry)
        waiting.set_function(lambda: room.waiting)

    def watch_jobs(self, queue: Queue) -> None:
        """Tell how many jobs of `queue` wait; NaN where it cannot be asked."""
        waiting = Gauge("twin_jobs_waiting", "Jobs of /jobs that wait for their turn", registry=self.registry)
        waiting.set_function(lambda: _queued(queue))

    def answered(self, route: str, status: int) -> None:
        """Count a response."""
        self._requests.labels(route, str(status)).inc()

    def failed(self, code: str) -> None:
        """Count a refusal or failure."""
        self._errors.labels(code).inc()

    def heard(self, said: Iterator[Said]) -> Iterator[Said]:
        """The same pieces, as they come from the model; those of an answer that is broken off are counted here.

        Nobody tells how many tokens they were. Each piece counts as one, so at least as many were written.
        """
        pieces, ended = 0, False
        try:
            for piece in said:
                ended = isinstance(piece, Ending)
                pieces += not ended
                yield piece
        finally:
            if isinstance(said, Generator):
                said.close()
            if not ended:
                self._tokens.labels("broken_off").inc(pieces)

    async def timed(self, said: AsyncGenerator[Said, None]) -> AsyncGenerator[Said, None]:
        """The same pieces, timed and counted."""
        started, first = time.monotonic(), 0.0
        async with aclosing(said):
            async for piece in said:
                if not first:
                    first = time.monotonic()
                    self._first.observe(first - started)
                if isinstance(piece, Ending):
                    self._count(piece, time.monotonic() - first)
                yield piece

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self.registry)

    def _count(self, ending: Ending, seconds: float) -> None:
        self._tokens.labels("prompt").inc(ending.usage.prompt_tokens)
        self._tokens.labels("completion").inc(ending.usage.completion_tokens)
        if seconds > 0:
            self._speed.observe(ending.usage.completion_tokens / seconds)


def _queued(queue: Queue) -> float:
    try:
        return sum(job.state == "queued" for job in queue.jobs())
    except TwinError:
        return math.nan


def _resident() -> float:
    """Bytes, of this process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for each in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended since
            fields = (each / "stat").read_text().rpartition(")")[2].split()  # a name may hold spaces
            children.setdefault(int(fields[1]), []).append(int(each.name))
    family = [os.getpid()]
    for process in family:
        family += children.get(process, [])
    return sum(map(_pages, family)) * float(_PAGE)


def _pages(process: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return 0
