"""The second verifiers: five ways to tell the author's writing that have little in common with each other.

Each is fitted on training passages and gives a text a number that is higher the more it is like the author;
what the number means differs from one to the next, so compare it only with other texts' numbers. Kinds of
background weigh alike. Not covered: calibration, which is the style verifier's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from llm_twin.errors import InputError
from llm_twin.evaluation import delta, letters, profiles
from llm_twin.evaluation.intervals import Array, Estimate
from llm_twin.evaluation.separation import Judged
from llm_twin.evaluation.style import LEAST_AUC, Passage

Value = Callable[[Sequence[str]], Array]
Sides = Mapping[str, Sequence[str]]
STYLE = "style"
_LEAST_DOCUMENTS = 3


@dataclass(frozen=True)
class Second:
    """A fitted second verifier. `by_document`: it judges all passages of a document as one text."""

    name: str
    looks_at: str
    by_document: bool
    value: Value

    def judge(self, passages: Sequence[Passage]) -> Judged:
        """One value a passage, or a document; documents come in the order of their first passage."""
        units = joined(passages) if self.by_document else passages
        return Judged(self.value([u.text for u in units]), tuple(u.document_id for u in units))


def joined(passages: Sequence[Passage]) -> list[Passage]:
    """One passage a document: all of its passages, set off by blank lines."""
    texts: dict[str, list[str]] = {}
    for passage in passages:
        texts.setdefault(passage.document_id, []).append(passage.text)
    return [Passage(document, "\n\n".join(pieces)) for document, pieces in texts.items()]


def fit(author: Sequence[Passage], others: Sequence[Passage], machine: Sequence[Passage]) -> list[Second]:
    """Fit all of them. Raises InputError without any background, or with too few documents of the author's."""
    _check(author, others, machine)
    sides = {"author": author, "others": others, "machine": machine}
    there = {name: passages for name, passages in sides.items() if passages}
    return [
        Second(name, looks_at, by_document, make(_texts(there, by_document)))
        for name, (looks_at, by_document, make) in _VERIFIERS.items()
    ]


def refusal(aucs: Mapping[str, Estimate | None]) -> str:
    """Why a verifier with these AUCs over each kind of background gives no number; empty where it may."""
    unclear = [f"{who} ({auc.value:.2f})" for who, auc in aucs.items() if auc and auc.value < LEAST_AUC]
    if not unclear:
        return ""
    return f"AUC under {LEAST_AUC}: it cannot tell this author from {' and '.join(unclear)}"


def _check(author: Sequence[Passage], others: Sequence[Passage], machine: Sequence[Passage]) -> None:
    if not others and not machine:
        raise InputError(
            "second opinions have no background to tell from", "collect writing by other authors as well"
        )
    found = len({p.document_id for p in author})
    if found < _LEAST_DOCUMENTS:
        raise InputError(
            f"second opinions need {_LEAST_DOCUMENTS} training documents of the author and there are {found}",
            "collect more writing",
        )


def _texts(sides: Mapping[str, Sequence[Passage]], by_document: bool) -> dict[str, list[str]]:
    return {
        name: [p.text for p in (joined(passages) if by_document else passages)]
        for name, passages in sides.items()
    }


def _delta(sides: Sides) -> Value:
    fitted = delta.fit(sides)

    def value(texts: Sequence[str]) -> Array:
        """How much nearer the author is than the nearest other."""
        distances = fitted.distances(texts)
        own = distances.pop("author")
        return np.asarray(np.minimum.reduce(list(distances.values())) - own)

    return value


def _letters(sides: Sides) -> Value:
    models = letters.fit(sides)
    return lambda texts: letters.value(models, texts)


_VERIFIERS: dict[str, tuple[str, bool, Callable[[Sides], Value]]] = {
    "delta": (
        f"how often the {delta.MOST_FREQUENT} most frequent words stand in all of a document (Burrows' Delta)",
        True,
        _delta,
    ),
    "function words": (
        "how often each of 300 words without a topic is used, such as the, but and you",
        False,
        lambda sides: profiles.fit(profiles.function_words, sides),
    ),
    "punctuation": (
        "punctuation marks, lines, lists, casing, digits and symbols",
        False,
        lambda sides: profiles.fit(profiles.marks, sides),
    ),
    "rhythm": (
        "the length of words, sentences and paragraphs, and how it changes from one to the next",
        True,
        lambda sides: profiles.fit(profiles.rhythm, sides),
    ),
    "letters": (
        "which characters follow which in the text with its topic masked (a language model a writer)",
        False,
        _letters,
    ),
}
