"""Retrieval on questions whose source is known: recall@5 and nDCG@10, by ir-measures."""

from collections.abc import Callable, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from llm_twin.evaluation.intervals import Estimate, draw, estimate
from llm_twin.ports import Progress, silent
from llm_twin.types import Chunk, Hit, Sample

_RECALL, _NDCG = "R@5", "nDCG@10"


class Retrieval(BaseModel):
    """How often the search finds where a question came from. Intervals are over documents."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    questions: int
    recall_at_5: Estimate
    ndcg_at_10: Estimate


def sources(sample: Sample, chunks: Sequence[Chunk]) -> set[str]:
    """Ids of the chunks that hold the sample's answer: half of the answer, or of the chunk, lies in it."""
    found = set()
    for chunk in chunks:
        if chunk.document_id == sample.document_id:
            shared = min(chunk.end, sample.end) - max(chunk.start, sample.start)
            if shared >= 0.5 * min(sample.end - sample.start, chunk.end - chunk.start):
                found.add(chunk.id)
    return found


def measure(
    questions: Sequence[Sample],
    chunks: Sequence[Chunk],
    search: Callable[[str, int], Sequence[Hit]],
    progress: Progress = silent,
) -> Retrieval | None:
    """Ask every question whose source is in `chunks`; None when there is none."""
    known = [(q, found) for q in questions if (found := sources(q, chunks))]
    if not known:
        return None
    relevant = {q.id: dict.fromkeys(found, 1) for q, found in known}
    ranked = {}
    for done, (question, _) in enumerate(known):
        hits = search(question.instruction, 10)
        ranked[question.id] = {hit.chunk.id: float(len(hits) - i) for i, hit in enumerate(hits)}
        progress(done + 1, len(known), "retrieval")
    return _aggregated([q for q, _ in known], relevant, ranked)


def _aggregated(
    questions: Sequence[Sample], relevant: dict[str, dict[str, int]], ranked: dict[str, dict[str, float]]
) -> Retrieval:
    import ir_measures

    measures = [ir_measures.parse_measure(_RECALL), ir_measures.parse_measure(_NDCG)]
    values: dict[str, dict[str, float]] = {_RECALL: {}, _NDCG: {}}
    for metric in ir_measures.iter_calc(measures, relevant, ranked):
        values[str(metric.measure)][metric.query_id] = metric.value
    documents = [q.document_id for q in questions]
    draws = draw(documents)
    recall, ndcg = (
        # A question without any hit is missing from the run and counts as 0.
        estimate(draws.mean(np.array([by.get(q.id, 0.0) for q in questions]), documents), draws)
        for by in (values[_RECALL], values[_NDCG])
    )
    return Retrieval(questions=len(questions), recall_at_5=recall, ndcg_at_10=ndcg)
