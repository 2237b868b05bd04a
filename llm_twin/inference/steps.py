"""The search behind an answer, step by step; each step is a function of its own and may be left out.

    follow-up -> self-query -> expansion -> search -> rerank -> diversity -> neighbours

The search itself (by meaning and by words, fused) is always done. A further step is on by default only where the
evaluation has shown that it helps (docs/log.md has the figures). Not covered: choosing the steps by the question.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from llm_twin.inference.diversify import diversify
from llm_twin.inference.expand import Expansion, hypothesise, reformulate, search_expanded
from llm_twin.inference.followup import leaning, standalone
from llm_twin.inference.rerank import DEPTH, rerank
from llm_twin.inference.retrieve import Found, question_vector, rrf, search
from llm_twin.inference.selfquery import Known, by_model, by_rules, narrowed
from llm_twin.inference.tracing import Tracing
from llm_twin.ports import ChatModel, Embedder, Reranker, Vectors, VectorStore
from llm_twin.types import Hit, Message, Where

_WHOLE_DOCUMENT = 2000


@dataclass(frozen=True)
class Steps:
    """Which steps are taken. `by` is the model that writes for them; a step that needs one asks no other.

    `filters` filters by what the question names, with what there is to filter by in `known`. `neighbours` is how
    many chunks on either side of a passage are read with it where the budget allows.
    """

    by: ChatModel | None = None
    follow_ups: bool = False
    filters: str = "off"
    known: Known | None = None
    reformulations: int = 0
    hypothetical: bool = False
    reranker: Reranker | None = None
    diversity: bool = False
    neighbours: int = 0


PLAIN = Steps()
"""The search alone."""


@dataclass(frozen=True)
class Searched:
    """What is searched in, and for how many hits."""

    store: VectorStore
    embedder: Embedder
    where: Where
    limit: int


def find(
    question: str,
    turns: Sequence[Message],
    within: Searched,
    steps: Steps = PLAIN,
    tracing: Tracing | None = None,
    vector: Vectors | None = None,
) -> Found:
    """The hits for `question` after `turns`, by the steps given. `vector` is the question's, where it is known and
    there are no turns. Raises InputError for a question without words.
    """
    tracing = tracing or Tracing()
    queries = _queries(question, turns, steps, tracing)
    within = _filtered(queries[-1], within, steps, tracing)
    found = _fused([_searched(query, within, steps, tracing, vector) for query in queries])
    hits = _reranked(queries[-1], list(found.hits), steps, tracing)
    if steps.diversity:
        with tracing.step("diversity"):
            hits = diversify(hits, within.embedder.embed, within.limit)
    return Found(tuple(hits[: within.limit]), found.nearest)


def _queries(question: str, turns: Sequence[Message], steps: Steps, tracing: Tracing) -> list[str]:
    """What to search for: a first question as it is; a follow-up made to stand alone, or else both as it is and
    together with the question before it, which between them find the old subject and a new one.
    """
    if not any(turn.role == "user" for turn in turns):
        return [question]
    with tracing.step("follow-up") as told:
        if not steps.follow_ups or steps.by is None:
            told.said = "searched for as it is and with the question before it"
            return [question, leaning(question, turns)]
        found = standalone(question, turns, steps.by)
        told.said = found.refused or found.question
        return [found.question]


def _fused(found: Sequence[Found]) -> Found:
    """Several searches as one; the nearest passage is the nearest of any."""
    if len(found) == 1:
        return found[0]
    return Found(tuple(rrf([each.hits for each in found])), max(each.nearest for each in found))


def _filtered(query: str, within: Searched, steps: Steps, tracing: Tracing) -> Searched:
    if steps.filters == "off" or steps.known is None:
        return within
    with tracing.step("self-query") as told:
        if steps.filters == "model" and steps.by is not None:
            (named,) = by_model([query], steps.by, steps.known)
        else:
            named = by_rules(query, steps.known)
        where = narrowed(within.where, named.where)
        said = [f"{field} {value}" for field, value in named.where if value is not None]
        told.said = "; ".join([*said, *([f"refused: {named.refused}"] if named.refused else [])])
        return replace(within, where=where)


def _searched(query: str, within: Searched, steps: Steps, tracing: Tracing, vector: Vectors | None) -> Found:
    """The search, deeper than the limit where a later step chooses among its hits."""
    chosen_among = steps.reranker is not None or steps.diversity
    limit = max(within.limit, DEPTH) if chosen_among else within.limit
    expansion = _expanded(query, steps, tracing)
    if expansion is not None:
        with tracing.step("search") as told:
            found = search_expanded(expansion, within.store, within.embedder, within.where, limit)
            told.said = _told(found)
            return found
    with tracing.step("embedding"):
        vector = question_vector(query, within.embedder) if vector is None else vector
    with tracing.step("search") as told:
        found = search(query, within.store, within.embedder, within.where, limit, vector)
        told.said = _told(found)
        return found


def _expanded(query: str, steps: Steps, tracing: Tracing) -> Expansion | None:
    if steps.by is None or not (steps.reformulations or steps.hypothetical):
        return None
    with tracing.step("expansion") as told:
        found = Expansion(query)
        if steps.reformulations:
            (found,) = reformulate([query], steps.by, steps.reformulations)
        if steps.hypothetical:
            (guess,) = hypothesise([query], steps.by)
            found = replace(found, hypothetical=guess.hypothetical)
        told.said = " | ".join([*found.reformulations, found.hypothetical]).strip(" |") or found.refused
        return found


def _reranked(query: str, hits: list[Hit], steps: Steps, tracing: Tracing) -> list[Hit]:
    if steps.reranker is None or not hits:
        return hits
    with tracing.step("rerank") as told:
        told.said = steps.reranker.name
        return rerank([query], [hits], steps.reranker)[0]


def with_neighbours(hits: Sequence[Hit], within: Searched, many: int, vector: Vectors) -> list[Hit]:
    """`hits`, and behind them the `many` chunks on either side of each in its document, nearest first.

    A neighbour's score is its own cosine to `vector`. The filter of the search holds for neighbours as well.
    """
    found = {hit.chunk.id: hit for hit in hits}
    rows = {id: _row(id, within, vector) for id in {hit.chunk.document_id for hit in hits}}
    for distance in range(1, many + 1):
        for hit in hits:
            for near in _beside(hit, rows[hit.chunk.document_id], distance):
                found.setdefault(near.chunk.id, near)
    return list(found.values())


def _row(document_id: str, within: Searched, vector: Vectors) -> list[Hit]:
    """All chunks of a document that the filter lets through, in its order."""
    where = within.where.model_copy(update={"document_id": document_id})
    whole = within.store.search_dense(vector, _WHOLE_DOCUMENT, where, exact=True)
    return sorted(whole, key=lambda each: each.chunk.start)


def _beside(hit: Hit, row: Sequence[Hit], distance: int) -> list[Hit]:
    at = next((i for i, each in enumerate(row) if each.chunk.id == hit.chunk.id), None)
    if at is None:
        return []
    return [row[i] for i in (at - distance, at + distance) if 0 <= i < len(row)]


def side_by_side(hits: Sequence[Hit]) -> list[Hit]:
    """Hits of one document together in its order, documents in the order of their first hit."""
    documents = list(dict.fromkeys(hit.chunk.document_id for hit in hits))
    return sorted(hits, key=lambda hit: (documents.index(hit.chunk.document_id), hit.chunk.start))


def _told(found: Found) -> str:
    return f"{len(found.hits)} passages, the nearest at {found.nearest:.2f}"
