"""The questions that a judge is asked and how its replies are read: prompts, JSON schemas, one batch at a time.

A reply counts when it is the JSON that was asked for and nothing else; all others are None, never repaired.
Not covered: servers that shorten a reply to fit; a reason that runs past the limit leaves no whole JSON.
"""

import json
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError

from llm_twin import prompts
from llm_twin.ports import ChatModel, Progress, silent
from llm_twin.types import Message, Sampling, Value

Passages = tuple[str, str]
_UNKNOWN = "(nothing is known of it)"
_REASON = {"type": "string", "maxLength": 120}
# Longer costs more than it tells: at 300 characters the grammar alone kept OpenVINO busy for a minute, at 120 for
# seconds. Without a limit a small model's reason runs on until nothing of the verdict is left.
_MAX_TOKENS = 160


class Score(Value):
    """1 poor, 2 fair, 3 good."""

    reason: str
    score: int = Field(strict=True, ge=1, le=3)


class Pair(Value):
    """Which of two replies is better, by the place it was shown in."""

    reason: str
    better: Literal["A", "B", "tie"]


_Reply = TypeVar("_Reply", Score, Pair)


def _schema(name: str, values: dict[str, Any]) -> str:
    return json.dumps(
        {
            "type": "object",
            "properties": {"reason": _REASON, name: values},
            "required": ["reason", name],
            "additionalProperties": False,
        }
    )


SCORE_SCHEMA = _schema("score", {"type": "integer", "enum": [1, 2, 3]})
PAIR_SCHEMA = _schema("better", {"type": "string", "enum": ["A", "B", "tie"]})


def accuracy(instruction: str, reference: str, text: str) -> list[Message]:
    """Is `text` right and whole? `reference` is what the author wrote on the instruction; "" where that is unknown."""
    return prompts.conversation(
        "judge_accuracy.v1", instruction=instruction, reference=reference or _UNKNOWN, text=text
    )


def style(passages: Passages, text: str) -> list[Message]:
    """Does `text` sound like the author of `passages`?"""
    return prompts.conversation("judge_style.v1", first=passages[0], second=passages[1], text=text)


def pair(instruction: str, passages: Passages, a: str, b: str) -> list[Message]:
    """Which of `a` and `b` would the author of `passages` rather sign?"""
    return prompts.conversation(
        "judge_pair.v1", instruction=instruction, first=passages[0], second=passages[1], a=a, b=b
    )


def replies(
    model: ChatModel,
    asked: Sequence[Sequence[Message]],
    schema: str,
    temperature: float = 0.0,
    seed: int = 0,
    progress: Progress = silent,
) -> list[str]:
    """What the judge replies, in one batch; prompt i is sampled with seed + i."""
    sampling = Sampling(max_tokens=_MAX_TOKENS, temperature=temperature, seed=seed, json_schema=schema)
    return [reply.text for reply in model.generate(asked, sampling, progress)]


def read_score(text: str) -> Score | None:
    """The score of a reply; None for anything but the format."""
    return _read(Score, text)


def read_pair(text: str) -> Pair | None:
    """The verdict of a reply; None for anything but the format."""
    return _read(Pair, text)


def _read(kind: type[_Reply], text: str) -> _Reply | None:
    try:
        return kind.model_validate_json(text)
    except ValidationError:
        return None
