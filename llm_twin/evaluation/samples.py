"""Sample answers as the page shows them: the author's own passage, the twin's answer with its sources, and others.

What two parts of a report say of the same question is folded together: answers from passages (`rag`), answers
without (`measure`), and the passages behind them. Not covered: choosing samples, and drawing them.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from llm_twin.evaluation.answer_pictures import ARMS
from llm_twin.evaluation.measure import Example
from llm_twin.evaluation.plots import Who
from llm_twin.evaluation.rag import Rag, RagExample, ShownAnswer
from llm_twin.types import Answer, Citation

Piece = tuple[str, int | None]
"""Text of an answer; with a number, it is the mark of that citation."""
_CITED = re.compile(r"\[(\d{1,4})\]")


@dataclass(frozen=True)
class Source:
    """A citation and the passage that it stands for, "" where the report does not hold it."""

    citation: Citation
    passage: str


@dataclass(frozen=True)
class Sourced:
    """An answer from passages. `supported` of its `statements` stand in a passage that they cite; None: not judged."""

    who: Who
    name: str
    pieces: tuple[Piece, ...]
    sources: tuple[Source, ...]
    silent: bool
    """Whether it says that nothing was written about this."""
    statements: int | None = None
    supported: int | None = None


@dataclass(frozen=True)
class Sample:
    """A question with what everybody said to it. `author` is "" where nobody's passage is known."""

    question: str
    author: str
    answer: Sourced | None
    others: tuple[Sourced, ...] = ()
    """From passages too: the base model's, and quotes."""
    alone: Example | None = None
    """The same question without passages."""


def samples(
    rag: Rag | None, answers: Sequence[Answer], examples: Sequence[Example]
) -> tuple[tuple[Sample, ...], tuple[Sample, ...], tuple[Example, ...]]:
    """Questions with the author's passage, further answers of the twin, and what was answered without passages only."""
    passages = {hit.chunk.id: hit.chunk.text for answer in answers for hit in answer.hits}
    alone = {example.instruction: example for example in examples}
    shown = rag.examples if rag else ()
    beside = tuple(_beside(one, passages, alone.get(one.question)) for one in shown)
    told = {sample.question for sample in beside}
    further = tuple(_further(a, passages) for a in answers if a.question not in told)
    return beside, further, tuple(e for e in examples if e.instruction not in told)


def _beside(example: RagExample, passages: Mapping[str, str], alone: Example | None) -> Sample:
    answers = [_shown(name, answer, passages) for name, answer in example.answers.items()]
    first = next((a for a in answers if a.who == "twin"), answers[0] if answers else None)
    others = tuple(a for a in answers if a is not first)
    return Sample(example.question, example.author, first, others, alone)


def _shown(name: str, answer: ShownAnswer, passages: Mapping[str, str]) -> Sourced:
    who, short = ARMS.get(name, ("other", name))
    judged = [s.supported for s in answer.sentences if s.supported is not None]
    return Sourced(
        who=who,
        name=short,
        pieces=linked(answer.text, answer.citations),
        sources=_sources(answer.citations, passages),
        silent=answer.abstains,
        statements=len(judged),
        supported=sum(judged),
    )


def _further(answer: Answer, passages: Mapping[str, str]) -> Sample:
    who, name = ARMS["quote" if answer.mode == "quote" else "twin write"]
    pieces, sources = linked(answer.text, answer.citations), _sources(answer.citations, passages)
    return Sample(answer.question, "", Sourced(who, name, pieces, sources, silent=not answer.found))


def _sources(citations: Iterable[Citation], passages: Mapping[str, str]) -> tuple[Source, ...]:
    return tuple(Source(c, passages.get(c.chunk_id, "")) for c in citations)


def linked(text: str, citations: Iterable[Citation]) -> tuple[Piece, ...]:
    """The text cut at its citations: (text, None) or ("[2]", 2); a number that cites nothing stays text."""
    known = {citation.number for citation in citations}
    pieces: list[Piece] = []
    for i, piece in enumerate(_CITED.split(text)):
        cited = i % 2 == 1
        pieces.append(
            (f"[{piece}]" if cited else piece, int(piece) if cited and int(piece) in known else None)
        )
    return tuple(pieces)


def web_address(url: str | None) -> str | None:
    """The address where it is safe to follow, else None: a link must not be able to run anything."""
    return url if url and url.lower().startswith(("https://", "http://")) else None


def titles(rag: Rag | None, answers: Sequence[Answer]) -> dict[str, str]:
    """Titles by document id, as far as answers cite the documents."""
    cited = [c for answer in answers for c in answer.citations]
    for example in rag.examples if rag else ():
        cited += [c for answer in example.answers.values() for c in answer.citations]
    return {citation.document_id: citation.title for citation in cited}
