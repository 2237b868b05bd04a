"""Does a passage say what a sentence says? A rule without a language model, and the shape of any other judge.

A passage supports a sentence when all four hold: every number and every name of the sentence stands in the
passage, most of its other telling words do, none of them is denied in one and affirmed in the other, and some
sentence of the passage is near it in meaning. It is made without looking at how the twin chooses its citations
(a mean of two scores there, four conditions here), so the one can measure the other. `trials` measures how
often it errs on the corpus at hand. Not covered: who did what to whom ("the vane bent the mast" and "the mast
bent the vane" are the same words), what follows without being said, and languages other than English.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from llm_twin.evaluation.style import mask
from llm_twin.ports import Embedder, Vectors, beginning
from llm_twin.text import blocks, sentences, words
from llm_twin.types import Chunk

Claim = tuple[str, Chunk]
"""A sentence, and the passage that may support it."""
Supports = Callable[[Sequence[Claim]], Sequence[bool]]
"""A judge of many claims at once: the rule below, or a model that infers."""

LEAST_COVERAGE, LEAST_COSINE = 0.6, 0.5
_SCOPE = 2
_SAME = 0.8
_PIECE = re.compile(r"\d+(?:[.,:]\d+)+|[^\W_]+(?:['’][^\W_]+)*|[,;:.!?—–()]")
_BREAKS = frozenset(",;:.!?—–()") | {"but", "because", "although", "though"}
_DENIALS = frozenset(
    ["no", "not", "never", "none", "nothing", "nobody", "nowhere", "neither", "nor", "cannot", "without"]
)
_UNITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"]
_UNITS += ["twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_NUMBERS = {word: n for n, word in enumerate(_UNITS)} | {word: 10 * n for n, word in enumerate(_TENS, 2)}
_SPELT = re.compile(rf"\b({'|'.join(_TENS)})[- ]({'|'.join(_UNITS[1:10])})\b", re.IGNORECASE)
_NOT_ONLY = re.compile(r"\bnot (?=only\b|just\b)", re.IGNORECASE)
_ENDINGS = ("ingly", "edly", "ing", "ed", "es", "ly", "s", "e")


@dataclass(frozen=True)
class Reading:
    """What the rule looks at in a text: its telling words, stemmed, and which of them are denied.

    `figures` are numbers in digits; `names` are capitalised words that do not begin a sentence, and words with
    capitals or digits inside. `denied` has, for each telling word, whether it stands behind a "not" (False,
    True, or both); `denials` counts the denying words.
    """

    figures: frozenset[str]
    names: frozenset[str]
    denied: dict[str, frozenset[bool]]
    denials: int

    @property
    def words(self) -> frozenset[str]:
        """All telling words, names and figures among them."""
        return frozenset(self.denied)


def read(text: str) -> Reading:
    """The telling words of `text`, which may be several sentences."""
    figures: set[str] = set()
    names: set[str] = set()
    denied: dict[str, frozenset[bool]] = {}
    left, denials, begins = 0, 0, True
    plain = _SPELT.sub(_in_digits, text.replace("’", "'"))
    for found in _PIECE.finditer(_NOT_ONLY.sub("", plain)):
        piece = found.group()
        if _denies(piece.lower()):
            denials += 1
            left = _SCOPE
        elif piece.lower() in _BREAKS:
            left = 0
        elif telling := _stem(piece):
            denied[telling] = denied.get(telling, frozenset()) | {left > 0}
            left = max(0, left - 1)
            if telling[0].isdigit():
                figures.add(telling)
            elif _is_name(piece, begins):
                names.add(telling)
        begins = piece in ".!?:" or (begins and not piece[0].isalnum())
    return Reading(frozenset(figures), frozenset(names), denied, denials)


def _in_digits(found: re.Match[str]) -> str:
    return str(_NUMBERS[found[1].lower()] + _NUMBERS[found[2].lower()])


def _denies(word: str) -> bool:
    return word in _DENIALS or word.endswith("n't")


def _is_name(word: str, begins: bool) -> bool:
    inside = word[1:]
    odd = any(c.isupper() or c.isdigit() for c in inside) and not inside.endswith("'S")
    return odd or (word[0].isupper() and not begins)


@lru_cache(maxsize=50_000)
def _stem(piece: str) -> str:
    """The word as it is compared, "" for one that tells nothing: `Bearings` -> `bearing`, `twelve` -> `12`."""
    word = piece.lower().removesuffix("'s")
    if word in _NUMBERS and word != "one":
        return str(_NUMBERS[word])
    if word[0].isdigit():
        return word.replace(",", "")
    if not word[0].isalpha() or mask(word) == word or mask(piece.lower()) == piece.lower():
        return ""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word.removesuffix("e")


class Rule:
    """The judge without a language model: `Rule(embedder)(claims)` -> one bool a claim.

    The cosine's bound is for all-MiniLM-L6-v2; another embedder has another scale, which `trials` shows.
    """

    def __init__(
        self, embedder: Embedder, coverage: float = LEAST_COVERAGE, cosine: float = LEAST_COSINE
    ) -> None:
        self._embedder, self._coverage, self._cosine = embedder, coverage, cosine

    def __call__(self, claims: Sequence[Claim]) -> list[bool]:
        """Whether each claim's passage supports its sentence; only what the words allow is embedded."""
        passages = {chunk.id: _Passage(chunk) for _, chunk in claims}
        found = [passages[chunk.id].allows(text, self._coverage) for text, chunk in claims]
        left = [claim for claim, allowed in zip(claims, found, strict=True) if allowed]
        near = iter(self._near(left, passages))
        return [allowed and next(near) >= self._cosine for allowed in found]

    def _near(self, claims: Sequence[Claim], passages: "dict[str, _Passage]") -> list[float]:
        texts = [text for text, _ in claims]
        texts += [s for chunk_id in {c.id: None for _, c in claims} for s in passages[chunk_id].sentences]
        vectors = self._vectors(list(dict.fromkeys(texts)))
        windows = {c.id: _windows(vectors, passages[c.id].sentences) for _, c in claims}
        return [float((windows[chunk.id] @ vectors[text]).max()) for text, chunk in claims]

    def _vectors(self, texts: Sequence[str]) -> dict[str, Vectors]:
        if not texts:
            return {}
        found = self._embedder.embed([beginning(text, self._embedder) for text in texts])
        return dict(zip(texts, found, strict=True))


class _Passage:
    """A passage as it is read: whole, and sentence by sentence, its headings being one of them."""

    def __init__(self, chunk: Chunk) -> None:
        headings = ". ".join((chunk.title, *chunk.heading))
        self.sentences = [headings, *prose(chunk.text)]
        self._readings = [read(sentence) for sentence in self.sentences]
        self._known = frozenset().union(*(r.words for r in self._readings), read(chunk.author).words)
        self._whole = read("\n".join(self.sentences))

    def allows(self, sentence: str, coverage: float) -> bool:
        """Whether the words, without their meaning, allow that the passage supports `sentence`.

        One without telling words ("It was not there at all.") must stand in the passage word for word.
        """
        claim = read(sentence)
        if not claim.words:
            return any(words(sentence) == words(known) for known in self.sentences)
        if not (claim.figures | claim.names) <= self._known:
            return False
        return len(claim.words & self._known) >= coverage * len(claim.words) and self._agrees(claim)

    def _agrees(self, claim: Reading) -> bool:
        """Whether no word is denied on one side and affirmed on the other.

        A word is looked up in the sentence that shares most words with the claim; one that it lacks, in the whole.
        Where the two are nearly the same words, they must also have as many denials: "it wouldn't have gone".
        """
        best = max(self._readings, key=lambda reading: len(reading.words & claim.words))
        shared = len(best.words & claim.words)
        if shared >= _SAME * max(len(best.words), len(claim.words)) and best.denials != claim.denials:
            return False
        return all(
            denied & there
            for word, denied in claim.denied.items()
            if (there := best.denied.get(word) or self._whole.denied.get(word))
        )


def prose(text: str) -> list[str]:
    """The sentences of Markdown `text`, block by block; headings are sentences, code is none."""
    return [
        " ".join(text[block.start + start : block.start + end].split())
        for block in blocks(text)
        if block.kind not in ("code", "html", "rule")
        for start, end in sentences(text[block.start : block.end])
    ]


def _windows(vectors: dict[str, Vectors], texts: Sequence[str]) -> Vectors:
    """Unit vectors of the sentences and of every two that stand side by side, shape (2n - 1, d)."""
    single = np.stack([vectors[text] for text in texts])
    pairs = single[:-1] + single[1:]
    pairs /= np.maximum(np.linalg.norm(pairs, axis=1, keepdims=True), 1e-9)
    return np.asarray(np.vstack([single, pairs]), np.float32)
