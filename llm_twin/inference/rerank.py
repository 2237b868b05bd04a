"""Reranking: a slower, closer look at the best hits of a search. Neither way here needs a further model.

`LateInteraction` compares token by token, with the vectors that the embedder makes anyway; `QueryLikelihood`
asks the chat model how likely the question is, given the passage. A cross-encoder is an adapter
(`adapters/rerank_cross_encoder.py`). What each is worth on real articles stands in docs/log.md.
Not covered: embedders trained for late interaction, whose token vectors would serve better.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llm_twin import prompts
from llm_twin.inference.retrieve import rrf
from llm_twin.ports import ChatModel, Progress, Reranker, TokenEmbedder, Vectors, beginning, silent
from llm_twin.types import Chunk, Hit

LIKELIHOOD_PROMPT = "likelihood.v1"
DEPTH = 20
_CHUNKS_AT_ONCE = 128

Scores = NDArray[np.float64]


def rerank(
    questions: Sequence[str],
    found: Sequence[Sequence[Hit]],
    reranker: Reranker,
    depth: int = DEPTH,
    fused: bool = True,
    progress: Progress = silent,
) -> list[list[Hit]]:
    """The first `depth` hits of each question in a new order, best first; later hits are left out.

    `fused`: the search's order and the reranker's, fused by rank. Otherwise the reranker's alone, with its scores.
    Ties keep the search's order.
    """
    heads = [list(hits[:depth]) for hits in found]
    scored = reranker.scores(questions, heads, progress)
    return [_ordered(hits, scores, fused) for hits, scores in zip(heads, scored, strict=True)]


def _ordered(hits: Sequence[Hit], scores: Scores, fused: bool) -> list[Hit]:
    order = np.argsort(-scores, kind="stable")
    new = [hits[i].model_copy(update={"score": float(scores[i])}) for i in order]
    return rrf([hits, new]) if fused else new


class LateInteraction:
    """A Reranker by MaxSim (Khattab and Zaharia 2020): each token of the question finds its best match.

    The score is the mean, over the question's tokens, of the highest cosine to a token of the passage (headings
    included), so it lies between -1 and 1. A question without tokens scores 0 everywhere.
    """

    def __init__(self, embedder: TokenEmbedder) -> None:
        self.name = f"late interaction, {embedder.name}"
        self._embedder = embedder

    def scores(
        self, questions: Sequence[str], found: Sequence[Sequence[Hit]], progress: Progress = silent
    ) -> list[Scores]:
        """See `ports.Reranker`. A chunk that several questions found is embedded once."""
        asked = self._embedder.token_vectors([beginning(q, self._embedder) for q in questions])
        scores = [np.zeros(len(hits)) for hits in found]
        wanted: dict[str, tuple[Chunk, list[tuple[int, int]]]] = {}
        for i, hits in enumerate(found):
            for j, hit in enumerate(hits):
                wanted.setdefault(hit.chunk.id, (hit.chunk, []))[1].append((i, j))
        total, done = sum(map(len, found)), 0
        pairs = list(wanted.values())
        for start in range(
            0, len(pairs), _CHUNKS_AT_ONCE
        ):  # token vectors of all chunks would fill the memory
            batch = pairs[start : start + _CHUNKS_AT_ONCE]
            vectors = self._embedder.token_vectors([chunk.embedded_text for chunk, _ in batch])
            for (_, places), passage in zip(batch, vectors, strict=True):
                for i, j in places:
                    scores[i][j] = max_sim(asked[i], passage)
                done += len(places)
            progress(done, total, self.name)
        return scores


def max_sim(question: Vectors, passage: Vectors) -> float:
    """Mean over the question's token vectors, shape (n, d), of the best cosine to one of the passage's, (m, d)."""
    if not len(question) or not len(passage):
        return 0.0
    return float((question @ passage.T).max(axis=1).mean())


class QueryLikelihood:
    """A Reranker by the chat model: the mean log-probability of the question's tokens, given the passage.

    Ponte and Croft (1998), with a language model as in Sachan et al. (2022). Seconds a question on a CPU.
    """

    def __init__(self, model: ChatModel) -> None:
        self.name = f"query likelihood, {model.name}"
        self._model = model

    def scores(
        self, questions: Sequence[str], found: Sequence[Sequence[Hit]], progress: Progress = silent
    ) -> list[Scores]:
        """See `ports.Reranker`. All pairs are one batch of the model."""
        asks = [
            prompts.conversation(LIKELIHOOD_PROMPT, passage=hit.chunk.embedded_text)
            for hits in found
            for hit in hits
        ]
        replies = [question for question, hits in zip(questions, found, strict=True) for _ in hits]
        read = iter(self._model.score(asks, replies, progress))
        # The end of the turn, which comes last, says nothing about the question.
        return [np.array([_mean(next(read)[:-1]) for _ in hits], np.float64) for hits in found]


def _mean(values: Scores) -> float:
    return float(values.mean()) if len(values) else 0.0
