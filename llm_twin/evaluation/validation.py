"""What the style score is worth for this author, on texts whose writer is known.

The verifier is asked about the author's held-out passages, other authors, the base model, the author's passages
with their sentences shuffled, and the author's passages in a model's words; whether P(author) can be taken at
its word (calibration); how many words it needs (power); and whether it still finds an "author" when the labels
say nothing (it must not). Not covered: an imitator who is not a language model.
"""

import random
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from llm_twin.evaluation import style
from llm_twin.evaluation.calibration import Calibration, calibration
from llm_twin.evaluation.intervals import Estimate, draw, estimate
from llm_twin.evaluation.paraphrase import wording_kept
from llm_twin.evaluation.power import Power, power
from llm_twin.evaluation.separation import Judged, separation
from llm_twin.evaluation.style import Passage, Verifier
from llm_twin.text import sentences
from llm_twin.types import Value

FITS = 5
_LEAST_DEALT = 6
_WHAT = {
    "author": "the author's held-out passages",
    "others": "held-out passages by other authors",
    "machine": "the base model's answers to the held-out instructions",
    "shuffled": "the author's held-out passages with their sentences in random order; telling them apart is not"
    " its task, so an AUC near 0.5 says that it does not look at the order of sentences",
    "paraphrased": "the author's held-out passages in a model's words: what is left of the author",
}


class Known(Value):
    """What the verifier says of texts whose writer is known."""

    name: str
    """ "author", "others", "machine", "shuffled" or "paraphrased"."""
    what: str
    texts: int
    documents: int
    mean: float
    """Mean P(author)."""
    interval: Estimate | None
    """The mean with its interval; None where all texts stand for one document."""
    auc: Estimate | None
    """AUC of the author's held-out passages over these; None for themselves."""


class Validation(Value):
    """Everything that is known of the verifier on known answers. Where `refused`, nothing was measured."""

    refused: str = ""
    known: tuple[Known, ...] = ()
    not_measured: dict[str, str] = Field({})
    """Parts that could not be measured ("others", "machine", "paraphrased", "chance") and why."""
    calibration: Calibration | None = None
    power: Power | None = None
    chance: Estimate | None = None
    """Mean AUC of verifiers fitted and tested on documents dealt to two "authors" by chance: about 0.5, or the
    AUC above is an accident of the documents. Its interval is over the deals."""
    wording_kept: float | None = None
    """Share of the paraphrases' word 3-grams that are the author's; near 1 they are copies and say little."""


def validate(
    author_train: Sequence[Passage],
    others_train: Sequence[Passage],
    machine: Sequence[Passage],
    test: Sequence[Passage],
    others_test: Sequence[Passage],
    floor: Sequence[Passage],
    verifier: Verifier,
    paraphrased: Sequence[str] | None = None,
) -> Validation:
    """Put the fitted style `verifier` to the test.

    `floor` are the base model's answers to held-out instructions, with the id of the document that each stands
    for; `paraphrased` goes with `test`, a text each, empty where the model wrote none.
    """
    if refused := _refusal(test, [*others_test, *floor]):
        return Validation(refused=refused)
    sides = {"author": test, "others": others_test, "machine": floor, "shuffled": _shuffled(test)}
    sides["paraphrased"] = _filled(test, paraphrased or [])
    judged = {name: _judge(verifier, passages) for name, passages in sides.items() if passages}
    missing = {name: _missing(name) for name, passages in sides.items() if not passages}
    train, held_out = [author_train, others_train, machine], [test, others_test, floor]
    chance = _chance(train, held_out)
    if chance is None:
        missing["chance"] = "too few documents to deal to two authors"
    return Validation(
        known=tuple(_known(name, texts, judged["author"]) for name, texts in judged.items()),
        not_measured=missing,
        calibration=calibration(judged["author"], [judged[n] for n in ("others", "machine") if n in judged]),
        power=power(verifier.probability, test, others_test, floor),
        chance=chance,
        wording_kept=wording_kept([p.text for p in test], paraphrased) if paraphrased else None,
    )


def _refusal(test: Sequence[Passage], background: Sequence[Passage]) -> str:
    found = len({p.document_id for p in test})
    if found < 2:
        return f"the author's held-out passages come from {found} documents, and two are needed"
    return "" if background else "there is no held-out background to tell the author from"


def _missing(name: str) -> str:
    return "no paraphrases were made" if name == "paraphrased" else "there are no such texts"


def _filled(test: Sequence[Passage], texts: Sequence[str]) -> list[Passage]:
    """Passages of the given texts, each for the document of the passage that it paraphrases."""
    pairs = zip(test, texts, strict=True) if texts else ()
    return [Passage(p.document_id, text) for p, text in pairs if text.strip()]


def _judge(verifier: Verifier, passages: Sequence[Passage]) -> Judged:
    return Judged(verifier.probability([p.text for p in passages]), tuple(p.document_id for p in passages))


def _known(name: str, texts: Judged, author: Judged) -> Known:
    draws = draw(texts.documents)
    several = len(draws.documents) > 1
    return Known(
        name=name,
        what=_WHAT[name],
        texts=len(texts.values),
        documents=len(draws.documents),
        mean=float(texts.values.mean()),
        interval=estimate(draws.mean(texts.values, texts.documents), draws) if several else None,
        auc=None if name == "author" else separation(author, texts),
    )


def _shuffled(test: Sequence[Passage]) -> list[Passage]:
    return [Passage(p.document_id, shuffled_sentences(p.text, seed)) for seed, p in enumerate(test)]


def shuffled_sentences(text: str, seed: int) -> str:
    """The text with its sentences in random order; white space and line breaks stay where they are."""
    places, at = [], 0
    for line in text.split("\n"):
        places += [(at + start, at + end) for start, end in sentences(line)]
        at += len(line) + 1
    pieces = [text[start:end] for start, end in places]
    random.Random(seed).shuffle(pieces)
    written, last = [], 0
    for (start, end), piece in zip(places, pieces, strict=True):
        written += [text[last:start], piece]
        last = end
    return "".join([*written, text[last:]])


def _chance(train: Sequence[Sequence[Passage]], held_out: Sequence[Sequence[Passage]]) -> Estimate | None:
    """None where a side has too few documents. Each of the two "authors" gets half of every side."""
    if len(_documents(train)) < _LEAST_DEALT or len(_documents(held_out)) < 2:
        return None
    found = []
    for seed in range(FITS):
        (one, two), (one_test, two_test) = _dealt(train, seed), _dealt(held_out, seed)
        if min(len({p.document_id for p in side}) for side in (one, two)) < _LEAST_DEALT // 2:
            return None
        found.append(style.fit(one, two, [], (one_test, two_test, [])).auc)
    return _over_fits(found)


def _over_fits(found: Sequence[float]) -> Estimate:
    """Mean and Student's t interval."""
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    mean, reach = float(np.mean(found)), float(np.std(found, ddof=1) / np.sqrt(len(found)))
    reach *= float(stdtrit(len(found) - 1, 0.975))
    return Estimate(value=mean, low=mean - reach, high=mean + reach)


def _documents(sides: Sequence[Sequence[Passage]]) -> set[str]:
    return {p.document_id for side in sides for p in side}


def _dealt(sides: Sequence[Sequence[Passage]], seed: int) -> tuple[list[Passage], list[Passage]]:
    """Documents of every side dealt in turn, in random order, to two heaps that so hold as much of each."""
    first: set[str] = set()
    seen: set[str] = set()
    for side in sides:
        names = sorted({p.document_id for p in side} - seen)
        seen.update(names)
        random.Random(seed).shuffle(names)
        first.update(names[seed % 2 :: 2])
    passages = [p for side in sides for p in side]
    return [p for p in passages if p.document_id in first], [
        p for p in passages if p.document_id not in first
    ]
