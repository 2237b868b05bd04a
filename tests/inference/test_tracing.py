"""Traces: each step with its own time, in order, also where it fails or the answer is broken off."""

from collections.abc import Iterator
from itertools import count

import pytest

from llm_twin.inference.tracing import Tracing


def ticking() -> Tracing:
    """Each look at the clock is a second later."""
    ticks = count()
    return Tracing(lambda: float(next(ticks)))


def test_steps_are_timed_in_order_and_say_what_came_of_them() -> None:
    tracing = ticking()
    with tracing.step("search") as told:
        told.said = "3 passages"
    list(tracing.heard(iter(["a", "b"])))
    trace = tracing.trace("Why?", "Ada", "tiny", "write")
    assert [(s.name, s.said) for s in trace.steps] == [
        ("search", "3 passages"),
        ("reading", ""),
        ("writing", ""),
    ]
    assert all(step.milliseconds == 1000 for step in trace.steps[:1])
    assert trace.first_token_ms is not None and 0 < trace.first_token_ms < trace.total_ms
    assert (trace.question, trace.author, trace.model, trace.mode) == ("Why?", "Ada", "tiny", "write")
    assert len({ticking().trace("", "", "", "").id for _ in range(20)}) == 20


def test_a_step_that_fails_is_kept() -> None:
    tracing = ticking()
    with pytest.raises(ValueError, match="broken"), tracing.step("rerank"):
        raise ValueError("broken")
    assert [step.name for step in tracing.trace("?", "Ada", "", "quote").steps] == ["rerank"]


def test_an_answer_that_is_broken_off_has_been_written_so_far() -> None:
    tracing, closed = ticking(), []

    def pieces() -> Iterator[str]:
        try:
            yield "a"
            yield "b"
        finally:
            closed.append(True)

    heard = tracing.heard(pieces())
    assert next(heard) == "a"
    heard.close()  # type: ignore[attr-defined]
    assert [step.name for step in tracing.trace("?", "Ada", "", "write").steps] == ["reading", "writing"]


def test_without_a_word_there_is_no_first_one() -> None:
    tracing = ticking()
    assert list(tracing.heard(iter(()))) == []
    trace = tracing.trace("?", "Ada", "", "write")
    assert trace.first_token_ms is None and [step.name for step in trace.steps] == ["reading"]
