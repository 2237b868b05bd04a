"""Waits that end when nobody wants any more what is waited for, such as when a server's client has left.

Whoever works for somebody raises a flag when that one is gone, and works under it (`until`). Whoever waits in that
work, for a server or an engine, looks at the flag a few times a second and raises Left. Without a flag a wait is an
ordinary one. A thread that the work starts sees the flag when it runs in a copy of the context. Not covered: work that
does not wait, and waits within other libraries.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from queue import Empty, SimpleQueue
from typing import TypeVar

T = TypeVar("T")
LOOK_SECONDS = 0.25
_gone: ContextVar[threading.Event | None] = ContextVar("gone", default=None)


class Left(Exception):
    """Nobody waits for this any more."""


@contextmanager
def until(gone: threading.Event) -> Iterator[None]:
    """Waits within end when `gone` is set."""
    before = _gone.set(gone)
    try:
        yield
    finally:
        _gone.reset(before)


def watched() -> bool:
    """Whether there is a flag to look at."""
    return _gone.get() is not None


def check() -> None:
    """Raise Left where nobody waits any more."""
    gone = _gone.get()
    if gone is not None and gone.is_set():
        raise Left


def pause(seconds: float) -> None:
    """Sleep; raises Left when nobody waits any more."""
    gone = _gone.get()
    if gone is None:
        time.sleep(seconds)
    elif gone.wait(seconds):
        raise Left


def taken(queue: "SimpleQueue[T]") -> T:
    """The next thing of `queue`; raises Left when nobody waits for it any more."""
    while watched():
        check()
        try:
            return queue.get(timeout=LOOK_SECONDS)
        except Empty:
            pass
    return queue.get()


@contextmanager
def place(of: threading.Semaphore) -> Iterator[None]:
    """Hold one of its places; raises Left when nobody waits for one any more."""
    while not of.acquire(timeout=LOOK_SECONDS if watched() else None):
        check()
    try:
        yield
    finally:
        of.release()
