"""Signatures as the specification has them, and addresses that are not even tried."""

import base64
import hashlib
import hmac

import pytest

from llm_twin.errors import InputError
from llm_twin.serving.webhook import check_url, headers_of, key_of

SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()


def test_a_receiver_can_check_the_signature() -> None:
    headers = headers_of(SECRET, "msg-1", 1700000000, b'{"id": "a"}')
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + b'{"id": "a"}'
    expected = hmac.new(bytes(range(24)), content, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(expected).decode()
    assert headers["webhook-timestamp"] == "1700000000"
    assert headers_of(SECRET, "msg-1", 1700000000, b"{}")["webhook-signature"] != headers["webhook-signature"]


@pytest.mark.parametrize("secret", ["", "short", "whsec_", "whsec_AAAA", SECRET[6:], SECRET + "!", "whsec_é"])
def test_a_secret_of_another_form_is_refused(secret: str) -> None:
    with pytest.raises(InputError, match="whsec_"):
        key_of(secret)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "https://",
        "https://me:secret@example.org/",
        "http://127.0.0.1/",
        "http://169.254.169.254/latest",
        "http://[::1]/",
        "https://example.org/a b",
        "https://exämple.org/",
    ],
)
def test_addresses_that_are_not_even_tried(url: str) -> None:
    with pytest.raises(InputError):
        check_url(url, allow_private=False)


def test_private_ones_may_be_allowed_and_names_are_looked_up_later() -> None:
    check_url("http://127.0.0.1:9/hook", allow_private=True)
    check_url("https://hooks.example.org/x?y=1", allow_private=False)
