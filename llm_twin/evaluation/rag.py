"""What answers from the author's writing are worth: groundedness, citations, relevance, abstention.

Each quantity is bracketed by drawing the questions' documents, and a share keeps a width where every row is right
(`quantity`). Silence is asked for twice: on subjects far from the author's, which is easy, and on what other
authors' documents answer, which is near them (`unanswerable`). Whether a passage supports a sentence is decided by
a judge that is not the one which chose the citations (`support.Rule` by default, any other as a callable), and
what that judge is worth on this corpus stands beside the scores (`trials`). Citation precision and recall as in
Gao et al. (2023), "Enabling Large Language Models to Generate Text with Citations", with each citation judged
alone. Not covered: whether an answer is right beyond what the passages say, and statements that only two passages
together support.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from llm_twin.errors import InputError
from llm_twin.evaluation.intervals import Draws, Estimate, draw, exact
from llm_twin.evaluation.quantity import Rows, difference, estimated, rows
from llm_twin.evaluation.rows import Part, part
from llm_twin.evaluation.statements import Sentence, abstains, plain, read_answer
from llm_twin.evaluation.support import Claim, Rule, Supports
from llm_twin.evaluation.trials import Trials, trials
from llm_twin.ports import Embedder, beginning
from llm_twin.types import Answer, Chunk, Citation, Sample, Skipped, Value

Answered = Sequence[tuple[Sample, Answer]]
TWIN_ANSWERS = "twin write"
TWIN_AND_BASE = ((TWIN_ANSWERS, "base write"),)
_EXAMPLES = 5
_FEWEST = "fewer than two documents have any"
_NO_OTHERS = "no question about another author's document was asked"


class RagScores(Value):
    """The scores of one arm (a model and a mode). A figure is None where `not_measured` says why.

    A statement is a sentence that needs a source (`statements`). All but `abstentions` and `abstentions_others`, whose
    questions are independent, are drawn over documents.
    """

    questions: int
    """Answerable questions asked."""
    unanswerable: int
    """Questions of ours asked, on subjects far from the author's."""
    others: int = 0
    """Questions asked that other authors' documents answer."""
    statements: int
    citations: int
    grounded: Estimate | None
    """Share of statements that some retrieved passage supports."""
    cited: Estimate | None
    """Share of statements with a citation, right or wrong."""
    citation_recall: Estimate | None
    """Share of statements that a passage they cite supports: groundedness in the cited passage."""
    citation_precision: Estimate | None
    """Share of citations whose passage supports the sentence that they stand behind."""
    relevance: Estimate | None
    """Cosine between question and answer, where there is an answer. Repeating the question raises it."""
    relevance_floor: Estimate | None
    """The same with the questions of other documents in place of the answer's own."""
    relevance_author: Estimate | None
    """Cosine between each question and the author's own passage for it."""
    wrong_abstentions: Estimate | None
    """Share of answerable questions to which it says that there is nothing."""
    abstentions: Estimate | None
    """Share of the questions of ours to which it says so: the easy ones."""
    abstentions_others: Estimate | None = None
    """Share of the questions about other authors' documents to which it says so."""
    not_measured: dict[str, str]
    rows: Part | None = None
    """The share of each answer's statements that is grounded, for the gate; None for an answer that states nothing."""


class JudgedSentence(Value):
    """A sentence of a sample answer. `supported` and `grounded` are None for one that needs no source."""

    text: str
    supported: bool | None
    """By a passage that it cites."""
    grounded: bool | None
    """By any passage retrieved."""


class ShownAnswer(Value):
    """One arm's answer as the page shows it."""

    text: str
    abstains: bool
    citations: tuple[Citation, ...]
    sentences: tuple[JudgedSentence, ...]


class RagExample(Value):
    """A question with the author's passage ("" where nobody wrote one) and what each arm answered."""

    question: str
    author: str
    answers: dict[str, ShownAnswer]


class Rag(Value):
    """All arms, what separates them, and what the judge of support is worth."""

    arms: dict[str, RagScores]
    differences: dict[str, dict[str, Estimate]]
    """By pair ("twin write - base write"), then by field of RagScores: the difference, paired over documents."""
    judge: Trials
    examples: tuple[RagExample, ...]
    left_out: tuple[Skipped, ...] = ()
    """Questions that were meant to be unanswerable and were not asked, and why."""


@dataclass(frozen=True)
class Arm:
    """What one model answered in one mode. `unanswerable` are answers to questions of ours that nothing written
    answers, `others` those to questions that other authors' documents answer.
    """

    answerable: Answered
    unanswerable: Sequence[Answer] = ()
    others: Sequence[Answer] = ()


@dataclass(frozen=True)
class _Judged:
    """An arm with what the judge said: for each answer its sentences, and for each of those what supports it."""

    arm: Arm
    sentences: tuple[tuple[Sentence, ...], ...]
    supported: Mapping[tuple[str, str], bool]
    """(sentence, chunk id) -> whether the chunk supports it."""

    def by_cited(self, sentence: Sentence) -> list[bool]:
        """For each citation whether its passage supports the sentence; a number without a passage does not."""
        return [chunk is not None and self.supported[sentence.text, chunk.id] for chunk in sentence.cited]

    def by_any(self, sentence: Sentence, answer: Answer) -> bool:
        """Whether any passage that was retrieved supports the sentence."""
        return any(self.supported[sentence.text, hit.chunk.id] for hit in answer.hits)


def rag(
    answerable: Answered,
    unanswerable: Sequence[Answer],
    embedder: Embedder,
    supports: Supports | None = None,
    others: Sequence[Answer] = (),
) -> RagScores:
    """The scores of one arm.

    Raises InputError where the answerable questions come from fewer than two documents.
    """
    arm = Arm(answerable, unanswerable, others)
    _check({"the arm": arm})
    judged = _judged(arm, supports or Rule(embedder))
    return _scores(judged, _quantities(judged, embedder))


def measure_rag(
    arms: Mapping[str, Arm],
    passages: Sequence[Chunk],
    embedder: Embedder,
    supports: Supports | None = None,
    left_out: Sequence[Skipped] = (),
    pairs: Sequence[tuple[str, str]] = TWIN_AND_BASE,
    without_others: str = _NO_OTHERS,
) -> Rag:
    """Score every arm, compare the `pairs` of them that are there, and try the judge on `passages` (the author's).

    `without_others` says why no question about other authors' documents was asked, where none was. Every arm answers
    the same answerable questions in the same order; InputError otherwise.
    """
    _check(arms)
    judge = supports or Rule(embedder)
    judged = {name: _judged(arm, judge) for name, arm in arms.items()}
    found = {name: _quantities(one, embedder) for name, one in judged.items()}
    return Rag(
        arms={name: _scores(judged[name], found[name], without_others) for name in arms},
        differences={
            f"{a} - {b}": _differences(found[a], found[b], draw(_documents(arms[a])))
            for a, b in pairs
            if a in arms and b in arms
        },
        judge=trials(passages, judge),
        examples=_examples(judged),
        left_out=tuple(left_out),
    )


def _check(arms: Mapping[str, Arm]) -> None:
    asked = {name: [sample.id for sample, _ in arm.answerable] for name, arm in arms.items()}
    first = next(iter(asked.values()), [])
    for name, ids in asked.items():
        if len(set(_documents(arms[name]))) < 2:
            raise InputError(
                "answers to questions about one document have no interval", "ask about two documents or more"
            )
        if ids != first:
            raise InputError(
                f"{name} was not asked the same questions as {next(iter(asked))}", "ask every arm the same"
            )


def _judged(arm: Arm, supports: Supports) -> _Judged:
    """Every sentence put to every passage of its answer, in one call."""
    answers = [answer for _, answer in arm.answerable if not abstains(answer)]
    sentences = {id(answer): tuple(read_answer(answer)) for answer in answers}
    claims: dict[tuple[str, str], Claim] = {
        (sentence.text, hit.chunk.id): (sentence.text, hit.chunk)
        for answer in answers
        for sentence in sentences[id(answer)]
        for hit in answer.hits
        if sentence.states or sentence.cited
    }
    found = dict(zip(claims, supports(list(claims.values())), strict=True))
    by_answer = tuple(sentences.get(id(answer), ()) for _, answer in arm.answerable)
    return _Judged(arm, by_answer, {key: bool(yes) for key, yes in found.items()})


def _quantities(judged: _Judged, embedder: Embedder) -> dict[str, Rows]:
    """Rows of every quantity that is drawn over documents, by its field in RagScores."""
    recall, grounded, cited, precision = [], [], [], []
    of_statement, of_citation = [], []
    for (sample, answer), sentences in zip(judged.arm.answerable, judged.sentences, strict=True):
        for sentence in sentences:
            by_cited = judged.by_cited(sentence)
            precision += by_cited
            of_citation += [sample.document_id] * len(by_cited)
            if sentence.states:
                recall.append(any(by_cited))
                grounded.append(judged.by_any(sentence, answer))
                cited.append(bool(sentence.cited))
                of_statement.append(sample.document_id)
    silent = [abstains(answer) for _, answer in judged.arm.answerable]
    return {
        "grounded": rows(grounded, of_statement),
        "cited": rows(cited, of_statement),
        "citation_recall": rows(recall, of_statement),
        "citation_precision": rows(precision, of_citation),
        "wrong_abstentions": rows(silent, _documents(judged.arm)),
        **_relevance(judged.arm, embedder),
    }


def _documents(arm: Arm) -> list[str]:
    return [sample.document_id for sample, _ in arm.answerable]


def _relevance(arm: Arm, embedder: Embedder) -> dict[str, Rows]:
    """Cosines of questions with answers, with answers to other documents' questions, and with the author's passages."""
    given = [(sample, plain(answer)) for sample, answer in arm.answerable if not abstains(answer)]
    if not given:
        empty = rows([], [], shares=False)
        return {"relevance": empty, "relevance_floor": empty, "relevance_author": empty}
    samples = [sample for sample, _ in given]
    texts = [s.instruction for s in samples] + [text for _, text in given] + [s.response for s in samples]
    vectors = embedder.embed([beginning(text, embedder) for text in texts]).astype(np.float64)
    questions, answers, author = np.split(vectors, 3)
    documents = np.array([s.document_id for s in samples])
    foreign = documents[:, None] != documents[None, :]
    sums = ((answers @ questions.T) * foreign).sum(axis=1)
    known = foreign.any(axis=1)
    return {
        "relevance": rows((answers * questions).sum(axis=1), documents.tolist(), shares=False),
        "relevance_floor": rows(
            (sums[known] / foreign.sum(axis=1)[known]), documents[known].tolist(), shares=False
        ),
        "relevance_author": rows((author * questions).sum(axis=1), documents.tolist(), shares=False),
    }


def _scores(judged: _Judged, quantities: Mapping[str, Rows], without_others: str = _NO_OTHERS) -> RagScores:
    arm, draws = judged.arm, draw(_documents(judged.arm))
    found = {name: estimated(each, draws) for name, each in quantities.items()}
    found |= {"abstentions": _silent(arm.unanswerable), "abstentions_others": _silent(arm.others)}
    why = {
        "abstentions": "fewer than two unanswerable questions were asked",
        "abstentions_others": "fewer than two of them were asked" if arm.others else without_others,
    }
    return RagScores(
        questions=len(arm.answerable),
        unanswerable=len(arm.unanswerable),
        others=len(arm.others),
        statements=len(quantities["grounded"].values),
        citations=len(quantities["citation_precision"].values),
        **found,
        not_measured={name: why.get(name, _FEWEST) for name, value in found.items() if value is None},
        rows=_grounded(judged),
    )


def _grounded(judged: _Judged) -> Part:
    asked = judged.arm.answerable
    shares = []
    for (_, answer), sentences in zip(asked, judged.sentences, strict=True):
        grounded = [judged.by_any(sentence, answer) for sentence in sentences if sentence.states]
        shares.append(float(np.mean(grounded)) if grounded else float("nan"))
    return part([sample.id for sample, _ in asked], _documents(judged.arm), shares)


def _silent(answers: Sequence[Answer]) -> Estimate | None:
    """Share of the answers that say there is none; None for fewer than two."""
    return exact(sum(map(abstains, answers)), len(answers)) if len(answers) > 1 else None


def _differences(a: Mapping[str, Rows], b: Mapping[str, Rows], draws: Draws) -> dict[str, Estimate]:
    """The first's quantities less the second's, in the same draws, where both were measured."""
    return {
        name: difference(a[name], b[name], draws)
        for name in a
        if min(len(set(a[name].documents)), len(set(b[name].documents))) >= 2
    }


def _examples(judged: Mapping[str, _Judged]) -> tuple[RagExample, ...]:
    """The first question of each of the first documents: chosen by place, not by result."""
    if not judged:
        return ()
    asked = next(iter(judged.values())).arm.answerable
    first = {sample.document_id: i for i, (sample, _) in reversed(list(enumerate(asked)))}
    return tuple(
        RagExample(
            question=asked[i][0].instruction,
            author=asked[i][0].response,
            answers={name: _shown(one, i) for name, one in judged.items()},
        )
        for i in [first[document] for document in sorted(first)][:_EXAMPLES]
    )


def _shown(judged: _Judged, place: int) -> ShownAnswer:
    answer = judged.arm.answerable[place][1]
    return ShownAnswer(
        text=answer.text,
        abstains=abstains(answer),
        citations=answer.citations,
        sentences=tuple(
            JudgedSentence(
                text=sentence.text,
                supported=any(judged.by_cited(sentence)) if sentence.states else None,
                grounded=judged.by_any(sentence, answer) if sentence.states else None,
            )
            for sentence in judged.sentences[place]
        ),
    )
