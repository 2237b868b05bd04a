"""The request's rules: what is taken, what is refused, what stands in for what was left out."""

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion
from pydantic import ValidationError

from llm_twin.serving.protocol import ChatRequest, ChatResponse, Choice, Reply, TwinPart, Usage
from llm_twin.types import Sampling

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


def test_an_answer_may_be_sent_back_as_openais_client_dumps_it() -> None:
    twin = TwinPart(found=False, mode="plain")
    usage = Usage(prompt_tokens=1, completion_tokens=1, total_tokens=2)
    choice = Choice(message=Reply(content="Salt.", twin=twin), finish_reason="stop")
    told = ChatResponse(id="a", created=0, model="m", choices=(choice,), usage=usage).model_dump(mode="json")
    dumped = ChatCompletion.model_validate(told).choices[0].message.model_dump()
    assert {"audio", "annotations", "function_call", "tool_calls", "refusal", "twin"} <= dumped.keys()
    for back in (dumped, {**dumped, "tool_calls": [], "annotations": []}):
        assert [turn.content for turn in request(messages=[USER, back, USER]).turns()] == [
            "Why?",
            "Salt.",
            "Why?",
        ]


def test_an_assistant_may_have_said_nothing_and_nobody_else() -> None:
    silent = {"role": "assistant", "content": None}
    assert request(messages=[USER, silent, USER]).turns()[1].content == ""
    for role in ("user", "system", "developer"):
        with pytest.raises(ValidationError, match="content"):
            request(messages=[{"role": role, "content": None}, USER])


@pytest.mark.parametrize(
    "more",
    [
        {"frequency_penalty": 0, "presence_penalty": 0.0, "logit_bias": {}, "n": 1},
        {"stream": None, "tools": [], "tool_choice": "none", "parallel_tool_calls": True},
        {"tool_choice": "auto", "store": False, "metadata": {"a": "b"}, "user": "u"},
        {"response_format": {"type": "text"}, "top_logprobs": 0, "logprobs": False},
        {"frequency_penalty": None, "tools": None, "tool_choice": None, "logit_bias": None, "store": None},
        {"messages": [{**USER, "name": "ada"}]},
    ],
)
def test_what_asks_for_nothing_changes_nothing(more: dict[str, Any]) -> None:
    plain, asked = request(seed=1), request(seed=1, **more)
    assert asked.turns() == plain.turns() and not asked.stream
    assert asked.sampling(Sampling()) == plain.sampling(Sampling())


def test_a_seed_that_is_given_is_kept_and_one_that_is_not_is_drawn() -> None:
    assert {request(seed=7).sampling(Sampling()).seed for _ in range(9)} == {7}
    assert request(seed=0).sampling(Sampling()).seed == 0
    drawn = {request().sampling(Sampling()).seed for _ in range(50)}
    assert len(drawn) > 40 and all(0 <= seed < 2**32 for seed in drawn)


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
    free = json.loads(request(response_format={"type": "json_object"}).schema_text() or "")
    assert free == {"type": "object", "additionalProperties": True}


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
        {"response_format": {"type": "json_object", "json_schema": {"name": "a", "schema": {}}}},
        {"messages": [{**USER, "tool_calls": [{}]}]},
        {"messages": [{**USER, "function_call": {}}]},
        {"frequency_penalty": 0.5},
        {"presence_penalty": -0.5},
        {"logit_bias": {"50256": -100}},
        {"tool_choice": "required"},
        {"store": True},
        {"seed": -1},
        {"top_p": 0},
        {"tools": [{}]},
    ],
)
def test_what_cannot_be_honoured_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        request(**more)
