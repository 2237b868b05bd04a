"""What the server counts, for Prometheus: GET /metrics. Labels are routes, never paths, so they stay few."""

import resource
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

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
        memory = Gauge("twin_resident_memory_bytes", "Resident memory", registry=here)
        memory.set_function(_resident)

    def watch(self, room: Room) -> None:
        """Tell how full `room` is."""
        running = Gauge(f"twin_{room.name}_running", "Jobs that run", registry=self.registry)
        running.set_function(lambda: room.running)
        waiting = Gauge(f"twin_{room.name}_waiting", "Jobs that wait for a place", registry=self.registry)
        waiting.set_function(lambda: room.waiting)

    def answered(self, route: str, status: int) -> None:
        """Count a response."""
        self._requests.labels(route, str(status)).inc()

    def failed(self, code: str) -> None:
        """Count a refusal or failure."""
        self._errors.labels(code).inc()

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


def _resident() -> float:
    return float(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
