"""What a person is asked to label: answers with the passages behind them, one dimension at a time.

The three dimensions are those of ARES (Saad-Falcon et al. 2023). Answers come in random order, so that whoever
stops early leaves a random sample, which prediction-powered intervals need; the dimensions of one answer come
together, so that it is read once. Not covered: answers that were given up (`found` is False): no passage was used.
"""

import random
from collections.abc import Sequence
from datetime import UTC, datetime

from llm_twin.evaluation.people import Dimension, Label
from llm_twin.journal import Journal
from llm_twin.text import digest
from llm_twin.types import Answer, Value

ASKED: dict[Dimension, tuple[str, str]] = {
    "context relevance": (
        "Do the passages help to answer the question?",
        "Good: at least one of them bears on what was asked. The answer does not matter here.",
    ),
    "answer faithfulness": (
        "Does the answer keep to the passages?",
        "Good: everything it states is in them. Bad: it adds, changes or contradicts something.",
    ),
    "answer relevance": (
        "Does the answer answer the question?",
        "Good: it says what was asked for, without wandering off. Whether it is true does not matter here.",
    ),
}
"""What to decide, and how."""
NEEDED: dict[Dimension, frozenset[str]] = {
    "context relevance": frozenset({"passages"}),
    "answer faithfulness": frozenset({"passages", "answer"}),
    "answer relevance": frozenset({"answer"}),
}
"""What must be read to decide, besides the question; the rest is there to be opened."""


class LabelItem(Value):
    """One answer to be judged in one dimension."""

    id: str
    question: str
    passages: tuple[str, ...]
    answer: str
    dimension: Dimension


def label_items(answers: Sequence[Answer], seed: int = 0) -> list[LabelItem]:
    """Three items for each answer that was found, in random order of answers. The same answer comes once."""
    found = {item.id: item for answer in answers if answer.found for item in _items(answer)}
    order = sorted({item.question + item.answer for item in found.values()})
    random.Random(seed).shuffle(order)
    place = {text: at for at, text in enumerate(order)}
    return sorted(found.values(), key=lambda item: place[item.question + item.answer])


def _items(answer: Answer) -> list[LabelItem]:
    passages = tuple(hit.chunk.text for hit in answer.hits)
    return [
        LabelItem(
            id=digest(dimension, answer.question, answer.text, *passages)[:16],
            question=answer.question,
            passages=passages,
            answer=answer.text,
            dimension=dimension,
        )
        for dimension in ASKED
    ]


def label_of(item: LabelItem, good: bool) -> Label:
    """The label that says `good` of `item`, now."""
    return Label(created=datetime.now(UTC), good=good, **item.model_dump())


def unlabelled(items: Sequence[LabelItem], store: Journal[Label]) -> list[LabelItem]:
    """The items that have no label yet, in order."""
    known = {label.id for label in store.read()}
    return [item for item in items if item.id not in known]
