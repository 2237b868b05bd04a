"""What people say of the twin: were they able to tell it from the author, and did they like its answers?

The blind test: a person sees a real and a generated passage and says which one the author wrote. The share of
right guesses stands with its exact binomial interval (Clopper and Pearson 1934), which holds for any number of
guesses; a verdict takes LEAST_GUESSES. Feedback: the share of thumbs up with its interval (Wilson 1927), and
how much of an answer users rewrite. Not covered: several persons as a sample of all readers (an interval is
about the guesses of those who guessed), and how passages are chosen (see `blind`).
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from llm_twin.evaluation.intervals import Estimate, exact
from llm_twin.types import Entry, Feedback, Value

LEAST_GUESSES = 20
"""With 20 guesses, a reader who is right four times in five is found out with a chance of 80%."""
CHANCE_LEVEL = 0.05
Z = 1.959963984540054
"""The normal distribution's 97.5% point."""

Verdict = Literal["told apart", "not told apart", "taken for the author", "too few guesses"]
Dimension = Literal["context relevance", "answer faithfulness", "answer relevance"]


class Guess(Entry):
    """One answer in a blind test; `id` is the item's."""

    model: str
    """The name of the model that wrote the other passage."""
    kind: str
    real_first: bool
    picked_first: bool

    @property
    def correct(self) -> bool:
        """Whether the author's passage was picked."""
        return self.picked_first == self.real_first


class Label(Entry):
    """A person's judgement of one answer in one dimension, as ARES needs them (Saad-Falcon et al. 2023)."""

    question: str
    passages: tuple[str, ...]
    answer: str
    dimension: Dimension
    good: bool


class BlindShare(Value):
    """Right guesses among all, over all passages or those of one kind."""

    kind: str
    """Empty for all of them."""
    guesses: int
    correct: int
    share: Estimate
    """With its exact 95% interval."""


class Blind(Value):
    """A blind test. `refused` says why there is no verdict, if there is none."""

    verdict: Verdict
    refused: str
    total: BlindShare | None
    """None before the first guess."""
    p_value: float | None
    """Two-sided, exact: how often pure guessing is at least this far from one half. None with `refused`."""
    kinds: tuple[BlindShare, ...]
    repeats: int = 0
    """Later guesses about passages that were guessed about before, left out; see `blind`."""


class FeedbackStats(Value):
    """What users said of one model's answers."""

    model: str
    """Empty for all models together."""
    answers: int
    up: int
    down: int
    liked: Estimate | None
    """Thumbs up among all thumbs; None where nobody gave one."""
    edited: int
    """Answers that users rewrote."""
    distance: tuple[float, float, float] | None
    """Quartiles of how far those were changed: 0 not a word, 1 every word. None where none was."""


def blind_verdict(guesses: Sequence[Guess]) -> Blind:
    """How often the author was recognised, and whether that differs from guessing."""
    if not guesses:
        return Blind(
            verdict="too few guesses",
            refused=_refusal(0),
            total=None,
            p_value=None,
            kinds=(),
        )
    total = _share("", guesses)
    refused = _refusal(total.guesses)
    p_value = None if refused else binomial_p(total.correct, total.guesses)
    by_kind: dict[str, list[Guess]] = defaultdict(list)
    for guess in guesses:
        by_kind[guess.kind].append(guess)
    return Blind(
        verdict="too few guesses" if p_value is None else _verdict(total.share.value, p_value),
        refused=refused,
        total=total,
        p_value=p_value,
        kinds=tuple(_share(kind, by_kind[kind]) for kind in sorted(by_kind)),
    )


def in_words(blind: Blind, author: str) -> str:
    """A blind test in two sentences."""
    if blind.total is None:
        return "No guess was made."
    share = blind.total.share
    lead = (
        f"{author}’s passage was recognised {blind.total.correct} times out of {blind.total.guesses}: "
        f"{share.value:.0%} (95% interval {share.low:.0%} to {share.high:.0%}; guessing gives 50%)."
    )
    meaning = {
        "told apart": f"That is more than guessing: the twin was told apart from {author}.",
        "not told apart": "That does not differ from guessing: the twin was not told apart.",
        "taken for the author": f"That is less than guessing: the twin was taken for {author}.",
        "too few guesses": f"{blind.refused[:1].upper()}{blind.refused[1:]}.",
    }
    again = f" {blind.repeats} later guesses about the same passages are left out." if blind.repeats else ""
    return f"{lead} {meaning[blind.verdict]}{again}"


def _refusal(guesses: int) -> str:
    if guesses >= LEAST_GUESSES:
        return ""
    return f"no verdict: {guesses} guesses, and it takes {LEAST_GUESSES} to say anything"


def _verdict(share: float, p_value: float) -> Verdict:
    if p_value >= CHANCE_LEVEL:
        return "not told apart"
    return "told apart" if share > 0.5 else "taken for the author"


def _share(kind: str, guesses: Sequence[Guess]) -> BlindShare:
    right = sum(guess.correct for guess in guesses)
    return BlindShare(kind=kind, guesses=len(guesses), correct=right, share=exact(right, len(guesses)))


def wilson(successes: int, trials: int) -> Estimate:
    """A share with its Wilson score 95% interval: right on average. `trials` is at least 1."""
    share = successes / trials
    scale = 1 + Z * Z / trials
    centre = (share + Z * Z / (2 * trials)) / scale
    reach = Z * math.sqrt(share * (1 - share) / trials + Z * Z / (4 * trials * trials)) / scale
    return Estimate(value=share, low=max(0.0, centre - reach), high=min(1.0, centre + reach))


def binomial_p(successes: int, trials: int) -> float:
    """Two-sided exact p-value of `successes` when each trial succeeds with probability one half."""
    extreme = max(successes, trials - successes)
    ways = sum(math.comb(trials, k) for k in range(extreme, trials + 1))
    return min(1.0, float(2 * ways / 2**trials))


def feedback_stats(feedback: Iterable[Feedback]) -> list[FeedbackStats]:
    """Statistics of all feedback, then of each model's where there are several; none without feedback."""
    by_model: dict[str, list[Feedback]] = defaultdict(list)
    for item in feedback:
        by_model[item.model].append(item)
    every = [item for items in by_model.values() for item in items]
    groups = (
        {"": every, **{name: by_model[name] for name in sorted(by_model)}} if len(by_model) > 1 else by_model
    )
    return [_stats(name, items) for name, items in groups.items()]


def _stats(model: str, feedback: Sequence[Feedback]) -> FeedbackStats:
    up, down = (sum(item.thumb == thumb for item in feedback) for thumb in ("up", "down"))
    changed = [changed_share(item.answer, item.edit) for item in feedback if item.edit is not None]
    quartiles = [float(q) for q in np.percentile(changed, [25, 50, 75])] if changed else []
    return FeedbackStats(
        model=model,
        answers=len(feedback),
        up=up,
        down=down,
        liked=wilson(up, up + down) if up + down else None,
        edited=len(changed),
        distance=(quartiles[0], quartiles[1], quartiles[2]) if quartiles else None,
    )


def changed_share(before: str, after: str) -> float:
    """Fewest words to put in, take out or replace (Levenshtein 1966) per word of the longer text, 0 to 1.

    Words are what white space separates, so a comma or a capital counts as a change of its word.
    """
    old, new = before.split(), after.split()
    row = list(range(len(new) + 1))
    for i, word in enumerate(old, 1):
        above, row = row, [i]
        for j, other in enumerate(new, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (word != other)))
    return row[-1] / max(len(old), len(new), 1)
