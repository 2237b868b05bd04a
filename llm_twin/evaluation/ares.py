"""ARES: is the search relevant, is the answer faithful to it, does it answer? (Saad-Falcon et al. 2023)

A judge says yes or no to each (question, passages, answer) in three dimensions. How good the judge is, is
measured twice: on triples made good and bad from the author's own samples, and against the labels of people. The
labels also turn the judge's verdicts into a mean with a guaranteed interval (`ppi`); without them the judge's
own share is told as what it is, and nothing is called measured.

Not ARES as published in one point: its judges are fine-tuned classifiers, ours is a prompted model. Not covered:
bad triples that are hard to tell (the made ones come from other documents, so a judge's accuracy on them is the
best it will do), and dependence between the answers of one document in the interval.
"""

import json
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from pydantic import ValidationError

from llm_twin import prompts
from llm_twin.errors import InputError
from llm_twin.evaluation.agreement import Agreement, agreement
from llm_twin.evaluation.intervals import Estimate, draw, estimate
from llm_twin.evaluation.measure import Notes
from llm_twin.evaluation.people import Dimension, Label
from llm_twin.evaluation.ppi import LEAST_LABELS, classical_mean, ppi_mean
from llm_twin.ports import ChatModel, Progress, silent
from llm_twin.text import digest, sentences, slug
from llm_twin.types import Message, Sample, Sampling, Value

DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
LEAST_VALID = 0.9
_PROMPTS: Mapping[Dimension, str] = {
    "context relevance": "ares_context.v1",
    "answer faithfulness": "ares_faithfulness.v1",
    "answer relevance": "ares_answer.v1",
}
_SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"verdict": {"type": "string", "enum": ["yes", "no"]}},
        "required": ["verdict"],
        "additionalProperties": False,
    }
)
_SAMPLING = Sampling(max_tokens=16, temperature=0, json_schema=_SCHEMA)
_ANSWER_SENTENCES = 2


@dataclass(frozen=True)
class Triple:
    """A question, what was retrieved for it, and what was answered. `document_id`: where the question came from."""

    document_id: str
    question: str
    passages: tuple[str, ...]
    answer: str


@dataclass(frozen=True)
class Trial:
    """A triple of which it is known by construction whether it is good in one dimension."""

    dimension: Dimension
    triple: Triple
    good: bool


class OnTrials(Value):
    """How well the judge knows good from bad where that is known by construction; intervals over documents."""

    trials: int
    accuracy: Estimate
    good_known: float
    """Share of the good triples that it calls good."""
    bad_known: float
    """Share of the bad triples that it calls bad."""


class Found(Value):
    """One dimension."""

    dimension: Dimension
    answers: int
    valid: float
    """Share of the judge's replies, trials included, that follow the format."""
    share: Estimate | None
    """Share of good answers, by people's labels and the judge together (95% prediction-powered interval)."""
    not_measured: str
    """Why there is no `share`; empty where there is one."""
    labels: int
    labels_alone: Estimate | None
    """The same share by the labels alone: what the judge narrows."""
    judge_alone: float | None
    """The judge's plain share, for which the trials alone vouch; None when the judge is unusable, was not tried, or
    did no better than chance on the trials. (`share` needs no such vouching: a poor judge only widens it.)"""
    on_trials: OnTrials | None
    """None when the judge is unusable or there were no trials."""
    with_people: Agreement | None
    """Judge and people on the labelled answers; None without labels."""


class Ares(Value):
    """The three dimensions, in the order of `DIMENSIONS`."""

    judge: str
    dimensions: tuple[Found, ...]
    unmatched: int
    """Labels of answers that are not among those judged (of an earlier run, say); they count for nothing."""


Decide = Callable[[Sequence[tuple[Dimension, Triple]]], Sequence[bool | None]]
"""Good or not, one verdict a question; None where there was no valid reply."""


def by_model(model: ChatModel, notes: Notes | None = None, progress: Progress = silent) -> Decide:
    """A judge that asks `model`, in one batch and greedily; `notes` keep what it replied."""

    def decide(asked: Sequence[tuple[Dimension, Triple]]) -> list[bool | None]:
        asking = [_prompt(d, t) for d, t in asked]

        def replies() -> list[str]:
            return [reply.text for reply in model.generate(asking, _SAMPLING, progress)]

        questions = digest(*(message.content for one in asking for message in one))[:12]
        texts = notes.once(f"ares-{slug(model.name)}-{questions}", replies) if notes else replies()
        return [_verdict(text) for text in texts]

    return decide


class _Reply(Value):
    verdict: Literal["yes", "no"]


def _verdict(text: str) -> bool | None:
    try:
        return _Reply.model_validate_json(text).verdict == "yes"
    except ValidationError:
        return None


def _prompt(dimension: Dimension, triple: Triple) -> list[Message]:
    passages = "\n\n".join(f"[{i}] {p}" for i, p in enumerate(triple.passages, 1)) or "(none)"
    return prompts.conversation(
        _PROMPTS[dimension], question=triple.question, passages=passages, answer=triple.answer
    )


def trials(samples: Sequence[Sample], seed: int = 0) -> list[Trial]:
    """Two trials of each sample in each dimension, one good and one bad.

    Good: the sample's own passage, and an answer of its first sentences. Bad takes what does not belong from a
    sample of another document: its passage (context), or its answer (faithfulness, answer relevance). Raises
    InputError for samples of one document.
    """
    if len({s.document_id for s in samples}) < 2:
        raise InputError(
            "trials of the judge need samples of two documents", "collect more writing, or sample more of it"
        )
    rng = random.Random(seed)
    made = []
    for sample in samples:
        other = rng.choice([s for s in samples if s.document_id != sample.document_id])
        good = Triple(sample.document_id, sample.instruction, (sample.response,), _beginning(sample.response))
        elsewhere = Triple(sample.document_id, sample.instruction, (other.response,), good.answer)
        strayed = Triple(sample.document_id, sample.instruction, good.passages, _beginning(other.response))
        bad = {"context relevance": elsewhere, "answer faithfulness": strayed, "answer relevance": strayed}
        for dimension in DIMENSIONS:
            made += [Trial(dimension, good, True), Trial(dimension, bad[dimension], False)]
    return made


def _beginning(text: str) -> str:
    """The first sentences: an answer that its passage supports without being it."""
    ends = [end for _, end in sentences(text)][:_ANSWER_SENTENCES]
    return text[: ends[-1]].strip() if ends else text


def measure(
    triples: Sequence[Triple], labels: Sequence[Label], made: Sequence[Trial], judge: str, decide: Decide
) -> Ares:
    """Judge all triples and trials in every dimension, in one call of `decide`; `judge` is its name."""
    asked = [(d, t) for d in DIMENSIONS for t in triples] + [(m.dimension, m.triple) for m in made]
    verdicts = list(decide(asked))
    if len(verdicts) != len(asked):
        raise InputError(
            f"{judge} gave {len(verdicts)} verdicts on {len(asked)}", "give one for each, or None"
        )
    said = {d: verdicts[i * len(triples) : (i + 1) * len(triples)] for i, d in enumerate(DIMENSIONS)}
    tried = list(zip(made, verdicts[len(DIMENSIONS) * len(triples) :], strict=True))
    known = {(t.question, t.answer) for t in triples}
    return Ares(
        judge=judge,
        dimensions=tuple(
            _found(d, triples, said[d], labels, [(m, v) for m, v in tried if m.dimension == d])
            for d in DIMENSIONS
        ),
        unmatched=sum((label.question, label.answer) not in known for label in labels),
    )


def _found(
    dimension: Dimension,
    triples: Sequence[Triple],
    said: Sequence[bool | None],
    labels: Sequence[Label],
    tried: Sequence[tuple[Trial, bool | None]],
) -> Found:
    people = _by_people(labels, dimension)
    truths = [people.get((t.question, t.answer)) for t in triples]
    everything = [*said, *(v for _, v in tried)]
    valid = sum(v is not None for v in everything) / max(1, len(everything))
    usable = valid >= LEAST_VALID and any(v is not None for v in said)
    pairs = [(t, v) for t, v in zip(truths, said, strict=True) if t is not None and v is not None]
    by_labels = [t for t in truths if t is not None]
    not_measured = _obstacle(valid, usable, len(pairs) if usable else len(by_labels))
    judged = [float(v) for v in said if v is not None]
    on_trials = _on_trials(tried) if usable else None
    vouched = on_trials is not None and on_trials.accuracy.low > 0.5
    return Found(
        dimension=dimension,
        answers=len(triples),
        valid=valid,
        share=None if not_measured else ppi_mean([t for t, _ in pairs], [float(v) for _, v in pairs], judged),
        not_measured=not_measured,
        labels=len(by_labels),
        labels_alone=classical_mean(by_labels) if len(by_labels) >= LEAST_LABELS else None,
        judge_alone=float(np.mean(judged)) if vouched else None,
        on_trials=on_trials,
        with_people=agreement([t >= 0.5 for t, _ in pairs], [v for _, v in pairs])
        if usable and pairs
        else None,
    )


def _by_people(labels: Sequence[Label], dimension: Dimension) -> dict[tuple[str, str], float]:
    """Share of the people who called an answer good, by (question, answer)."""
    votes: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for label in labels:
        if label.dimension == dimension:
            votes[label.question, label.answer].append(label.good)
    return {key: sum(good) / len(good) for key, good in votes.items()}


def _obstacle(valid: float, usable: bool, labelled: int) -> str:
    if not usable:
        return (
            f"the judge is unusable: {valid:.0%} of its replies follow the format, and {LEAST_VALID:.0%} must"
        )
    if labelled < LEAST_LABELS:
        return f"{labelled} of these answers are labelled, and an interval needs {LEAST_LABELS}"
    return ""


def _on_trials(tried: Sequence[tuple[Trial, bool | None]]) -> OnTrials | None:
    rows = [(trial, verdict) for trial, verdict in tried if verdict is not None]
    documents = [trial.triple.document_id for trial, _ in rows]
    if len(set(documents)) < 2 or len({trial.good for trial, _ in rows}) < 2:
        return None
    right = np.array([trial.good == verdict for trial, verdict in rows], np.float64)
    good = np.array([trial.good for trial, _ in rows])
    draws = draw(documents)
    return OnTrials(
        trials=len(rows),
        accuracy=estimate(draws.mean(right, documents), draws),
        good_known=float(right[good].mean()),
        bad_known=float(right[~good].mean()),
    )
