"""What is sent when a job ended, signed as the Standard Webhooks specification has it (standardwebhooks.com).

The receiver computes the same HMAC-SHA-256 over id, time and body; libraries for it exist in most languages.
Not covered: the specification's asymmetric signatures.
"""

import base64
import hashlib
import hmac
import ipaddress
from collections.abc import Callable, Mapping

from llm_twin.collect.guard import checked_url, is_public
from llm_twin.errors import InputError

PREFIX = "whsec_"
Post = Callable[[str, bytes, Mapping[str, str]], None]
"""(url, body, headers); raises TwinError where it was not taken."""


def key_of(secret: str) -> bytes:
    """The bytes that a secret stands for; raises InputError for one of another form."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except ValueError:  # binascii's own included
        key = b""
    if not secret.startswith(PREFIX) or not 24 <= len(key) <= 64:
        raise InputError(f"the secret is not {PREFIX} and the base64 of 24 to 64 bytes")
    return key


def check_url(url: str, allow_private: bool) -> None:
    """Raise InputError for an address that is not even tried. Names are looked up when it is called, not here."""
    _, host, _ = checked_url(url)
    if not url.isascii() or not url.isprintable() or " " in url:
        raise InputError("the address has characters that must be escaped")
    try:
        public = is_public(host)
    except ValueError:  # a name
        return
    if not public and not allow_private:
        raise InputError(f"{ipaddress.ip_address(host)} is not on the public internet")


def headers_of(secret: str, message_id: str, seconds: int, body: bytes) -> dict[str, str]:
    """The headers of one message, signed at `seconds` since 1970."""
    signed = f"{message_id}.{seconds}.".encode() + body
    signature = base64.b64encode(hmac.new(key_of(secret), signed, hashlib.sha256).digest()).decode()
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": f"v1,{signature}",
    }
