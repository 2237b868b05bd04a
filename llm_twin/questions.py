"""The questions that an evaluation asks its twin: those the author's held-out writing answers, and those it does not.

Of a document any requests are chosen, not the first, so that what people label of few stands for what a judge reads
of many (`ares`). Questions about other authors' documents are written by a model, as the dataset's requests are, and
left out where the author may have written about them too. Not covered: documents that answer a question of their
own in part only.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from llm_twin import wiring
from llm_twin.asker import answering
from llm_twin.datasets.instruct import TEMPLATE, instruct
from llm_twin.datasets.spans import Span, spans
from llm_twin.evaluation.measure import Notes
from llm_twin.evaluation.unanswerable import Kept, foreign, without_words_in
from llm_twin.inference.batch import GROUP, Question, answer_group
from llm_twin.material import spread
from llm_twin.ports import ChatModel, Embedder, Progress, silent
from llm_twin.text import digest
from llm_twin.types import Answer, CleanDocument, Sample, Sampling, Skipped
from llm_twin.workspace import Workspace

MOST_ABOUT_OTHERS = GROUP


@dataclass(frozen=True)
class AboutOthers:
    """Questions that other authors' documents answer. `why` there is none; empty where there are some."""

    kept: Kept
    why: str


def held_out(requests: Sequence[Sample], most: int) -> list[Sample]:
    """At most `most` of the held-out requests, evenly over documents, in order; a larger `most` holds a smaller's."""
    test = [s for s in requests if s.split == "test"]
    by_chance = sorted(test, key=lambda s: digest("asked", s.id))
    chosen = {s.id for s in spread(by_chance, most)}
    return [s for s in test if s.id in chosen]


def about_others(
    workspace: Workspace,
    documents: Sequence[CleanDocument],
    model: ChatModel,
    embedder: Embedder,
    notes: Notes,
    most: int = MOST_ABOUT_OTHERS,
) -> AboutOthers:
    """One question about each of at most `most` documents by other authors, written by `model` in batches and noted."""
    prose = [d for d in documents if d.document.kind != "repository"]
    theirs = [d for d in prose if d.document.author != workspace.author]
    if not theirs:
        return AboutOthers(Kept((), ()), "no writing by other authors was collected")
    found = _beginnings(workspace, theirs)[:most]

    def make() -> list[dict[str, object]]:
        samples, _ = instruct([(span, "test") for span in found], model, embedder)
        return [sample.model_dump(mode="json") for sample in samples]

    samples = [Sample.model_validate(sample) for sample in notes.once("questions-about-others", make)]
    written = foreign((s for s in samples if s.written_by != TEMPLATE), most)
    own = [(d.document.title, d.text) for d in prose if d.document.author == workspace.author]
    kept = without_words_in(written, own)
    return AboutOthers(kept, "" if kept.questions else _none(len(theirs), len(written)))


def _beginnings(workspace: Workspace, documents: Sequence[CleanDocument]) -> list[Span]:
    """The first span of each document that has one, in an order that has nothing to do with the documents."""
    plan = workspace.settings.dataset
    order = sorted(documents, key=lambda d: digest("about others", d.document.id))
    cut = (spans(document, plan.least_words, plan.target_words, plan.most_words) for document in order)
    return [each[0] for each in cut if each]


def _none(documents: int, written: int) -> str:
    if not written:
        return f"the base model wrote no question about the {documents} documents of other authors that stands alone"
    return f"the author may have written about all {written} questions on other authors' documents"


def answers_to(
    workspace: Workspace,
    questions: Sequence[str],
    embedder: Embedder,
    model: ChatModel | None,
    mode: str,
    longest: int,
    progress: Progress = silent,
) -> list[Answer]:
    """An answer of at most `longest` tokens to each question, written in groups, with the passages behind it.

    A question for which the model writes nothing, or has no room, is one left unanswered; why stands for the answer.
    """
    settings = workspace.settings.ask
    sampling = Sampling(max_tokens=longest, temperature=settings.temperature, top_p=settings.top_p)
    asked = [Question(id=f"{i}", question=q, author=workspace.author) for i, q in enumerate(questions)]
    found: list[Answer] = []
    with closing(wiring.open_vectors(workspace, embedder.dimension)) as store:
        using = answering(workspace, store, embedder, model, mode, sampling)
        for first in range(0, len(asked), GROUP):
            group = asked[first : first + GROUP]
            answered = zip(group, answer_group(group, using), strict=True)
            found += [_whole(question, answer, mode) for question, answer in answered]
            progress(len(found), len(asked), f"answers: {model.name if model else mode}")
    return found


def _whole(question: Question, answer: Answer | Skipped, mode: str) -> Answer:
    """The answer without the place that it has in a file of answers."""
    if isinstance(answer, Skipped):
        return Answer.model_validate(
            {"question": question.question, "text": f"({answer.why})", "mode": mode, "found": False}
        )
    return Answer(**{name: getattr(answer, name) for name in Answer.model_fields})
