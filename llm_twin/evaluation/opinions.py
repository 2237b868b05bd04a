"""Second opinions on style: do ways of looking that have little in common agree with the style verifier?

Each opinion is measured on the author's held-out writing and on background it never saw, and places what a
model wrote between a floor (the base model's answers) and a ceiling (the author's held-out passages). One that
cannot tell the author from either kind of background (AUC under 0.8) gives no place and says so. A model that
was tuned towards one opinion shows it by standing higher there than elsewhere.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from llm_twin.errors import InputError
from llm_twin.evaluation import verifiers
from llm_twin.evaluation.intervals import Array, Draws, Estimate, between, draw, estimate
from llm_twin.evaluation.separation import Judged, rank_correlation, separation
from llm_twin.evaluation.style import Passage, Verifier
from llm_twin.evaluation.verifiers import STYLE, Second
from llm_twin.types import Value

_LOOKS_AT = "which characters follow which in the text with its topic masked (the headline score)"
Wrote = Mapping[str, Sequence[Passage]]


class Opinion(Value):
    """One way of looking, and where it places what was written."""

    name: str
    looks_at: str
    by_document: bool
    """Whether it judges all passages of a document as one text, because one passage says too little."""
    auc_others: Estimate | None
    """AUC of the author's held-out writing over that of other authors; None where there is none."""
    auc_machine: Estimate
    """AUC of the author's held-out writing over the base model's answers that set the floor."""
    refused: str
    """Why it gives no place; empty where it does."""
    floor: float
    """Mean value of the base model's answers, in the opinion's own unit."""
    ceiling: float
    """Mean value of the author's held-out passages."""
    placed: dict[str, Estimate]
    """Where each model's texts stand from 0 (floor) to 1 (ceiling); empty where refused."""
    gain: dict[str, Estimate]
    """How much nearer to the author than "base" each other model stands, paired; empty where refused."""

    @property
    def auc(self) -> float:
        """The AUC over the kind of background that it tells apart least well."""
        return min(part.value for part in (self.auc_others, self.auc_machine) if part)

    def over_imitates(self, name: str) -> bool:
        """Whether `name` stands above the author's own held-out writing with 95% confidence."""
        return name in self.placed and self.placed[name].low > 1.0


class Correlation(Value):
    """How alike two opinions rank the same documents, whoever wrote them."""

    first: str
    second: str
    tau: Estimate
    """Kendall's tau-b: 1 alike, 0 nothing in common, -1 the other way round."""


class Verdict(Value):
    """What the opinions that can tell say of one model beside "base"; each list holds names of opinions."""

    nearer: tuple[str, ...]
    """The model writes more like the author than the base does, with 95% confidence."""
    further: tuple[str, ...]
    undecided: tuple[str, ...]
    over: tuple[str, ...]
    """The model stands above the author's own writing with 95% confidence: it over-imitates."""

    @property
    def agree(self) -> bool:
        """Whether all of them order base < model <= author, and none is undecided."""
        return bool(self.nearer) and not (self.further or self.undecided or self.over)


class Opinions(Value):
    """The style score and the second opinions side by side, and how far they agree."""

    style: Opinion
    """The headline verifier, measured like the others."""
    opinions: tuple[Opinion, ...]
    correlations: tuple[Correlation, ...]
    """Style with each opinion, over documents by the author, the others, the base and the models."""
    ranked: int
    """Over how many documents the correlations are."""
    verdicts: dict[str, Verdict]
    """What style and the opinions say of each model other than "base"."""


def opinions(
    author_train: Sequence[Passage],
    others_train: Sequence[Passage],
    machine: Sequence[Passage],
    test: Sequence[Passage],
    others_test: Sequence[Passage],
    wrote: Wrote,
    verifier: Verifier,
) -> Opinions:
    """Fit the second opinions on the training passages and place what was written.

    `wrote` holds "floor" (the base model's answers that set the floor), and any models to place, "base" among
    them if gains are wanted; each passage carries the id of the held-out document that it answers for.
    `verifier` is the fitted style verifier. Raises InputError where there is too little to fit or draw.
    """
    _check(test, wrote)
    seconds = verifiers.fit(author_train, others_train, machine)
    judges = [Second(STYLE, _LOOKS_AT, False, verifier.probability), *seconds]
    written = {"author": test, "others": others_test, **wrote}
    judged = {j.name: {name: j.judge(texts) for name, texts in written.items() if texts} for j in judges}
    draws = draw([p.document_id for p in test])
    style, *others = (_opinion(judge, judged[judge.name], draws) for judge in judges)
    ranked = _document_means(judged[STYLE])
    return Opinions(
        style=style,
        opinions=tuple(others),
        correlations=tuple(_correlation(ranked, judge.name, judged[judge.name]) for judge in seconds),
        ranked=len(ranked),
        verdicts={name: _verdict(name, [style, *others]) for name in wrote if name not in ("floor", "base")},
    )


def _check(test: Sequence[Passage], wrote: Wrote) -> None:
    if not wrote.get("floor"):
        raise InputError("second opinions need the base model's answers as a floor", "let the base answer")
    strange = {p.document_id for texts in wrote.values() for p in texts} - {p.document_id for p in test}
    if strange:
        raise InputError(f"nothing held out belongs to {sorted(strange)[0]}, for which a model has written")


def _opinion(judge: Second, judged: Mapping[str, Judged], draws: Draws) -> Opinion:
    own, floor = judged["author"], judged["floor"]
    others = separation(own, judged["others"]) if "others" in judged else None
    machine = separation(own, floor)
    refused = verifiers.refusal({"other authors": others, "the base model": machine})
    models = {} if refused else {n: j for n, j in judged.items() if n not in ("author", "others", "floor")}
    ends = _mean(floor, draws), _mean(own, draws)
    places = {name: between(_mean(texts, draws), *ends) for name, texts in models.items()}
    return Opinion(
        name=judge.name,
        looks_at=judge.looks_at,
        by_document=judge.by_document,
        auc_others=others,
        auc_machine=machine,
        refused=refused,
        floor=float(ends[0][0]),
        ceiling=float(ends[1][0]),
        placed={name: estimate(place, draws) for name, place in places.items()},
        gain={
            name: estimate(place - places["base"], draws)
            for name, place in places.items()
            if name != "base" and "base" in places
        },
    )


def _mean(judged: Judged, draws: Draws) -> Array:
    return draws.mean(judged.values, judged.documents)


def _document_means(judged: Mapping[str, Judged]) -> dict[tuple[str, str], float]:
    """The mean value of what each (who, document) holds, so that all opinions rank the same things.

    The floor is left out, because base answers are there already where there is a "base".
    """
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for who, texts in judged.items():
        if who != "floor" or "base" not in judged:
            for document, value in zip(texts.documents, texts.values, strict=True):
                values[who, document].append(float(value))
    return {key: float(np.mean(found)) for key, found in values.items()}


def _correlation(
    style: Mapping[tuple[str, str], float], name: str, judged: Mapping[str, Judged]
) -> Correlation:
    other = _document_means(judged)
    documents = [document for _, document in style]
    first, second = (np.array([means[key] for key in style], np.float64) for means in (style, other))
    return Correlation(
        first=STYLE, second=name, tau=rank_correlation(first, second, documents, draw(documents))
    )


def _verdict(name: str, found: Sequence[Opinion]) -> Verdict:
    gains = {opinion.name: opinion.gain[name] for opinion in found if name in opinion.gain}
    return Verdict(
        nearer=tuple(n for n, gain in gains.items() if gain.low > 0),
        further=tuple(n for n, gain in gains.items() if gain.high < 0),
        undecided=tuple(n for n, gain in gains.items() if gain.low <= 0 <= gain.high),
        over=tuple(opinion.name for opinion in found if opinion.over_imitates(name)),
    )
