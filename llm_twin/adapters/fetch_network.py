"""The network as the fetcher may use it: checked addresses only, and never past a deadline.

httpcore (the transport under httpx) opens every connection through this backend. It resolves the name
once, refuses the connection when any address is not public, and connects to one of the very addresses
that were checked, so a name cannot answer differently the second time. Host header, SNI and the
certificate's name stay the URL's host. Every wait is cut at the deadline, so a server that sends one
byte at a time gains nothing.
"""

import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore

from llm_twin.collect.guard import Resolve, checked_addresses


class GuardedNetwork(httpcore.NetworkBackend):
    """TCP to checked addresses. `deadline` is a reading of `clock`; waits beyond it raise ReadTimeout."""

    def __init__(self, allow_private: bool, resolve: Resolve, clock: Callable[[], float]) -> None:
        self.deadline = float("inf")
        self._allow_private = allow_private
        self._resolve = resolve
        self._clock = clock
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to the first checked address that takes one."""
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in checked_addresses(host, port, self._allow_private, self._resolve):
            try:
                stream = self._plain.connect_tcp(
                    address, port, self.left(timeout), local_address, socket_options
                )
                return _TimedStream(stream, self)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        """Never: nothing on the web is a local socket."""
        raise httpcore.ConnectError("local sockets are not used")

    def sleep(self, seconds: float) -> None:
        """Wait; httpcore asks for it between its own connection attempts (none are configured)."""
        time.sleep(seconds)

    def left(self, timeout: float | None) -> float:
        """Seconds an operation may still take."""
        left = self.deadline - self._clock()
        if left <= 0:
            raise httpcore.ReadTimeout("the time for this address is over")
        return min(left, timeout if timeout is not None else left)


class _TimedStream(httpcore.NetworkStream):
    """A stream whose every wait ends at the network's deadline."""

    def __init__(self, inner: httpcore.NetworkStream, network: GuardedNetwork) -> None:
        self._inner = inner
        self._network = network

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._network.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._network.left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        inner = self._inner.start_tls(ssl_context, server_hostname, self._network.left(timeout))
        return _TimedStream(inner, self._network)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
