"""May the style verifier give this author a score, and what should a reader of the score know?

A verifier is trusted where it tells the author's held-out writing from each kind of background with an AUC of 0.8
or more whose own interval leaves guessing out, on three documents or more. What makes a score less sure without
forbidding it is noted: few documents, passages shorter than it takes to tell the author (`power`). Not covered:
a background that is unlike what the twin will be mistaken for, and how unsure an AUC of exactly 1 is, of which every
draw is 1 as well.
"""

from collections.abc import Mapping, Sequence

from llm_twin.evaluation.intervals import Estimate
from llm_twin.evaluation.power import Power, count
from llm_twin.evaluation.separation import Judged, separation
from llm_twin.evaluation.style import LEAST_AUC, Passage, Verifier

LEAST_DOCUMENTS = 3
SURE_DOCUMENTS = 6
"""Of fewer, intervals are too narrow (`intervals`)."""
GUESSING = 0.5


def aucs(
    verifier: Verifier, author: Sequence[Passage], others: Sequence[Passage], machine: Sequence[Passage]
) -> dict[str, Estimate]:
    """AUC of the author's held-out passages over "all" background, and over "others" and the "machine" where there
    are any, each with its 95% interval over documents. Raises InputError where the author's are of one document.
    """
    sides = {"all": [*others, *machine], "others": others, "machine": machine}
    own = _judged(verifier, author)
    return {name: separation(own, _judged(verifier, side)) for name, side in sides.items() if side}


def _judged(verifier: Verifier, passages: Sequence[Passage]) -> Judged:
    return Judged(verifier.probability([p.text for p in passages]), tuple(p.document_id for p in passages))


def refusal(documents: int, told: Mapping[str, Estimate]) -> str:
    """Why there is no score on so many held-out documents with these `aucs`; empty where there may be one."""
    if documents < LEAST_DOCUMENTS:
        return (
            f"{documents} held-out documents are too few to tell anything by, and it takes {LEAST_DOCUMENTS}"
        )
    shown = f"the verifier's AUC on held-out text is {_shown(told)}"
    if any(auc.value < LEAST_AUC for auc in told.values()):
        return f"{shown}, under {LEAST_AUC} it cannot tell this author"
    if any(auc.low < GUESSING for auc in told.values()):
        return f"{shown}, and where its interval reaches under {GUESSING} it may be guessing"
    return ""


def _shown(told: Mapping[str, Estimate]) -> str:
    parts = {"others": "other authors", "machine": "machine"}
    kinds = [f"{title} {told.get(name, 'none')}" for name, title in parts.items()]
    return f"{told['all']} ({', '.join(kinds)})"


def notes(documents: int, passages: Sequence[str], found: Power, repeats: int) -> tuple[str, ...]:
    """What makes a score on these held-out passages less sure. `repeats` are the other authors' passages that were
    left out because they repeat another.
    """
    every = (_few(documents), _short(passages, found), _repeated(repeats))
    return tuple(note for note in every if note)


def _few(documents: int) -> str:
    if documents >= SURE_DOCUMENTS:
        return ""
    return (
        f"the author's held-out samples come from {documents} documents, "
        f"and intervals over fewer than {SURE_DOCUMENTS} are too narrow"
    )


def _short(passages: Sequence[str], found: Power) -> str:
    if not found.points:
        return "too little is held out to know how many words it takes to tell this author"
    if found.enough is None:
        return (
            f"pieces of {found.points[-1].words} words, the longest there are enough of, "
            "are not told from the background"
        )
    short = sum(count(text) < found.enough for text in passages)
    if not short:
        return ""
    return (
        f"{short} of {len(passages)} held-out passages are shorter than the {found.enough} words "
        "that it takes to tell this author"
    )


def _repeated(repeats: int) -> str:
    return f"passages by other authors left out because they repeat another: {repeats}" if repeats else ""
