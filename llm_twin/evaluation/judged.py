"""What a judge's verdicts amount to: means with intervals where the judge is fit, and how fit it is.

A judge is unusable when fewer than 90% of its replies to any kind of question follow the format, or when its
verdicts on pairs agree across both orders no more often than chance gives. Chance is that of a judge who picks
places with the same taste but does not look at the replies: with shares a, b and t of "A", "B" and "tie" over
both orders, it names the same winner twice in about 2ab + t² of the pairs (the reasoning of Scott's pi, 1955).
Whether agreement is above that is decided by dealing the same verdicts out at random, which is exact for any
number of pairs; eight are the fewest that can tell.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from llm_twin.evaluation.agreement import Agreement, agreement
from llm_twin.evaluation.intervals import DRAWS, Estimate
from llm_twin.evaluation.paired import averaged
from llm_twin.evaluation.style import auc
from llm_twin.evaluation.verdicts import Pair, Score
from llm_twin.types import Value

LEAST_VALID = 0.9
LIKED_FROM = 2.0
"""Mean of accuracy and style from which an answer counts as one that a user would like."""
Rubric = Literal["accuracy", "style"]
RUBRICS: tuple[Rubric, ...] = ("accuracy", "style")
Whose = Literal["twin", "base", "author", "users"]
LARGEST_P = 0.05
_PLACE = {"A": 1, "tie": 0, "B": -1}
"""In numbers that add up to 0 where both orders name the same winner."""
Scores = Mapping[tuple[Rubric, Whose], Sequence[Score | None]]
"""A score a text; None where the reply was invalid."""
Orders = tuple[Sequence[Pair | None], Sequence[Pair | None]]
"""Verdicts on each pair with the twin shown first, and with the base shown first."""


class Graded(Value):
    """Mean scores from 1 to 3 on one rubric, with intervals over documents."""

    twin: Estimate
    base: Estimate
    difference: Estimate
    """Twin less base, paired."""
    author: Estimate | None
    """The author's own held-out passages: the ceiling. Style only; for accuracy they are the truth."""


class Consistency(Value):
    """What the judge did when twin and base changed places."""

    pairs: int
    agree: float
    """Share of the pairs with the same verdict in both orders."""
    chance: float
    """The share that a judge who does not look at the replies would reach."""
    p_value: float
    """How often verdicts dealt out at random agree as much."""
    first_place: float | None
    """Share of the decided verdicts that went to the reply shown first: 0.5 is no bias. None: none was decided."""
    flipped: int
    """Pairs whose verdict changed with the order. They count as ties."""


class Preference(Value):
    """Twin against base. `share` counts a tie as a half: above 0.5 the twin is preferred."""

    share: Estimate
    wins: int
    losses: int
    ties: int


class WithUsers(Value):
    """The judge beside users' thumbs on the same answers, of which it was shown no words of the author."""

    agreement: Agreement
    """Thumb up or down against a mean of accuracy and style of at least 2."""
    auc: float | None
    """Probability that an answer liked is scored above one disliked, ties half; None if all thumbs are alike."""


def graded(scores: Scores, rubric: Rubric, documents: Sequence[str]) -> Graded | None:
    """Means over the texts with a valid reply; None where twin and base share fewer than two documents."""
    by = {whose: list(found) for (which, whose), found in scores.items() if which == rubric}
    both = [i for i, (t, b) in enumerate(zip(by["twin"], by["base"], strict=True)) if t and b]
    twin, base = _mean(by["twin"], documents), _mean(by["base"], documents)
    kept = [documents[i] for i in both]
    if twin is None or base is None or len(set(kept)) < 2:
        return None
    less = [_number(by["twin"][i]) - _number(by["base"][i]) for i in both]
    return Graded(
        twin=twin,
        base=base,
        difference=averaged(less, kept),
        author=_mean(by["author"], documents) if "author" in by else None,
    )


def _mean(scores: Sequence[Score | None], documents: Sequence[str]) -> Estimate | None:
    rows = [(s.score, d) for s, d in zip(scores, documents, strict=True) if s]
    kept = [d for _, d in rows]
    if len(set(kept)) < 2:
        return None
    return averaged([float(s) for s, _ in rows], kept)


def _number(score: Score | None) -> float:
    return float(score.score) if score else float("nan")


def consistency(orders: Orders, documents: Sequence[str]) -> Consistency | None:
    """How the verdicts on pairs held when the places changed; None with fewer than two documents to tell by."""
    rows = _both_orders(orders, documents)
    kept = [document for _, _, document in rows]
    if len(set(kept)) < 2:
        return None
    letters = np.array([[_PLACE[a], _PLACE[b]] for a, b, _ in rows])
    dealt = _dealt(letters)
    same = float((letters.sum(axis=1) == 0).mean())
    first, second = int((letters == _PLACE["A"]).sum()), int((letters == _PLACE["B"]).sum())
    return Consistency(
        pairs=len(rows),
        agree=same,
        chance=float(dealt.mean()),
        p_value=float(((dealt >= same - 1e-9).sum() + 1) / (len(dealt) + 1)),
        first_place=first / (first + second) if first + second else None,
        flipped=sum(_winner(a, b) is None for a, b, _ in rows),
    )


def _dealt(letters: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of pairs with the same winner in both orders when all verdicts are dealt out anew, 2000 times."""
    rng = np.random.default_rng(0)
    decks = rng.permuted(np.tile(letters.ravel(), (DRAWS, 1)), axis=1).reshape(DRAWS, *letters.shape)
    return np.asarray((decks.sum(axis=2) == 0).mean(axis=1), np.float64)


def preference(orders: Orders, documents: Sequence[str]) -> Preference | None:
    """Who wins the pairs; a verdict that flips with the order is a tie. None with fewer than two documents."""
    rows = _both_orders(orders, documents)
    kept = [document for _, _, document in rows]
    if len(set(kept)) < 2:
        return None
    winners = [_winner(a, b) for a, b, _ in rows]
    points = [{"twin": 1.0, "base": 0.0}.get(winner or "", 0.5) for winner in winners]
    wins, losses = winners.count("twin"), winners.count("base")
    return Preference(
        share=averaged(points, kept),
        wins=wins,
        losses=losses,
        ties=len(winners) - wins - losses,
    )


def _both_orders(orders: Orders, documents: Sequence[str]) -> list[tuple[str, str, str]]:
    """(verdict with the twin first, verdict with the base first, document) where both are valid."""
    rows = zip(*orders, documents, strict=True)
    return [(first.better, second.better, document) for first, second, document in rows if first and second]


def _winner(twin_first: str, base_first: str) -> str | None:
    """Who won in both orders: "twin", "base" or "tie"; None where the verdict flipped."""
    named = {"A": "twin", "B": "base", "tie": "tie"}[twin_first]
    return named if named == {"A": "base", "B": "twin", "tie": "tie"}[base_first] else None


def self_agreement(scores: Scores, again: Scores) -> dict[Rubric, Agreement]:
    """Scores against the same asked again, over the texts that have both; a rubric without any is left out."""
    found = {}
    for (rubric, whose), repeated in again.items():
        pairs = [(a.score, b.score) for a, b in zip(scores[rubric, whose], repeated, strict=True) if a and b]
        if pairs:
            found[rubric] = agreement([a for a, _ in pairs], [b for _, b in pairs])
    return found


def with_users(scores: Scores, liked: Sequence[bool]) -> WithUsers | None:
    """The judge's scores of answers that users judged; None without an answer that has both scores."""
    if ("accuracy", "users") not in scores:
        return None
    triples = zip(scores["accuracy", "users"], scores["style", "users"], liked, strict=True)
    rows = [((a.score + s.score) / 2, up) for a, s, up in triples if a and s]
    if not rows:
        return None
    above, below = (np.array([mean for mean, up in rows if up == side]) for side in (True, False))
    return WithUsers(
        agreement=agreement([mean >= LIKED_FROM for mean, _ in rows], [up for _, up in rows]),
        auc=auc(above, below) if len(above) and len(below) else None,
    )


def valid_share(replies: Sequence[Score | Pair | None]) -> float:
    """Share of the replies that follow the format."""
    return sum(reply is not None for reply in replies) / max(1, len(replies))


def unusable(valid: Mapping[str, float], found: Consistency | None) -> str:
    """Why the judge's scores must not be used; empty where they may."""
    worst = min(valid, key=lambda kind: valid[kind])
    if valid[worst] < LEAST_VALID:
        return (
            f"{valid[worst]:.0%} of the judge's replies to {worst} questions follow the format, "
            f"and {LEAST_VALID:.0%} must; choose a larger judge, or a server that enforces JSON schemas"
        )
    if found is None:
        return "fewer than two documents have verdicts in both orders, so nothing shows whether the judge holds to them"
    if found.p_value < LARGEST_P:
        return ""
    if found.first_place is None:
        return f"the judge calls all {found.pairs} pairs ties, so nothing shows that it tells replies apart"
    return (
        f"the judge names the same winner in both orders for {found.agree:.0%} of {found.pairs} pairs, "
        f"and a judge who does not look would for {found.chance:.0%}: no more than chance, as far as can be told"
    )
