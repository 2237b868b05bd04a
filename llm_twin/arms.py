"""The ways of searching that an evaluation compares: today's search, its halves, and each further step on it.

One step is added at a time, so that a difference has one cause. A step that needs a model is there only when the
model is given. Not covered: steps combined with each other.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from llm_twin.evaluation.ablation import Together
from llm_twin.evaluation.retrieval import Search
from llm_twin.inference.diversify import diversify
from llm_twin.inference.expand import Expansion, hypothesise, reformulate, search_expanded
from llm_twin.inference.rerank import DEPTH, rerank
from llm_twin.inference.retrieve import question_vector, retrieve
from llm_twin.inference.selfquery import Known, by_model, by_rules, narrowed
from llm_twin.ports import ChatModel, Embedder, Reranker, Vectors, VectorStore
from llm_twin.types import Hit, Where

HYBRID, DENSE, WORDS = "hybrid", "dense", "BM25"
Arms = dict[str, Search | Together]


def plain_arms(store: VectorStore, embedder: Embedder, where: Where) -> Arms:
    """Today's search, its two halves alone, and diversity behind it."""

    def hybrid(question: str, limit: int) -> list[Hit]:
        return retrieve(question, store, embedder, where, limit)

    def dense(question: str, limit: int) -> list[Hit]:
        return store.search_dense(question_vector(question, embedder), limit, where)

    def words(question: str, limit: int) -> list[Hit]:
        return store.search_words(question, limit, where)

    seen: dict[str, Vectors] = {}  # the same passages come up again over many questions

    def embed(texts: Sequence[str]) -> Vectors:
        new = [text for text in dict.fromkeys(texts) if text not in seen]
        seen.update(zip(new, embedder.embed(new), strict=True))
        return np.stack([seen[text] for text in texts])

    def diverse(question: str, limit: int) -> list[Hit]:
        return diversify(hybrid(question, max(limit, DEPTH)), embed, limit)

    return {HYBRID: hybrid, DENSE: dense, WORDS: words, "hybrid + diversity": diverse}


def reranked_arms(
    store: VectorStore,
    embedder: Embedder,
    where: Where,
    rerankers: Mapping[str, Reranker],
    depth: int = DEPTH,
) -> Arms:
    """Today's search with the first `depth` hits looked at again, one arm a reranker; the two orders are fused."""

    def arm(reranker: Reranker) -> Together:
        def search(questions: Sequence[str], limit: int) -> list[list[Hit]]:
            found = [retrieve(question, store, embedder, where, max(limit, depth)) for question in questions]
            return [hits[:limit] for hits in rerank(questions, found, reranker, max(limit, depth))]

        return Together(search)

    return {f"hybrid + {name}": arm(reranker) for name, reranker in rerankers.items()}


def filtered_arms(
    store: VectorStore, embedder: Embedder, where: Where, known: Known, model: ChatModel | None = None
) -> Arms:
    """Today's search under the filters that the question names: found by rules, and by `model` where one is given."""

    def ruled(question: str, limit: int) -> list[Hit]:
        named = narrowed(where, by_rules(question, known).where)
        return retrieve(question, store, embedder, named, limit)

    if model is None:
        return {"hybrid + self-query, rules": ruled}

    def asked(questions: Sequence[str], limit: int) -> list[list[Hit]]:
        return [
            retrieve(found.question, store, embedder, narrowed(where, found.where), limit)
            for found in by_model(questions, model, known)
        ]

    return {"hybrid + self-query, rules": ruled, "hybrid + self-query, model": Together(asked)}


def expanded_arms(store: VectorStore, embedder: Embedder, where: Where, model: ChatModel) -> Arms:
    """Today's search for more than the question: its reformulations, or a hypothetical passage."""

    def search(expansions: Sequence[Expansion], limit: int) -> list[Sequence[Hit]]:
        return [search_expanded(each, store, embedder, where, limit).hits for each in expansions]

    return {
        "hybrid + reformulations": Together(lambda asked, limit: search(reformulate(asked, model), limit)),
        "hybrid + HyDE": Together(lambda asked, limit: search(hypothesise(asked, model), limit)),
    }
