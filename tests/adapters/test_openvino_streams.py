"""Streams that advance together, over a pipeline whose every step is known."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import openvino_genai as genai
import pytest

from llm_twin import waiting
from llm_twin.adapters.openvino_streams import Made, Stream, Streams

Status = genai.GenerationStatus


class Handle:
    """A request that gives 1, 2, 3 … up to its length; a length of 0 is one the engine has no memory for."""

    def __init__(self, length: int) -> None:
        self.length, self.written, self.read_up_to, self.cancelled = length, 0, 0, False

    def can_read(self) -> bool:
        return self.read_up_to < self.written

    def read(self) -> dict[int, Any]:
        self.read_up_to += 1
        return {0: type("Output", (), {"generated_ids": [self.read_up_to], "generated_log_probs": [-1.0]})()}

    def get_status(self) -> Any:
        if not self.length:
            return Status.IGNORED
        return Status.FINISHED if self.written == self.length else Status.RUNNING

    def cancel(self) -> None:
        self.cancelled = True


class Pipeline:
    """Gives each request a token a step; `pace` lets that many steps happen, `broken` makes the next one fail."""

    def __init__(self) -> None:
        self.handles: list[Handle] = []
        self.pace = threading.Semaphore(0)
        self.together: list[int] = []
        self.broken = False

    def add(self, ids: list[int], config: Any) -> Handle:
        self.handles.append(Handle(ids[0]))
        return self.handles[-1]

    def live(self) -> list[Handle]:
        return [h for h in self.handles if h.written < h.length and not h.cancelled]

    def has_non_finished_requests(self) -> bool:
        return bool(self.live())

    def step(self) -> None:
        assert self.pace.acquire(timeout=20)
        if self.broken:
            raise RuntimeError("the engine fell over")
        self.together.append(len(self.live()))
        for handle in self.live():
            handle.written += 1

    def let(self, steps: int) -> None:
        for _ in range(steps):
            self.pace.release()


def made_of(number: int) -> Made:
    """What a Handle gives for its token `number`."""
    return [number], [-1.0]


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    made = Pipeline()
    yield made
    made.let(1000)


@pytest.fixture
def streams(pipeline: Pipeline) -> Streams:
    return Streams(pipeline, pipeline.add, threading.Lock())


def test_streams_advance_together_and_each_gets_its_own(streams: Streams, pipeline: Pipeline) -> None:
    made = [streams.tokens(Stream([length], None)) for length in (20, 4)]
    pipeline.let(1)
    assert next(made[0]) == made_of(1)

    def go_on_once_the_second_is_there() -> None:
        while not streams._new and len(pipeline.handles) < 2:
            time.sleep(0.001)
        pipeline.let(100)

    threading.Thread(target=go_on_once_the_second_is_there).start()
    assert next(made[1]) == made_of(1), "the second joined while the first was being written"
    assert list(made[0]) == [made_of(number) for number in range(2, 21)]
    assert list(made[1]) == [made_of(number) for number in range(2, 5)]
    assert max(pipeline.together) == 2
    streams.wait()


def test_a_stream_that_nobody_reads_any_more_is_cancelled(streams: Streams, pipeline: Pipeline) -> None:
    tokens = streams.tokens(Stream([1000], None))
    pipeline.let(1)
    assert next(tokens) == made_of(1)
    tokens.close()  # type: ignore[attr-defined]
    pipeline.let(3)
    streams.wait()
    assert pipeline.handles[0].cancelled and pipeline.handles[0].written < 1000


def test_who_leaves_before_the_first_token_waits_for_it_no_longer(
    streams: Streams, pipeline: Pipeline
) -> None:
    gone, begun = threading.Event(), time.monotonic()
    threading.Timer(0.2, gone.set).start()
    with waiting.until(gone), pytest.raises(waiting.Left):
        list(streams.tokens(Stream([1000], None)))
    assert time.monotonic() - begun < 1.2
    pipeline.let(3)
    streams.wait()
    (handle,) = pipeline.handles
    assert handle.cancelled and handle.written < 1000


def test_after_the_last_stream_the_thread_ends_and_another_begins_with_the_next(
    streams: Streams, pipeline: Pipeline
) -> None:
    pipeline.let(10)
    for _ in range(2):
        assert list(streams.tokens(Stream([2], None))) == [made_of(1), made_of(2)]
        streams.wait()


def test_a_failure_of_the_engine_ends_every_stream_with_its_words(
    streams: Streams, pipeline: Pipeline
) -> None:
    tokens = streams.tokens(Stream([5], None))
    pipeline.let(1)
    next(tokens)
    pipeline.broken = True
    pipeline.let(1)
    with pytest.raises(RuntimeError, match="fell over"):
        list(tokens)
    streams.wait()
    assert streams.failed


def test_a_prompt_that_the_engine_ignores_is_an_error_and_harms_nobody(
    streams: Streams, pipeline: Pipeline
) -> None:
    pipeline.let(10)
    with pytest.raises(RuntimeError, match="no memory"):
        list(streams.tokens(Stream([0], None)))
    assert list(streams.tokens(Stream([1], None))) == [made_of(1)] and not streams.failed


def test_a_request_that_the_engine_does_not_take_fails_alone(pipeline: Pipeline) -> None:
    def add(ids: list[int], config: Any) -> Handle:
        if config == "bad":
            raise ValueError("no such temperature")
        return pipeline.add(ids, config)

    streams = Streams(pipeline, add, threading.Lock())
    good = streams.tokens(Stream([6], None))
    pipeline.let(1)
    assert next(good) == made_of(1)
    bad = streams.tokens(Stream([3], "bad"))
    threading.Timer(0.2, pipeline.let, [100]).start()
    with pytest.raises(RuntimeError, match="no such temperature"):
        next(bad)
    assert list(good) == [made_of(number) for number in range(2, 7)] and not streams.failed
    streams.wait()
    assert not streams.busy
