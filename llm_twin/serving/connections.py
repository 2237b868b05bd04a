"""One client's connection: how long its requests may take to arrive, and how many connections there may be.

The door answers a slow body (408). What never becomes a request, or drips on behind an answer, is hung up on here.
Not covered: clients that read slowly.
"""

import asyncio
import resource

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from llm_twin.serving.door import BODY_SECONDS

MOST_HEAD_BYTES = 16 * 1024
"""Of a request's first line and headers."""
REQUEST_SECONDS = BODY_SECONDS + 10
"""For a request to arrive whole, so that the door answers first."""
OTHER_FILES = 256
"""Left for the index, the documents and the models when connections take all they may."""


def most_connections() -> int:
    """As many as leave this process files to open; at least half of what the system allows it."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1_000_000 if allowed == resource.RLIM_INFINITY else max(allowed - OTHER_FILES, allowed // 2)


class Connection(H11Protocol):
    """uvicorn's, with an end to patience."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request; hang up at once where there are too many connections."""
        super().connection_made(transport)
        if len(self.connections) > most_connections():
            transport.abort()
            return
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Once a request is whole, it may take its time."""
        super().data_received(data)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._whole()
        super().connection_lost(exc)

    def _expect(self) -> None:
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._whole()
        elif self._late is None:
            self._late = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _whole(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
