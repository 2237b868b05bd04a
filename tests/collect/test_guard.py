"""Which addresses may be asked."""

import socket

import pytest

from llm_twin.collect.guard import checked_addresses, checked_url, is_public
from llm_twin.errors import InputError, TwinError


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.1.1", "172.16.0.1", "192.168.0.1", "169.254.169.254"),
        *("100.64.0.1", "198.18.0.1", "192.0.2.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "fe80::1%eth0", "fc00::1", "ff02::1", "ff0e::1", "2001:db8::1", "::127.0.0.1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::1"),
    ],
)
def test_addresses_that_are_not_on_the_public_internet(address: str) -> None:
    assert not is_public(address)


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    with pytest.raises(InputError, match=r"mixed\.example.*10\.0\.0\.1"):
        checked_addresses("mixed.example", 443, resolve=lambda host, port: ["8.8.8.8", "10.0.0.1"])
    assert checked_addresses("x", 1, True, resolve=lambda host, port: ["10.0.0.1"]) == ["10.0.0.1"]


def test_a_name_without_address_is_named() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    for resolve in (unknown, lambda host, port: []):
        with pytest.raises(TwinError, match=r"nowhere\.example: has no address") as caught:
            checked_addresses("nowhere.example", 443, resolve=resolve)
        assert not isinstance(caught.value, InputError)


def test_urls_taken_apart() -> None:
    assert checked_url("https://Nell.example/a") == ("https", "nell.example", 443)
    assert checked_url("http://nell.example:81") == ("http", "nell.example", 81)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://nell.example/",
        "file:///etc/passwd",
        "https://",
        "https://me:secret@nell.example/",
        "http://x:99999/",
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(InputError) as caught:
        checked_url(url)
    assert "secret" not in str(caught.value)
