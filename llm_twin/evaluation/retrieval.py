"""Retrieval on questions whose answer's place is known: recall, MRR and nDCG, by ir-measures.

A question is one whose relevant chunks (or documents, see `ablation`) are known beforehand: a sample's source,
or a benchmark's judgements (`beir`). Intervals are over the documents that the questions come from.
Not covered: passages that would answer just as well and that nobody marked; they count as misses.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from llm_twin.evaluation.intervals import Array, Estimate, draw, estimate
from llm_twin.evaluation.rows import Part, part
from llm_twin.ports import Progress, silent
from llm_twin.types import Chunk, Hit, Sample, Value

RECALL, MRR, NDCG = "R@5", "RR@10", "nDCG@10"
MEASURES = (RECALL, MRR, NDCG)
"""As ir-measures names them; five, because an answer is written from five passages."""
_DEPTH = 10

Search = Callable[[str, int], Sequence[Hit]]
"""A question and how many hits to return -> hits, best first."""


@dataclass(frozen=True)
class Question:
    """A question and the ids that answer it, each with its grade (1 or more; larger is better).

    `document_id` is where it comes from: what intervals are drawn over. A benchmark's question stands for itself.
    """

    id: str
    text: str
    document_id: str
    relevant: Mapping[str, int]


class Retrieval(Value):
    """How often the search finds where a question came from. Intervals are over documents."""

    questions: int
    recall_at_5: Estimate
    mrr_at_10: Estimate
    """Mean of 1 / rank of the first right passage; 0 for one that is not among the first ten."""
    ndcg_at_10: Estimate
    rows: Part | None = None
    """nDCG@10 of each question, for the gate."""


def sources(sample: Sample, chunks: Sequence[Chunk]) -> set[str]:
    """Ids of the chunks that hold the sample's answer: half of the answer, or of the chunk, lies in it."""
    found = set()
    for chunk in chunks:
        if chunk.document_id == sample.document_id:
            shared = min(chunk.end, sample.end) - max(chunk.start, sample.start)
            if shared >= 0.5 * min(sample.end - sample.start, chunk.end - chunk.start):
                found.add(chunk.id)
    return found


def known(samples: Sequence[Sample], chunks: Sequence[Chunk]) -> list[Question]:
    """The samples whose source lies in `chunks`, as questions, in the order given."""
    return [
        Question(sample.id, sample.instruction, sample.document_id, dict.fromkeys(sorted(found), 1))
        for sample in samples
        if (found := sources(sample, chunks))
    ]


def measure(
    questions: Sequence[Sample], chunks: Sequence[Chunk], search: Search, progress: Progress = silent
) -> Retrieval | None:
    """Ask every question whose source is in `chunks`; None when there is none."""
    asked = known(questions, chunks)
    if not asked:
        return None
    ranked = {}
    for done, question in enumerate(asked):
        ranked[question.id] = [hit.chunk.id for hit in search(question.text, _DEPTH)]
        progress(done + 1, len(asked), "retrieval")
    documents = [q.document_id for q in asked]
    draws, values = draw(documents), per_question(asked, ranked)
    recall, mrr, ndcg = (estimate(draws.mean(each, documents), draws) for each in values.values())
    return Retrieval(
        questions=len(asked),
        recall_at_5=recall,
        mrr_at_10=mrr,
        ndcg_at_10=ndcg,
        rows=part([q.id for q in asked], documents, values[NDCG]),
    )


def per_question(
    questions: Sequence[Question],
    ranked: Mapping[str, Sequence[str]],
    measures: Sequence[str] = MEASURES,
) -> dict[str, Array]:
    """Each measure's value for each question, shape (len(questions),). `ranked` holds ids, best first.

    A question that `ranked` lacks, or has nothing for, counts as 0; an id named twice counts at its first place.
    nDCG takes the grade itself as the gain (Jarvelin and Kekalainen 2002), as trec_eval does.
    """
    import ir_measures

    parsed = [ir_measures.parse_measure(name) for name in measures]
    judged = {q.id: dict(q.relevant) for q in questions}
    run = {q.id: _scores(ranked.get(q.id, ())) for q in questions}
    place = {q.id: i for i, q in enumerate(questions)}
    values = {name: np.zeros(len(questions)) for name in measures}
    names = dict(zip(parsed, measures, strict=True))
    for metric in ir_measures.iter_calc(parsed, judged, run):
        values[names[metric.measure]][place[metric.query_id]] = metric.value
    return values


def _scores(ids: Sequence[str]) -> dict[str, float]:
    """Scores that fall by one a place, because the libraries rank by score and not by order."""
    once = list(dict.fromkeys(ids))
    return {name: float(len(once) - i) for i, name in enumerate(once)}
