"""What an evaluation is measured on: the author's samples, and passages by everyone else who was collected.

Passages that never went through a dataset are curated as its samples are, so that nothing that is repeated stands on
both sides: a verifier would know it again and look better than it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from llm_twin.datasets.curate import split, without_contamination, without_near_duplicates
from llm_twin.datasets.spans import spans
from llm_twin.evaluation.measure import Material
from llm_twin.evaluation.style import Passage
from llm_twin.reading import read_samples
from llm_twin.types import CleanDocument, Sample, Split
from llm_twin.workspace import Workspace


@dataclass(frozen=True)
class Sided:
    """Passages to fit on and held out, and how many are on neither side because they repeat another."""

    train: list[Passage]
    test: list[Passage]
    left_out: int


def material(workspace: Workspace, documents: Sequence[CleanDocument]) -> Material:
    """What is measured on what: samples spread evenly over documents, and passages by all other authors."""
    settings = workspace.settings
    samples = read_samples(workspace)
    side = {s.document_id: s.split for s in samples}
    texts = {d.document.id: d.text for d in documents}
    train, test = ([s for s in samples if s.split == which] for which in ("train", "test"))
    others = _others(workspace, documents)
    return Material(
        author=workspace.author,
        train=train,
        machine=spread(train, settings.evaluate.machine_passages),
        test=spread(test, settings.evaluate.passages),
        train_texts=[texts[d] for d, which in side.items() if which == "train"],
        test_texts=[texts[d] for d, which in side.items() if which == "test"],
        others_train=others.train,
        others_test=others.test,
        others_left_out=others.left_out,
    )


def passages_of(
    workspace: Workspace, documents: Sequence[CleanDocument], author: str
) -> tuple[dict[str, list[Passage]], dict[str, list[Passage]]]:
    """Passages of `author` and of everyone else, by side ("train", "test"), without a dataset or a model."""
    everyone = {d.document.author for d in documents}
    own, others = (_sided(workspace, documents, who) for who in ({author}, everyone - {author}))
    return {"train": own.train, "test": own.test}, {"train": others.train, "test": others.test}


def _others(workspace: Workspace, documents: Sequence[CleanDocument]) -> Sided:
    """Passages of the other authors, each author's documents split like the author's own."""
    return _sided(workspace, documents, {d.document.author for d in documents} - {workspace.author})


def _sided(workspace: Workspace, documents: Sequence[CleanDocument], authors: set[str]) -> Sided:
    """Passages of `authors` together, split by document author by author, repetitions among all of them dropped."""
    plan = workspace.settings.dataset
    prose = [d for d in documents if d.document.author in authors and d.document.kind != "repository"]
    sides: dict[str, Split] = {}
    for author in sorted(authors):
        sides |= _halves([d for d in prose if d.document.author == author], plan.test_share, plan.seed)
    in_order = sorted(prose, key=lambda d: d.document.author)
    found = [
        span for d in in_order for span in spans(d, plan.least_words, plan.target_words, plan.most_words)
    ]
    kept = without_contamination(
        without_near_duplicates(found, sides, plan.near_duplicate), plan.most_contamination
    )
    train, test = (
        [Passage(span.document.document.id, span.text) for span, side in kept.spans if side == which]
        for which in ("train", "test")
    )
    return Sided(train, test, len(kept.dropped))


def _halves(theirs: Sequence[CleanDocument], test_share: float, seed: int) -> dict[str, Split]:
    """One author's documents by side. One piece cannot be on both; it helps to fit the verifier."""
    if len(theirs) < 2:
        return {d.document.id: "train" for d in theirs}
    return split(theirs, test_share, seed, least=1)


def spread(samples: Sequence[Sample], most: int) -> list[Sample]:
    """At most `most` samples, as many of each document as can be, in the order given."""
    place: dict[str, int] = {}
    ranked = []
    for sample in samples:
        place[sample.document_id] = place.get(sample.document_id, -1) + 1
        ranked.append((place[sample.document_id], sample))
    chosen = {s.id for _, s in sorted(ranked, key=lambda pair: (pair[0], pair[1].id))[:most]}
    return [s for s in samples if s.id in chosen]
