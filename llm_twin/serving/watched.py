"""A chat model that is watched while it writes: what it read and wrote, why it ended, and where it has to stop.

How many tokens those were is what the model says itself; only of a text that was cut short here it says nothing, and
that is counted.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from llm_twin.errors import InputError
from llm_twin.ports import ChatModel, Progress, TellingModel, silent
from llm_twin.serving.protocol import Finish, Usage
from llm_twin.types import Completion, Message, Sampling, Token

_Piece = TypeVar("_Piece", str, Token)


class Watched:
    """A ChatModel for one answer: `model`, ending at the first of `stops`, which is not part of the text."""

    def __init__(self, model: ChatModel, stops: Sequence[str] = ()) -> None:
        self.name, self.context = model.name, model.context
        self._model, self._stops = model, stops
        self._prompt: Sequence[Message] | None = None
        self._text = ""
        self._done: Completion | None = None

    @property
    def asked(self) -> bool:
        """Whether the model was asked at all."""
        return self._prompt is not None

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the rendered prompt."""
        return self._model.count_tokens(messages)

    def generate(
        self, prompts: Sequence[Sequence[Message]], sampling: Sampling, progress: Progress = silent
    ) -> list[Completion]:
        """As the model does, unwatched."""
        return self._model.generate(prompts, sampling, progress)

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Generator[str, None, Completion]:
        """Pieces of text up to a stop; closing the generator stops the model."""
        self._prompt = messages
        with closing(self._model.stream(messages, sampling)) as pieces:
            yield from until(self._heard(pieces), self._stops)
        return self.completion()

    def tokens(self, messages: Sequence[Message], sampling: Sampling) -> Generator[Token, None, Completion]:
        """The same as `stream`, a token at a time with its probability. InputError for a model that tells none."""
        if not hasattr(self._model, "tokens"):
            raise InputError(f"{self.name} does not tell how probable its words are", "ask without logprobs")
        self._prompt = messages
        with closing(cast(TellingModel, self._model).tokens(messages, sampling)) as tokens:
            yield from self._heard(tokens)
        return self.completion()

    def score(
        self, prompts: Sequence[Sequence[Message]], responses: Sequence[str], progress: Progress = silent
    ) -> list[NDArray[np.float64]]:
        """As the model does."""
        return self._model.score(prompts, responses, progress)

    def close(self) -> None:
        """Nothing: the model serves others."""

    def completion(self) -> Completion:
        """What was written: as the model says, or, where it was stopped here, counted, with a stop that was cut off."""
        if self._done is None:
            self._done = Completion(
                text=self._text,
                prompt_tokens=self._model.count_tokens(self._prompt or ()),
                completion_tokens=self._written(),
                finish="stop",
            )
        return self._done

    def usage(self) -> Usage:
        """Tokens read and written."""
        done = self.completion()
        read, wrote = done.prompt_tokens, done.completion_tokens
        return Usage(prompt_tokens=read, completion_tokens=wrote, total_tokens=read + wrote)

    def finish(self) -> Finish:
        """Why the model ended."""
        told = self.completion().finish
        return "length" if told == "length" else "content_filter" if told == "content_filter" else "stop"

    def _heard(self, pieces: Generator[_Piece, None, Completion]) -> Iterator[_Piece]:
        """`pieces` as they come, noted; and what the model returns, should it come to its end."""

        def whole() -> Iterator[_Piece]:
            self._done = yield from pieces

        for piece in whole():
            self._text += piece.text if isinstance(piece, Token) else piece
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
