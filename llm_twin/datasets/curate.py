"""Curation: documents are split before anything is made from them, and nothing leaks across the split.

The order matters: split by document, then drop near-duplicates inside and across the split (MinHash over
word 5-grams, Broder 1997), then count what n-gram overlap remains. The test side is never made smaller
to please the numbers: a training span that resembles a test span goes, not the other way round.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from llm_twin.datasets.spans import Span, spans
from llm_twin.errors import InputError
from llm_twin.text import digest, ngrams, words
from llm_twin.types import CleanDocument, Skipped, Split

_SHINGLE = 5
_PERMUTATIONS = 128
_CANDIDATE_SHARE = 0.7
_LEAST_TEST = 3
CONTAMINATION_N = 13


@dataclass(frozen=True)
class Kept:
    """Spans with their side of the split, and what was dropped."""

    spans: tuple[tuple[Span, Split], ...]
    dropped: tuple[Skipped, ...]


def split(
    documents: Sequence[CleanDocument], test_share: float, seed: int, least: int = _LEAST_TEST
) -> dict[str, Split]:
    """Side of each document by id: a share of the documents, at least `least`, is held out.

    A document's place in the order depends on its id and `seed` only, so new documents move few old ones.
    As many at least stay for training. Raises InputError under twice `least` documents, where neither
    side would mean anything.
    """
    if len(documents) < 2 * least:
        raise InputError(
            f"{len(documents)} documents by one author are too few to train on some and measure on others",
            f"collect at least {2 * least}",
        )
    held_out = min(max(least, round(test_share * len(documents))), len(documents) - least)
    order = sorted(documents, key=lambda d: digest(str(seed), d.document.id))
    return {d.document.id: "test" if i < held_out else "train" for i, d in enumerate(order)}


def without_near_duplicates(found: Sequence[Span], sides: dict[str, Split], threshold: float) -> Kept:
    """Drop spans whose word 5-grams overlap an earlier one's by a Jaccard similarity of at least `threshold`.

    MinHash finds the candidates, and their true similarity decides. Test spans are placed first, so that
    between a test span and its training twin the latter goes.
    """
    from datasketch import MinHashLSH

    index = MinHashLSH(threshold=_CANDIDATE_SHARE * threshold, num_perm=_PERMUTATIONS)
    kept: list[tuple[Span, Split]] = []
    shingles: list[set[str]] = []
    dropped = []
    for span in sorted(found, key=lambda s: sides[s.document.document.id] != "test"):
        side, grams = sides[span.document.document.id], _shingles(span.text)
        sketch = _sketch(grams)
        near = [int(key) for key in index.query(sketch) if _jaccard(shingles[int(key)], grams) >= threshold]
        if near:
            across = any(kept[i][1] != side for i in near)
            why = "near-duplicate of a held-out span" if across else "near-duplicate of another span"
            dropped.append(Skipped(what=f"{span.document.document.title} [{span.start}:{span.end}]", why=why))
            continue
        index.insert(str(len(kept)), sketch)
        kept.append((span, side))
        shingles.append(grams)
    return Kept(tuple(kept), tuple(dropped))


def contamination(train: Sequence[str], test: Sequence[str], n: int = CONTAMINATION_N) -> float:
    """Share of the test texts' word n-grams that also stand in a training text."""
    seen = {gram for text in train for gram in ngrams(words(text), n)}
    grams = [gram for text in test for gram in ngrams(words(text), n)]
    return sum(gram in seen for gram in grams) / len(grams) if grams else 0.0


def without_contamination(kept: Kept, most: float, n: int = CONTAMINATION_N) -> Kept:
    """Drop training spans of which more than a share `most` of the n-grams stand in held-out spans."""
    test = {gram for span, side in kept.spans if side == "test" for gram in ngrams(words(span.text), n)}
    clean, dropped = [], list(kept.dropped)
    for span, side in kept.spans:
        grams = list(ngrams(words(span.text), n))
        if side == "train" and grams and sum(g in test for g in grams) > most * len(grams):
            what = f"{span.document.document.title} [{span.start}:{span.end}]"
            dropped.append(Skipped(what=what, why=f"shares {n}-grams with a held-out span"))
        else:
            clean.append((span, side))
    return Kept(tuple(clean), tuple(dropped))


def _shingles(text: str) -> set[str]:
    """The word 5-grams of a text; of a shorter one, all its words as one."""
    found = words(text)
    return {" ".join(gram) for gram in ngrams(found, min(_SHINGLE, max(1, len(found))))}


def _jaccard(one: set[str], other: set[str]) -> float:
    return len(one & other) / max(1, len(one | other))


def _sketch(shingles: set[str]) -> object:
    from datasketch import MinHash

    sketch = MinHash(num_perm=_PERMUTATIONS, seed=1)
    sketch.update_batch([gram.encode() for gram in sorted(shingles)])
    return sketch


def prepare(
    documents: Sequence[CleanDocument],
    test_share: float,
    near_duplicate: float,
    most_contamination: float,
    seed: int,
    words_a_span: tuple[int, int, int],
) -> Kept:
    """All curation in its order: split, cut into spans (least, target, most words), drop what leaks."""
    sides = split(documents, test_share, seed)
    found = [span for document in documents for span in spans(document, *words_a_span)]
    if not found:
        raise InputError(
            "no document holds a run of prose long enough to learn from", "lower dataset.least_words"
        )
    return without_contamination(without_near_duplicates(found, sides, near_duplicate), most_contamination)
