"""Rehearsal: what the base model says to everyday requests, learnt again beside the author's text.

A model that learns nothing but one author's passages forgets how to answer. Old tasks rehearsed during fine-tuning
keep them (Scialom et al. 2022), and a model can write its own rehearsal (Huang et al. 2024): no data of anyone else's
is needed. Requests are asked without the twin's system prompt, so the voice stays tied to that prompt. Not covered:
what no request here is like.
"""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from llm_twin.files import write_lines
from llm_twin.ports import ChatModel, Progress, silent
from llm_twin.text import words
from llm_twin.types import Message, Sampling, Value

_TOKENS = 96
_TEMPERATURE = 0.7


class Rehearsed(Value):
    """A request and the base model's reply; `whole` is false where the reply was cut at the most tokens."""

    request: str
    reply: str
    whole: bool


def requests() -> list[str]:
    """The everyday requests that ship with the package, in order."""
    text = (files("llm_twin.training") / "requests.txt").read_text(encoding="utf-8")
    paragraphs = text.strip().split("\n\n")
    found: list[str] = []
    for paragraph in paragraphs:
        if paragraph.startswith(("A. ", "Reply with")):  # goes on with the request before it
            found[-1] += f"\n\n{paragraph}"
        else:
            found.append(paragraph)
    return found


def how_many(samples: int, share: float) -> int:
    """How many rehearsed replies beside `samples` make up `share` of both together."""
    return round(samples * share / (1 - share))


def rehearse(model: ChatModel, count: int, seed: int = 0, progress: Progress = silent) -> list[Rehearsed]:
    """`count` replies of `model`, a request each; over the number of requests, they are asked again for other replies.

    Fewer come back where the model wrote nothing.
    """
    known, found = requests(), []
    for again in range(-(-count // len(known))):
        wanted = known[: count - again * len(known)]
        sampling = Sampling(max_tokens=_TOKENS, temperature=_TEMPERATURE, seed=seed + again)
        replies = model.generate([asked(request) for request in wanted], sampling, progress)
        found += [
            Rehearsed(request=request, reply=reply.text.strip(), whole=reply.finish == "stop")
            for request, reply in zip(wanted, replies, strict=True)
            if words(reply.text)
        ]
    return found


def kept(path: Path) -> list[Rehearsed] | None:
    """What an earlier start of the run rehearsed; None where there was none."""
    if not path.exists():
        return None
    return [Rehearsed.model_validate_json(line) for line in path.read_text(encoding="utf-8").splitlines()]


def keep(path: Path, rehearsed: Sequence[Rehearsed]) -> None:
    """Write what a run rehearses, so that it goes on with the same after a kill."""
    write_lines(path, (each.model_dump_json() for each in rehearsed))


def asked(request: str) -> list[Message]:
    """What the model is asked with: the request alone."""
    return [Message(role="user", content=request)]
