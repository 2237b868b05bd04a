"""The network under an endpoint: a wait for the server's words ends when nobody wants them any more.

httpcore (the transport under httpx) opens every connection through this backend. A read looks a few times a second
whether somebody still waits (see `waiting`); when nobody does, Left passes through httpcore, which hangs up on the
way. Not covered: connecting and sending, which end by their timeouts.
"""

import ssl
import time
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

from llm_twin import waiting

_KEPT_SECONDS = 5.0
"""How long a connection that nobody uses is kept; httpx's own figure."""


class Transport(httpx.HTTPTransport):
    """httpx's own, over this network and without a limit of connections: who asks keeps within one."""

    def __init__(self) -> None:
        context = httpx.create_ssl_context(trust_env=False)
        super().__init__(verify=context)
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=None,
            keepalive_expiry=_KEPT_SECONDS,
            network_backend=_Network(),
        )


class _Network(httpcore.SyncBackend):
    """TCP whose reads may be left."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        return _Stream(super().connect_tcp(host, port, timeout, local_address, socket_options))


class _Stream(httpcore.NetworkStream):
    """A stream whose reads may be left."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if not waiting.watched():
            return self._inner.read(max_bytes, timeout)
        end = time.monotonic() + (float("inf") if timeout is None else timeout)
        while True:
            waiting.check()
            left = end - time.monotonic()
            try:
                return self._inner.read(max_bytes, max(0.001, min(left, waiting.LOOK_SECONDS)))
            except httpcore.ReadTimeout:
                if left <= waiting.LOOK_SECONDS:
                    raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
