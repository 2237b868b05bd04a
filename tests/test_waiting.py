"""Waits end when nobody wants what is waited for, and are ordinary ones without a flag."""

import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from queue import SimpleQueue

import pytest

from llm_twin import waiting
from llm_twin.waiting import Left


def held(gone: threading.Semaphore) -> None:
    with waiting.place(gone):
        pass


WAITS: dict[str, Callable[[], object]] = {
    "pause": lambda: waiting.pause(60),
    "queue": lambda: waiting.taken(SimpleQueue[int]()),
    "place": lambda: held(threading.Semaphore(0)),
}


@pytest.mark.parametrize("name", WAITS)
def test_a_wait_ends_soon_after_the_flag_is_raised(name: str) -> None:
    gone = threading.Event()
    threading.Timer(0.1, gone.set).start()
    begun = time.monotonic()
    with waiting.until(gone), pytest.raises(Left):
        WAITS[name]()
    assert 0.1 <= time.monotonic() - begun < 1


@pytest.mark.parametrize("name", WAITS)
def test_nothing_is_waited_for_once_it_is_raised(name: str) -> None:
    gone = threading.Event()
    gone.set()
    begun = time.monotonic()
    with waiting.until(gone), pytest.raises(Left):
        WAITS[name]()
    assert time.monotonic() - begun < 0.5


@pytest.mark.parametrize("flagged", [True, False])
def test_what_is_waited_for_is_had(flagged: bool) -> None:
    def had() -> None:
        queue: SimpleQueue[int] = SimpleQueue()
        threading.Timer(0.4, lambda: queue.put(7)).start()  # later than the first look
        waiting.pause(0)
        assert waiting.taken(queue) == 7
        place = threading.Semaphore(1)
        for _ in range(2):
            with waiting.place(place):
                assert not place.acquire(blocking=False)
        waiting.check()

    if not flagged:
        had()
        return
    with waiting.until(threading.Event()):
        had()


def test_a_place_is_given_back_when_its_work_fails() -> None:
    place = threading.Semaphore(1)
    with pytest.raises(ValueError, match="no"), waiting.place(place):
        raise ValueError("no")
    assert place.acquire(blocking=False)


def test_the_flag_holds_within_and_in_threads_that_run_in_a_copy_of_the_context() -> None:
    gone, found = threading.Event(), []
    with waiting.until(gone):
        assert waiting.watched()
        context = copy_context()
        inner = threading.Event()
        with waiting.until(inner):
            gone.set()
            waiting.check()
        with pytest.raises(Left):
            waiting.check()
    assert not waiting.watched()
    waiting.check()
    for look in (waiting.watched, lambda: context.run(waiting.watched)):
        thread = threading.Thread(target=lambda look=look: found.append(look()))
        thread.start()
        thread.join()
    assert found == [False, True]
