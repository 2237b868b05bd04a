"""How an answer came about: its steps in order, each with its time and what it has to say.

A Tracing is filled while one answer is made and gives a Trace in the end. Not covered: steps within the model.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TypeVar

from pydantic import AwareDatetime

from llm_twin.types import Value

T = TypeVar("T")
READING, WRITING = "reading", "writing"
"""The model before its first word, and after it."""


class Step(Value):
    """One step; `said` is what came of it, in words."""

    name: str
    milliseconds: float
    said: str = ""


class Trace(Value):
    """An answer's way. `first_token_ms` is from the question to the first word; None where no word came."""

    id: str
    time: AwareDatetime
    question: str
    author: str
    model: str
    mode: str
    steps: tuple[Step, ...]
    first_token_ms: float | None
    total_ms: float


class Told:
    """What a step says while it runs."""

    said = ""


class Tracing:
    """The steps of one answer as they happen; `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock, self._began = clock, clock()
        self._time, self._first = datetime.now(UTC), -1.0
        self._steps: list[Step] = []

    @contextmanager
    def step(self, name: str) -> Iterator[Told]:
        """`with tracing.step("search") as told: ...; told.said = "12 passages"`. A step that fails is kept as well."""
        told, begun = Told(), self._clock()
        try:
            yield told
        finally:
            self._note(name, begun, told.said)

    def heard(self, pieces: Iterator[T]) -> Iterator[T]:
        """`pieces` as they are; the time until the first is one step, the rest another."""
        begun, came = self._clock(), 0
        try:
            for piece in pieces:
                if not came:
                    self._first = self._since()
                    self._note(READING, begun)
                    begun = self._clock()
                came += 1
                yield piece
        finally:
            self._note(WRITING if came else READING, begun)

    def trace(self, question: str, author: str, model: str, mode: str) -> Trace:
        """All of it, until now."""
        return Trace(
            id=secrets.token_hex(8),
            time=self._time,
            question=question,
            author=author,
            model=model,
            mode=mode,
            steps=tuple(self._steps),
            first_token_ms=None if self._first < 0 else self._first,
            total_ms=self._since(),
        )

    def _since(self) -> float:
        return round((self._clock() - self._began) * 1000, 3)

    def _note(self, name: str, begun: float, said: str = "") -> None:
        took = round((self._clock() - begun) * 1000, 3)
        self._steps.append(Step(name=name, milliseconds=took, said=said))
