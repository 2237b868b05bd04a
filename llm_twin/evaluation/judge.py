"""A language model as judge: accuracy and style from 1 to 3, and which of twin and base is better.

The two rubrics are those of the LLM Engineer's Handbook in words of our own; style is graded against two of the
author's passages, accuracy against what the author wrote himself. A judge is a measuring instrument, so it is
measured too: does it keep to the format, does it stand by its verdict when the replies change places (Zheng et
al. 2023, "Judging LLM-as-a-Judge"), does it repeat itself, does it agree with users? One that fails the first or
the second is reported as unusable, and its scores are averaged nowhere (`judged` has the rules).

Not covered: a judge that prefers its own writing (choose one that is not the model judged), and replies that
talk the judge round; they stand in tags that it is told not to obey.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from llm_twin.errors import InputError
from llm_twin.evaluation import judged, verdicts
from llm_twin.evaluation.agreement import Agreement
from llm_twin.evaluation.judged import Consistency, Graded, Preference, Rubric, Scores, Whose, WithUsers
from llm_twin.evaluation.measure import Notes
from llm_twin.evaluation.verdicts import Passages, Score
from llm_twin.ports import ChatModel, Progress, silent
from llm_twin.text import digest, slug
from llm_twin.types import Message, Value

AGAIN_TEMPERATURE = 0.7
AGAIN_SEED = 1_000_000
_EXAMPLES = 6

Asked = dict[tuple[Rubric, Whose], list[list[Message]]]


@dataclass(frozen=True)
class Case:
    """One held-out instruction, what the author wrote for it, and what both models answered."""

    document_id: str
    instruction: str
    author: str
    twin: str
    base: str


@dataclass(frozen=True)
class Thumb:
    """What a user thought of an answer."""

    question: str
    answer: str
    up: bool


class Example(Value):
    """One answer with its scores and the judge's reasons; None where the reply was invalid."""

    instruction: str
    whose: Literal["twin", "base"]
    text: str
    accuracy: Score | None
    style: Score | None


class Judged(Value):
    """Everything that one judge said. Where it is unusable there are no scores, no preference and no examples."""

    judge: str
    cases: int
    documents: int
    unusable: str
    """Why the judge cannot be used; empty where it can."""
    valid: dict[str, float]
    """Share of replies in the format, by what was asked: "accuracy", "style", "pair"."""
    consistency: Consistency | None
    """None when fewer than two documents have valid verdicts in both orders."""
    self_agreement: dict[Rubric, Agreement]
    """The twin's scores at temperature 0 against the same asked again at 0.7."""
    accuracy: Graded | None
    style: Graded | None
    preference: Preference | None
    users: WithUsers | None
    """None without thumbs."""
    examples: tuple[Example, ...]
    """Both answers to the first instruction of each of the first documents: chosen by place, not by result."""


def judge(
    cases: Sequence[Case],
    passages: Sequence[str],
    model: ChatModel,
    notes: Notes | None = None,
    thumbs: Sequence[Thumb] = (),
    progress: Progress = silent,
    seed: int = 0,
) -> Judged:
    """Judge twin and base by `model`. `passages` are the author's, from documents that no case is from.

    Asks nine questions a case and two a thumb, in four batches that `notes` keep. Raises InputError for cases from
    fewer than two documents, and for fewer than two different passages.
    """
    _check(cases, passages)
    shown = _shown(passages, len(cases) + len(thumbs), seed)
    work = _Work(model, notes, progress, seed)
    theirs = _of_models(cases, shown[: len(cases)])
    scores = work.scores("scores", theirs)
    twins: Asked = {key: asked for key, asked in theirs.items() if key[1] == "twin"}
    again = work.scores("again", twins, AGAIN_TEMPERATURE, AGAIN_SEED)
    orders = work.orders(cases, shown[: len(cases)])
    users = work.scores("thumbs", _of_users(thumbs, shown[len(cases) :])) if thumbs else {}
    valid = {rubric: _valid(rubric, scores, again, users) for rubric in judged.RUBRICS}
    return _judged(model.name, cases, thumbs, scores, again, users, orders, valid)


def _check(cases: Sequence[Case], passages: Sequence[str]) -> None:
    documents = len({case.document_id for case in cases})
    if documents < 2:
        raise InputError(
            f"the answers to judge come from {documents} documents, and intervals need two",
            "judge answers from more of them",
        )
    if len(set(passages)) < 2:
        raise InputError(
            f"{len(set(passages))} passages by the author cannot show a judge the style", "give two or more"
        )


def _shown(passages: Sequence[str], count: int, seed: int) -> list[Passages]:
    """Two passages for each thing that is judged, drawn from all, so that no two decide over everything."""
    rng, different = random.Random(seed), sorted(set(passages))
    drawn = [rng.sample(different, 2) for _ in range(count)]
    return [(first, second) for first, second in drawn]


def _of_models(cases: Sequence[Case], shown: Sequence[Passages]) -> Asked:
    rows = list(zip(cases, shown, strict=True))
    return {
        ("accuracy", "twin"): [verdicts.accuracy(c.instruction, c.author, c.twin) for c in cases],
        ("accuracy", "base"): [verdicts.accuracy(c.instruction, c.author, c.base) for c in cases],
        ("style", "twin"): [verdicts.style(s, c.twin) for c, s in rows],
        ("style", "base"): [verdicts.style(s, c.base) for c, s in rows],
        ("style", "author"): [verdicts.style(s, c.author) for c, s in rows],
    }


def _of_users(thumbs: Sequence[Thumb], shown: Sequence[Passages]) -> Asked:
    return {
        ("accuracy", "users"): [verdicts.accuracy(t.question, "", t.answer) for t in thumbs],
        ("style", "users"): [verdicts.style(s, t.answer) for t, s in zip(thumbs, shown, strict=True)],
    }


@dataclass(frozen=True)
class _Work:
    """The judge at work: what was replied once is not asked again."""

    model: ChatModel
    notes: Notes | None
    progress: Progress
    seed: int

    def scores(self, name: str, asked: Asked, temperature: float = 0.0, seed: int = 0) -> Scores:
        """A score for each question, all of them asked in one batch."""
        every = [one for many in asked.values() for one in many]
        texts = iter(self._replies(name, every, verdicts.SCORE_SCHEMA, temperature, seed))
        return {key: [verdicts.read_score(next(texts)) for _ in many] for key, many in asked.items()}

    def orders(self, cases: Sequence[Case], shown: Sequence[Passages]) -> judged.Orders:
        """Verdicts with the twin first, and with the base first."""
        rows = list(zip(cases, shown, strict=True))
        asked = [verdicts.pair(c.instruction, s, c.twin, c.base) for c, s in rows]
        asked += [verdicts.pair(c.instruction, s, c.base, c.twin) for c, s in rows]
        found = [verdicts.read_pair(t) for t in self._replies("pairs", asked, verdicts.PAIR_SCHEMA)]
        return found[: len(rows)], found[len(rows) :]

    def _replies(
        self, name: str, asked: list[list[Message]], schema: str, temperature: float = 0.0, seed: int = 0
    ) -> list[str]:
        def show(done: int, total: int, note: str = "") -> None:
            self.progress(done, total, f"judging: {name}")

        def make() -> list[str]:
            return verdicts.replies(self.model, asked, schema, temperature, self.seed + seed, show)

        if self.notes is None:
            return make()
        questions = digest(*(message.content for one in asked for message in one))[:12]
        return [str(t) for t in self.notes.once(f"judge-{slug(self.model.name)}-{name}-{questions}", make)]


def _valid(rubric: Rubric, *series: Scores) -> float:
    return judged.valid_share(
        [one for scores in series for (which, _), found in scores.items() if which == rubric for one in found]
    )


def _judged(
    name: str,
    cases: Sequence[Case],
    thumbs: Sequence[Thumb],
    scores: Scores,
    again: Scores,
    users: Scores,
    orders: judged.Orders,
    valid: dict[Rubric, float],
) -> Judged:
    documents = [case.document_id for case in cases]
    replied: dict[str, float] = {str(rubric): share for rubric, share in valid.items()}
    replied["pair"] = judged.valid_share([*orders[0], *orders[1]])
    consistency = judged.consistency(orders, documents)
    unusable = judged.unusable(replied, consistency)
    return Judged(
        judge=name,
        cases=len(cases),
        documents=len(set(documents)),
        unusable=unusable,
        valid=replied,
        consistency=consistency,
        self_agreement=judged.self_agreement(scores, again),
        accuracy=None if unusable else judged.graded(scores, "accuracy", documents),
        style=None if unusable else judged.graded(scores, "style", documents),
        preference=None if unusable else judged.preference(orders, documents),
        users=None if unusable else judged.with_users(users, [thumb.up for thumb in thumbs]),
        examples=() if unusable else _examples(cases, scores),
    )


def _examples(cases: Sequence[Case], scores: Scores) -> tuple[Example, ...]:
    first = {case.document_id: i for i, case in reversed(list(enumerate(cases)))}
    models: tuple[Literal["twin", "base"], ...] = ("twin", "base")
    return tuple(
        Example(
            instruction=cases[i].instruction,
            whose=whose,
            text=cases[i].twin if whose == "twin" else cases[i].base,
            accuracy=scores["accuracy", whose][i],
            style=scores["style", whose][i],
        )
        for i in sorted(first.values())[:_EXAMPLES]
        for whose in models
    )
