"""Three plain profiles of a text: its function words, its punctuation and layout, its sentences and rhythm.

Each is a row of rates that a person could count by hand. What tells the author from others is a linear
discriminant (Fisher 1936) whose covariance is shrunk (Ledoit and Wolf 2004), so that it can be fitted on few
documents. Rates are square roots, which steadies counts, and no rate may count for more than three spreads.
Covered for English; other languages keep fewer function words.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from llm_twin.evaluation.intervals import Array
from llm_twin.evaluation.style import FUNCTION_WORDS
from llm_twin.text import sentences, words

Profile = Callable[[str], Sequence[float]]
_FUNCTION_WORDS = sorted(FUNCTION_WORDS)
_MARKS = (",", ".", ";", ":", "!", "?", "—", "–", "-", "(", ")", "[", "]", "{", "}", '"', "“", "”", "'", "’")
_MORE_MARKS = (
    "…",
    "...",
    "/",
    "*",
    "**",
    "_",
    "`",
    "#",
    "|",
    "%",
    "&",
    "@",
    "+",
    "=",
    "$",
    "!!",
    " - ",
    "->",
    "→",
)
_BULLET = re.compile(r"\s*(?:[-*+•–]|\d+[.)])\s")
_FAR = 3.0


def function_words(text: str) -> list[float]:
    """Root of the share of words that are each function word."""
    found = Counter(word.replace("’", "'") for word in words(text))
    return _roots([found[word] for word in _FUNCTION_WORDS], found.total())


def marks(text: str) -> list[float]:
    """Root of how often a word each mark, kind of line, kind of casing, digit and symbol stands in the text."""
    lines = [line for line in text.split("\n") if line.strip()]
    pieces = re.findall(r"[^\W\d_]+", text)
    counted = [
        *(text.count(mark) for mark in (*_MARKS, *_MORE_MARKS)),
        len(lines),
        len(re.findall(r"\n\s*\n", text)),
        sum(bool(_BULLET.match(line)) for line in lines),
        sum(line.startswith("#") for line in lines),
        sum(line.rstrip().endswith(":") for line in lines),
        sum(line.rstrip()[-1].isalnum() for line in lines),
        sum(piece[0].isupper() and not piece.isupper() for piece in pieces),
        sum(piece.isupper() and len(piece) > 1 for piece in pieces),
        sum(line.lstrip()[0].islower() for line in lines),
        len(re.findall(r"\d+", text)),
        sum(unicodedata.category(c) == "So" for c in text),
    ]
    return _roots(counted, len(pieces))


def rhythm(text: str) -> list[float]:
    """How long sentences and paragraphs are, how much that varies, and how it changes from one to the next."""
    paragraphs = [_sentence_lengths(line) for line in text.split("\n")]
    paragraphs = [lengths for lengths in paragraphs if lengths]
    if not paragraphs:
        return [0.0] * 14
    lengths = np.array([n for paragraph in paragraphs for n in paragraph], np.float64)
    logs, counts = np.log(lengths), np.log([len(paragraph) for paragraph in paragraphs])
    sizes = np.log([sum(paragraph) for paragraph in paragraphs])
    steps = np.abs(np.diff(logs)) if len(logs) > 1 else np.zeros(1)
    spelt = np.array([len(word) for word in words(text)], np.float64)
    return [
        float(value)
        for value in (
            *(logs.mean(), logs.std(), *np.percentile(logs, [10, 50, 90])),
            *(steps.mean(), (lengths <= 5).mean(), (lengths >= 25).mean()),
            *(counts.mean(), counts.std(), sizes.mean(), sizes.std()),
            *(spelt.mean(), spelt.std()),
        )
    ]


def _sentence_lengths(line: str) -> list[int]:
    """Words of each sentence of one line of text; sentences without words are left out."""
    return [n for start, end in sentences(line) if (n := len(words(line[start:end])))]


def _roots(counts: Sequence[int], total: int) -> list[float]:
    return [float(value) for value in np.sqrt(np.array(counts, np.float64) / max(total, 1))]


def fit(profile: Profile, sides: Mapping[str, Sequence[str]]) -> Callable[[Sequence[str]], Array]:
    """A function that gives each text its log odds of being by side "author" rather than by any other.

    The author weighs as much as all other sides together, which weigh alike whatever their sizes.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.preprocessing import StandardScaler

    names = sorted(sides)
    background = 0.5 / (len(names) - 1)
    rows = _rows(profile, [text for name in names for text in sides[name]])
    labels = [i for i, name in enumerate(names) for _ in sides[name]]
    scaler = StandardScaler().fit(rows)
    model = LinearDiscriminantAnalysis(
        solver="lsqr",
        shrinkage="auto",
        priors=[0.5 if name == "author" else background for name in names],
    ).fit(np.clip(scaler.transform(rows), -_FAR, _FAR), labels)
    own = names.index("author")

    def value(texts: Sequence[str]) -> Array:
        if not texts:
            return np.zeros(0)
        # Not by way of probabilities: a machine cannot tell those of clear cases from 0 and 1.
        scores = model.decision_function(np.clip(scaler.transform(_rows(profile, texts)), -_FAR, _FAR))
        if scores.ndim == 1:  # with two sides, the odds of the second
            return np.asarray(-scores if own == 0 else scores, np.float64)
        theirs = np.logaddexp.reduce(np.delete(scores, own, axis=1), axis=1)
        return np.asarray(scores[:, own] - theirs, np.float64)

    return value


def _rows(profile: Profile, texts: Sequence[str]) -> Array:
    return np.array([profile(text) for text in texts], np.float64)
