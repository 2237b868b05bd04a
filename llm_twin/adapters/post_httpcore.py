"""POST to an address that a stranger named: public addresses only, no redirects, a deadline, no answer read.

The guard is the fetcher's: what was checked is what is connected to. Not covered: proxies.
"""

import ssl
import time
from collections.abc import Mapping

import httpcore
import httpx

from llm_twin.adapters.fetch_network import GuardedNetwork
from llm_twin.collect.guard import Resolve, checked_url, system_resolve
from llm_twin.errors import TwinError

SECONDS = 10.0


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    allow_private: bool = False,
    ssl_context: ssl.SSLContext | None = None,
    resolve: Resolve = system_resolve,
) -> None:
    """Send `body`; raises TwinError unless the answer is 2xx, and InputError for an address that is not reached."""
    checked_url(url)
    network = GuardedNetwork(allow_private, resolve, time.monotonic)
    network.deadline = time.monotonic() + SECONDS
    pairs = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]
    waits = {"timeout": {"connect": SECONDS, "read": SECONDS, "write": SECONDS}}
    with httpcore.ConnectionPool(
        ssl_context=ssl_context or httpx.create_ssl_context(),
        max_keepalive_connections=0,
        network_backend=network,
    ) as pool:
        try:
            with pool.stream("POST", url, headers=pairs, content=body, extensions=waits) as response:
                status = response.status
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise TwinError(f"{url}: no answer ({str(error) or type(error).__name__})") from error
    if not 200 <= status < 300:
        raise TwinError(f"{url}: the server answered {status}")
