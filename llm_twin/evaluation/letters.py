"""A language model of letters for each writer: whose model expects the masked text best?

Characters of the masked text (see `style.mask`) are predicted from the four before them, smoothed by
interpolation (Witten and Bell 1991), one model a writer; a text's value is the log-likelihood a character
under the author's model less that under the likeliest other (Peng et al. 2003). It counts what the style
verifier counts, in another way: a generative model of the sequence, without weights to be found.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from llm_twin.evaluation.intervals import Array
from llm_twin.evaluation.style import mask
from llm_twin.text import digest

ORDER = 5
_START = "\n" * (ORDER - 1)


@dataclass(frozen=True)
class Letters:
    """Counts of what follows each context of 0 to 4 characters."""

    followers: Mapping[str, Counter[str]]
    sizes: Mapping[str, int]
    alphabet: int

    def log_likelihood(self, masked: str) -> float:
        """Mean natural-log probability a character of masked text; 0 for an empty one."""
        text = _START + masked
        return sum(
            math.log(self.probability(text[i - ORDER + 1 : i], text[i])) for i in range(ORDER - 1, len(text))
        ) / max(len(masked), 1)

    def probability(self, context: str, character: str) -> float:
        """P(character | context); each context gives the shorter one as much weight as it has had followers."""
        found = 1 / self.alphabet
        for length in range(len(context) + 1):
            shorter = context[len(context) - length :]
            followers = self.followers.get(shorter)
            if followers is None:  # never seen, so no longer context that ends so was
                return found
            kinds, size = len(followers), self.sizes[shorter]
            found = (followers.get(character, 0) + kinds * found) / (size + kinds)
        return found


def learn(masked: Sequence[str], alphabet: int) -> Letters:
    """Count the masked texts; `alphabet` is how many different characters there may be."""
    followers: dict[str, Counter[str]] = defaultdict(Counter)
    for piece in masked:
        text = _START + piece
        for i in range(ORDER - 1, len(text)):
            for length in range(ORDER):
                followers[text[i - length : i]][text[i]] += 1
    return Letters(dict(followers), {context: c.total() for context, c in followers.items()}, alphabet)


def fit(sides: Mapping[str, Sequence[str]]) -> dict[str, Letters]:
    """A model for each side, all learnt from as many characters as the smallest side has.

    A model that has read more expects any text better, so sides must not differ in size.
    """
    masked = {side: [mask(text) for text in texts] for side, texts in sides.items()}
    alphabet = len({c for texts in masked.values() for text in texts for c in text}) + 1
    room = min(sum(map(len, texts)) for texts in masked.values())
    return {side: learn(_as_many(texts, room), alphabet) for side, texts in masked.items()}


def _as_many(texts: Sequence[str], room: int) -> list[str]:
    """Texts of `room` characters in all, in an order that has nothing to do with what they say."""
    kept = []
    for text in sorted(texts, key=digest):
        if room > 0:
            kept.append(text[:room])
            room -= len(text)
    return kept


def value(models: Mapping[str, Letters], texts: Sequence[str]) -> Array:
    """How much better a character is expected by side "author" than by the likeliest other, shape (texts,)."""
    found = []
    for text in map(mask, texts):
        likely = {side: model.log_likelihood(text) for side, model in models.items()}
        found.append(likely.pop("author") - max(likely.values()))
    return np.array(found, np.float64)
