"""Token ids in, token ids out: OpenVINO GenAI's continuous batching over one GGUF, in this process.

Streams are written side by side (`openvino_streams`) and share a prefix cache, for a quick first token; batches and
scores run without one, because what the cache holds shifts the last bits of a result and leaves out log
probabilities. Streams may guess their next tokens, from the prompt (prompt lookup decoding, Saxena 2023) or with a
small model of the same vocabulary (speculative decoding, Leviathan et al. 2023): the model reads several tokens at
once and keeps those that it would have written. Reading several shifts the last bits too, so such a stream may part
from a batch where two tokens are as likely. Not covered: text, and room for it in the model's context.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, cast

import numpy as np
import openvino as ov
import openvino_genai as genai

from llm_twin.adapters.openvino_files import engine_tokenizer, reason
from llm_twin.adapters.openvino_streams import REST_SECONDS, Made, Stream, Streams, hand_over, read
from llm_twin.errors import InputError, TwinError
from llm_twin.ports import Progress, silent
from llm_twin.types import Sampling, Value

Prompt = list[int]
_CACHE_GB = 1
_BATCH_TOKENS = 512
_BLOCK = 32
"""Tokens of a block of the cache on a CPU. Several prompts that share a block in part spoil each other's."""
_GUESSED, _ALIKE = 3, 3
"""Tokens guessed at once, and for prompt lookup those that must be alike before them (docs/log.md has the figures)."""
_COLDEST = 1e-3
"""Temperatures and shares below are the likeliest token alone: in the engine's own floats they could be 0."""
_Kind = Literal["plain", "caching", "streams"]


class Setup(Value):
    """A model for an engine: its GGUF, the tokens that end a turn, and how streams guess; `draft` is a small model."""

    name: str
    weights: Path
    stop_ids: tuple[int, ...]
    prompt_lookup: bool = False
    draft: Path | None = None


class Reply(NamedTuple):
    """What was written for one prompt; `stopped` by itself, not by the limit."""

    ids: list[int]
    stopped: bool


class TokenModel(Protocol):
    """An engine, in this process or in one of its own (`openvino_apart`). Threads may share it."""

    def write(
        self, prompts: Sequence[Prompt], sampling: Sampling, progress: Progress = silent
    ) -> list[Reply]:
        """One reply a prompt, in order, batched. Prompt i is sampled with seed + i."""
        ...

    def stream(self, prompt: Prompt, sampling: Sampling, told: bool) -> Generator[Made, None, None]:
        """New tokens as they come, with their probabilities where they are `told`; closing it cancels."""
        ...

    def score(
        self, pairs: Sequence[tuple[Prompt, list[int]]], progress: Progress = silent
    ) -> list[list[float]]:
        """The natural-log probability of each token of each pair's second half, given all before it."""
        ...

    def close(self) -> None:
        """Free the weights; streams that are being written are let finish first."""
        ...


class Engine:
    """A TokenModel in this process. Streams advance together; a batch, a score or a stream that follows a JSON schema,
    one of them at a time, takes turns with them, a step each. `deliver` takes what streams made, after each step.
    """

    def __init__(self, setup: Setup, deliver: Callable[[list[tuple[Stream, Any]]], None] = hand_over) -> None:
        self._setup, self._deliver = setup, deliver
        self._lock = threading.Lock()
        """Held for a step, and where pipelines are opened or freed."""
        self._batch = threading.Lock()
        """Held by whoever uses the pipelines that are not the streams'."""
        self._pipelines: dict[_Kind, Any] = {}
        self._together: Streams | None = None
        self._requests = 0
        self._closed = False

    def write(
        self, prompts: Sequence[Prompt], sampling: Sampling, progress: Progress = silent
    ) -> list[Reply]:
        """One reply a prompt, batched; InputError for a JSON schema that cannot be followed."""
        with self._batch, explained(self._setup.name, sampling.json_schema):
            configs = [self._config(sampling, sampling.seed + i) for i in range(len(prompts))]
            outputs = self._run(self._opened("plain"), prompts, configs, progress)
        stop = genai.GenerationFinishReason.STOP
        return [Reply(list(each.generated_ids), each.finish_reason == stop) for each in outputs]

    def stream(self, prompt: Prompt, sampling: Sampling, told: bool = False) -> Generator[Made, None, None]:
        """New tokens as they come."""
        if sampling.json_schema is None:
            made = self.streams().tokens(self.ordered(prompt, sampling, told))
        else:
            made = self._alone(prompt, self._config(sampling, sampling.seed, told))
        with (
            closing(cast(Generator[Made, None, None], made)),
            explained(self._setup.name, sampling.json_schema),
        ):
            yield from made

    def ordered(self, prompt: Prompt, sampling: Sampling, told: bool) -> Stream:
        """A stream for `streams()`, which follows no JSON schema."""
        config = self._config(sampling, sampling.seed, told)
        if self._setup.prompt_lookup:
            config.num_assistant_tokens, config.max_ngram_size = _GUESSED, _ALIKE
        elif self._setup.draft:
            config.num_assistant_tokens = _GUESSED
        return Stream(prompt, config)

    def score(
        self, pairs: Sequence[tuple[Prompt, list[int]]], progress: Progress = silent
    ) -> list[list[float]]:
        """Log probabilities; replies to one prompt share its reading."""
        heads = Counter(tuple(head) for head, _ in pairs)
        # Whole blocks of the cache alone, and never the last token: of that, the reply's first token is judged.
        starts = (head[: (len(head) - 1) // _BLOCK * _BLOCK] for head, times in heads.items() if times > 1)
        shared = [list(start) for start in starts if start]
        with self._batch, explained(self._setup.name):
            pipeline = self._opened("caching" if shared else "plain")
            self._run(pipeline, shared, [genai.GenerationConfig(max_new_tokens=1)] * len(shared), silent)
            return self._read(pipeline, pairs, progress)

    def _read(
        self,
        pipeline: Any,
        pairs: Sequence[tuple[Prompt, list[int]]],
        progress: Progress,
    ) -> list[list[float]]:
        """The scores of each reply: the end of what the engine echoes, which leaves out what its cache held.

        Where that was all of a prompt, nothing says how probable the reply's first token is: it is read again
        without the cache, and it alone.
        """
        config = genai.GenerationConfig(max_new_tokens=1, do_sample=False, echo=True, logprobs=1)
        whole = [[*head, *tail] for head, tail in pairs]
        outputs = self._run(pipeline, whole, [config] * len(whole), progress)
        echoed = [list(output.generated_log_probs) for output in outputs]
        scores = [found[-1 - len(tail) : -1] for (_, tail), found in zip(pairs, echoed, strict=True)]
        short = [i for i, (_, tail) in enumerate(pairs) if len(echoed[i]) <= len(tail)]
        if short:
            again = self._read(self._opened("plain"), [pairs[i] for i in short], silent)
            for i, found in zip(short, again, strict=True):
                scores[i] = found
        return scores

    def close(self) -> None:
        """Free the weights; streams that are being written are let finish first."""
        self._closed = True
        if self._together is not None:
            self._together.wait()
        with self._batch, self._lock:
            self._together = None
            self._pipelines.clear()

    def _opened(self, kind: _Kind) -> Any:
        with self._lock:
            return self._pipeline(kind)

    def _pipeline(self, kind: _Kind) -> Any:
        if self._closed:
            raise TwinError(f"{self._setup.name} was closed")
        if kind not in self._pipelines:
            scheduler = genai.SchedulerConfig()
            scheduler.cache_size = _CACHE_GB
            scheduler.enable_prefix_caching = kind != "plain"
            scheduler.max_num_batched_tokens = _BATCH_TOKENS
            weights = self._setup.weights
            try:
                properties = self._guessing() if kind == "streams" else {}
                self._pipelines[kind] = genai.ContinuousBatchingPipeline(
                    str(weights), engine_tokenizer(weights), scheduler, "CPU", **properties
                )
            except Exception as error:  # of several kinds, such as a C++ map's IndexError
                raise TwinError(
                    f"OpenVINO cannot load {weights}: {reason(error)}",
                    f"check the file with `twin models verify {self._setup.name}`",
                ) from error
        return self._pipelines[kind]

    def _guessing(self) -> dict[str, Any]:
        if self._setup.prompt_lookup:
            return {"prompt_lookup": True}
        if self._setup.draft is None:
            return {}
        return {"draft_model": genai.draft_model(str(self._setup.draft), "CPU")}

    def streaming(self) -> bool:
        """Whether `streams` has what it needs, and so does not wait."""
        return self._together is not None and not self._together.failed and not self._closed

    def streams(self) -> Streams:
        """What advances the streams; another one after the engine failed."""
        if self._together is not None and self.streaming():
            return self._together
        with self._lock:
            if self._together is not None and self._together.failed:
                self._pipelines.pop("streams", None)
                self._together = None
            if self._together is None:
                pipeline = self._pipeline("streams")
                self._together = Streams(pipeline, partial(self._add, pipeline), self._lock, self._deliver)
            if self._closed:
                raise TwinError(f"{self._setup.name} was closed")
            return self._together

    def _alone(self, ids: Prompt, config: Any) -> Iterator[Made]:
        """New tokens of a request that no other batch or score disturbs, from the first to the last."""
        with self._batch:
            pipeline = self._opened("plain")
            handle = self._add(pipeline, ids, config)
            try:
                while pipeline.has_non_finished_requests() or handle.can_read():
                    if handle.can_read():
                        yield read(handle)
                    else:
                        self._step(pipeline)
            finally:
                if pipeline.has_non_finished_requests():
                    handle.cancel()
                    self._step(pipeline)

    def _step(self, pipeline: Any) -> None:
        """A step between two of the streams, which come first to the lock while this rests."""
        with self._lock:
            pipeline.step()
        if self._together is not None and self._together.busy:
            time.sleep(REST_SECONDS)

    def _config(self, sampling: Sampling, seed: int, told: bool = False) -> Any:
        greedy = sampling.temperature < _COLDEST
        config = genai.GenerationConfig(max_new_tokens=sampling.max_tokens, do_sample=not greedy)
        config.stop_token_ids = set(self._setup.stop_ids)
        config.repetition_penalty = sampling.repetition_penalty
        config.logprobs = int(told)
        if config.do_sample:
            config.temperature, config.top_p = sampling.temperature, max(sampling.top_p, _COLDEST)
            config.rng_seed = seed
        if sampling.json_schema is not None:
            config.structured_output_config = genai.StructuredOutputConfig(json_schema=sampling.json_schema)
        return config

    def _add(self, pipeline: Any, ids: Prompt, config: Any) -> Any:
        self._requests += 1
        return pipeline.add_request(self._requests, ov.Tensor(np.array([ids], np.int64)), config)

    def _run(
        self, pipeline: Any, ids: Sequence[Prompt], configs: Sequence[Any], progress: Progress
    ) -> list[Any]:
        handles: list[Any] = []
        outputs: dict[int, Any] = {}
        name = self._setup.name
        try:
            for each, config in zip(ids, configs, strict=True):
                handles.append(self._add(pipeline, each, config))
            while pipeline.has_non_finished_requests():
                self._step(pipeline)
                _take_finished(handles, outputs)
                progress(len(outputs), len(ids), name)
        except BaseException:
            self._cancel(pipeline, [h for i, h in enumerate(handles) if i not in outputs])
            raise
        _take_finished(handles, outputs)
        if len(outputs) < len(handles):
            raise TwinError(
                f"{name} ran out of memory for {len(handles) - len(outputs)} of {len(handles)} prompts"
            )
        return [outputs[i] for i in range(len(handles))]

    def _cancel(self, pipeline: Any, handles: Sequence[Any]) -> None:
        for handle in handles:
            handle.cancel()
        while pipeline.has_non_finished_requests():
            self._step(pipeline)


@contextmanager
def explained(name: str, schema: str | None = None) -> Iterator[None]:
    """The engine's own errors as ours. It looks at a JSON schema only when it comes to the first token."""
    try:
        yield
    except RuntimeError as error:
        if schema is not None:
            raise InputError(f"{name} cannot follow the JSON schema: {reason(error)}", "check it") from error
        raise TwinError(f"{name} failed: {reason(error)}") from error


def _take_finished(handles: Sequence[Any], outputs: dict[int, Any]) -> None:
    for i, handle in enumerate(handles):
        if i not in outputs and handle.get_status() == genai.GenerationStatus.FINISHED:
            outputs[i] = handle.read_all()[0]
