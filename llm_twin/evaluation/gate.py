"""The gate: is the candidate better than the champion, and may it take its place?

Every dimension is compared in pairs, draw by draw over the held-out documents that both were measured on, and
is "better" or "worse" when the whole 95% interval of the difference lies beyond the margin. With margin 0,
two equal models are told apart by mistake in about one comparison in twenty, half of them each way; nothing is
corrected for looking at several dimensions. "No difference" means that none was found: the interval says how
large one may still be. Not covered: models of different base models or different held-out documents, which
cannot be compared (InputError).
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from llm_twin.errors import InputError
from llm_twin.evaluation.intervals import Array, Draws, Estimate, draw, estimate
from llm_twin.evaluation.measure import VETO_OVER_SELF, Memorisation
from llm_twin.evaluation.privacy import Privacy
from llm_twin.evaluation.rows import SCORED, Part, PerDocument, array, bracketed
from llm_twin.evaluation.scores import drawn_scores
from llm_twin.types import GateRule, Value

Call = Literal["better", "worse", "no difference", "not measured"]
_AGAIN = "evaluate both on the same dataset, with the same base model and settings: twin evaluate"


@dataclass(frozen=True)
class Evaluated:
    """One side of the comparison. `refused` says why it has no scores, where it has none."""

    name: str
    author: str
    rows: PerDocument
    memorisation: Memorisation | None
    privacy: Privacy | None = None
    refused: str = ""


class Dimension(Value):
    """One dimension of the comparison."""

    name: str
    call: Call
    difference: Estimate | None
    """Candidate less champion, in the dimension's own unit; of perplexity the relative change."""
    lower_is_better: bool = False
    margin: float
    documents: int
    reason: str = ""
    """Why it was not measured."""

    def __str__(self) -> str:
        if self.difference is None:
            return f"{self.name}: not measured: {self.reason}"
        d, sign = self.difference, "+.1%" if self.name == "perplexity" else "+.3f"
        return f"{self.name}: {self.call} ({d.value:{sign}} [{d.low:{sign}}, {d.high:{sign}}])"


class Check(Value):
    """One line of the rule."""

    asked: str
    """As the rule says it: "better: twin score", "not worse: sense", "veto: privacy"."""
    passed: bool
    reason: str


class Verdict(Value):
    """What the gate says."""

    author: str
    champion: str
    candidate: str
    dimensions: tuple[Dimension, ...]
    checks: tuple[Check, ...]

    @property
    def passes(self) -> bool:
        """Whether the candidate may take the champion's place: every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def exit_code(self) -> int:
        """For CI: 0 where the candidate passes, 1 where it does not."""
        return 0 if self.passes else 1


def compare(champion: Evaluated, candidate: Evaluated, rule: GateRule) -> Verdict:
    """The verdict on `candidate` by `rule`.

    Raises InputError where the two cannot be compared: another author, other held-out passages, or a style
    verifier that was fitted on something else; and for a margin of a dimension that does not exist.
    """
    _check_same(champion, candidate)
    dimensions = (*_scored(champion, candidate, rule), *_others(champion, candidate, rule))
    _check_known(rule, [d.name for d in dimensions])
    by_name = {d.name: d for d in dimensions}
    checks = [
        *(_better(name, by_name.get(name)) for name in rule.better),
        *(_not_worse(name, by_name.get(name)) for name in rule.not_worse),
        *(_veto(name, champion, candidate) for name in rule.veto),
    ]
    return Verdict(
        author=candidate.author,
        champion=champion.name,
        candidate=candidate.name,
        dimensions=dimensions,
        checks=tuple(checks),
    )


def _check_same(champion: Evaluated, candidate: Evaluated) -> None:
    if champion.author != candidate.author:
        raise InputError(
            f"{champion.name} is a twin of {champion.author} and {candidate.name} of {candidate.author}",
            "compare twins of one author",
        )
    ids = [_rows(side, "style") for side in (champion, candidate)]
    if ids[0] != ids[1]:
        shared = len(set(ids[0]) & set(ids[1]))
        raise InputError(
            f"{champion.name} and {candidate.name} were measured on different held-out passages: "
            f"{len(ids[0])} and {len(ids[1])}, of which {shared} are the same",
            _AGAIN,
        )
    if champion.rows.verifier != candidate.rows.verifier:
        raise InputError(
            f"the style verifiers of {champion.name} and {candidate.name} were fitted on different text",
            _AGAIN,
        )


def _rows(side: Evaluated, name: str) -> tuple[tuple[str, str], ...]:
    found = side.rows.parts.get(name)
    return tuple(sorted(zip(found.ids, found.documents, strict=True))) if found else ()


# --- dimensions ------------------------------------------------------------------------------------------------

_SHOWN = {"style": "style", "sense": "sense", "twin": "twin score"}
_SHOWN |= {name: name for name in ("relevance", "fluency", "variety")}


def _scored(champion: Evaluated, candidate: Evaluated, rule: GateRule) -> list[Dimension]:
    """The scores that stand between a floor and a ceiling, and what is made of them."""
    sides = (champion, candidate)
    missing = [f"{s.name} has no {name} rows" for s in sides for name in SCORED if name not in s.rows.parts]
    refused = [f"{side.name}: {side.refused}" for side in sides if side.refused]
    documents = champion.rows.parts["style"].documents if not missing else ()
    if reason := _first([*refused, *missing, *_too_few(documents)]):
        return [_not_measured(shown, reason, rule) for shown in _SHOWN.values()]
    draws = _draws(documents)
    before, after = (_drawn(side, draws) for side in sides)
    return [
        _dimension(shown, after[name] - before[name], draws, rule, lower=False)
        for name, shown in _SHOWN.items()
    ]


def _drawn(side: Evaluated, draws: Draws) -> dict[str, Array]:
    parts = {name: side.rows.parts[name] for name in SCORED}
    quantities = {name: bracketed(part, "it") for name, part in parts.items()}
    return drawn_scores("it", quantities, parts["style"].documents, draws)


def _others(champion: Evaluated, candidate: Evaluated, rule: GateRule) -> list[Dimension]:
    """Every other quantity that either side has."""
    names = dict.fromkeys([*champion.rows.parts, *candidate.rows.parts])
    found = []
    for name in names:
        if name not in SCORED:
            sides = [side.rows.parts.get(name) for side in (champion, candidate)]
            absent = [s.name for s, p in zip((champion, candidate), sides, strict=True) if p is None]
            found.append(_other(name, sides[0], sides[1], absent, rule))
    return found


def _other(
    name: str, before: Part | None, after: Part | None, absent: Sequence[str], rule: GateRule
) -> Dimension:
    if before is None or after is None:
        return _not_measured(name, f"{absent[0]} has none", rule)
    if reason := _first([*_unlike(before, after), *_too_few(before.documents)]):
        return _not_measured(name, reason, rule)
    draws = _draws(before.documents)
    old, new = (_mean(side, draws) for side in (before, after))
    if before.reads == "perplexity":
        return _dimension(name, np.exp(old - new) - 1, draws, rule, lower=True)
    return _dimension(name, new - old, draws, rule, lower=before.reads == "lower")


def _unlike(before: Part, after: Part) -> list[str]:
    """Why the two cannot be paired."""
    rows = [sorted(zip(side.ids, side.documents, strict=True)) for side in (before, after)]
    weights = [dict(zip(side.ids, side.weights or (), strict=False)) for side in (before, after)]
    if rows[0] != rows[1]:
        return ["the two were measured on different questions"]
    if weights[0] != weights[1]:
        return ["the two models cut the same text into different tokens"]
    return ["the two are read in different ways"] if before.reads != after.reads else []


def _mean(side: Part, draws: Draws) -> Array:
    """The weighted mean of the rows that have a value, in every draw."""
    values = array(side.values)
    known = ~np.isnan(values)
    weights = np.ones(len(values)) if side.weights is None else np.array(side.weights)
    documents = [d for d, there in zip(side.documents, known, strict=True) if there]
    total = draws.mean((values * weights)[known], documents)
    return np.asarray(total / draws.mean(weights[known], documents))


def _dimension(name: str, difference: Array, draws: Draws, rule: GateRule, lower: bool) -> Dimension:
    margin = rule.margin.get(name, 0.0)
    gain = estimate(-difference if lower else difference, draws)
    call: Call = "better" if gain.low > margin else "worse" if gain.high < -margin else "no difference"
    return Dimension(
        name=name,
        call=call,
        difference=estimate(difference, draws),
        lower_is_better=lower,
        margin=margin,
        documents=len(draws.documents),
    )


def _not_measured(name: str, reason: str, rule: GateRule) -> Dimension:
    return Dimension(
        name=name,
        call="not measured",
        difference=None,
        margin=rule.margin.get(name, 0.0),
        documents=0,
        reason=reason,
    )


def _too_few(documents: Sequence[str]) -> list[str]:
    found = len(set(documents))
    return [f"an interval needs two documents, and there is {found}"] if found < 2 else []


def _first(reasons: Sequence[str]) -> str:
    return reasons[0] if reasons else ""


@cache
def _draws(documents: tuple[str, ...]) -> Draws:
    return draw(documents)


# --- the rule ----------------------------------------------------------------------------------------------------


def _check_known(rule: GateRule, names: Sequence[str]) -> None:
    for name in rule.margin:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
            raise InputError(
                f"[gate] margin names {name}, which is no dimension of this comparison",
                f"did you mean {near[0]}?" if near else f"there are: {', '.join(names)}",
            )


def _better(name: str, found: Dimension | None) -> Check:
    passed = found is not None and found.call == "better"
    return Check(asked=f"better: {name}", passed=passed, reason=_told(name, found))


def _not_worse(name: str, found: Dimension | None) -> Check:
    passed = found is not None and found.call in ("better", "no difference")
    return Check(asked=f"not worse: {name}", passed=passed, reason=_told(name, found))


def _told(name: str, found: Dimension | None) -> str:
    return str(found) if found else f"{name}: not measured: neither evaluation has it"


def _veto(name: str, champion: Evaluated, candidate: Evaluated) -> Check:
    """A veto looks at the candidate alone; what cannot be checked does not pass."""
    objection = (_memorises if name == "memorisation" else _gives_away)(candidate)
    return Check(asked=f"veto: {name}", passed=not objection, reason=objection or "nothing against it")


def _memorises(side: Evaluated) -> str:
    copied = side.memorisation
    if copied is None:
        return f"memorisation of {side.name} was not measured"
    if not copied.veto:
        return ""
    return (
        f"{side.name} copies {copied.twin:.1%} of its 13-grams from training documents, "
        f"the author {copied.author:.1%} (allowed: {copied.author + VETO_OVER_SELF:.1%})"
    )


def _gives_away(side: Evaluated) -> str:
    if side.privacy is None:
        return (
            f"privacy of {side.name} was not measured (--quick leaves it out): evaluate it whole, "
            "or take privacy off the veto of [gate]"
        )
    return "; ".join(side.privacy.objections())
