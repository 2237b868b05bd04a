"""How a server's tokens are counted: by its tokenizer, its layout, or a bound; and what is asked for but once."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from llm_twin.adapters.chat_http import HttpChat
from llm_twin.adapters.standins import ScriptedChat, echo
from llm_twin.adapters.token_bound import most_tokens
from llm_twin.types import Message

pytestmark = pytest.mark.enable_socket


def ask(text: str) -> list[Message]:
    return [Message(role="user", content=text)]


@pytest.fixture
def server(openai_server: Callable[..., Any]) -> Any:
    return openai_server(ScriptedChat(echo, name="parrot"))


def asked_for(server: Any, path: str) -> int:
    return [each for each, _ in server.asked].count(path)


def test_a_server_with_a_tokenizer_counts_and_short_turns_are_asked_for_once(server: Any) -> None:
    chat, passage = HttpChat(server.url), ask("Salt gets into every bearing.")
    assert chat.count_tokens(passage) == chat.count_tokens(passage) == server.model.count_tokens(passage)
    assert asked_for(server, "/tokenize") == 1
    for whole in (passage * 2, ask("word " * 3000)):
        for _ in range(2):
            assert chat.count_tokens(whole) == server.model.count_tokens(whole)
    assert asked_for(server, "/tokenize") == 5, "whole conversations, and what is long, are not kept"


def test_without_a_tokenizer_tokens_are_bounded_and_no_completion_is_bought(server: Any) -> None:
    server.without = {"/tokenize"}
    chat, messages = HttpChat(server.url), ask("How many words are these?")
    for _ in range(2):
        found = chat.count_tokens(messages)
        assert found == most_tokens(messages) > server.model.count_tokens(messages)
    assert asked_for(server, "/tokenize") == 1, "what is not there is asked for once"
    assert asked_for(server, "/v1/chat/completions") == 0


def test_a_refused_count_is_not_remembered(server: Any) -> None:
    chat, messages = HttpChat(server.url), ask("Hello.")
    server.faults = [(400, {}, json.dumps({"error": "no"}).encode())] * 2
    assert chat.count_tokens(messages) == most_tokens(messages)
    assert chat.count_tokens(ask("Hello there.")) == server.model.count_tokens(ask("Hello there."))
