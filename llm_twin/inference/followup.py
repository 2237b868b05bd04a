"""Follow-up questions: "And when did that end?" made to stand alone, so that a search can find what it is about.

The chat model rewrites it from the turns before; what it writes is searched for and never shown as the question.
A model of 0.5B parameters does this too badly to be of use (docs/log.md), so it is off by default.
Not covered: follow-ups whose meaning lies further back than the turns given.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from llm_twin import prompts
from llm_twin.inference.cite import without_citations
from llm_twin.ports import ChatModel
from llm_twin.text import words
from llm_twin.types import Message, Sampling

STANDALONE_PROMPT = "standalone.v1"
_TURNS = 4
_LONGEST_TURN = 400
_LONGEST = 300
_SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"question": {"type": "string", "minLength": 3, "maxLength": _LONGEST}},
        "required": ["question"],
        "additionalProperties": False,
    }
)


@dataclass(frozen=True)
class Standalone:
    """What to search for; `refused` says why the model's wording was not taken, "" where it was."""

    question: str
    refused: str = ""


def leaning(question: str, turns: Sequence[Message]) -> str:
    """A follow-up together with the question before it: what needs no model."""
    asked = [turn.content for turn in turns if turn.role == "user"]
    return "\n".join([*asked[-1:], question])


def standalone(question: str, turns: Sequence[Message], model: ChatModel) -> Standalone:
    """`question` as it would be asked without the turns before it, by `model` at temperature 0.

    Where the model gives none, the question leans on the one before it (see `leaning`), and `refused` says so.
    """
    talk = "\n".join(map(_line, turns[-_TURNS:]))
    asked = prompts.conversation(STANDALONE_PROMPT, talk=talk, question=question)
    sampling = Sampling(max_tokens=100, temperature=0, json_schema=_SCHEMA)
    reply = model.generate([asked], sampling)[0].text
    try:
        written = str(json.loads(reply)["question"]).strip()
    except (ValueError, KeyError, TypeError):
        return Standalone(leaning(question, turns), f"the reply is no whole JSON: {reply[:60]!r}")
    if not words(written):
        return Standalone(leaning(question, turns), "the reply has no words")
    return Standalone(written)


def _line(turn: Message) -> str:
    said = " ".join(without_citations(turn.content).split())[:_LONGEST_TURN]
    return f"{'Asker' if turn.role == 'user' else 'Author'}: {said}"
