"""Streams of one OpenVINO pipeline, advanced together: one thread steps, and each stream is handed its own tokens.

A request joins at the next step, whether others are reading their prompts or writing, and one whose reader has gone
is cancelled before the next step, a long prompt between two of its parts. Batching shifts the last bits of a
result, so that a sampled answer may differ from the one that the same seed gives alone. The engine holds Python's
lock while it steps; the thread rests for a moment after each step, or nobody else would come to read. Not
covered: fairness beyond the engine's own (first come, first served), and JSON schemas, whose errors would end a
step for everyone.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import openvino_genai as genai

from llm_twin import waiting

REST_SECONDS = 0.0005

Made = tuple[list[int], list[float]]
"""Ids of new tokens, and their natural-log probabilities, without meaning where the request did not ask for them."""


@dataclass(eq=False)
class Stream:
    """What is asked, what came of it (None: the end), whether its reader left, and whether the engine knows of it."""

    ids: list[int]
    config: Any
    made: SimpleQueue[Made | Exception | None] = field(default_factory=SimpleQueue)
    left: bool = False
    cancelled: bool = False
    handle: Any = None


def hand_over(made: list[tuple[Stream, Any]]) -> None:
    """Give what was made to who reads it, in this process."""
    for stream, thing in made:
        stream.made.put(thing)


class Streams:
    """The streams of a pipeline; `add` puts token ids and a configuration into it, `turn` is held for each step.

    `deliver` is called after a step with all that it made: tokens, None at an end, an Exception in place of one.
    `failed` once a step raised: the pipeline is then not to be used again.
    """

    def __init__(
        self,
        pipeline: Any,
        add: Callable[[list[int], Any], Any],
        turn: threading.Lock,
        deliver: Callable[[list[tuple[Stream, Any]]], None] = hand_over,
    ) -> None:
        self.failed = False
        self._pipeline, self._add, self._turn, self._deliver = pipeline, add, turn, deliver
        self._guard = threading.Lock()
        self._new: list[Stream] = []
        self._thread: threading.Thread | None = None

    def tokens(self, stream: Stream) -> Iterator[Made]:
        """New tokens as they come; closing the iterator cancels. Raises RuntimeError as the engine does."""
        self.join(stream)
        try:
            while (found := waiting.taken(stream.made)) is not None:
                if isinstance(found, Exception):
                    raise found
                yield found
        finally:
            stream.left = True

    @property
    def busy(self) -> bool:
        """Whether there are streams to advance."""
        return self._thread is not None

    def wait(self) -> None:
        """Let the streams that there are come to their end."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def join(self, stream: Stream) -> None:
        """Advance `stream` with the others from the next step on, until its end or until it is `left`."""
        with self._guard:
            self._new.append(stream)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="openvino-streams", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        """Step until there is nothing to do; the next stream starts another thread."""
        live: list[Stream] = []
        while True:
            with self._guard:
                new, self._new = self._new, []
                if not new and not live:
                    self._thread = None
                    return
            live += new
            try:
                live = self._step(live)
            except Exception as error:  # whatever the engine raises ends every stream that it held
                self.failed = True
                self._deliver([(stream, RuntimeError(str(error))) for stream in live])
                live = []
            time.sleep(REST_SECONDS)

    def _step(self, live: Sequence[Stream]) -> list[Stream]:
        """Advance all by one token, or a part of a prompt; those that are not done."""
        made: list[tuple[Stream, Any]] = []
        with self._turn:
            for stream in live:
                if stream.handle is None and not stream.left:
                    self._begin(stream, made)
                elif stream.handle is not None and stream.left:
                    stream.handle.cancel()
                    stream.cancelled = True
            if self._pipeline.has_non_finished_requests():
                self._pipeline.step()
        remaining = [stream for stream in live if not _read_out(stream, made)]
        self._deliver(made)
        return remaining

    def _begin(self, stream: Stream, made: list[tuple[Stream, Any]]) -> None:
        """Put it into the pipeline; one that the engine does not take is its own reader's affair alone."""
        try:
            stream.handle = self._add(stream.ids, stream.config)
        except Exception as error:
            made.append((stream, RuntimeError(str(error))))
            stream.left = True


def read(handle: Any) -> Made:
    """What a request's handle holds now."""
    outputs = list(handle.read().values())
    ids = [i for output in outputs for i in output.generated_ids]
    return ids, [score for output in outputs for score in output.generated_log_probs]


def _read_out(stream: Stream, made: list[tuple[Stream, Any]]) -> bool:
    """Add to `made` what there is for its reader; whether that was all."""
    if stream.left:  # who left during this step is cancelled before the next one
        return stream.handle is None or stream.cancelled
    while stream.handle.can_read():
        made.append((stream, read(stream.handle)))
    status = stream.handle.get_status()
    if status == genai.GenerationStatus.RUNNING:
        return False
    ignored = status == genai.GenerationStatus.IGNORED
    made.append((stream, RuntimeError("there is no memory left for this prompt") if ignored else None))
    return True
