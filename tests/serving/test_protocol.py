"""The request's rules: what is taken, what is refused, what stands in for what was left out."""

from typing import Any

import pytest
from pydantic import ValidationError

from llm_twin.serving.protocol import ChatRequest

USER = {"role": "user", "content": "Why?"}


def request(**more: Any) -> ChatRequest:
    return ChatRequest.model_validate({"messages": [USER], **more})


def test_parts_and_developers_are_understood() -> None:
    parts = [{"type": "text", "text": "Why "}, {"type": "text", "text": "grease?"}]
    asked = request(
        messages=[{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}]
    )
    assert [(turn.role, turn.content) for turn in asked.turns()] == [
        ("system", "Be brief."),
        ("user", "Why grease?"),
    ]


def test_an_answer_may_be_sent_back_as_it_came() -> None:
    back = {"role": "assistant", "content": "Salt.", "refusal": None, "twin": {"found": True}}
    assert len(request(messages=[USER, back, USER]).turns()) == 3


def test_defaults_and_limits() -> None:
    assert request().most_tokens(256) == 256
    assert request(max_tokens=5).most_tokens(256) == 5
    assert request(max_completion_tokens=6).most_tokens(256) == 6
    assert request(stop="a").stops() == ("a",)
    assert request(stop=["a", "b"]).stops() == ("a", "b")


def test_a_schema_is_passed_on_as_json() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    assert request(response_format=form).schema_text() == '{"type": "object"}'
    assert request(response_format={"type": "text"}).schema_text() is None


@pytest.mark.parametrize(
    "more",
    [
        {"messages": []},
        {"messages": [{"role": "assistant", "content": "Salt."}]},
        {"messages": [{"role": "tool", "content": "Salt."}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        {"max_tokens": 1, "max_completion_tokens": 1},
        {"stream_options": {"include_usage": True}},
        {"stop": ["a"] * 5},
        {"stop": ""},
        {"response_format": {"type": "json_schema"}},
        {"response_format": {"type": "json_object"}},
        {"seed": -1},
        {"top_p": 0},
        {"tools": [{}]},
    ],
)
def test_what_cannot_be_honoured_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        request(**more)
