"""Reads that may be left, plain and under TLS: nothing is lost between two looks, and timeouts are whole ones."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import httpcore
import pytest

from llm_twin import waiting
from llm_twin.adapters.endpoint_network import _Network

pytestmark = pytest.mark.enable_socket
Speak = Callable[[socket.socket], None]
Connect = Callable[[Speak], httpcore.NetworkStream]


@pytest.fixture(params=["plain", "tls"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """connect(speak): a stream to a server that speaks once somebody is there, and then listens."""
    contexts = certified() if request.param == "tls" else None
    opened: list[socket.socket | httpcore.NetworkStream] = []

    def make(speak: Speak) -> httpcore.NetworkStream:
        listener = socket.create_server(("127.0.0.1", 0))

        def serve() -> None:
            connection, _ = listener.accept()
            with contexts[0].wrap_socket(connection, server_side=True) if contexts else connection as line:
                speak(line)
                line.recv(1)

        threading.Thread(target=serve, daemon=True).start()
        stream = _Network().connect_tcp("127.0.0.1", listener.getsockname()[1], 5.0)
        stream = stream.start_tls(contexts[1], "localhost", 5.0) if contexts else stream
        opened.extend([stream, listener])
        return stream

    yield make
    for each in opened:
        each.close()


def certified() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a server and its client need."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    serving, asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(serving)
    authority.configure_trust(asking)
    return serving, asking


def slowly(line: socket.socket) -> None:
    for number in range(4):
        time.sleep(0.4)  # longer than the pause between two looks
        line.sendall(b"%d" % number)


@pytest.mark.parametrize("watched", [True, False])
def test_what_comes_late_is_read_whole(connect: Connect, watched: bool) -> None:
    stream, read = connect(slowly), b""
    with waiting.until(threading.Event()):
        while watched and len(read) < 4:
            read += stream.read(100, 5.0)
    while len(read) < 4:
        read += stream.read(100, 5.0)
    assert read == b"0123"


def test_a_read_is_left_soon(connect: Connect) -> None:
    stream, gone = connect(lambda line: None), threading.Event()
    threading.Timer(0.3, gone.set).start()
    begun = time.monotonic()
    with waiting.until(gone), pytest.raises(waiting.Left):
        stream.read(100, 30.0)
    assert time.monotonic() - begun < 1.3


def test_a_read_lasts_as_long_as_it_may_and_no_longer(connect: Connect) -> None:
    stream = connect(lambda line: None)
    with waiting.until(threading.Event()):
        for seconds in (0.1, 0.6):
            begun = time.monotonic()
            with pytest.raises(httpcore.ReadTimeout):
                stream.read(100, seconds)
            assert seconds * 0.9 <= time.monotonic() - begun < seconds + 0.5
