"""The stand-in engine of the load test: it writes at a steady pace, so that what is over is the server's part."""

import time
from collections.abc import Generator, Sequence
from pathlib import Path

from llm_twin.adapters.standins import ScriptedChat
from llm_twin.types import Completion, Message, Sampling

WORDS, SECONDS_A_WORD = 30, 0.02
ENDLESS = "go-on-and-on"
"""No passage of the corpus holds this."""


class Paced(ScriptedChat):
    """The first word at once, the others one after the other."""

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Generator[str, None, Completion]:
        """`WORDS` words; a question with ENDLESS in it goes on for a quarter of an hour."""
        many = 50_000 if ENDLESS in messages[-1].content else WORDS
        for number in range(many):
            if number:
                time.sleep(SECONDS_A_WORD)
            yield f"word{number} "
        text = " ".join(f"word{number}" for number in range(many))
        read = self.count_tokens(messages)
        return Completion(text=text, prompt_tokens=read, completion_tokens=many, finish="stop")


def open_chat(folder: Path) -> Paced:
    """What `[adapters] chat` names."""
    return Paced(lambda messages: "word " * WORDS, context=32_768)
