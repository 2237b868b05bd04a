"""What the report draws of the search, and of answers from the author's writing.

Values of a section in, pictures of `plots` out; the page's templates draw them. Not covered: sample answers
(`samples`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from llm_twin.evaluation.ablation import Ablation, Compared
from llm_twin.evaluation.intervals import Estimate
from llm_twin.evaluation.pictures import FROM_0_TO_1, SHARE
from llm_twin.evaluation.plots import Axis, Lane, Small, Who, around_zero, tenths
from llm_twin.evaluation.rag import Rag

ARMS: dict[str, tuple[Who, str]] = {
    "twin write": ("twin", "Twin"),
    "base write": ("base", "Base"),
    "quote": ("author", "Quotes"),
}
"""Who answered from passages -> the mark, and the name in a picture."""
MEASURES = {"R@": "recall@", "RR@": "MRR@"}
Verdict = Literal["baseline", "better", "worse", "same"]
_QUANTITIES = (
    ("grounded", "Grounded", "statements that a passage found supports"),
    ("citation_recall", "Citation recall", "statements that a passage they cite supports"),
    ("citation_precision", "Citation precision", "citations whose passage supports the sentence"),
    ("cited", "Cited", "statements with a citation, right or wrong"),
    ("wrong_abstentions", "Left unanswered", "questions that could be answered: lower is better"),
    ("abstentions", "Silent where it should be", "questions far from what the author writes about"),
    ("abstentions_others", "Silent near by", "questions that other authors’ documents answer"),
)
_DIFFERENCES = (*_QUANTITIES[:5], ("relevance", "Relevance", "cosine of answer and question"))


# --- the search -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SearchRow:
    """One way of searching; `p` is corrected for the number of arms, None for the baseline."""

    name: str
    verdict: Verdict
    value: Estimate
    p: float | None


@dataclass(frozen=True)
class Searched:
    """All ways of searching of one table, in one measure, the baseline first."""

    table: Ablation
    measure: str
    axis: Axis
    rows: tuple[SearchRow, ...]


def searched(found: Ablation) -> Searched:
    """The picture of the measure that counts ranks finest: nDCG where it was measured, else the last."""
    measure = next((m for m in found.measures if m.startswith("nDCG")), found.measures[-1])
    values = [arm.values[measure] for arm in found.arms]
    rows = tuple(
        SearchRow(
            arm.name, verdict(arm.against.get(measure)), arm.values[measure], _p(arm.against.get(measure))
        )
        for arm in found.arms
    )
    return Searched(found, measure, tenths(end for v in values for end in (v.low, v.high)), rows)


def verdict(compared: Compared | None) -> Verdict:
    """What a comparison with the baseline shows; None is the baseline itself."""
    if compared is None:
        return "baseline"
    if not compared.significant:
        return "same"
    return "better" if compared.difference.value > 0 else "worse"


def _p(compared: Compared | None) -> float | None:
    return compared.p_holm if compared else None


def measure_name(measure: str) -> str:
    """The name that a reader knows: recall@5 for ir-measures' R@5, MRR@10 for RR@10."""
    for short, name in MEASURES.items():
        if measure.startswith(short):
            return name + measure.removeprefix(short)
    return measure


# --- answers with sources ---------------------------------------------------------------------------------------


def grounded(found: Rag) -> list[Small]:
    """Every quantity with a lane an arm; all kinds of silence stand side by side, because each alone misleads."""
    return [
        Small(
            title=title,
            note=note,
            axis=SHARE,
            lanes=_lanes({name: getattr(arm, field) for name, arm in found.arms.items()}),
            bounds=FROM_0_TO_1,
            missing=tuple(arm_name(name) for name, arm in found.arms.items() if not getattr(arm, field)),
        )
        for field, title, note in _QUANTITIES
    ]


def _lanes(values: Mapping[str, Estimate | None]) -> tuple[Lane, ...]:
    return tuple(Lane(*_arm(name), value) for name, value in values.items() if value)


def arm_name(name: str) -> str:
    """The name of an arm in a picture."""
    return _arm(name)[1]


def _arm(name: str) -> tuple[Who, str]:
    return ARMS.get(name, ("other", name))


def gains(found: Rag) -> list[Small]:
    """The twin's answers less those of each other arm: a quantity a picture, a lane an arm; empty without pairs."""
    every = [value for pair in found.differences.values() for value in pair.values()]
    axis = around_zero(end for value in every for end in (value.low, value.high))
    bounds = ((axis.low, _signed(axis.low)), (0.0, "0"), (axis.high, _signed(axis.high)))
    pictures = []
    for field, title, note in _DIFFERENCES:
        of_pairs = {_other(pair): pairs[field] for pair, pairs in found.differences.items() if field in pairs}
        if of_pairs:
            pictures.append(Small(title, note, axis, _lanes(of_pairs), bounds))
    return pictures


def gains_in_words(found: Rag) -> list[str]:
    """A sentence a pair: in what the twin is shown to stand higher or lower, and in what it is not."""
    return [
        f"Against {arm_name(_other(pair)).lower()}, {_told(values)}."
        for pair, values in found.differences.items()
    ]


def _told(values: Mapping[str, Estimate]) -> str:
    known = [(title.lower(), values[field]) for field, title, _ in _DIFFERENCES if field in values]
    sides = (
        ("higher", [title for title, value in known if value.low > 0]),
        ("lower", [title for title, value in known if value.high < 0]),
    )
    said = [f"{word} in {', '.join(titles)}" for word, titles in sides if titles]
    return f"the twin stands {' and '.join(said)}" if said else "nothing is shown to differ"


def _other(pair: str) -> str:
    return pair.partition(" - ")[2]


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "\N{MINUS SIGN}")
