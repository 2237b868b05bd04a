"""The child process: what goes over its limits ends, the batch does not."""

import time

import pytest

from llm_twin.collect.limited import LimitedChild
from llm_twin.errors import InputError

HOSTILE = "<html><body><p " + " ".join(f"a{n}=1" for n in range(200_000)) + ">text</p></body></html>"


def test_it_answers_and_keeps_running(child: LimitedChild) -> None:
    first = child.call("os:getpid")
    assert child.call("os:getpid") == first


def test_results_and_odd_characters_come_back(child: LimitedChild) -> None:
    html = "<p>It’s “odd” 🫖 \ud83d</p>"
    assert child.call("llm_twin.collect.markdown:fragment", html=html).startswith("It’s “odd” 🫖")


def test_a_stray_print_is_no_answer(child: LimitedChild) -> None:
    assert child.call("builtins:print", sep="", end='{"result": "forged"}\n') is None


def test_hostile_html_ends_within_the_time_limit_and_the_next_call_works() -> None:
    with LimitedChild(seconds=4) as child:
        started = time.monotonic()
        with pytest.raises(InputError, match="longer than 4 s"):
            child.call("llm_twin.collect.markdown:page", html=HOSTILE, url=None)
        assert time.monotonic() - started < 7
        assert child.call("llm_twin.collect.markdown:fragment", html="<p>on we go</p>") == "on we go"


def test_too_much_memory_ends_the_call_only() -> None:
    with LimitedChild(memory_bytes=2**29) as child:
        with pytest.raises(InputError, match="MemoryError"):
            child.call("builtins:bytearray", source=2**30)
        assert child.call("os:getpid")


def test_a_child_that_dies_is_replaced(child: LimitedChild) -> None:
    with pytest.raises(InputError, match="ended the parser"):
        child.call("os:_exit", status=1)
    assert child.call("os:getpid")


def test_errors_come_back_as_input_errors(child: LimitedChild) -> None:
    with pytest.raises(InputError, match="no article"):
        child.call("llm_twin.collect.markdown:page", html="<html><body></body></html>", url=None)
    with pytest.raises(InputError, match="cannot be parsed"):
        child.call("llm_twin.collect.markdown:no_such_function")


def test_nothing_starts_before_the_first_call_and_closing_twice_is_harmless() -> None:
    child = LimitedChild()
    assert child._process is None
    child.close()
    child.close()
