"""What is counted, and that a route is never a path somebody made up."""

import asyncio
from collections.abc import AsyncGenerator, Callable

from starlette.testclient import TestClient

from llm_twin.serving.metrics import Metrics
from llm_twin.serving.protocol import TwinPart, Usage
from llm_twin.serving.room import Room
from llm_twin.serving.speech import Ending, Said

Client = Callable[..., TestClient]


def test_an_answer_is_timed_counted_and_passed_on() -> None:
    usage = Usage(prompt_tokens=7, completion_tokens=2, total_tokens=9)
    ending = Ending("stop", usage, TwinPart(found=False, mode="plain"))
    metrics = Metrics()

    async def said() -> AsyncGenerator[Said, None]:
        for piece in ("one ", "two", ending):
            yield piece

    async def run() -> list[Said]:
        return [piece async for piece in metrics.timed(said())]

    assert asyncio.run(run()) == ["one ", "two", ending]
    told = metrics.text().decode()
    assert "twin_first_token_seconds_count 1.0" in told
    assert 'twin_tokens_total{kind="prompt"} 7.0' in told
    assert "twin_tokens_per_second_count 1.0" in told


def test_rooms_are_told_as_they_are() -> None:
    metrics, room = Metrics(), Room("chat", 1, 1)
    metrics.watch(room)
    room.inside, room.running = 3, 1
    told = metrics.text().decode()
    assert "twin_chat_running 1.0" in told and "twin_chat_waiting 2.0" in told


def test_paths_that_do_not_exist_are_counted_as_one(client: Client) -> None:
    made = client()
    for number in range(3):
        made.get(f"/nowhere/{number}")
    assert 'twin_requests_total{route="other",status="404"} 3.0' in made.get("/metrics").text
