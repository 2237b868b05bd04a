"""What an evaluation is measured on: the author's samples, and passages by everyone else who was collected."""

from collections.abc import Sequence

from llm_twin.datasets.curate import split
from llm_twin.datasets.spans import spans
from llm_twin.evaluation.measure import Material
from llm_twin.evaluation.style import Passage
from llm_twin.reading import read_samples
from llm_twin.types import CleanDocument, Sample
from llm_twin.workspace import Workspace


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
        others_train=others["train"],
        others_test=others["test"],
    )


def passages_of(
    workspace: Workspace, documents: Sequence[CleanDocument], author: str
) -> tuple[dict[str, list[Passage]], dict[str, list[Passage]]]:
    """Passages of `author` and of everyone else, by side ("train", "test"), without a dataset or a model."""
    everyone = {d.document.author for d in documents}
    return _split(workspace, documents, {author}), _split(workspace, documents, everyone - {author})


def _others(workspace: Workspace, documents: Sequence[CleanDocument]) -> dict[str, list[Passage]]:
    """Passages of the other authors, each author's documents split like the author's own."""
    return _split(workspace, documents, {d.document.author for d in documents} - {workspace.author})


def _split(
    workspace: Workspace, documents: Sequence[CleanDocument], authors: set[str]
) -> dict[str, list[Passage]]:
    settings = workspace.settings.dataset
    found: dict[str, list[Passage]] = {"train": [], "test": []}
    for author in sorted(authors):
        theirs = [d for d in documents if d.document.author == author and d.document.kind != "repository"]
        # One piece by someone cannot be on both sides; it helps to fit the verifier.
        both = len(theirs) > 1
        sides = split(theirs, settings.test_share, settings.seed, least=1) if both else {}
        for document in theirs:
            for span in spans(document, settings.least_words, settings.target_words, settings.most_words):
                found[sides.get(document.document.id, "train")].append(
                    Passage(document.document.id, span.text)
                )
    return found


def spread(samples: Sequence[Sample], most: int) -> list[Sample]:
    """At most `most` samples, as many of each document as can be, in the order given."""
    place: dict[str, int] = {}
    ranked = []
    for sample in samples:
        place[sample.document_id] = place.get(sample.document_id, -1) + 1
        ranked.append((place[sample.document_id], sample))
    chosen = {s.id for _, s in sorted(ranked, key=lambda pair: (pair[0], pair[1].id))[:most]}
    return [s for s in samples if s.id in chosen]
