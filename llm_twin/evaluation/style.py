"""Style: the probability that a passage is the author's, by a verifier that cannot see what it is about.

Content words are masked before anything is counted (text distortion, Stamatatos 2017), so function words,
punctuation, casing, digits and layout are all there is to go by. Character n-grams and a regularised
logistic regression, calibrated by cross-validation over documents (Platt 1999). The background holds other
authors and the base model's own answers, each with half the weight, so that both "not written by a machine"
and "written by this person" are learnt. Covered for English; other languages keep fewer function words.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_twin.errors import InputError

LEAST_AUC = 0.8
_LEAST_DOCUMENTS = 3
_FOLDS = 5
FUNCTION_WORDS = frozenset(
    """
    a about above across after again against ago all almost along already also although always am among an and
    another any anybody anyone anything anyway anywhere are aren't around as at away back be became because
    become becomes been before behind being below between beyond both but by can can't cannot could couldn't did
    didn't do does doesn't doing don't done down during each either else enough etc even ever every everybody
    everyone everything everywhere except few first for from further get gets getting give given go goes going
    gone gonna got had hadn't has hasn't have haven't having he he'd he'll he's hence her here here's hers
    herself him himself his how however i i'd i'll i'm i've if in indeed instead into is isn't it it'd it'll
    it's its itself just last least less let let's like likely lot lots made make makes many may maybe me might
    mine more moreover most much must my myself near nearly need neither never nevertheless next no nobody none
    nor not nothing now nowhere of off often oh ok okay on once one ones one's only onto or other others
    otherwise our ours ourselves out over own per perhaps please quite rather really said same say see seem
    seems several shall she she'd she'll she's should shouldn't since so some somebody somehow someone something
    sometimes somewhere soon still such sure than that that's the their theirs them themselves then there
    there's therefore these they they'd they'll they're they've thing things this those though through thus till
    to together too toward towards under unless until up upon us use used using very via want was wasn't way we
    we'd we'll we're we've well were weren't what what's whatever when where whereas wherever whether which
    while whilst who who's whoever whole whom whose why will with within without won't would wouldn't yes yet
    you you'd you'll you're you've your yours yourself yourselves
    """.split()  # noqa: SIM905 (a list is 300 lines)
)
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_DIGIT = re.compile(r"\d")


@dataclass(frozen=True)
class Passage:
    """A text and the document it stands for; intervals and folds are over documents."""

    document_id: str
    text: str


@dataclass(frozen=True)
class Verifier:
    """A fitted verifier and what it is worth on passages it never saw."""

    grams: Any
    model: Any
    auc: float
    auc_others: float | None
    auc_machine: float | None

    @property
    def can_tell(self) -> bool:
        """Whether each kind of background is told from the author with an AUC of 0.8 or more."""
        parts = [self.auc, self.auc_others, self.auc_machine]
        return all(part >= LEAST_AUC for part in parts if part is not None)

    def probability(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Calibrated P(author) of each text, shape (len(texts),)."""
        if not texts:
            return np.zeros(0)
        return np.asarray(self.model.predict_proba(self.grams.transform(texts))[:, 1], np.float64)


def mask(text: str) -> str:
    """The text without its topic: `The GPU ran 12 jobs!` -> `The XX x 00 x!`.

    A word outside the function words becomes `x` (`Xx` with a capital, `XX` in capitals); digits become 0;
    letters in a mathematical script, which posts use for bold and italics, become `𝗑`.
    """
    return _DIGIT.sub("0", _WORD.sub(lambda match: _masked(match.group()), text))


def _masked(word: str) -> str:
    if unicodedata.normalize("NFKC", word) != word:
        return "𝗑"
    if word.lower().replace("’", "'") in FUNCTION_WORDS:
        return word
    if len(word) > 1 and word.isupper():
        return "XX"
    return "Xx" if word[0].isupper() else "x"


def fit(
    author: Sequence[Passage],
    others: Sequence[Passage],
    machine: Sequence[Passage],
    held_out: tuple[Sequence[Passage], Sequence[Passage], Sequence[Passage]],
) -> Verifier:
    """Fit on training passages and measure the AUC on `held_out` (author, others, machine).

    Raises InputError with too few documents on either side for a cross-validation over documents.
    """
    if not others and not machine:
        raise InputError("the style verifier has no background", "collect writing by other authors as well")
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    passages = [*author, *others, *machine]
    labels = np.array([1] * len(author) + [0] * (len(others) + len(machine)))
    folds = _folds(passages, labels)
    grams = TfidfVectorizer(
        preprocessor=mask, analyzer="char", ngram_range=(1, 4), min_df=3, sublinear_tf=True
    )
    linear = LogisticRegression(C=10.0, max_iter=2000)
    model = CalibratedClassifierCV(linear, cv=folds, method="sigmoid", ensemble=False)
    weights = _weights(len(author), len(others), len(machine))
    model.fit(grams.fit_transform([p.text for p in passages]), labels, sample_weight=weights)
    return _measured(Verifier(grams, model, 0.0, None, None), *held_out)


def _weights(author: int, others: int, machine: int) -> NDArray[np.float64]:
    """Author and background weigh the same, and so do the kinds of background that are there."""
    kinds = [n for n in (others, machine) if n]
    background = [1 / (len(kinds) * n) for n in kinds for _ in range(n)]
    weights = np.array([1 / author] * author + background)
    return np.asarray(weights * len(weights) / weights.sum())


def _folds(passages: Sequence[Passage], labels: NDArray[np.int64]) -> list[tuple[Any, Any]]:
    """Folds in which no document stands on both sides; a machine's answer goes with the document it is about."""
    from sklearn.model_selection import StratifiedGroupKFold

    groups = np.array([p.document_id for p in passages])
    fewest = min(len(set(groups[labels == side])) for side in (0, 1))
    if fewest < _LEAST_DOCUMENTS:
        raise InputError(
            f"the style verifier needs {_LEAST_DOCUMENTS} training documents on each side and one side has {fewest}",
            "collect more writing",
        )
    folds = StratifiedGroupKFold(n_splits=min(_FOLDS, fewest), shuffle=True, random_state=0)
    return list(folds.split(passages, labels, groups))


def _measured(
    verifier: Verifier, author: Sequence[Passage], others: Sequence[Passage], machine: Sequence[Passage]
) -> Verifier:
    own, theirs, its = (verifier.probability([p.text for p in side]) for side in (author, others, machine))
    return replace(
        verifier,
        auc=auc(own, np.concatenate([theirs, its])),
        auc_others=auc(own, theirs) if len(theirs) else None,
        auc_machine=auc(own, its) if len(its) else None,
    )


def auc(positives: NDArray[np.float64], negatives: NDArray[np.float64]) -> float:
    """Probability that a positive scores above a negative, ties counting half (Mann-Whitney U / nm)."""
    difference = positives[:, None] - negatives[None, :]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())
