"""Appraise any texts: how much does each sound like the author, and can that be told at all?

A text is cut into pieces as long as the author's passages, each is judged, and the text gets their mean. There
is no number where the verifier cannot tell this author, or the text is shorter than it needs (by the power
curve of `validation`). A text that repeats known writing sounds like the author, so copies are flagged. Not
covered: whether the text makes sense, and texts in another language than the author's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from llm_twin.errors import InputError
from llm_twin.evaluation import style, verifiers
from llm_twin.evaluation.answers import memorised, memory
from llm_twin.evaluation.copied import Spans
from llm_twin.evaluation.intervals import Array, Draws, Estimate, between, draw, estimate
from llm_twin.evaluation.power import count, cut
from llm_twin.evaluation.separation import separation
from llm_twin.evaluation.style import LEAST_AUC, Passage, Verifier
from llm_twin.evaluation.trust import GUESSING
from llm_twin.evaluation.validation import Validation, validate
from llm_twin.evaluation.verifiers import STYLE, Second, joined
from llm_twin.types import Value

COPIED_OVER_SELF = 0.05
LONG_RUN = 50
"""A run of words this long is a copy whatever stands around it (Carlini et al. 2023 count 50 tokens)."""
_LEAST_PIECE = 20


class Copies(Value):
    """What of one text stands in the known documents word for word."""

    share: float
    """Share of its word 13-grams; 0 for a text of fewer than 13 words."""
    longest: int
    """Words of the longest run that stands in one known document too."""


class Appraised(Value):
    """One text. Where `refused`, there is no number but for what is copied."""

    name: str
    words: int
    refused: str
    """Why there is no number; empty where there is."""
    probability: float | None
    """Mean P(author) of its pieces."""
    place: Estimate | None
    """From 0 (floor) to 1 (the author's held-out writing); the interval is that of both ends."""
    opinions: dict[str, float]
    """Where each second opinion that can tell places it."""
    copied: Copies
    copy_flag: str
    """Why it is taken for a copy of known writing, so that its score means little; empty where it is not."""


class Appraisal(Value):
    """All texts, and what the verifier is worth for this author."""

    author: str
    refused: str
    """Why no text gets a number; empty where some may."""
    floor_is: str
    """Whose held-out writing is 0 on the scale: "the base model" or "other authors"."""
    texts: tuple[Appraised, ...]
    place: Estimate | None
    """Mean place of the texts that have one and are no copies, over draws of texts and of the documents of the scale.
    None with fewer than two of them."""
    over: int
    """How many texts `place` is over."""
    self_copied: float
    """Share of 13-grams that the author's held-out documents have in common with the known ones."""
    opinions_refused: dict[str, str]
    """Second opinions that cannot tell this author, and why."""
    validation: Validation


@dataclass(frozen=True)
class Sides:
    """Passages of the author, of other authors and of a machine; the last two may be empty, but not both."""

    author: Sequence[Passage]
    others: Sequence[Passage] = ()
    machine: Sequence[Passage] = ()


@dataclass(frozen=True)
class _Scale:
    """A judge with the ends of its scale in every draw of the held-out documents.

    `draws` are those of the end with fewer documents, which decide how wide an interval must be.
    """

    judge: Second
    floor: Array
    ceiling: Array
    draws: Draws

    def places(self, value: float) -> Array:
        """Where `value` stands, draw by draw."""
        return between(np.full(len(self.floor), value), self.floor, self.ceiling)


def appraise(
    author: str,
    texts: Sequence[tuple[str, str]],
    train: Sides,
    held_out: Sides,
    known: Sequence[str],
    paraphrased: Sequence[str] | None = None,
) -> Appraisal:
    """Appraise (name, text) pairs for `author`.

    `known` are whole documents that a text may have been copied from. Raises InputError without texts,
    without background, or with too few of the author's documents to fit or to hold out.
    """
    if not texts:
        raise InputError("there are no texts to appraise", "name a folder that holds some")
    judging, validation = _fitted(train, held_out, paraphrased)
    scale = _scale(Second(STYLE, "", False, judging.verifier.probability), held_out)
    seconds, unclear = _seconds(train, held_out)
    copies = _copies(known)
    own = float(np.mean([copies(p.text).share for p in joined(held_out.author)]))
    found = tuple(
        _appraised(name, text, scale, seconds, copies(text), own, judging.length)
        if not (why := judging.why_not(text))
        else _unappraised(name, text, why, copies(text), own)
        for name, text in texts
    )
    placed = [t.probability for t in found if t.probability is not None and not t.copy_flag]
    return Appraisal(
        author=author,
        refused=judging.refused,
        floor_is="the base model" if held_out.machine else "other authors",
        texts=found,
        place=_overall(placed, scale),
        over=len(placed),
        self_copied=own,
        opinions_refused=unclear,
        validation=validation,
    )


@dataclass(frozen=True)
class Voice:
    """A fitted verifier that judges one text at a time, and what it needs; `refused` is why it judges none."""

    verifier: Verifier
    least: int
    """Words from which on a text can be told."""
    length: int
    """Words of the pieces that a text is cut into."""
    refused: str

    @property
    def auc(self) -> float:
        """What the verifier is worth on held-out passages."""
        return self.verifier.auc

    @property
    def told_from(self) -> str:
        """Whose writing it learnt to tell the author's from."""
        kinds = {"other authors": self.verifier.auc_others, "the base model": self.verifier.auc_machine}
        return " and ".join(kind for kind, auc in kinds.items() if auc is not None)

    def why_not(self, text: str) -> str:
        """Why this text is not judged; empty where it is."""
        words = count(text)
        too_short = f"it has {words} words, and it takes {self.least} to tell this author"
        return self.refused or ("" if words >= self.least else too_short)

    def of(self, text: str) -> tuple[int, float | None, str]:
        """The words of a text, the mean P(author) of its pieces, and why there is none (empty: there is)."""
        if why := self.why_not(text):
            return count(text), None, why
        return count(text), float(self.verifier.probability(pieces(text, self.length)).mean()), ""


def voice(train: Sides, held_out: Sides) -> Voice:
    """Fit on `train` and learn from `held_out` whether and from how many words on it can tell.

    Raises InputError with too few documents to fit on.
    """
    return _fitted(train, held_out)[0]


def _fitted(
    train: Sides, held_out: Sides, paraphrased: Sequence[str] | None = None
) -> tuple[Voice, Validation]:
    """The voice, and what was learnt about its verifier."""
    verifier = style.fit(
        train.author, train.others, train.machine, (held_out.author, held_out.others, held_out.machine)
    )
    found = validate(
        author_train=train.author,
        others_train=train.others,
        machine=train.machine,
        test=held_out.author,
        others_test=held_out.others,
        floor=held_out.machine,
        verifier=verifier,
        paraphrased=paraphrased,
    )
    least = (found.power.enough if found.power else None) or 0
    length = max(_LEAST_PIECE, int(np.median([count(p.text) for p in held_out.author])))
    return Voice(verifier, least, length, found.refused or _refusal(verifier, found)), found


def _refusal(verifier: Verifier, validation: Validation) -> str:
    who = {"others": "other authors", "machine": "the base model"}
    if not verifier.can_tell:
        parts = {"other authors": verifier.auc_others, "the base model": verifier.auc_machine}
        shown = [f"{auc:.2f} over {who}" for who, auc in parts.items() if auc is not None]
        return (
            f"the verifier's AUC is {' and '.join(shown)}, and under {LEAST_AUC} it cannot tell this author"
        )
    told = {who[k.name]: k.auc for k in validation.known if k.name in who and k.auc}
    if unsure := [f"{auc} over {name}" for name, auc in told.items() if auc.low < GUESSING]:
        return f"the verifier's AUC is {' and '.join(unsure)}: under {GUESSING} it would be guessing"
    points = validation.power.points if validation.power else ()
    if not points:
        return "too little is held out to know how many words it takes to tell this author"
    if validation.power and validation.power.enough is None:
        longest = points[-1].words
        return f"pieces of {longest} words, the longest there are enough of, are not told from the background"
    return ""


def _copies(known: Sequence[str]) -> Callable[[str], Copies]:
    seen, spans = memory(known), Spans({str(i): text for i, text in enumerate(known)})
    return lambda text: Copies(share=float(memorised([text], seen)[0]), longest=spans.longest(text).words)


def _scale(judge: Second, held_out: Sides) -> _Scale:
    own = judge.judge(held_out.author)
    floor = judge.judge(held_out.machine or held_out.others)
    draws, floors = draw(own.documents), draw(floor.documents, seed=1)
    behind = draws if set(floor.documents) <= set(own.documents) else floors
    return _Scale(
        judge,
        behind.mean(floor.values, floor.documents),
        draws.mean(own.values, own.documents),
        _fewest(draws, floors),
    )


def _fewest(*sides: Draws) -> Draws:
    """The draws of the fewest documents or texts. A single one was not drawn, and an interval says nothing about it."""
    several = [side for side in sides if len(side.documents) > 1]
    return min(several, key=lambda side: len(side.documents), default=sides[0])


def _seconds(train: Sides, held_out: Sides) -> tuple[list[_Scale], dict[str, str]]:
    """The second opinions that can tell this author, with their scales, and why the others cannot."""
    scales, unclear = [], {}
    for second in verifiers.fit(train.author, train.others, train.machine):
        own = second.judge(held_out.author)
        sides = {"other authors": held_out.others, "the base model": held_out.machine}
        aucs = {who: separation(own, second.judge(side)) for who, side in sides.items() if side}
        if why := verifiers.refusal(aucs):
            unclear[second.name] = why
        else:
            scales.append(_scale(second, held_out))
    return scales, unclear


def pieces(text: str, length: int) -> list[str]:
    """The text in pieces of equal size of about `length` words; a short text whole."""
    words = count(text)
    many = max(1, round(words / length))
    return cut(text, words // many) if many > 1 else [text]


def _appraised(
    name: str,
    text: str,
    scale: _Scale,
    seconds: Sequence[_Scale],
    copied: Copies,
    self_copied: float,
    length: int,
) -> Appraised:
    cut_up = [Passage(name, piece) for piece in pieces(text, length)]
    probability = float(scale.judge.judge(cut_up).values.mean())
    return Appraised(
        name=name,
        words=count(text),
        refused="",
        probability=probability,
        place=estimate(scale.places(probability), scale.draws),
        opinions={
            s.judge.name: float(s.places(float(_value(s.judge, name, text, cut_up)))[0]) for s in seconds
        },
        copied=copied,
        copy_flag=_flag(copied, self_copied),
    )


def _value(judge: Second, name: str, text: str, cut_up: Sequence[Passage]) -> float:
    """A judge of whole documents is given the text as it is."""
    return float(judge.judge([Passage(name, text)] if judge.by_document else cut_up).values.mean())


def _unappraised(name: str, text: str, why: str, copied: Copies, self_copied: float) -> Appraised:
    return Appraised(
        name=name,
        words=count(text),
        refused=why,
        probability=None,
        place=None,
        opinions={},
        copied=copied,
        copy_flag=_flag(copied, self_copied),
    )


def _flag(copied: Copies, self_copied: float) -> str:
    if copied.share > self_copied + COPIED_OVER_SELF:
        return f"{copied.share:.0%} of it stands in known writing (the author repeats {self_copied:.0%})"
    if copied.longest >= LONG_RUN:
        return f"{copied.longest} words in a row stand in known writing"
    return ""


def _overall(probabilities: Sequence[float], scale: _Scale) -> Estimate | None:
    """Both the texts and the documents of the scale are drawn, independently; whichever are fewest decide the width."""
    if len(probabilities) < 2:
        return None
    names = [f"{i:06}" for i in range(len(probabilities))]
    draws = draw(names, seed=2)
    means = draws.mean(np.array(probabilities, np.float64), names)
    return estimate(between(means, scale.floor, scale.ceiling), _fewest(draws, scale.draws))
