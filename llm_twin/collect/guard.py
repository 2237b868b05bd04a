"""Which addresses on the network may be asked: the public web, and nothing behind the user's own door.

Resolving and checking are one step, and callers connect to the very addresses returned here, so a name
that answers differently the second time (DNS rebinding) gains nothing. The HTTP fetcher and `git clone`
both stand behind this.

Not covered: proxies (none are used) and services on the public internet that should not be public.
"""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from llm_twin.errors import InputError, TwinError

Resolve = Callable[[str, int], Sequence[str]]
"""(host, port) -> its IP addresses in the order to try them; raises OSError when there is none."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def system_resolve(host: str, port: int) -> list[str]:
    """Addresses of `host` by the operating system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def checked_url(url: str) -> tuple[str, str, int]:
    """(scheme, host, port) of an http or https URL.

    Raises InputError for other schemes, for no host, and for a user name or password in it.
    """
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError as error:
        raise InputError(f"{url}: not a web address ({error})", "Check the address.") from error
    if scheme not in ("http", "https"):
        raise InputError(
            f"{url}: only http and https addresses are read", "Give a web address or a local path."
        )
    if not host:
        raise InputError(f"{url}: names no host", "Check the address.")
    if parts.username is not None or parts.password is not None:
        raise InputError(f"{host}: the address holds a user name or password", "Leave it out of the address.")
    return scheme, host, port or (443 if scheme == "https" else 80)


def checked_addresses(
    host: str, port: int, allow_private: bool = False, resolve: Resolve = system_resolve
) -> list[str]:
    """IP addresses of `host`, every one of them public unless `allow_private`.

    Raises InputError when even one of them is private, and TwinError when there is none at all.
    """
    try:
        addresses = list(resolve(host, port))
    except (OSError, UnicodeError) as error:
        raise TwinError(f"{host}: has no address ({error})", "Check the name and the connection.") from error
    if not addresses:
        raise TwinError(f"{host}: has no address", "Check the name and the connection.")
    for address in addresses:
        if not allow_private and not is_public(address):
            raise InputError(
                f"{host}: leads to {address}, which is not on the public internet",
                "Allow private addresses in the settings if you meant it.",
            )
    return addresses


def is_public(address: str) -> bool:
    """Whether an IP address is one anybody may reach.

    An IPv6 address that only wraps an IPv4 one (mapped, NAT64) is judged by that one; 6to4 and Teredo
    addresses by both.
    """
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return is_public(str(parsed.ipv4_mapped))
        if parsed in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)))
        carried = parsed.sixtofour or (parsed.teredo[1] if parsed.teredo else None)
        if carried is not None and not is_public(str(carried)):
            return False
    # is_global alone is True for multicast and for ranges that are still reserved
    return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved
