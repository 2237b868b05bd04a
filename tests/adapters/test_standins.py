"""The stand-ins do what they say, so that a test that leans on them means something."""

import math
import subprocess
import sys

import numpy as np
import pytest

from llm_twin.adapters.standins import HashEmbedder, ScriptedChat, echo
from llm_twin.errors import InputError, TwinError
from llm_twin.ports import ChatModel, Embedder
from llm_twin.types import Message, Sampling


def ask(text: str) -> list[Message]:
    return [Message(role="system", content="Be brief."), Message(role="user", content=text)]


def test_they_are_what_the_ports_ask_for() -> None:
    embedder: Embedder = HashEmbedder()
    chat: ChatModel = ScriptedChat(echo)
    assert (embedder.name, chat.name) == ("hash-64", "scripted")


def test_a_hash_is_the_same_in_every_process() -> None:
    code = (
        "from llm_twin.adapters.standins import HashEmbedder as H; print(H().embed(['Owls hunt.']).tolist())"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == str(HashEmbedder().embed(["Owls hunt."]).tolist())


def test_order_and_case_of_words_do_not_matter_to_a_bag() -> None:
    one, other = HashEmbedder().embed(["owls HUNT mice", "Mice hunt owls"])
    assert np.array_equal(one, other)


def test_a_chat_answers_from_its_script_in_order() -> None:
    chat = ScriptedChat(lambda messages: f"You said: {messages[-1].content}")
    done = chat.generate([ask("one"), ask("two")], Sampling())
    assert [c.text for c in done] == ["You said: one", "You said: two"]
    assert done[0].finish == "stop"
    assert (done[0].prompt_tokens, done[0].completion_tokens) == (chat.count_tokens(ask("one")), 3)


def test_an_answer_is_cut_at_max_tokens_and_says_so() -> None:
    (done,) = ScriptedChat(echo).generate([ask("one two  three four")], Sampling(max_tokens=3))
    assert (done.text, done.finish, done.completion_tokens) == ("one two  three", "length", 3)


def test_a_stream_is_the_completion_in_pieces() -> None:
    chat = ScriptedChat(echo)
    pieces = list(chat.stream(ask("one\n\ntwo  three"), Sampling()))
    assert len(pieces) == 3
    assert "".join(pieces) == "one\n\ntwo  three"


def test_scores_follow_the_rule_that_the_docstring_states() -> None:
    (scores,) = ScriptedChat(echo).score([ask("owls hunt")], ["owls sleep"])
    assert scores.tolist() == pytest.approx([math.log(1 / 2), math.log(1 / 8), 0.0])


def test_a_prompt_that_leaves_no_room_is_refused() -> None:
    with pytest.raises(InputError, match="do not fit 20"):
        ScriptedChat(echo, context=20).generate([ask("word " * 18)], Sampling(max_tokens=5))


def test_a_closed_chat_says_so() -> None:
    chat = ScriptedChat(echo)
    chat.close()
    chat.close()
    with pytest.raises(TwinError, match="closed"):
        chat.generate([ask("one")], Sampling())
    with pytest.raises(TwinError, match="closed"):
        chat.score([ask("one")], ["one"])
