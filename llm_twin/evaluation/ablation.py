"""Which steps of the search are worth their time: every way of searching on the same questions.

One arm is the baseline; every other is compared with it question by question: the difference with its paired
bootstrap interval over documents, a paired randomisation p-value, and that p-value after Holm's correction for
the number of arms. Arms that are too slow for every question make tables of their own, on fewer of them; an arm
that cannot be asked says why, and the others go on. Not covered: whether better retrieval makes better answers.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from pydantic import Field

from llm_twin.errors import InputError, TwinError
from llm_twin.evaluation.intervals import Array, Draws, Estimate, draw, estimate
from llm_twin.evaluation.measure import Notes
from llm_twin.evaluation.retrieval import MEASURES, Question, Search, per_question
from llm_twin.evaluation.significance import LEVEL, holm, permutation_p
from llm_twin.ports import Progress, silent
from llm_twin.text import digest, slug
from llm_twin.types import Hit, Value

Judged = Literal["chunk", "document"]
_CHUNKS_A_DOCUMENT = 5


@dataclass(frozen=True)
class Together:
    """An arm that takes all questions at once, because a model is quicker with many prompts than with one.

    `search(texts, limit)` returns the hits of each text, in order.
    """

    search: Callable[[Sequence[str], int], Sequence[Sequence[Hit]]]


@dataclass(frozen=True)
class Ranked:
    """What one arm returned: ids, best first, by question id; and the seconds a question took."""

    ids: Mapping[str, Sequence[str]]
    seconds: float | None = None
    timed: Literal["each", "together", "not timed"] = "not timed"


class Compared(Value):
    """An arm's difference to the baseline in one measure; above 0 the arm is better."""

    difference: Estimate
    p: float
    p_holm: float
    """`p` corrected for the number of arms that were compared."""

    @property
    def significant(self) -> bool:
        """Whether the corrected p-value is under 0.05."""
        return self.p_holm < LEVEL


class Arm(Value):
    """One way of searching."""

    name: str
    values: dict[str, Estimate]
    """By measure."""
    against: dict[str, Compared]
    """By measure: the difference to the baseline. Empty for the baseline itself."""
    seconds: float | None
    """A question's: the median where `timed` is "each", the mean where "together"; None where not timed."""
    timed: Literal["each", "together", "not timed"]


class Ablation(Value):
    """All arms on the same questions, the baseline first. Intervals are over `documents` documents."""

    questions: int
    documents: int
    judged: Judged
    """What a question's judgements name: chunks, or whole documents."""
    baseline: str
    measures: tuple[str, ...]
    """As ir-measures names them: R@5, RR@10, nDCG@10."""
    arms: tuple[Arm, ...]
    more: "tuple[Ablation, ...]" = ()
    """Slower arms beside the same baseline, on some of the questions; p-values are corrected table by table."""
    left_out: dict[str, str] = Field({})
    """Arms that were not asked, or what of them was not, and why."""

    @property
    def tables(self) -> "tuple[Ablation, ...]":
        """This table, then `more`."""
        return self, *self.more

    def arm(self, name: str) -> Arm:
        """The arm called `name`; InputError when there is none."""
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise InputError(f"there is no arm {name!r}", f"known: {', '.join(a.name for a in self.arms)}")


def ablate(
    questions: Sequence[Question],
    arms: Mapping[str, Search | Together],
    baseline: str,
    judged: Judged = "chunk",
    measures: Sequence[str] = MEASURES,
    notes: Notes | None = None,
    progress: Progress = silent,
) -> Ablation:
    """Ask every arm every question, and compare each arm with `baseline`.

    What an arm found is kept in `notes` as soon as the arm is done, so a killed ablation goes on where it stood.
    Where documents are judged, a document's place is that of its best chunk. An arm beside the baseline that
    raises InputError is not measured, and the result says why. Raises InputError without questions, for a baseline
    that is no arm or cannot be asked, and with questions of fewer than two documents.
    """
    _check(questions, arms, baseline)
    # A document found by five of its chunks takes five places, so more chunks are asked for.
    limit = _depth(measures) * (_CHUNKS_A_DOCUMENT if judged == "document" else 1)
    key = digest(judged, *measures, *(f"{q.id} {q.text}" for q in questions))[:12]
    found, missing = {}, {}
    for name, arm in arms.items():

        def make(name: str = name, arm: Search | Together = arm) -> dict[str, Any]:
            return _asked(name, arm, questions, limit, judged, progress)

        try:
            noted = notes.once(f"search-{slug(name)}-{digest(name)[:4]}-{key}", make) if notes else make()
        except InputError as error:
            if name == baseline:
                raise
            missing[name] = str(error)
        else:
            found[name] = Ranked(**noted)
    compared = compare(questions, found, baseline, judged, measures)
    return compared.model_copy(update={"left_out": missing})


def evenly(questions: Sequence[Question], most: int) -> Sequence[Question]:
    """At most `most` questions (1 or more), as far apart from each other as can be, in the order given."""
    many = len(questions)
    return questions if many <= most else [questions[i * many // most] for i in range(most)]


def compare(
    questions: Sequence[Question],
    found: Mapping[str, Ranked],
    baseline: str,
    judged: Judged = "chunk",
    measures: Sequence[str] = MEASURES,
) -> Ablation:
    """Compare rankings that are there already, such as those of run files; errors as in `ablate`."""
    _check(questions, found, baseline)
    documents = [q.document_id for q in questions]
    draws = draw(documents)
    values = {name: per_question(questions, ranked.ids, measures) for name, ranked in found.items()}
    against = _against(values, baseline, measures, documents, draws)
    names = [baseline, *(name for name in found if name != baseline)]
    return Ablation(
        questions=len(questions),
        documents=len(draws.documents),
        judged=judged,
        baseline=baseline,
        measures=tuple(measures),
        arms=tuple(
            Arm(
                name=name,
                values={m: estimate(draws.mean(values[name][m], documents), draws) for m in measures},
                against=against.get(name, {}),
                seconds=found[name].seconds,
                timed=found[name].timed,
            )
            for name in names
        ),
    )


def _check(questions: Sequence[Question], arms: Mapping[str, object], baseline: str) -> None:
    if not questions:
        raise InputError(
            "there is no question whose source is known", "make a dataset with a model: twin dataset"
        )
    if len({q.id for q in questions}) < len(questions):
        raise InputError("two questions have the same id", "give each an id of its own")
    if baseline not in arms:
        raise InputError(f"the baseline {baseline!r} is no arm", f"choose one of {', '.join(arms)}")


def _depth(measures: Sequence[str]) -> int:
    """The largest cutoff: 10 of "R@5" and "nDCG@10"."""
    cutoffs = [name.rpartition("@")[2] for name in measures]
    if not measures or not all(cutoff.isdigit() for cutoff in cutoffs):
        raise InputError(f"a measure of {list(measures)} has no cutoff", "name them as in R@5 and nDCG@10")
    return max(map(int, cutoffs))


def _asked(
    name: str,
    arm: Search | Together,
    questions: Sequence[Question],
    limit: int,
    judged: Judged,
    progress: Progress,
) -> dict[str, Any]:
    """The fields of a Ranked, fit for JSON."""
    if isinstance(arm, Together):
        hits, seconds = _all_at_once(name, arm, questions, limit)
    else:
        hits, seconds = _one_by_one(name, arm, questions, limit, progress)
    ids = {q.id: _judged_ids(found, judged) for q, found in zip(questions, hits, strict=True)}
    timed = "together" if isinstance(arm, Together) else "each"
    return {"ids": ids, "seconds": round(seconds, 6), "timed": timed}


def _all_at_once(
    name: str, arm: Together, questions: Sequence[Question], limit: int
) -> tuple[Sequence[Sequence[Hit]], float]:
    began = time.perf_counter()
    hits = arm.search([q.text for q in questions], limit)
    if len(hits) != len(questions):
        raise TwinError(f"the arm {name!r} answered {len(hits)} of {len(questions)} questions")
    return hits, (time.perf_counter() - began) / len(questions)


def _one_by_one(
    name: str, arm: Search, questions: Sequence[Question], limit: int, progress: Progress
) -> tuple[Sequence[Sequence[Hit]], float]:
    hits, seconds = [], []
    for done, question in enumerate(questions):
        began = time.perf_counter()
        hits.append(arm(question.text, limit))
        seconds.append(time.perf_counter() - began)
        progress(done + 1, len(questions), f"search: {name}")
    return hits, median(seconds)


def _judged_ids(hits: Sequence[Hit], judged: Judged) -> list[str]:
    ids = [hit.chunk.document_id if judged == "document" else hit.chunk.id for hit in hits]
    return list(dict.fromkeys(ids))


def _against(
    values: Mapping[str, Mapping[str, Array]],
    baseline: str,
    measures: Sequence[str],
    documents: Sequence[str],
    draws: Draws,
) -> dict[str, dict[str, Compared]]:
    others = [name for name in values if name != baseline]
    compared: dict[str, dict[str, Compared]] = {name: {} for name in others}
    for measure in measures:
        gains = [values[name][measure] - values[baseline][measure] for name in others]
        p_values = [permutation_p(gain, documents) for gain in gains]
        for name, gain, p, p_holm in zip(others, gains, p_values, holm(p_values), strict=True):
            difference = estimate(draws.mean(gain, documents), draws)
            compared[name][measure] = Compared(difference=difference, p=p, p_holm=p_holm)
    return compared
