"""A chat model that is watched while it writes: what it read and wrote, why it ended, and where it has to stop."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import cast

import numpy as np
from numpy.typing import NDArray

from llm_twin.errors import InputError
from llm_twin.ports import ChatModel, Progress, silent
from llm_twin.serving.protocol import Finish, Usage
from llm_twin.types import Completion, Message, Sampling, Token


class Watched:
    """A ChatModel for one answer: `model`, ending at the first of `stops`, which is not part of the text."""

    def __init__(self, model: ChatModel, stops: Sequence[str] = ()) -> None:
        self.name, self.context = model.name, model.context
        self._model, self._stops = model, stops
        self._read, self._most, self._text = 0, 0, ""

    @property
    def asked(self) -> bool:
        """Whether the model was asked at all."""
        return self._most > 0

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the rendered prompt."""
        return self._model.count_tokens(messages)

    def generate(
        self, prompts: Sequence[Sequence[Message]], sampling: Sampling, progress: Progress = silent
    ) -> list[Completion]:
        """As the model does, unwatched."""
        return self._model.generate(prompts, sampling, progress)

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[str]:
        """Pieces of text up to a stop; closing the iterator stops the model."""
        self._read, self._most = self._model.count_tokens(messages), sampling.max_tokens
        pieces = cast(Generator[str, None, None], self._model.stream(messages, sampling))
        with closing(pieces):
            yield from until(self._heard(pieces), self._stops)

    def tokens(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[Token]:
        """The same as `stream`, a token at a time with its probability. InputError for a model that tells none."""
        if not hasattr(self._model, "tokens"):
            raise InputError(f"{self.name} does not tell how probable its words are", "ask without logprobs")
        self._read, self._most = self._model.count_tokens(messages), sampling.max_tokens
        with closing(cast(Generator[Token, None, None], self._model.tokens(messages, sampling))) as tokens:
            for token in tokens:
                self._text += token.text
                yield token

    def score(
        self, prompts: Sequence[Sequence[Message]], responses: Sequence[str], progress: Progress = silent
    ) -> list[NDArray[np.float64]]:
        """As the model does."""
        return self._model.score(prompts, responses, progress)

    def close(self) -> None:
        """Nothing: the model serves others."""

    def usage(self) -> Usage:
        """Tokens read and written, a stop that was cut off included."""
        written = self._written()
        return Usage(prompt_tokens=self._read, completion_tokens=written, total_tokens=self._read + written)

    def finish(self) -> Finish:
        """Why the model ended."""
        stopped = any(stop in self._text for stop in self._stops)
        return "length" if not stopped and self._written() >= self._most else "stop"

    def _heard(self, pieces: Iterator[str]) -> Iterator[str]:
        for piece in pieces:
            self._text += piece
            yield piece

    def _written(self) -> int:
        """Tokens of the text: a turn with it, less a turn without."""
        with_it, without = (
            self._model.count_tokens([Message(role="user", content=text)]) for text in (self._text, "")
        )
        return with_it - without


def until(pieces: Iterator[str], stops: Sequence[str]) -> Iterator[str]:
    """The text up to the first of `stops`; what may be the beginning of one is held back until it is clear."""
    held = ""
    for piece in pieces:
        held += piece
        ends = [at for stop in stops if (at := held.find(stop)) >= 0]
        if ends:
            held = held[: min(ends)]
            break
        clear = len(held) - _begun(held, stops)
        if clear:
            yield held[:clear]
            held = held[clear:]
    if held:
        yield held


def _begun(text: str, stops: Sequence[str]) -> int:
    """The length of the longest end of `text` with which a stop begins."""
    most = min(len(text), max(map(len, stops), default=0))
    return next((n for n in range(most, 0, -1) if any(s.startswith(text[-n:]) for s in stops)), 0)
