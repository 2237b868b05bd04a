"""What Ragas is given and what it gives back, without Ragas: the package is optional (adapters/ragas_metrics.py).

Means are over samples, intervals over documents. A metric that a judge fails on too often is not measured, and
says so. Not covered: choosing the metrics, and running them.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from llm_twin.evaluation.intervals import Estimate, draw, estimate
from llm_twin.evaluation.rag import Answered
from llm_twin.evaluation.retrieval import sources
from llm_twin.evaluation.statements import abstains, plain
from llm_twin.types import Chunk, Value

MOST_FAILED = 0.1


class RagSample(Value):
    """One answered question as Ragas sees it; `reference_contexts` are the passages that hold the author's answer."""

    document_id: str
    question: str
    answer: str
    reference: str
    retrieved_contexts: tuple[str, ...]
    reference_contexts: tuple[str, ...]


class RagasScores(Value):
    """The metrics of one arm by Ragas' own names; `not_measured` says why one is missing."""

    samples: int
    judge: str
    """The model that judged; "" where none did."""
    metrics: dict[str, Estimate]
    failed: dict[str, int]
    """Samples that a measured metric could not be had for; they are not in its mean."""
    not_measured: dict[str, str]


def rag_samples(answered: Answered, passages: Sequence[Chunk]) -> list[RagSample]:
    """The answers that Ragas can judge: given, from passages, to a question whose source is in `passages`."""
    found = []
    for sample, answer in answered:
        holding = sources(sample, passages)
        if answer.hits and holding and not abstains(answer):
            found.append(
                RagSample(
                    document_id=sample.document_id,
                    question=sample.instruction,
                    answer=plain(answer),
                    reference=sample.response,
                    retrieved_contexts=tuple(hit.chunk.text for hit in answer.hits),
                    reference_contexts=tuple(chunk.text for chunk in passages if chunk.id in holding),
                )
            )
    return found


def ragas_scores(
    samples: Sequence[RagSample],
    values: Mapping[str, Sequence[float | None]],
    missing: Mapping[str, str],
    judge: str = "",
) -> RagasScores:
    """Estimates from one value a sample and metric (None: it failed); `missing` are metrics that could not run."""
    metrics: dict[str, Estimate] = {}
    failed: dict[str, int] = {}
    not_measured = dict(missing)
    for name, found in values.items():
        rows = [(v, s.document_id) for v, s in zip(found, samples, strict=True) if v is not None]
        lost = len(samples) - len(rows)
        documents = [document for _, document in rows]
        if lost > MOST_FAILED * len(samples):
            not_measured[name] = f"it failed on {lost} of {len(samples)} samples" + (
                f": {judge} does not keep to the format" if judge else ""
            )
        elif len(set(documents)) < 2:
            not_measured[name] = "fewer than two documents have a sample"
        else:
            draws = draw(documents)
            metrics[name] = estimate(draws.mean(np.array([v for v, _ in rows]), documents), draws)
            failed |= {name: lost} if lost else {}
    return RagasScores(
        samples=len(samples), judge=judge, metrics=metrics, failed=failed, not_measured=not_measured
    )
