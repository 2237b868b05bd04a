"""Questions that nothing the author wrote answers, to see whether the twin keeps quiet.

Two sources: questions of our own on subjects far apart (unanswerable.jsonl, each with the words of its subject), and
questions about other authors' documents, which are nearer and harder to keep quiet about. Either is left out where
one document of the author holds all the words of its subject: then it may have an answer. Words are compared by
their stems and nothing is embedded, so the check knows nothing of the search that is to be measured. Not covered: a
subject written about in other words, or in another language.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files

from llm_twin.evaluation.support import read
from llm_twin.text import words
from llm_twin.types import Sample, Skipped, Value

_FILE = "unanswerable.jsonl"
_ASKING = "describe discuss explain happen know outline summarise summarize tell think write"


class Unanswerable(Value):
    """A question, and the words that a text which answers it would hold."""

    question: str
    subject: tuple[str, ...]


@dataclass(frozen=True)
class Kept:
    """The questions to ask, in order, and those left out with the reason."""

    questions: tuple[str, ...]
    left_out: tuple[Skipped, ...]


def invented() -> tuple[Unanswerable, ...]:
    """The questions that come with the package."""
    lines = (files(__package__) / _FILE).read_text(encoding="utf-8").splitlines()
    return tuple(Unanswerable.model_validate(json.loads(line)) for line in lines)


def foreign(samples: Iterable[Sample], most: int) -> tuple[Unanswerable, ...]:
    """Questions meant for other authors' documents: the first of each document, at most `most`.

    Their subject is all their telling words but those of asking ("explain"). A question that its document alone makes
    sense of ("What happened next?") has none, or few: one of fewer than two is passed over.
    """
    first = {sample.document_id: sample.instruction for sample in reversed(list(samples))}
    found = (Unanswerable(question=q, subject=_subject(q)) for _, q in sorted(first.items()))
    return tuple(question for question in found if len(question.subject) >= 2)[:most]


def _subject(question: str) -> tuple[str, ...]:
    """Words as they stand, since a stem has another stem (brass, bras, bra)."""
    asking = read(_ASKING).words
    return tuple(sorted({word for word in words(question) if read(word).words - asking}))


def without_words_in(questions: Sequence[Unanswerable], documents: Iterable[tuple[str, str]]) -> Kept:
    """Leave out the questions whose subject one of the author's `documents` (name, text) holds whole."""
    known = [(name, read(text).words) for name, text in documents]
    kept, left_out = [], []
    for question in questions:
        subject = read(" ".join(question.subject)).words
        holding = next((name for name, held in known if subject <= held), None)
        if holding is None:
            kept.append(question.question)
        else:
            why = f"{holding} holds all of: {', '.join(question.subject)}"
            left_out.append(Skipped(what=question.question, why=why))
    return Kept(tuple(kept), tuple(left_out))
