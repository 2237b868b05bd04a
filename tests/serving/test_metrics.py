"""What is counted, and that a route is never a path somebody made up."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from starlette.testclient import TestClient

from llm_twin.adapters.queue_huey import HueyQueue
from llm_twin.serving.metrics import Metrics
from llm_twin.serving.protocol import TwinPart, Usage
from llm_twin.serving.room import Room
from llm_twin.serving.speech import Ending, Said
from llm_twin.types import Job

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


def test_what_was_written_of_an_answer_without_an_end_is_counted_apart() -> None:
    metrics, closed = Metrics(), []

    def said() -> Iterator[Said]:
        try:
            yield from ("one ", "two ", "three")
            raise AssertionError("nobody asked for more")
        finally:
            closed.append(True)

    answer = metrics.heard(said())
    assert isinstance(answer, Generator)
    assert [next(answer), next(answer)] == ["one ", "two "]
    answer.close()
    assert closed == [True], "the model is stopped"
    assert 'twin_tokens_total{kind="broken_off"} 2.0' in metrics.text().decode()
    usage = Usage(prompt_tokens=7, completion_tokens=2, total_tokens=9)
    whole = ("one", Ending("stop", usage, TwinPart(found=False, mode="plain")))
    assert tuple(metrics.heard(iter(whole))) == whole
    assert 'twin_tokens_total{kind="broken_off"} 2.0' in metrics.text().decode()


def test_jobs_that_wait_are_told_and_a_queue_that_is_away_breaks_nothing(tmp_path: Path) -> None:
    with closing(HueyQueue(tmp_path)) as queue:
        metrics = Metrics()
        metrics.watch_jobs(queue)
        for name in "abc":
            queue.submit(Job(id=name, created=datetime.now(UTC)))
        queue.cancel("b")
        assert "twin_jobs_waiting 2.0" in metrics.text().decode()
    assert "twin_jobs_waiting NaN" in metrics.text().decode()


def test_memory_is_that_of_the_processes_it_started_too() -> None:
    def told() -> float:
        (line,) = (
            each for each in Metrics().text().decode().splitlines() if each.startswith("twin_resident")
        )
        return float(line.split()[1])

    alone = told()
    # A child of a child, with a name that could be taken for other fields.
    grandchild = "import sys; held = b'x' * 100_000_000; print(len(held), flush=True); sys.stdin.read()"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
    command = [sys.executable, "-c", f"open('/proc/self/comm', 'w').write('a) S 1 ('); {child}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdin is not None
        process.stdout.readline()
        assert told() > alone + 90_000_000
        process.stdin.close()
        process.wait()
    assert told() < alone + 90_000_000


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
