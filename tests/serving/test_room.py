"""Places to run and to wait, and a job that ends when its client leaves."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import pytest

from llm_twin import waiting
from llm_twin.serving.refusals import Refusal
from llm_twin.serving.room import Gone, Room


class Caller:
    """A request as far as a room looks at it: it can leave."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}


class Endless:
    """A job that goes on until it is closed, and tells so."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def __call__(self) -> Iterator[int]:
        try:
            number = 0
            while True:
                yield (number := number + 1)
        finally:
            self.closed.set()


async def begin(room: Room, caller: Any, make: Callable[[], Iterator[Any]]) -> Any:
    pieces = room.pieces(make, caller)
    await anext(pieces)
    return pieces


async def settled(room: Room) -> None:
    """Until everyone is out: a place is free when its thread is done."""
    while room.inside:
        await asyncio.sleep(0.001)


def test_a_job_hands_over_its_pieces_in_order() -> None:
    async def run() -> list[int]:
        room = Room("a", 1, 0)
        found = [piece async for piece in room.pieces(lambda: iter(range(5)), Caller())]  # type: ignore[arg-type]
        await settled(room)
        return found

    assert asyncio.run(run()) == [0, 1, 2, 3, 4]


def test_texts_that_wait_are_handed_over_as_one_and_nothing_else_is_joined() -> None:
    made = threading.Event()

    def said() -> Iterator[object]:
        yield "a"
        yield from ["b", "c", 1, "d", "e", 2]
        made.set()

    async def run() -> list[object]:
        room = Room("a", 1, 0)
        pieces = room.pieces(said, Caller())  # type: ignore[arg-type]
        found = [await anext(pieces)]
        await asyncio.to_thread(made.wait)
        await asyncio.sleep(0.05)
        found += [piece async for piece in pieces]
        await settled(room)
        return found

    found = asyncio.run(run())
    assert found[-3:] == [1, "de", 2]
    assert "".join(map(str, found[:-3])) == "abc"


def test_a_client_that_leaves_stops_its_job_and_frees_its_place() -> None:
    async def run() -> None:
        room, caller, job = Room("a", 1, 0), Caller(), Endless()
        pieces = await begin(room, caller, job)
        caller.gone.set()
        with pytest.raises(Gone):
            async for _ in pieces:
                pass
        await settled(room)
        assert job.closed.is_set()
        assert await room.one(lambda: 7, Caller()) == 7  # type: ignore[arg-type]

    asyncio.run(run())


@pytest.mark.parametrize("how", ["leaves", "closes"])
def test_a_job_that_waits_for_its_next_piece_is_left_within_a_second(how: str) -> None:
    """Such as for a model that still reads its prompt, or a server that does not answer."""
    closed = threading.Event()

    def silent() -> Iterator[int]:
        try:
            yield 1
            waiting.taken(SimpleQueue())
        finally:
            closed.set()

    async def run() -> float:
        room, caller = Room("a", 1, 0), Caller()
        pieces = await begin(room, caller, silent)
        await asyncio.sleep(0.1)
        begun = time.monotonic()
        if how == "leaves":
            caller.gone.set()
            with pytest.raises(Gone):
                await anext(pieces)
        else:
            await pieces.aclose()
        await settled(room)
        return time.monotonic() - begun

    assert asyncio.run(run()) < 1 and closed.is_set()


def test_the_next_job_of_a_thread_is_not_left_with_the_one_before() -> None:
    async def run() -> None:
        room, caller = Room("a", 1, 0), Caller()
        pieces = await begin(room, caller, Endless())
        caller.gone.set()
        with pytest.raises(Gone):
            async for _ in pieces:
                pass
        await settled(room)
        await room.one(waiting.check, Caller())  # type: ignore[arg-type]

    asyncio.run(run())


def test_closing_the_pieces_stops_the_job_too() -> None:
    async def run() -> None:
        room, job = Room("a", 1, 0), Endless()
        await (await begin(room, Caller(), job)).aclose()
        await settled(room)
        assert job.closed.is_set()

    asyncio.run(run())


def test_one_too_many_is_refused_and_the_waiting_one_gets_its_turn() -> None:
    async def run() -> None:
        room, job = Room("a", 1, 1), Endless()
        first = await begin(room, Caller(), job)
        second = asyncio.ensure_future(room.one(lambda: "second", Caller()))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        assert (room.running, room.waiting) == (1, 1)
        with pytest.raises(Refusal) as refused:
            await room.one(lambda: "third", Caller())  # type: ignore[arg-type]
        assert (refused.value.status, bool(refused.value.retry_after)) == (429, True)
        await first.aclose()
        assert await second == "second"
        await settled(room)

    asyncio.run(run())


def test_who_leaves_while_waiting_is_never_run() -> None:
    async def run() -> None:
        room, caller, ran = Room("a", 1, 1), Caller(), []
        first = await begin(room, Caller(), Endless())
        waiting = asyncio.ensure_future(room.one(lambda: ran.append(1), caller))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        caller.gone.set()
        with pytest.raises(Gone):
            await waiting
        await first.aclose()
        await settled(room)
        assert ran == []
        assert await room.one(lambda: 1, Caller()) == 1  # type: ignore[arg-type]

    asyncio.run(run())


def test_a_job_that_fails_says_so_and_frees_its_place() -> None:
    def fail() -> int:
        raise ValueError("no")

    async def run() -> None:
        room = Room("a", 1, 0)
        with pytest.raises(ValueError, match="no"):
            await room.one(fail, Caller())  # type: ignore[arg-type]
        await settled(room)

    asyncio.run(run())
