"""Style, sense and twin score of one model, each between a floor and a ceiling measured on the same documents.

Style: mean P(author); floor = the base model's answers, ceiling = the author's held-out passages.
Sense: the weakest of relevance, fluency and variety, see `answers`.
Twin score: their harmonic mean, clipped to [0, 1]. Every bound is drawn anew in each bootstrap draw.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from llm_twin.evaluation.intervals import Array, Draws, Estimate, between, estimate, harmonic
from llm_twin.types import Value


@dataclass(frozen=True)
class Bracketed:
    """One quantity by passage: its floor, its ceiling and its value under each model, shape (passages,) each.

    NaN marks passages for which a value cannot be had; they are left out of its mean.
    """

    floor: Array
    ceiling: Array
    values: Mapping[str, Array]


class Scores(Value):
    """The scores of one model. Style may pass 1: then the model imitates the author more than the author does."""

    style: Estimate
    relevance: Estimate
    fluency: Estimate
    variety: Estimate
    sense: Estimate
    twin: Estimate
    raw: dict[str, float]
    """The plain means behind the scores: P(author), cosine, log-likelihood a token, distinct 3-grams."""

    @property
    def over_imitates(self) -> bool:
        """Whether the style score is above the real author's with 95% confidence."""
        return self.style.low > 1.0


def scores(model: str, quantities: Mapping[str, Bracketed], documents: Sequence[str], draws: Draws) -> Scores:
    """Scores of `model` from "style", "relevance", "fluency" and "variety", one row of `documents` a passage."""
    drawn = drawn_scores(model, quantities, documents, draws)
    return Scores(
        **{name: estimate(values, draws) for name, values in drawn.items()},
        raw={name: float(np.nanmean(q.values[model])) for name, q in quantities.items()},
    )


def difference(
    first: str, second: str, quantities: Mapping[str, Bracketed], documents: Sequence[str], draws: Draws
) -> Estimate:
    """Twin score of `first` less that of `second`, paired draw by draw."""
    one, other = (drawn_scores(model, quantities, documents, draws)["twin"] for model in (first, second))
    return estimate(one - other, draws)


def drawn_scores(
    model: str, quantities: Mapping[str, Bracketed], documents: Sequence[str], draws: Draws
) -> dict[str, Array]:
    """Every score of `model` in every draw, by its name in `Scores`; shape (draws + 1,) each."""
    placed = {name: _placed(q, model, documents, draws) for name, q in quantities.items()}
    sense = np.clip(np.minimum.reduce([placed["relevance"], placed["fluency"], placed["variety"]]), 0, 1)
    return {**placed, "sense": sense, "twin": harmonic(placed["style"], sense)}


def _placed(quantity: Bracketed, model: str, documents: Sequence[str], draws: Draws) -> Array:
    return between(
        _mean(quantity.values[model], documents, draws),
        _mean(quantity.floor, documents, draws),
        _mean(quantity.ceiling, documents, draws),
    )


def _mean(values: Array, documents: Sequence[str], draws: Draws) -> Array:
    known = ~np.isnan(values)
    return draws.mean(values[known], [d for d, there in zip(documents, known, strict=True) if there])
