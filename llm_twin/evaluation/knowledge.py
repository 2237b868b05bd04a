"""What a model knows of the author: questions with four options, and answers beside the author's own.

The questions come from training documents, which a twin may have learnt; the requests behind the open answers
from held-out documents, which it has not seen. All is measured for base and twin on the same items, and a part
that cannot be measured is named with its reason. Not covered: whether an answer is true; a text may resemble
the author's passage and say the opposite.
"""

from collections.abc import Callable, Sequence

import numpy as np

from llm_twin.evaluation.answers import relevance
from llm_twin.evaluation.choices import CHANCE, Choice, chosen_right
from llm_twin.evaluation.intervals import Array, Estimate
from llm_twin.evaluation.paired import Compared, averaged, compared
from llm_twin.evaluation.rows import Part, part
from llm_twin.ports import Embedder, beginning
from llm_twin.text import words
from llm_twin.types import Sample, Value

Likeness = Callable[[Sequence[str], Sequence[str]], Array]
"""(answers, references) -> how alike each pair is, shape (pairs,)."""


class ChoiceAccuracy(Value):
    """Share of multiple-choice questions answered rightly. Intervals are over the documents they come from."""

    questions: int
    documents: int
    chance: float
    """What guessing gets."""
    topic_alone: Estimate
    """What choosing the option nearest to the question in meaning gets: over chance, it can be had unread."""
    accuracy: Compared
    rows: Part | None = None
    """Whether the twin answered each question rightly, for the gate."""


class Resembling(Value):
    """How alike answers and the author's own passages are, 0 to 1 (cosine: -1 to 1)."""

    models: Compared
    unrelated: Estimate
    """The same for the author's passages from other documents: what sharing an author, not an answer, gets."""


class OpenAnswers(Value):
    """Answers to held-out requests beside what the author wrote there."""

    answers: int
    documents: int
    rouge_l: Resembling
    """F-measure of the longest common subsequence of words (Lin 2004)."""
    chrf: Resembling
    """F-measure of character 1- to 6-grams, recall counting twice (Popović 2015)."""
    similarity: Resembling
    """Cosine of the embeddings of both texts' beginnings."""


class Knowledge(Value):
    """Both parts; `not_measured` says of a part that is None why it is."""

    choices: ChoiceAccuracy | None
    answers: OpenAnswers | None
    not_measured: dict[str, str]


def knowledge(choices: ChoiceAccuracy | str, answers: OpenAnswers | str) -> Knowledge:
    """Both parts together; a string in place of a part is the reason why it was not measured."""
    parts = {"choices": choices, "answers": answers}
    return Knowledge(
        choices=None if isinstance(choices, str) else choices,
        answers=None if isinstance(answers, str) else answers,
        not_measured={name: part for name, part in parts.items() if isinstance(part, str)},
    )


# --- choices ----------------------------------------------------------------------------------------------------


def choice_accuracy(
    choices: Sequence[Choice],
    base: Sequence[Sequence[float]],
    twin: Sequence[Sequence[float]],
    topic: Sequence[Sequence[float]],
) -> ChoiceAccuracy | str:
    """Accuracy from the options' scores, shape (choices, 4) each: by base, by twin (`choices.letters`), and by
    `choices.resemblance`. A string says why there is none.
    """
    documents = [c.document_id for c in choices]
    if len(set(documents)) < 2:
        return _too_few("multiple-choice questions could be made", "training documents", documents)
    right = [c.right for c in choices]
    by_base, by_twin = chosen_right(base, right), chosen_right(twin, right)
    return ChoiceAccuracy(
        questions=len(choices),
        documents=len(set(documents)),
        chance=CHANCE,
        topic_alone=averaged(chosen_right(topic, right), documents),
        accuracy=compared(by_base, by_twin, documents),
        rows=part([c.sample_id for c in choices], documents, by_twin),
    )


def _too_few(what: str, where: str, documents: Sequence[str]) -> str:
    return f"{len(documents)} {what} from {len(set(documents))} {where}, and intervals need two documents"


# --- open answers -----------------------------------------------------------------------------------------------


def open_answers(
    samples: Sequence[Sample], base: Sequence[str], twin: Sequence[str], embedder: Embedder
) -> OpenAnswers | str:
    """Answers of both models to `samples`, one text a sample in their order, beside the samples' responses.

    A string says why there is none.
    """
    documents = [s.document_id for s in samples]
    if len(set(documents)) < 2:
        return _too_few("requests were held out", "documents", documents)
    references = [s.response for s in samples]
    strangers = [references[i] for i in _elsewhere(documents)]

    def resembling(likeness: Likeness) -> Resembling:
        return Resembling(
            models=compared(likeness(base, references), likeness(twin, references), documents),
            unrelated=averaged(likeness(strangers, references), documents),
        )

    return OpenAnswers(
        answers=len(samples),
        documents=len(set(documents)),
        rouge_l=resembling(rouge_l),
        chrf=resembling(chrf),
        similarity=resembling(lambda given, wanted: similarity(given, wanted, embedder)),
    )


def _elsewhere(documents: Sequence[str]) -> list[int]:
    """For each place the next place, going round, that holds another document."""
    n = len(documents)
    turns = ((i, (i + step) % n) for i in range(n) for step in range(1, n))
    first: dict[int, int] = {}
    for place, other in turns:
        if documents[place] != documents[other]:
            first.setdefault(place, other)
    return [first[i] for i in range(n)]


class _Words:
    """Our words in place of rouge-score's, which knows a to z only and would find none in Greek."""

    def tokenize(self, text: str) -> list[str]:
        return words(text)


def rouge_l(answers: Sequence[str], references: Sequence[str]) -> Array:
    """ROUGE-L F-measure of each answer; 0 for an answer without a word."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], tokenizer=_Words())
    pairs = zip(answers, references, strict=True)
    return np.array([scorer.score(wanted, given)["rougeL"].fmeasure for given, wanted in pairs], np.float64)


def chrf(answers: Sequence[str], references: Sequence[str]) -> Array:
    """chrF2 of each answer, 0 to 1 (sacrebleu prints it times 100)."""
    from sacrebleu.metrics.chrf import CHRF

    metric = CHRF()
    pairs = zip(answers, references, strict=True)
    return np.array(
        [metric.sentence_score(given, [wanted]).score / 100 for given, wanted in pairs], np.float64
    )


def similarity(answers: Sequence[str], references: Sequence[str], embedder: Embedder) -> Array:
    """Cosine of each answer's and its reference's embedding, of as much as the embedder's window holds."""
    given, wanted = (
        embedder.embed([beginning(t, embedder) for t in texts]) for texts in (answers, references)
    )
    return relevance(given, wanted)
