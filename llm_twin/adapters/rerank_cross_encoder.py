"""A Reranker that reads question and passage together: a cross-encoder, run by sentence-transformers.

It needs the extra `rerank` and a model of its own (a folder, or a name on the Hub such as
`cross-encoder/ms-marco-MiniLM-L6-v2`): none comes with the package, and none is chosen for you.
Not covered: passages longer than the model's window, which the library cuts at the end; ours fit the common
window of 512 tokens.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sentence_transformers import CrossEncoder

from llm_twin.errors import TwinError
from llm_twin.ports import Progress, silent
from llm_twin.types import Hit

_BATCH = 32


class CrossEncoderReranker:
    """The cross-encoder `model`, on the CPU. A score is what the model returns: of any scale, larger is better.

    Raises TwinError when the model cannot be loaded or returns more than one number a pair.
    """

    def __init__(self, model: str | Path) -> None:
        self.name = f"cross-encoder, {Path(model).name}"
        try:
            self._model = CrossEncoder(str(model), device="cpu")
        except Exception as error:  # of several libraries
            raise TwinError(
                f"the cross-encoder {model} cannot be loaded: {error}", "check its name"
            ) from error
        if self._model.num_labels != 1:
            raise TwinError(
                f"{model} returns {self._model.num_labels} numbers a pair, not one score",
                "choose a cross-encoder made for reranking",
            )

    def scores(
        self, questions: Sequence[str], found: Sequence[Sequence[Hit]], progress: Progress = silent
    ) -> list[NDArray[np.float64]]:
        """See `ports.Reranker`. Pairs of like length are run together."""
        pairs = [
            (question, hit.chunk.embedded_text)
            for question, hits in zip(questions, found, strict=True)
            for hit in hits
        ]
        order = sorted(range(len(pairs)), key=lambda i: -len(pairs[i][1]))
        flat = np.zeros(len(pairs))
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            flat[batch] = self._model.predict([pairs[i] for i in batch], show_progress_bar=False)
            progress(start + len(batch), len(pairs), self.name)
        ends = np.cumsum([len(hits) for hits in found])
        return [np.asarray(part, np.float64) for part in np.split(flat, ends[:-1])] if len(found) else []
