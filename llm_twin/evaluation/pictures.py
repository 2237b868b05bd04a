"""What the report draws of style, knowledge and a judge: which marks stand on which axis, and what they show.

Values of a section in, pictures of `plots` out; the page's templates draw them. Not covered: the headline, whose
pictures are rows of a table, and searches and answers (`answer_pictures`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import e, log2

from llm_twin.evaluation.forgetting import Forgetting
from llm_twin.evaluation.general import GeneralFluency
from llm_twin.evaluation.intervals import Estimate
from llm_twin.evaluation.judge import Judged
from llm_twin.evaluation.judged import Graded, Preference
from llm_twin.evaluation.knowledge import ChoiceAccuracy, Knowledge, Resembling
from llm_twin.evaluation.opinions import Opinions
from llm_twin.evaluation.plots import (
    Axis,
    Bounds,
    Lane,
    Small,
    Spot,
    Who,
    axis_from_zero,
    score_axis,
    spots,
    tenths,
)
from llm_twin.evaluation.power import Point, Power
from llm_twin.evaluation.style import LEAST_AUC

UNSEEN_BITS = log2(e)
"""Exposure of a canary, on average, under a model that never saw it."""
SHARE = Axis(-0.04, 1.04)
"""For shares: from 0 to 1, and as much beyond as half a mark needs."""
FROM_0_TO_1: Bounds = ((0, "0"), (1, "1"))


# --- style ------------------------------------------------------------------------------------------------------


def opinions(found: Opinions) -> list[Small]:
    """Base, twin and author by each opinion, the headline's first, all on one axis."""
    every = (found.style, *found.opinions)
    axis = score_axis(place for opinion in every for place in opinion.placed.values())
    return [
        Small(
            title=opinion.name,
            note=opinion.looks_at,
            axis=axis,
            lanes=_base_and_twin(opinion.placed),
            bounds=FROM_0_TO_1,
            author=1.0,
            refused=opinion.refused,
        )
        for opinion in every
    ]


def _base_and_twin(placed: Mapping[str, Estimate]) -> tuple[Lane, ...]:
    known: tuple[tuple[Who, str], ...] = (("base", "Base"), ("twin", "Twin"))
    return tuple(Lane(who, name, placed[who]) for who, name in known if who in placed)


@dataclass(frozen=True)
class Words:
    """AUC by length: a column a point, spots for both kinds of background, and where an AUC is enough."""

    points: tuple[Point, ...]
    up: Axis
    others: tuple[Spot, ...]
    machine: tuple[Spot, ...]
    enough: float
    """Percent from the top."""


def words(found: Power) -> Words | None:
    """The power curve; None where no length could be measured."""
    both = [[point.others for point in found.points], [point.machine for point in found.points]]
    lows = [side.low for column in both for side in column if side]
    if not lows:
        return None
    up = Axis(tenths([0.5, *lows]).low, 1.0)
    others, machine = (spots(side, up, aside) for side, aside in zip(both, (-0.08, 0.08), strict=True))
    return Words(found.points, up, others, machine, enough=round(100 - up.at(LEAST_AUC), 2))


# --- what it knows ----------------------------------------------------------------------------------------------


def knows(
    knowledge: Knowledge | None, forgetting: Forgetting | None, general: GeneralFluency | None
) -> list[Small]:
    """Base and twin by each test of what they know, with what needs no knowledge beside them."""
    found = []
    if knowledge and knowledge.choices:
        found.append(_choices(knowledge.choices))
    if forgetting:
        for task in forgetting.tasks:
            note = f"{task.items} general questions ({task.metric})"
            found.append(_pair(task.name, note, task.base, task.twin))
    if general:
        read = general.general
        found.append(_pair("Perplexity", "of general text: lower is better", read.base, read.twin, digits=1))
    if knowledge and knowledge.answers:
        found += [
            _alike("ROUGE-L", "words in common with the author’s answer", knowledge.answers.rouge_l),
            _alike("chrF", "letters in common with it", knowledge.answers.chrf),
            _alike("Cosine", "nearness in meaning to it", knowledge.answers.similarity),
        ]
    return found


def _choices(found: ChoiceAccuracy) -> Small:
    return Small(
        title="Multiple choice",
        note=f"{found.questions} questions on training documents",
        axis=SHARE,
        lanes=(
            Lane("base", "Base", found.accuracy.base),
            Lane("twin", "Twin", found.accuracy.twin),
            Lane("other", "Topic alone", found.topic_alone),
        ),
        bounds=((0, "0"), (found.chance, "chance"), (1, "1")),
    )


def _pair(title: str, note: str, base: Estimate, twin: Estimate, digits: int = 2) -> Small:
    share = all(0 <= end <= 1 for value in (base, twin) for end in (value.low, value.high))
    axis = SHARE if share else axis_from_zero([base.high, twin.high])
    bounds = FROM_0_TO_1 if share else FROM_0_TO_1[:1]
    lanes = (Lane("base", "Base", base), Lane("twin", "Twin", twin))
    return Small(title, note, axis, lanes, bounds, digits=digits)


def _alike(title: str, note: str, found: Resembling) -> Small:
    lanes = (
        Lane("base", "Base", found.models.base),
        Lane("twin", "Twin", found.models.twin),
        Lane("other", "Unrelated", found.unrelated),
    )
    axis = tenths([0.0, *_ends(lane.value for lane in lanes)])
    return Small(title, note, axis, lanes, ((0.0, "0"), (axis.high, f"{axis.high:.1f}")))


def _ends(values: Iterable[Estimate]) -> list[float]:
    return [end for value in values for end in (value.low, value.high)]


def choices_in_words(found: ChoiceAccuracy) -> str:
    """What the twin's accuracy shows, held against guessing and against choosing by topic."""
    twin = found.accuracy.twin
    if twin.low > max(found.chance, found.topic_alone.high):
        return "the twin knows more than the topic gives away"
    if twin.low > found.chance:
        return "the twin does better than guessing, and the topic alone may explain it"
    return "that shows no knowledge, for the twin’s interval reaches down to guessing"


# --- what a judge says ------------------------------------------------------------------------------------------


def judged(found: Judged) -> list[Small]:
    """Which of twin and base the judge prefers, and its grades; empty where it said nothing that counts."""
    grades = (("Accuracy", found.accuracy), ("Style", found.style))
    preferred = [_preferred(found.preference)] if found.preference else []
    return preferred + [_graded(title, grade) for title, grade in grades if grade]


def _preferred(found: Preference) -> Small:
    note = f"{found.wins} pairs won, {found.losses} lost, {found.ties} tied"
    bounds = ((0, "base"), (0.5, "even"), (1, "twin"))
    return Small("Twin preferred", note, SHARE, (Lane("twin", "Twin", found.share),), bounds)


def _graded(title: str, found: Graded) -> Small:
    lanes = [Lane("base", "Base", found.base), Lane("twin", "Twin", found.twin)]
    if found.author:
        lanes.append(Lane("author", "Author", found.author))
    return Small(title, "mean grade from 1 to 3", Axis(0.92, 3.08), tuple(lanes), ((1, "1"), (3, "3")))
