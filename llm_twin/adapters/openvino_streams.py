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

_REST_SECONDS = 0.0005

Made = tuple[list[int], list[float]]
"""Ids of new tokens, and their natural-log probabilities where the request asked for them."""


@dataclass
class _Request:
    """One stream: what is asked, what came of it (None: the end), and whether anybody still reads."""

    ids: list[int]
    config: Any
    made: SimpleQueue[Made | Exception | None] = field(default_factory=SimpleQueue)
    left: bool = False
    handle: Any = None


class Streams:
    """The streams of a pipeline; `add` puts token ids and a configuration into it, `turn` is held for each step.

    `failed` once a step raised: the pipeline is then not to be used again.
    """

    def __init__(self, pipeline: Any, add: Callable[[list[int], Any], Any], turn: threading.Lock) -> None:
        self.failed = False
        self._pipeline, self._add, self._turn = pipeline, add, turn
        self._guard = threading.Lock()
        self._new: list[_Request] = []
        self._thread: threading.Thread | None = None

    def tokens(self, ids: list[int], config: Any) -> Iterator[Made]:
        """New tokens as they come; closing the iterator cancels. Raises RuntimeError as the engine does."""
        request = _Request(ids, config)
        self._join(request)
        try:
            while (found := request.made.get()) is not None:
                if isinstance(found, Exception):
                    raise found
                yield found
        finally:
            request.left = True

    def wait(self) -> None:
        """Let the streams that there are come to their end."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def _join(self, request: _Request) -> None:
        with self._guard:
            self._new.append(request)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="openvino-streams", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        """Step until there is nothing to do; the next request starts another thread."""
        live: list[_Request] = []
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
                for request in live:
                    request.made.put(RuntimeError(str(error)))
                live = []
            time.sleep(_REST_SECONDS)

    def _step(self, live: Sequence[_Request]) -> list[_Request]:
        """Advance all by one token, or a part of a prompt; those that are not done."""
        with self._turn:
            for request in live:
                if request.handle is None and not request.left:
                    request.handle = self._add(request.ids, request.config)
                elif request.handle is not None and request.left:
                    request.handle.cancel()
            if self._pipeline.has_non_finished_requests():
                self._pipeline.step()
        return [request for request in live if not _handed_over(request)]


def read(handle: Any) -> Made:
    """What a request's handle holds now."""
    outputs = list(handle.read().values())
    ids = [i for output in outputs for i in output.generated_ids]
    return ids, [score for output in outputs for score in output.generated_log_probs]


def _handed_over(request: _Request) -> bool:
    """Give the reader what there is; whether that was all."""
    if request.left:
        return True
    while request.handle.can_read():
        request.made.put(read(request.handle))
    status = request.handle.get_status()
    if status == genai.GenerationStatus.RUNNING:
        return False
    ignored = status == genai.GenerationStatus.IGNORED
    request.made.put(RuntimeError("there is no memory left for this prompt") if ignored else None)
    return True
