"""How much of a text is copied from known documents: shared word 13-grams, and the longest run of words.

A text that merely repeats what the author wrote sounds like the author, so a high style score means nothing
without this. Case and punctuation are not looked at. Not covered: paraphrase.
"""

from collections import defaultdict
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from llm_twin.evaluation.answers import memorised, memory
from llm_twin.text import ngrams, words

_SHORTEST = 3
LONG_RUN = 50
"""A run of words this long is a copy whatever stands around it (Carlini et al. 2023 count 50 tokens)."""


class Copied(BaseModel):
    """What of one text stands in the known documents word for word."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float
    """Share of its word 13-grams; 0 for a text of fewer than 13 words."""
    longest: int
    """Words of the longest run that stands in one known document too; runs under 3 words count as 0."""


class Originals:
    """Known documents, indexed once and asked often."""

    def __init__(self, documents: Sequence[str]) -> None:
        self._memory = memory(documents)
        self._places: dict[tuple[str, ...], list[int]] = defaultdict(list)
        at = 0
        for text in documents:
            for i, gram in enumerate(ngrams(words(text), _SHORTEST)):
                self._places[gram].append(at + i)
            at += len(words(text)) + 1  # a gap, so that no run goes from one document into the next

    def copied(self, text: str) -> Copied:
        """What of `text` stands in the documents."""
        return Copied(share=float(memorised([text], self._memory)[0]), longest=self._longest(text))

    def _longest(self, text: str) -> int:
        """Runs grow from place to place: a 3-gram found right behind the last one makes its run one longer."""
        longest, running = 0, dict[int, int]()
        for gram in ngrams(words(text), _SHORTEST):
            running = {i: running.get(i - 1, _SHORTEST - 1) + 1 for i in self._places.get(gram, ())}
            longest = max(longest, *running.values(), 0)
        return longest
