"""Follow-ups: what the model is shown, what is taken of its reply, and what is done where there is none."""

import json
from collections.abc import Sequence

import pytest

from llm_twin.adapters.standins import ScriptedChat
from llm_twin.inference.followup import leaning, standalone
from llm_twin.types import Message

TURNS = [
    Message(role="user", content="What do barn owls hunt?"),
    Message(role="assistant", content="Voles, over wet meadows. [1]"),
]


def test_the_model_reads_the_talk_without_citations_and_its_wording_is_taken() -> None:
    heard: list[Sequence[Message]] = []

    def say(messages: Sequence[Message]) -> str:
        heard.append(messages)
        return json.dumps({"question": "Do barn owls hunt voles at night?"})

    found = standalone("And at night?", TURNS, ScriptedChat(say))
    assert (found.question, found.refused) == ("Do barn owls hunt voles at night?", "")
    said = heard[0][-1].content
    assert said.splitlines() == [
        "Asker: What do barn owls hunt?",
        "Author: Voles, over wet meadows.",
        "Asker: And at night?",
    ]


@pytest.mark.parametrize("reply", ['{"question": "cut', "[]", '{"question": "?!"}', "null"])
def test_a_broken_reply_is_told_and_the_question_leans_on_the_one_before(reply: str) -> None:
    found = standalone("And at night?", TURNS, ScriptedChat(lambda messages: reply))
    assert found.refused
    assert found.question == leaning("And at night?", TURNS) == "What do barn owls hunt?\nAnd at night?"


def test_the_last_turns_alone_are_shown_and_long_ones_are_shortened() -> None:
    heard: list[str] = []

    def say(messages: Sequence[Message]) -> str:
        heard.append(messages[-1].content)
        return '{"question": "What?"}'

    turns = [Message(role="user", content=f"number {i} " + "long " * 300) for i in range(9)]
    standalone("Why?", turns, ScriptedChat(say))
    assert "number 8" in heard[0] and "number 4 " not in heard[0] and len(heard[0]) < 2000
