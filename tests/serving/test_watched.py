"""Stops that span pieces, and counts of tokens."""

from collections.abc import Generator, Sequence

import pytest

from llm_twin.adapters.standins import ScriptedChat
from llm_twin.serving.watched import Watched, until
from llm_twin.types import Completion, Message, Sampling


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


def watched(model: ScriptedChat, most: int, *stops: str) -> Watched:
    """After it wrote."""
    seen = Watched(model, stops)
    list(seen.stream([Message(role="user", content="say it")], Sampling(max_tokens=most)))
    return seen


class Told(ScriptedChat):
    """Says of its answers what no count of their text would; notes what it has to count."""

    def __init__(self, finish: str = "stop") -> None:
        super().__init__(lambda messages: "one two three four")
        self.told = Completion(text="one two", prompt_tokens=70, completion_tokens=50, finish=finish)
        self.counted: list[str] = []

    def count_tokens(self, messages: Sequence[Message]) -> int:
        self.counted.append(" ".join(message.content for message in messages))
        return super().count_tokens(messages)

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Generator[str, None, Completion]:
        yield from ("one", " two", " three")
        return self.told


@pytest.mark.parametrize("finish", ["stop", "length", "content_filter"])
def test_what_the_model_says_of_its_answer_is_passed_on_and_nothing_is_counted(finish: str) -> None:
    model = Told(finish)
    seen = watched(model, 50)
    usage = seen.usage()
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (70, 50, 120)
    assert seen.finish() == finish
    assert model.counted == []


def test_an_end_that_is_none_of_ours_is_an_end() -> None:
    assert watched(Told("tool_calls"), 50).finish() == "stop"


def test_a_text_that_a_stop_cut_short_is_counted_with_the_stop() -> None:
    model = Told("length")
    seen = watched(model, 2, "tw")
    assert (seen.usage().prompt_tokens, seen.usage().completion_tokens, seen.finish()) == (4, 2, "stop")
    assert model.counted == ["say it", "one two", ""], "each once"


def test_a_text_that_its_reader_left_is_counted() -> None:
    seen = Watched(Told("length"))
    assert not seen.asked
    stream = seen.stream([Message(role="user", content="say it")], Sampling())
    assert next(stream) == "one"
    stream.close()
    assert seen.asked and (seen.usage().completion_tokens, seen.finish()) == (1, "stop")


def test_the_completion_is_returned_for_tokens_too() -> None:
    seen = Watched(ScriptedChat(lambda messages: "one two three four"))
    tokens = seen.tokens([Message(role="user", content="say it")], Sampling(max_tokens=3))
    assert [token.text for token in tokens] == ["one", " two", " three"]
    assert (seen.usage().completion_tokens, seen.finish()) == (3, "length")


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
