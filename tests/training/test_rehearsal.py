"""Rehearsal: requests of our own, replies of the base model, the same ones after a kill."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from llm_twin.adapters.standins import ScriptedChat
from llm_twin.evaluation.forgetting import EVERYDAY, read_task
from llm_twin.evaluation.general import general_passages
from llm_twin.text import ngrams, words
from llm_twin.training.rehearsal import Rehearsed, how_many, keep, kept, rehearse, requests
from llm_twin.types import Message


def test_the_requests_are_many_and_none_is_doubled_or_torn() -> None:
    found = requests()
    assert len(found) > 100 and len({request.casefold() for request in found}) == len(found)
    choices = [request for request in found if "\n\nA. " in request]
    assert len(choices) >= 8
    assert all(request.endswith("Reply with its letter alone.") for request in choices)
    assert not [request for request in found if "Reply with" in request and request not in choices]


def alike(a: str, b: str) -> float:
    """The share of the longer words of either that both have."""
    one, other = ({word for word in words(text) if len(word) > 4} for text in (a, b))
    return len(one & other) / max(1, len(one | other)) if len(one & other) > 1 else 0.0


def test_no_request_is_asked_by_an_evaluation() -> None:
    """What is rehearsed must not be what forgetting is measured by."""
    items = [item.question for item in read_task(EVERYDAY)] + [
        passage.prompt for passage in general_passages()
    ]
    measured = {gram for text in items for gram in ngrams(words(text), 5)}
    for request in requests():
        assert not measured & set(ngrams(words(request), 5)), request
        nearest = max(items, key=lambda text: alike(text, request))
        assert alike(nearest, request) < 0.4, (request, nearest)


def test_the_share_is_of_both_together() -> None:
    assert how_many(80, 0.2) == 20
    assert how_many(80, 0.0) == 0


def test_each_request_is_asked_alone_and_again_for_other_replies() -> None:
    heard: list[Sequence[Message]] = []

    def say(messages: Sequence[Message]) -> str:
        heard.append(messages)
        return " Well. "

    many = len(requests()) + 3
    found = rehearse(ScriptedChat(say), many)
    assert [each.request for each in found] == [*requests(), *requests()[:3]]
    assert {each.reply for each in found} == {"Well."} and all(each.whole for each in found)
    assert all([message.role for message in messages] == ["user"] for messages in heard)


def test_a_reply_that_was_cut_is_known_as_such_and_an_empty_one_is_left_out() -> None:
    long = rehearse(ScriptedChat(lambda messages: "word " * 500), 1)
    assert not long[0].whole
    assert rehearse(ScriptedChat(lambda messages: "…"), 2) == []


def test_a_run_that_goes_on_rehearses_the_same(tmp_path: Path) -> None:
    path = tmp_path / "rehearsal.jsonl"
    assert kept(path) is None
    made = [Rehearsed(request="Why?", reply="So.", whole=True)]
    keep(path, made)
    assert kept(path) == made
    keep(path, [])
    assert kept(path) == []


@pytest.mark.parametrize("whole", [True, False])
def test_a_cut_reply_does_not_teach_an_end(whole: bool, tmp_path: Path, tiny_model: object) -> None:
    from llm_twin.training.sft import Encoder

    base = tiny_model(tmp_path / "base")  # type: ignore[operator]
    encoder = Encoder.of(base)
    row = encoder.encode([Message(role="user", content="Why?")], "So it is", whole)
    assert (row["input_ids"][-1] == encoder.end_of_turn) is whole
    assert row["labels"][-1] == row["input_ids"][-1]
