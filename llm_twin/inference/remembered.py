"""An Embedder that remembers: the sentences of passages are compared with each answer that rests on them.

An author's questions come back to the same passages, and reading these anew takes longer than all else that is done
for an answer beside the model. Not covered: vectors of single tokens, and anything after the process ends.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from llm_twin.ports import Embedder, Progress, Vectors, silent

MOST_TEXTS = 8192
"""Twelve megabytes of vectors of 384 numbers."""


class Remembered:
    """`embedder`, with the vectors of the `most` texts that were asked for last. Threads may share it."""

    def __init__(self, embedder: Embedder, most: int = MOST_TEXTS) -> None:
        self.name, self.dimension, self.window = embedder.name, embedder.dimension, embedder.window
        self._embedder, self._most = embedder, most
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Vectors] = OrderedDict()

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        """Character offsets of each token of `text`, special tokens not included."""
        return self._embedder.token_offsets(text)

    def embed(self, texts: Sequence[str], progress: Progress = silent) -> Vectors:
        """As the embedder does, which reads only what is not remembered; `progress` counts that."""
        with self._lock:
            found = {text: self._known[text] for text in texts if text in self._known}
        new = list(dict.fromkeys(text for text in texts if text not in found))
        if new:
            found |= zip(new, self._embedder.embed(new, progress), strict=True)
        with self._lock:
            for text in found:
                self._known[text] = found[text]
                self._known.move_to_end(text)
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        rows = [found[text] for text in texts]
        return np.array(rows, np.float32).reshape(len(rows), self.dimension)
