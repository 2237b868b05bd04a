"""Stand-ins for the ports that need a model, for tests: quick, deterministic, and honest about what they are.

They ship with the package so that whoever writes a stage or an adapter can test it without a download. They
are no defaults: nothing chooses one unless told to. Not covered: quality; what they return means nothing.
"""

import hashlib
import re
from collections.abc import Callable, Generator, Sequence

import numpy as np
from numpy.typing import NDArray

from llm_twin.errors import InputError, TwinError
from llm_twin.ports import Progress, Vectors, silent
from llm_twin.types import Completion, Message, Sampling, Token

_TOKEN = re.compile(r"\w+|[^\w\s]")
_PIECE = re.compile(r"\s*\S+")
_SPECIAL = 2

Script = Callable[[Sequence[Message]], str]


class HashEmbedder:
    """An Embedder that hashes words into a bag: texts that share words are near, and that is all it knows.

    A token is a word or a punctuation mark; two more for the special ones that real models add. A text
    without tokens is the first axis, so that every text has a vector of length 1.
    """

    def __init__(self, dimension: int = 64, window: int = 256) -> None:
        self.name, self.dimension, self.window = f"hash-{dimension}", dimension, window

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        """Character offsets of each token of `text`."""
        return [found.span() for found in _TOKEN.finditer(text)]

    def embed(self, texts: Sequence[str], progress: Progress = silent) -> Vectors:
        """Shape (len(texts), dimension); InputError for a text over the window."""
        rows = np.zeros((len(texts), self.dimension), np.float32)
        for i, text in enumerate(texts):
            rows[i] = self._row(text)
            progress(i + 1, len(texts), self.name)
        return rows

    def token_vectors(self, texts: Sequence[str], progress: Progress = silent) -> list[Vectors]:
        """One array a text: a token's row is its axis, whatever stands around it."""
        found = []
        for i, text in enumerate(texts):
            rows = np.zeros((len(words := self._words(text)), self.dimension), np.float32)
            for row, word in zip(rows, words, strict=True):
                number = _number(word)
                row[number % self.dimension] = 1 if number >> 32 & 1 else -1
            found.append(rows)
            progress(i + 1, len(texts), self.name)
        return found

    def _words(self, text: str) -> list[str]:
        words = [word.lower() for word in _TOKEN.findall(text)]
        if len(words) + _SPECIAL > self.window:
            raise InputError(f"a text of {len(words) + _SPECIAL} tokens is over the window of {self.window}")
        return words

    def _row(self, text: str) -> Vectors:
        words = self._words(text)
        row = np.zeros(self.dimension, np.float32)
        for word in words:
            number = _number(word)
            row[number % self.dimension] += 1 if number >> 32 & 1 else -1
        length = float(np.linalg.norm(row))
        if length == 0:  # no words, or words that cancel out
            row[0] = length = 1
        return row / np.float32(length)


class ScriptedChat:
    """A ChatModel that says what `script` returns for the messages; `ScriptedChat(echo)` repeats the question.

    A token is a word with the white space before it. An answer is cut at `max_tokens`. It scores a token 1/2
    where the prompt has that word, 1/8 where not, and the end of the turn 1.
    """

    def __init__(self, script: Script, name: str = "scripted", context: int = 4096) -> None:
        self.name, self.context = name, context
        self._script = script
        self._closed = False

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Words of the messages, one more each for the role, and one for the turn to come."""
        return 1 + sum(1 + len(_PIECE.findall(message.content)) for message in messages)

    def generate(
        self, prompts: Sequence[Sequence[Message]], sampling: Sampling, progress: Progress = silent
    ) -> list[Completion]:
        """One completion a prompt, in order; `sampling` decides its length alone."""
        completions = []
        for i, messages in enumerate(prompts):
            completions.append(self._complete(messages, sampling))
            progress(i + 1, len(prompts), self.name)
        return completions

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Generator[str, None, Completion]:
        """The completion's tokens, one by one, and the completion."""
        done = self._complete(messages, sampling)
        yield from _PIECE.findall(done.text)
        return done

    def tokens(self, messages: Sequence[Message], sampling: Sampling) -> Generator[Token, None, Completion]:
        """The same, each token with the log of the rule above."""
        done = self._complete(messages, sampling)
        for piece in _PIECE.findall(done.text):
            (scores,) = self.score([messages], [piece])
            yield Token(text=piece, log_probability=float(scores[0]))
        return done

    def score(
        self, prompts: Sequence[Sequence[Message]], responses: Sequence[str], progress: Progress = silent
    ) -> list[NDArray[np.float64]]:
        """Natural logs of the rule above, one for each word of a response and one for the end of the turn."""
        self._check_open()
        scores = []
        for i, (messages, response) in enumerate(zip(prompts, responses, strict=True)):
            known = {word for message in messages for word in message.content.split()}
            odds = [1 / 2 if word in known else 1 / 8 for word in response.split()]
            scores.append(np.log(np.array([*odds, 1.0])))
            progress(i + 1, len(prompts), self.name)
        return scores

    def close(self) -> None:
        """From now on it raises, as a model that was freed would."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise TwinError(f"{self.name} was closed")

    def _complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        self._check_open()
        prompt = self.count_tokens(messages)
        if prompt + sampling.max_tokens > self.context:
            raise InputError(
                f"{prompt} prompt tokens and {sampling.max_tokens} for the reply do not fit {self.context}"
            )
        pieces = _PIECE.findall(self._script(messages).strip())
        kept = pieces[: sampling.max_tokens]
        return Completion(
            text="".join(kept),
            prompt_tokens=prompt,
            completion_tokens=len(kept),
            finish="stop" if len(kept) == len(pieces) else "length",
        )


def echo(messages: Sequence[Message]) -> str:
    """A script for ScriptedChat: the last message again."""
    return messages[-1].content


def _number(word: str) -> int:
    """The same 64 bits for a word in every process, which Python's own hash does not give."""
    return int.from_bytes(hashlib.blake2b(word.encode(errors="replace"), digest_size=8).digest())
