"""An endpoint that is left while it is silent or busy, and what is asked beside the texts that are written."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from llm_twin import waiting
from llm_twin.adapters.chat_http import HttpChat
from llm_twin.adapters.endpoint import Endpoint
from llm_twin.adapters.standins import ScriptedChat, echo
from llm_twin.errors import Unavailable, Unreachable
from llm_twin.serving.room import Gone, Room
from llm_twin.types import Completion, Message, Sampling

pytestmark = pytest.mark.enable_socket

ASKED = [Message(role="user", content="Hello there.")]
SHORT = Sampling(max_tokens=8)


class Silent:
    """A server that takes every connection and says only `head`; tells when a client hangs up."""

    def __init__(self, head: bytes = b"") -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/v1"
        self.hung_up, self.head = threading.Event(), head
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.hear, args=[connection], daemon=True).start()

    def hear(self, connection: socket.socket) -> None:
        with connection:
            connection.recv(65536)
            connection.sendall(self.head)
            while connection.recv(65536):
                pass
            self.hung_up.set()


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {}\n\n"


@pytest.fixture(params=[b"", HEAD], ids=["before the head", "after it"])
def silent(request: pytest.FixtureRequest) -> Iterator[Silent]:
    server = Silent(request.param)
    yield server
    server.listener.close()


def left_after(seconds: float, work: Callable[[], object]) -> float:
    """How long `work` goes on after nobody waits for it any more."""
    gone, begun = threading.Event(), time.monotonic()
    threading.Timer(seconds, gone.set).start()
    with waiting.until(gone), pytest.raises(waiting.Left):
        work()
    return time.monotonic() - begun - seconds


def test_a_silent_server_is_left_within_a_second_and_hung_up_on(silent: Silent) -> None:
    endpoint = Endpoint(silent.url)
    assert left_after(0.3, lambda: list(endpoint.events(silent.url, {}))) < 1
    assert silent.hung_up.wait(1), "or it would write on for nobody"
    endpoint.close()


def test_a_server_that_is_asked_again_later_is_left_while_that_is_waited_for() -> None:
    busy = Silent(b"HTTP/1.1 429 Busy\r\nretry-after: 60\r\ncontent-length: 0\r\n\r\n")
    endpoint = Endpoint(busy.url)
    for ask in (lambda: endpoint.get(busy.url), lambda: endpoint.written(busy.url, {})):
        assert left_after(0.3, ask) < 1
    endpoint.close()
    busy.listener.close()


def test_who_waits_for_a_place_is_left_too(silent: Silent) -> None:
    endpoint = Endpoint(silent.url, places=1)
    with waiting.place(endpoint._places):
        assert left_after(0.2, lambda: endpoint.written(silent.url, {})) < 1
    endpoint.close()


@pytest.mark.parametrize("watched", [True, False])
def test_a_silent_server_is_given_up_in_time_whether_somebody_may_leave_or_not(
    silent: Silent, watched: bool
) -> None:
    endpoint = Endpoint(silent.url, timeout_s=0.6)

    def ask() -> None:
        begun = time.monotonic()
        with pytest.raises(Unavailable, match=r"no answer within 0\.6 s"):
            list(endpoint.events(silent.url, {}))
        assert 0.5 <= time.monotonic() - begun < 1.5

    if watched:
        with waiting.until(threading.Event()):
            ask()
    else:
        ask()
    endpoint.close()


class Stuck(ScriptedChat):
    """Reads its prompt until it is let."""

    def _complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        self.asked.set()
        assert self.let.wait(20)
        return super()._complete(messages, sampling)

    def __init__(self, script: Any) -> None:
        super().__init__(script)
        self.asked, self.let = threading.Event(), threading.Event()


class Caller:
    """A request as far as a room looks at it: it can leave."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}


@pytest.mark.parametrize("streamed", [True, False])
def test_a_client_that_leaves_during_a_silent_answer_frees_its_place(
    openai_server: Callable[..., Any], streamed: bool
) -> None:
    model = Stuck(echo)
    chat = HttpChat(openai_server(model).url)

    def work() -> Any:
        return chat.stream(ASKED, SHORT) if streamed else iter(chat.generate([ASKED], SHORT))

    async def run() -> float:
        room, caller = Room("a", 1, 0), Caller()
        pieces = asyncio.ensure_future(anext(room.pieces(work, caller)))  # type: ignore[arg-type]
        assert await asyncio.to_thread(model.asked.wait, 20)
        caller.gone.set()
        begun = time.monotonic()
        with pytest.raises(Gone):
            await pieces
        while room.inside:
            await asyncio.sleep(0.01)
        return time.monotonic() - begun

    assert asyncio.run(run()) < 1
    model.let.set()
    chat.close()


def test_whether_it_is_there_is_told_while_every_place_is_taken(openai_server: Callable[..., Any]) -> None:
    server, let = openai_server(ScriptedChat(echo)), threading.Event()
    plain, busy = server.model.generate, threading.Semaphore(0)

    def slow(*given: Any) -> Any:
        busy.release()
        assert let.wait(20)
        return plain(*given)

    server.model.generate = slow
    chat = HttpChat(server.url, concurrency=2)
    with ThreadPoolExecutor(3) as threads:
        running = [threads.submit(chat.generate, [ASKED], SHORT) for _ in range(3)]
        for _ in range(2):
            assert busy.acquire(timeout=20)
        begun = time.monotonic()
        chat.reach()
        assert chat.count_tokens(ASKED) > 0
        assert time.monotonic() - begun < 2 and not any(each.done() for each in running)
        assert not busy.acquire(timeout=0.2), "no more texts are written at once than allowed"
        let.set()
        assert all(each.result() for each in running)
    chat.close()


def test_a_server_that_is_away_is_looked_for_once(openai_server: Callable[..., Any]) -> None:
    server, slept = openai_server(ScriptedChat(echo)), list[float]()
    chat = HttpChat(server.url, sleep=slept.append)
    server.faults = [(503, {}, b"")]
    with pytest.raises(Unavailable, match="503"):
        chat.reach()
    assert slept == []
    server.without = {"/v1/models"}
    chat.reach()  # it keeps no list, and answers
    url = server.url
    chat.close()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(Unreachable, match=nobody):
        Endpoint(nobody).look(f"{nobody}/models")
    assert url != nobody
