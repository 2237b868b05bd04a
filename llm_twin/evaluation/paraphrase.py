"""The author's passages in a model's words: what is left of the author when somebody else says the same.

Not covered: whether the paraphrase keeps the meaning; how much of the wording it keeps is measured, because a
small model may hand back what it was given.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from llm_twin.ports import ChatModel, Progress, silent
from llm_twin.prompts import conversation
from llm_twin.text import ngrams, words
from llm_twin.types import Sampling

if TYPE_CHECKING:
    from llm_twin.evaluation.measure import Notes

_PROMPT = "paraphrase.v1"


def paraphrases(
    model: ChatModel,
    texts: Sequence[str],
    sampling: Sampling,
    notes: "Notes | None" = None,
    progress: Progress = silent,
) -> list[str]:
    """Each text in the words of `model`, in order; what it left empty stays empty. Noted as "paraphrases"."""

    def make() -> list[str]:
        prompts = [conversation(_PROMPT, passage=text) for text in texts]
        return [c.text.strip() for c in model.generate(prompts, sampling, progress)]

    made = make() if notes is None else notes.once("paraphrases", make)
    return [str(text) for text in made]


def wording_kept(texts: Sequence[str], paraphrased: Sequence[str]) -> float:
    """Mean share of the paraphrases' word 3-grams that stand in what they paraphrase; too short ones are out."""
    shares = []
    for text, other in zip(texts, paraphrased, strict=True):
        grams, there = list(ngrams(words(other), 3)), set(ngrams(words(text), 3))
        if grams:
            shares.append(sum(gram in there for gram in grams) / len(grams))
    return float(np.mean(shares)) if shares else 0.0
