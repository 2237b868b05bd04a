"""A ChatModel in this process: OpenVINO GenAI's continuous batching over a prepared model folder.

Token ids come from the model's own tokenizer.json through `prompts`, never from the engine's GGUF
tokenizer, which disagrees with it. Streams are written side by side (`openvino_streams`) and share a prefix
cache, for a quick first token; batches and scores run without one, because what the cache holds shifts the last
bits of a result and leaves out log probabilities. Streams may guess their next words from the prompt (prompt lookup
decoding, Saxena 2023): the model reads several words at once and keeps those that it would have written. Reading
several shifts the last bits too, so such a stream may part from a batch where two words are as likely. Weights stored
as Q8_0 or F16 are read as they are (scores within 0.05 a token of torch's); the engine rounds Q4_1's offsets, which
cost SmolLM2-135M 0.1 to 0.5 a token. Not covered: GPUs, and models that are not stored as GGUF.
"""

import re
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import openvino as ov
import openvino_genai as genai
from numpy.typing import NDArray
from tokenizers import Tokenizer

from llm_twin.adapters.openvino_streams import Made, Streams, read
from llm_twin.errors import InputError, TwinError
from llm_twin.models import damage, read_card
from llm_twin.ports import Progress, silent
from llm_twin.prompts import chat_ids, reply_ids
from llm_twin.types import Completion, Message, Sampling, Token

_CACHE_GB = 1
_BATCH_TOKENS = 512
_GUESSED, _ALIKE = 3, 3
"""Prompt lookup: tokens guessed at once, and tokens that must be alike before them (docs/log.md has the figures)."""
_UNFINISHED = "\ufffd"
_Kind = Literal["plain", "caching", "streams"]


class OpenVinoChat:
    """Serves the folder that `models.pull` or `training.export` made. Threads may share it.

    Streams advance together; a batch, a score and a stream that follows a JSON schema take turns, and streams rest
    meanwhile. `prompt_lookup` lets streams guess; it costs a quarter of the speed where several write at once what
    is in no prompt. Raises InputError for a folder that is not a whole model.
    """

    def __init__(self, folder: Path, name: str | None = None, prompt_lookup: bool = False) -> None:
        card = read_card(folder)
        if reason := damage(folder):  # the engine would take the whole process down with it
            raise InputError(reason, "pull the model again with `twin models pull`, or train the twin again")
        if card.serving is None:
            raise InputError(
                f"{folder} holds no model that OpenVINO GenAI loads", "choose one stored as GGUF"
            )
        self.name, self.context = name or card.name, card.context
        self._stop_ids = list(card.eos_token_ids)
        self._weights = folder / card.serving
        self._template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._lock = threading.Lock()
        self._lookup = prompt_lookup
        self._pipelines: dict[_Kind, Any] = {}
        self._together: Streams | None = None
        self._requests = 0
        self._closed = False

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
        with self._lock, _explained(self.name, sampling.json_schema):
            configs = [self._config(sampling, sampling.seed + i) for i in range(len(ids))]
            outputs = self._run(self._pipeline("plain"), ids, configs, progress)
        return [self._completion(len(p), o) for p, o in zip(ids, outputs, strict=True)]

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[str]:
        """Pieces of text as they come; closing the iterator cancels the request before the next step."""
        with closing(self._made(messages, sampling)) as made:
            written = _Written(self._text)
            for ids, _ in made:
                if piece := written.add(ids):
                    yield piece

    def tokens(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[Token]:
        """What `stream` writes, a token at a time with its probability, without the end of the turn."""
        with closing(self._made(messages, sampling, told=True)) as made:
            written = _Written(self._text)
            for ids, scores in made:
                for i, score in zip(ids, scores, strict=True):
                    if i not in self._stop_ids:
                        yield Token(text=written.add([i]), log_probability=score)

    def _made(
        self, messages: Sequence[Message], sampling: Sampling, told: bool = False
    ) -> Generator[Made, None, None]:
        """New tokens as they come, with their probabilities where they are to be `told`."""
        ids = self._ids(messages)
        self._check_room(len(ids), sampling.max_tokens)
        config = self._config(sampling, sampling.seed)
        config.logprobs = int(told)
        alone = sampling.json_schema is not None
        if self._lookup and not alone:
            config.num_assistant_tokens, config.max_ngram_size = _GUESSED, _ALIKE
        made = self._alone(ids, config) if alone else self._streams().tokens(ids, config)
        with (
            closing(cast(Generator[Made, None, None], made)),
            _explained(self.name, sampling.json_schema),
        ):
            yield from made

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
        first: dict[tuple[int, ...], int] = {}
        for i, head in enumerate(heads):
            first.setdefault(tuple(head), i)
        alone = set(first.values())
        rounds = [sorted(alone), [i for i in range(len(heads)) if i not in alone]]
        scores: dict[int, NDArray[np.float64]] = {}
        with self._lock, _explained(self.name):
            # A prompt's later replies find it in the cache; without any, nothing need be kept.
            pipeline = self._pipeline("caching" if rounds[1] else "plain")
            for some in filter(None, rounds):
                read = [(heads[i], tails[i]) for i in some]
                scores |= zip(
                    some, self._read(pipeline, read, len(scores), len(heads), progress), strict=True
                )
        return [scores[i] for i in range(len(heads))]

    def _read(
        self,
        pipeline: Any,
        read: list[tuple[list[int], list[int]]],
        done: int,
        total: int,
        progress: Progress,
    ) -> list[NDArray[np.float64]]:
        """The scores of each reply: the end of what the engine echoes, which leaves out what its cache held.

        Where that was all of a prompt, nothing says how probable the reply's first token is: it is read again
        without the cache, and it alone.
        """
        config = genai.GenerationConfig(max_new_tokens=1, do_sample=False, echo=True, logprobs=1)
        whole = [head + tail for head, tail in read]

        def show(here: int, _: int, note: str) -> None:
            progress(done + here, total, note)

        outputs = self._run(pipeline, whole, [config] * len(whole), show)
        echoed = [np.array(output.generated_log_probs) for output in outputs]
        scores = [found[-1 - len(tail) : -1] for (_, tail), found in zip(read, echoed, strict=True)]
        short = [i for i, (_, tail) in enumerate(read) if len(echoed[i]) <= len(tail)]
        if short:
            again = [read[i] for i in short]
            for i, found in zip(
                short, self._read(self._pipeline("plain"), again, done, total, progress), strict=True
            ):
                scores[i] = found
        return scores

    def close(self) -> None:
        """Free the weights; streams that are being written are let finish first."""
        self._closed = True
        if self._together is not None:
            self._together.wait()
        with self._lock:
            self._together = None
            self._pipelines.clear()

    def _ids(self, messages: Sequence[Message]) -> list[int]:
        return chat_ids(self._tokenizer, self._template, messages)

    def _check_room(self, prompt: int, reply: int) -> None:
        if prompt + reply > self.context:
            raise InputError(
                f"{prompt} prompt tokens and {reply} for the reply do not fit {self.name}'s {self.context}",
                "retrieve fewer passages, shorten the question, or ask for a shorter answer",
            )

    def _pipeline(self, kind: _Kind) -> Any:
        if self._closed:
            raise TwinError(f"{self.name} was closed")
        if kind not in self._pipelines:
            scheduler = genai.SchedulerConfig()
            scheduler.cache_size = _CACHE_GB
            scheduler.enable_prefix_caching = kind != "plain"
            scheduler.max_num_batched_tokens = _BATCH_TOKENS
            try:
                properties = {"prompt_lookup": True} if kind == "streams" and self._lookup else {}
                self._pipelines[kind] = genai.ContinuousBatchingPipeline(
                    str(self._weights), scheduler, "CPU", properties
                )
            except Exception as error:  # of several kinds, such as a C++ map's IndexError
                raise TwinError(
                    f"OpenVINO cannot load {self._weights}: {_reason(error)}",
                    f"check the file with `twin models verify {self.name}`",
                ) from error
        return self._pipelines[kind]

    def _streams(self) -> Streams:
        """What advances the streams; another one after the engine failed."""
        with self._lock:
            if self._together is not None and self._together.failed:
                self._pipelines.pop("streams", None)
                self._together = None
            if self._together is None:
                pipeline = self._pipeline("streams")
                self._together = Streams(pipeline, partial(self._add, pipeline), self._lock)
            if self._closed:
                raise TwinError(f"{self.name} was closed")
            return self._together

    def _alone(self, ids: list[int], config: Any) -> Iterator[Made]:
        """New tokens of a request that takes its turn from the first to the last."""
        with self._lock:
            pipeline = self._pipeline("plain")
            handle = self._add(pipeline, ids, config)
            try:
                while pipeline.has_non_finished_requests() or handle.can_read():
                    if handle.can_read():
                        yield read(handle)
                    else:
                        pipeline.step()
            finally:
                if pipeline.has_non_finished_requests():
                    handle.cancel()
                    pipeline.step()

    def _config(self, sampling: Sampling, seed: int) -> Any:
        config = genai.GenerationConfig(
            max_new_tokens=sampling.max_tokens, do_sample=sampling.temperature > 0
        )
        config.stop_token_ids = set(self._stop_ids)
        config.repetition_penalty = sampling.repetition_penalty
        if config.do_sample:
            config.temperature, config.top_p, config.rng_seed = sampling.temperature, sampling.top_p, seed
        if sampling.json_schema is not None:
            config.structured_output_config = genai.StructuredOutputConfig(json_schema=sampling.json_schema)
        return config

    def _add(self, pipeline: Any, ids: list[int], config: Any) -> Any:
        self._requests += 1
        return pipeline.add_request(self._requests, ov.Tensor(np.array([ids], np.int64)), config)

    def _run(
        self, pipeline: Any, ids: Sequence[list[int]], configs: Sequence[Any], progress: Progress
    ) -> list[Any]:
        handles: list[Any] = []
        outputs: dict[int, Any] = {}
        try:
            for each, config in zip(ids, configs, strict=True):
                handles.append(self._add(pipeline, each, config))
            while pipeline.has_non_finished_requests():
                pipeline.step()
                _take_finished(handles, outputs)
                progress(len(outputs), len(ids), self.name)
        except BaseException:
            _cancel(pipeline, [h for i, h in enumerate(handles) if i not in outputs])
            raise
        _take_finished(handles, outputs)
        if len(outputs) < len(handles):
            raise TwinError(
                f"{self.name} ran out of memory for {len(handles) - len(outputs)} of {len(handles)} prompts"
            )
        return [outputs[i] for i in range(len(handles))]

    def _text(self, ids: list[int]) -> str:
        return str(
            self._tokenizer.decode([i for i in ids if i not in self._stop_ids], skip_special_tokens=True)
        )

    def _completion(self, prompt_tokens: int, output: Any) -> Completion:
        ids = list(output.generated_ids)
        finish = "stop" if output.finish_reason == genai.GenerationFinishReason.STOP else "length"
        return Completion(
            text=self._text(ids).strip(),
            prompt_tokens=prompt_tokens,
            completion_tokens=len(ids),
            finish=finish,
        )


class _Written:
    """Text that grows by tokens."""

    def __init__(self, text_of: Callable[[list[int]], str]) -> None:
        self._text_of = text_of
        self._ids: list[int] = []
        self._sent = ""

    def add(self, ids: Sequence[int]) -> str:
        """What they add to the text. A character can span tokens: until it is whole, nothing."""
        self._ids += ids
        text = self._text_of(self._ids)
        if not text.startswith(self._sent) or text.endswith(_UNFINISHED):
            return ""
        added, self._sent = text[len(self._sent) :], text
        return added


@contextmanager
def _explained(name: str, schema: str | None = None) -> Iterator[None]:
    """The engine's own errors as ours. It looks at a JSON schema only when it comes to the first token."""
    try:
        yield
    except RuntimeError as error:
        if schema is not None:
            raise InputError(f"{name} cannot follow the JSON schema: {_reason(error)}", "check it") from error
        raise TwinError(f"{name} failed: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The engine's first line, without the place in its own sources."""
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return re.sub(r"^.*\.(?:cc|cpp|hpp):\d+:\s*", "", first).strip()


def _take_finished(handles: Sequence[Any], outputs: dict[int, Any]) -> None:
    for i, handle in enumerate(handles):
        if i not in outputs and handle.get_status() == genai.GenerationStatus.FINISHED:
            outputs[i] = handle.read_all()[0]


def _cancel(pipeline: Any, handles: Sequence[Any]) -> None:
    for handle in handles:
        handle.cancel()
    while pipeline.has_non_finished_requests():
        pipeline.step()
