"""Stops that span pieces, and counts of tokens."""

from collections.abc import Sequence

import pytest

from llm_twin.adapters.standins import ScriptedChat
from llm_twin.serving.watched import Watched, until
from llm_twin.types import Message, Sampling


@pytest.mark.parametrize(
    ("pieces", "stops", "text"),
    [
        (["one ", "two ", "three"], [], "one two three"),
        (["one ", "two ", "three"], ["two"], "one "),
        (["o", "n", "e ", "t", "w", "o"], ["e t"], "on"),
        (["aab", "aac"], ["aac"], "aab"),
        (["a", "a", "a", "b"], ["aab"], "a"),
        (["half a st"], ["stop"], "half a st"),
        (["xy", "z"], ["z", "yz"], "x"),
    ],
)
def test_the_text_ends_at_the_first_stop(pieces: list[str], stops: Sequence[str], text: str) -> None:
    assert "".join(until(iter(pieces), stops)) == text


def test_nothing_that_may_be_a_stop_is_shown_early() -> None:
    assert list(until(iter(["ab", "c", "d"]), ["bcx"])) == ["a", "bcd"]


def test_tokens_are_counted_and_the_end_is_told() -> None:
    def watched(most: int, *stops: str) -> Watched:
        model = Watched(ScriptedChat(lambda messages: "one two three four"), stops)
        list(model.stream([Message(role="user", content="say it")], Sampling(max_tokens=most)))
        return model

    assert watched(100).usage().completion_tokens == 4
    assert watched(100).usage().prompt_tokens == 4
    assert (watched(100).finish(), watched(2).finish(), watched(3, "three").finish()) == (
        "stop",
        "length",
        "stop",
    )


def test_a_stop_closes_the_model() -> None:
    closed = []

    class Open(ScriptedChat):
        def stream(self, messages, sampling):  # type: ignore[no-untyped-def]
            try:
                yield from super().stream(messages, sampling)
            finally:
                closed.append(True)

    model = Watched(Open(lambda messages: "one two three"), ["two"])
    assert "".join(model.stream([], Sampling())) == "one "
    assert closed == [True]
