"""A ChatModel on this machine: OpenVINO GenAI over a prepared model folder, in this process or in one of its own.

Token ids come from the model's own tokenizer.json through `prompts`, never from the engine's GGUF tokenizer, which
disagrees with it; `openvino_engine` turns ids into ids. Weights stored as Q8_0 or F16 are read as they are (scores
within 0.05 a token of torch's); the engine rounds Q4_1's offsets, which cost SmolLM2-135M 0.1 to 0.5 a token. Not
covered: GPUs, and models that are not stored as GGUF.
"""

from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from llm_twin.adapters.openvino_apart import EngineApart
from llm_twin.adapters.openvino_engine import Engine, Setup, TokenModel
from llm_twin.adapters.openvino_files import as_draft
from llm_twin.errors import InputError
from llm_twin.models import damage, read_card
from llm_twin.ports import Progress, silent
from llm_twin.prepare import at_four_bits
from llm_twin.prompts import chat_ids, reply_ids
from llm_twin.types import Completion, Message, Sampling, Token


class OpenVinoChat:
    """Serves the folder that `models.pull` or `training.export` made. Threads may share it.

    Streams advance together; a batch, a score and a stream that follows a JSON schema take turns, and streams rest
    meanwhile. `prompt_lookup` lets streams guess; it costs a quarter of the speed where several write at once what
    is in no prompt. `draft` is the folder of a small model of the same vocabulary that guesses in its place. `int4`
    rounds the weights to 4 bits, once. `apart` runs the engine in a process of its own, for servers. Raises
    InputError for a folder that is not a whole model, and for a draft with another vocabulary.
    """

    def __init__(
        self,
        folder: Path,
        name: str | None = None,
        *,
        prompt_lookup: bool = False,
        draft: Path | None = None,
        int4: bool = False,
        apart: bool = False,
    ) -> None:
        card = read_card(folder)
        if reason := damage(folder):  # the engine would take the whole process down with it
            raise InputError(reason, "pull the model again with `twin models pull`, or train the twin again")
        if card.serving is None:
            raise InputError(
                f"{folder} holds no model that OpenVINO GenAI loads", "choose one stored as GGUF"
            )
        self.name, self.context = name or card.name, card.context
        self._stop_ids = list(card.eos_token_ids)
        self._template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        setup = Setup(
            name=self.name,
            weights=at_four_bits(folder, card.serving) if int4 else folder / card.serving,
            stop_ids=tuple(self._stop_ids),
            prompt_lookup=prompt_lookup and draft is None,
            draft=self._drafting(draft) if draft else None,
        )
        self._engine: TokenModel = EngineApart(setup) if apart else Engine(setup)

    def _drafting(self, folder: Path) -> Path:
        """The draft as the engine takes it, whose tokens must be ours."""
        theirs = Tokenizer.from_file(str(folder / "tokenizer.json"))
        if theirs.get_vocab() != self._tokenizer.get_vocab():
            raise InputError(
                f"{folder.name} has another vocabulary than {self.name}, and cannot draft for it",
                "choose a smaller model of the same family for [ask] draft",
            )
        return as_draft(folder)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the rendered prompt."""
        return len(self._ids(messages))

    def generate(
        self, prompts: Sequence[Sequence[Message]], sampling: Sampling, progress: Progress = silent
    ) -> list[Completion]:
        """One completion a prompt, batched. Prompt i is sampled with seed + i, so that the same one twice differs."""
        ids = [self._ids(p) for p in prompts]
        for each in ids:
            self._check_room(len(each), sampling.max_tokens)
        replies = self._engine.write(ids, sampling, progress)
        return [
            self._completion(len(prompt), reply.ids, reply.stopped)
            for prompt, reply in zip(ids, replies, strict=True)
        ]

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Generator[str, None, Completion]:
        """Pieces of text as they come; closing the generator cancels the request before the next step."""
        written, asked, wrote = (
            DecodeStream(skip_special_tokens=True),
            self._asked(messages, sampling),
            list[int](),
        )
        with closing(self._engine.stream(asked, sampling, told=False)) as made:
            for ids, _ in made:
                wrote += ids
                if piece := "".join(self._added(written, i) for i in ids):
                    yield piece
        return self._streamed(len(asked), wrote, sampling)

    def tokens(self, messages: Sequence[Message], sampling: Sampling) -> Generator[Token, None, Completion]:
        """What `stream` writes, a token at a time with its probability, without the end of the turn."""
        written, asked, wrote = (
            DecodeStream(skip_special_tokens=True),
            self._asked(messages, sampling),
            list[int](),
        )
        with closing(self._engine.stream(asked, sampling, told=True)) as made:
            for ids, scores in made:
                wrote += ids
                for i, score in zip(ids, scores, strict=True):
                    if i not in self._stop_ids:
                        yield Token(text=self._added(written, i), log_probability=score)
        return self._streamed(len(asked), wrote, sampling)

    def warm(self) -> None:
        """Load the weights and run the engine once, so that the first question does not wait for it."""
        for _ in self.stream([Message(role="user", content="?")], Sampling(max_tokens=1, temperature=0)):
            pass

    def score(
        self, prompts: Sequence[Sequence[Message]], responses: Sequence[str], progress: Progress = silent
    ) -> list[NDArray[np.float64]]:
        """Natural-log probability of each response token given all before it, end of turn included."""
        heads = [self._ids(p) for p in prompts]
        tails = [reply_ids(self._tokenizer, r, self._stop_ids[0]) for r in responses]
        for head, tail in zip(heads, tails, strict=True):
            self._check_room(len(head) + len(tail), 1)
        scores = self._engine.score(list(zip(heads, tails, strict=True)), progress)
        return [np.array(each, np.float64) for each in scores]

    def close(self) -> None:
        """Free the weights; streams that are being written are let finish first."""
        self._engine.close()

    def _asked(self, messages: Sequence[Message], sampling: Sampling) -> list[int]:
        ids = self._ids(messages)
        self._check_room(len(ids), sampling.max_tokens)
        return ids

    def _ids(self, messages: Sequence[Message]) -> list[int]:
        return chat_ids(self._tokenizer, self._template, messages)

    def _check_room(self, prompt: int, reply: int) -> None:
        if prompt + reply > self.context:
            raise InputError(
                f"{prompt} prompt tokens and {reply} for the reply do not fit {self.name}'s {self.context}",
                "retrieve fewer passages, shorten the question, or ask for a shorter answer",
            )

    def _streamed(self, prompt: int, ids: Sequence[int], sampling: Sampling) -> Completion:
        """Of a stream: it was cut where it wrote all that it might and no end of the turn."""
        cut = len(ids) >= sampling.max_tokens and ids[-1] not in self._stop_ids
        return self._completion(prompt, ids, stopped=not cut)

    def _completion(self, prompt: int, ids: Sequence[int], stopped: bool) -> Completion:
        return Completion(
            text=self._text(ids).strip(),
            prompt_tokens=prompt,
            completion_tokens=len(ids),
            finish="stop" if stopped else "length",
        )

    def _added(self, written: DecodeStream, token: int) -> str:
        """What `token` adds to the text. A character can span tokens: until it is whole, nothing."""
        return "" if token in self._stop_ids else written.step(self._tokenizer, token) or ""

    def _text(self, ids: Sequence[int]) -> str:
        return str(
            self._tokenizer.decode([i for i in ids if i not in self._stop_ids], skip_special_tokens=True)
        )
