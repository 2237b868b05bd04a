"""What was measured, row by row, kept with a report so that two evaluations can be compared in pairs later.

A mean and its interval do not tell whether two models differ on the same documents; their rows do. Rows are
rounded to six digits. Not covered: texts; a row is numbers and ids.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator

from llm_twin.evaluation.fluency import Scored
from llm_twin.evaluation.intervals import Array
from llm_twin.evaluation.scores import Bracketed
from llm_twin.text import digest
from llm_twin.types import Sample, Value

Reads = Literal["higher", "lower", "perplexity"]
SCORED = ("style", "relevance", "fluency", "variety")
_DIGITS = 6


class Part(BaseModel):
    """One quantity of one model, a row for each passage or question. None: it cannot be had for that row."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    ids: tuple[str, ...]
    """What each row is about, the same in every evaluation: a sample's or a question's id."""
    documents: tuple[str, ...]
    """The document of each row; documents are what is drawn."""
    values: tuple[float | None, ...]
    weights: tuple[float, ...] | None = None
    """How much each row weighs in the mean (tokens, for perplexity); None: all the same."""
    floor: tuple[float | None, ...] | None = None
    ceiling: tuple[float | None, ...] | None = None
    reads: Reads = "higher"
    """Which way is better. "perplexity": values are mean log-likelihoods, compared as exp of minus their mean."""

    @model_validator(mode="after")
    def _as_long(self) -> Self:
        rows = (self.ids, self.documents, self.values, self.weights, self.floor, self.ceiling)
        if len({len(row) for row in rows if row is not None}) > 1:
            raise ValueError("every column of a part needs as many rows")
        return self


class PerDocument(Value):
    """The rows of one model's evaluation, by quantity."""

    verifier: str
    """Digest of what the style verifier was fitted on, see `verifier_digest`; empty where there is none."""
    parts: dict[str, Part]
    """"style", "relevance", "fluency" and "variety" hold floors and ceilings; others stand for themselves."""


def part(
    ids: Sequence[str],
    documents: Sequence[str],
    values: Iterable[float],
    weights: Iterable[float] | None = None,
    reads: Reads = "higher",
) -> Part:
    """The rows of a quantity that stands for itself; NaN where it cannot be had."""
    return Part(
        ids=tuple(ids),
        documents=tuple(documents),
        values=_column(values),
        weights=None if weights is None else tuple(float(w) for w in weights),
        reads=reads,
    )


def per_document(
    quantities: Mapping[str, Bracketed],
    samples: Sequence[Sample],
    verifier: str,
    real_by_model: Scored | None,
    model: str = "twin",
) -> PerDocument:
    """The rows of `model`: its `quantities` (as `scores.scores` takes them) and its perplexity.

    `samples` are the held-out passages, one a row; `real_by_model` their token log probabilities under `model`,
    None where it gives none.
    """
    ids, documents = [s.id for s in samples], [s.document_id for s in samples]
    parts = {
        name: part(ids, documents, q.values[model]).model_copy(
            update={"floor": _column(q.floor), "ceiling": _column(q.ceiling)}
        )
        for name, q in quantities.items()
    }
    if real_by_model is not None:
        means, tokens = [t.mean() for t in real_by_model], [len(t) for t in real_by_model]
        parts["perplexity"] = part(ids, documents, means, tokens, reads="perplexity")
    return PerDocument(verifier=verifier, parts=parts)


def verifier_digest(author: Iterable[str], others: Iterable[str], machine: Iterable[str]) -> str:
    """What two style verifiers must share for their probabilities to be compared: all that they were fitted on."""
    return digest(*(digest(*texts) for texts in (author, others, machine)))


def bracketed(found: Part, model: str) -> Bracketed:
    """A part with floor and ceiling as `scores` takes it."""
    return Bracketed(array(found.floor or ()), array(found.ceiling or ()), {model: array(found.values)})


def array(column: Sequence[float | None]) -> Array:
    """A column as an array, NaN for None."""
    return np.array([np.nan if value is None else value for value in column], np.float64)


def _column(values: Iterable[float]) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(value) else round(float(value), _DIGITS) for value in values)
