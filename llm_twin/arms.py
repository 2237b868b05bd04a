"""The ways of searching that an evaluation compares: today's search, its halves, and each further step on it.

One step is added at a time, so that a difference has one cause. Slow steps are asked fewer questions, in tables of
their own, each beside today's search on the same questions; steps that ask a chat model are there only when one is
given. Not covered: steps combined with each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from llm_twin.errors import InputError
from llm_twin.evaluation.ablation import Ablation, Judged, Together, ablate, evenly
from llm_twin.evaluation.measure import Notes
from llm_twin.evaluation.retrieval import Question, Search
from llm_twin.inference.diversify import diversify
from llm_twin.inference.expand import Expansion, hypothesise, reformulate, search_expanded
from llm_twin.inference.rerank import DEPTH, LateInteraction, QueryLikelihood, rerank
from llm_twin.inference.retrieve import question_vector, retrieve
from llm_twin.inference.selfquery import Known, by_model, by_rules, narrowed
from llm_twin.ports import (
    ChatModel,
    Embedder,
    Progress,
    Reranker,
    TokenEmbedder,
    Vectors,
    VectorStore,
    silent,
)
from llm_twin.types import Hit, Where

HYBRID, DENSE, WORDS = "hybrid", "dense", "BM25"
LATE = "hybrid + late interaction"
EMBEDDING_QUESTIONS = 200
"""Questions at most for steps that embed passages anew; late interaction takes 0.6 s for each on a CPU."""
LIKELIHOOD_DEPTH = 10
"""Hits that query likelihood looks at: it reads each with the chat model, 6 to 11 s a question on a CPU."""
ASKING = "steps that ask a chat model (reformulations, HyDE, self-query, query likelihood)"
Arms = dict[str, Search | Together]


@dataclass(frozen=True)
class Ground:
    """What every way of searching searches; `known` is what there is to filter by."""

    store: VectorStore
    embedder: Embedder
    where: Where
    known: Known

    def search(self, question: str, limit: int) -> list[Hit]:
        """Today's search."""
        return self.filtered(question, limit, Where())

    def filtered(self, question: str, limit: int, named: Where) -> list[Hit]:
        """The same under what `named` filters by as well."""
        return retrieve(question, self.store, self.embedder, narrowed(self.where, named), limit)


def measure_search(
    questions: Sequence[Question],
    ground: Ground,
    model: ChatModel | str,
    model_questions: int = 0,
    judged: Judged = "chunk",
    notes: Notes | None = None,
    progress: Progress = silent,
) -> Ablation:
    """Every way of searching: the quick ones on all `questions`, slower ones on some, spread evenly over them.

    Steps that embed passages get EMBEDDING_QUESTIONS of them, those that ask `model` get `model_questions`; ways
    that get as many share a table. `model` may be the reason why there is none. What was left out, and a later table
    that cannot be made, is in `left_out`. Raises InputError as `ablate` does for the first table.
    """
    embedding, missing = embedding_arms(ground, progress)
    wanted: list[tuple[int, Arms]] = [(len(questions), quick_arms(ground)), (EMBEDDING_QUESTIONS, embedding)]
    if isinstance(model, str):
        missing[ASKING] = model
    else:
        wanted.append((model_questions, model_arms(ground, model, progress)))
    tables = []
    for many, arms in _by_questions(wanted, len(questions)).items():
        try:
            tables.append(
                ablate(evenly(questions, many), arms, HYBRID, judged, notes=notes, progress=progress)
            )
        except InputError as error:
            if not tables:
                raise
            missing[", ".join(name for name in arms if name != HYBRID)] = str(error)
    whole, *more = tables
    for table in tables:
        missing |= table.left_out
    return whole.model_copy(update={"more": tuple(more), "left_out": missing})


def _by_questions(wanted: Sequence[tuple[int, Arms]], there: int) -> dict[int, Arms]:
    """The arms of each table, by its number of questions, of which there are `there`; each holds the baseline."""
    baseline = wanted[0][1][HYBRID]
    found: dict[int, Arms] = {}
    for most, arms in wanted:
        found.setdefault(min(most, there), {HYBRID: baseline}).update(arms)
    return found


def quick_arms(ground: Ground) -> Arms:
    """Today's search, its two halves alone, and the filters that plain phrases of the question name."""

    def dense(question: str, limit: int) -> list[Hit]:
        vector = question_vector(question, ground.embedder)
        return ground.store.search_dense(vector, limit, ground.where)

    def words(question: str, limit: int) -> list[Hit]:
        return ground.store.search_words(question, limit, ground.where)

    def ruled(question: str, limit: int) -> list[Hit]:
        return ground.filtered(question, limit, by_rules(question, ground.known).where)

    return {HYBRID: ground.search, DENSE: dense, WORDS: words, "hybrid + self-query, rules": ruled}


def embedding_arms(ground: Ground, progress: Progress = silent) -> tuple[Arms, dict[str, str]]:
    """Diversity and late interaction, which embed the best DEPTH hits anew; and why one of them is not there."""
    diverse: Arms = {"hybrid + diversity": _diverse(ground)}
    if not hasattr(ground.embedder, "token_vectors"):
        return diverse, {LATE: f"{ground.embedder.name} gives no vectors of tokens"}
    late = LateInteraction(cast(TokenEmbedder, ground.embedder))
    return {**diverse, LATE: _reranked(ground, late, DEPTH, progress)}, {}


def _diverse(ground: Ground) -> Search:
    seen: dict[str, Vectors] = {}  # the same passages come up again over many questions

    def embed(texts: Sequence[str]) -> Vectors:
        new = [text for text in dict.fromkeys(texts) if text not in seen]
        seen.update(zip(new, ground.embedder.embed(new), strict=True))
        return np.stack([seen[text] for text in texts])

    def search(question: str, limit: int) -> list[Hit]:
        found = ground.search(question, max(limit, DEPTH))
        return [*diversify(found[:DEPTH], embed, limit), *found[DEPTH:]][:limit]

    return search


def _reranked(ground: Ground, reranker: Reranker, depth: int, progress: Progress) -> Together:
    """Today's search with the first `depth` hits looked at again, the two orders fused; later hits stay behind."""

    def search(questions: Sequence[str], limit: int) -> list[list[Hit]]:
        found = [ground.search(question, max(limit, depth)) for question in questions]
        heads = rerank(questions, found, reranker, depth, progress=progress)
        return [[*head, *hits[depth:]][:limit] for head, hits in zip(heads, found, strict=True)]

    return Together(search)


def model_arms(ground: Ground, model: ChatModel, progress: Progress = silent) -> Arms:
    """What `model` writes or reads for a search: other wordings, a hypothetical passage, filters, likelihood."""

    def searched(expansions: Sequence[Expansion], limit: int) -> list[Sequence[Hit]]:
        return [
            search_expanded(each, ground.store, ground.embedder, ground.where, limit).hits
            for each in expansions
        ]

    def reworded(questions: Sequence[str], limit: int) -> list[Sequence[Hit]]:
        return searched(reformulate(questions, model, progress=progress), limit)

    def hypothetical(questions: Sequence[str], limit: int) -> list[Sequence[Hit]]:
        return searched(hypothesise(questions, model, progress=progress), limit)

    def filtered(questions: Sequence[str], limit: int) -> list[list[Hit]]:
        named = by_model(questions, model, ground.known, progress)
        return [ground.filtered(each.question, limit, each.where) for each in named]

    return {
        "hybrid + reformulations": Together(reworded),
        "hybrid + HyDE": Together(hypothetical),
        "hybrid + self-query, model": Together(filtered),
        "hybrid + query likelihood": _reranked(ground, QueryLikelihood(model), LIKELIHOOD_DEPTH, progress),
    }
