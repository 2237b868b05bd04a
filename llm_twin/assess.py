"""Measuring beside the road: any texts, a search benchmark, two evaluations, and what people say."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from llm_twin import freshness, wiring
from llm_twin.asker import trained_twin
from llm_twin.errors import InputError
from llm_twin.material import material, passages_of
from llm_twin.ports import Progress, silent
from llm_twin.reading import clean_documents
from llm_twin.types import CleanDocument, Skipped, Where
from llm_twin.workspace import Workspace

if TYPE_CHECKING:
    from llm_twin.evaluation.ablation import Ablation
    from llm_twin.evaluation.appraise import Appraisal, Sides
    from llm_twin.evaluation.blind import BlindItem
    from llm_twin.evaluation.gate import Evaluated, Verdict
    from llm_twin.evaluation.labels import LabelItem
    from llm_twin.evaluation.report import Report

_TEXTS = (".md", ".markdown", ".txt")


def texts(workspace: Workspace, folder: Path, author: str) -> "tuple[Appraisal, list[Skipped]]":
    """Appraise every Markdown or text file of `folder` (or one file) as writing by `author`, who was collected."""
    from llm_twin.evaluation.appraise import appraise

    found, skipped = _read(folder)
    documents, _ = clean_documents(workspace)
    known = [d.text for d in documents if d.document.author == author]
    if not known:
        there = ", ".join(sorted({d.document.author for d in documents}))
        raise InputError(f"nothing by {author} was collected", f"collect it, or name one of: {there}")
    train, held_out = sides(workspace, documents, author)
    return appraise(author, found, train, held_out, known), skipped


def sides(workspace: Workspace, documents: Sequence[CleanDocument], author: str) -> "tuple[Sides, Sides]":
    """Passages to fit a verifier of `author` on, and held out: the author's, other authors' and, for the twin's
    author with an evaluation that is up to date, the base model's answers from it.
    """
    from llm_twin.evaluation.appraise import Sides
    from llm_twin.evaluation.measure import Notes, written
    from llm_twin.evaluation.style import Passage

    if author != workspace.author or freshness.is_stale(workspace, "evaluate"):
        own, others = passages_of(workspace, documents, author)
        return Sides(own["train"], others["train"]), Sides(own["test"], others["test"])
    found = material(workspace, documents)
    wrote = written(found, Notes(latest(workspace)))
    train, test = ([Passage(s.document_id, s.response) for s in part] for part in (found.train, found.test))
    return Sides(train, found.others_train, wrote.machine), Sides(
        test, found.others_test, wrote.wrote["floor"]
    )


def _read(folder: Path) -> tuple[list[tuple[str, str]], list[Skipped]]:
    if not folder.exists():
        raise InputError(f"{folder} does not exist", "name a file or a folder of .md and .txt files")
    paths = sorted(folder.rglob("*")) if folder.is_dir() else [folder]
    found, skipped = [], []
    for path in (p for p in paths if p.is_file()):
        if path.suffix.lower() not in _TEXTS:
            skipped.append(Skipped(what=str(path), why=f"not one of {', '.join(_TEXTS)}"))
            continue
        try:
            found.append((path.name, path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            skipped.append(Skipped(what=str(path), why="not UTF-8 text"))
    if not found:
        raise InputError(f"{folder} holds no texts", "name a file or a folder of .md and .txt files")
    return found, skipped


def benchmark(workspace: Workspace, folder: Path, progress: Progress = silent) -> "Ablation":
    """Run the search and its halves on a BEIR-format folder, in an index of its own that is thrown away."""
    from llm_twin.arms import HYBRID, plain_arms
    from llm_twin.evaluation.ablation import ablate
    from llm_twin.evaluation.beir import read_beir
    from llm_twin.features.index import index

    found = read_beir(folder)
    embedder = wiring.open_embedder(workspace, progress)
    with TemporaryDirectory(prefix="twin-beir-") as place:
        elsewhere = Workspace(Path(place), workspace.settings)
        with closing(wiring.open_vectors(elsewhere, embedder.dimension)) as store:
            index(found.documents, store, embedder, progress)
            arms = plain_arms(store, embedder, Where())
            return ablate(found.questions, arms, HYBRID, judged="document", progress=progress)


def compare(workspace: Workspace, champion: str, candidate: str) -> "Verdict":
    """The gate's verdict on two evaluations of this workspace, named by the beginnings of their ids."""
    from llm_twin.evaluation.gate import compare as gate
    from llm_twin.evaluation.runs import find

    sides = [_evaluated(*find(workspace.home / "evaluations", run)) for run in (champion, candidate)]
    return gate(sides[0], sides[1], workspace.settings.gate)


def _evaluated(run: str, report: "Report") -> "Evaluated":
    from llm_twin.evaluation.gate import Evaluated

    measured = report.measured
    if measured.rows is None:
        raise InputError(f"evaluation {run} keeps no rows to compare", "evaluate again: twin evaluate")
    return Evaluated(
        f"{report.twin_model} ({run})",
        report.author,
        measured.rows,
        measured.memorisation,
        report.privacy,
        measured.refused,
    )


def latest(workspace: Workspace) -> Path:
    """The folder of the road's last evaluation; InputError before there is one."""
    finished = workspace.finished("evaluate")
    if finished is None:
        raise InputError("there is no evaluation yet", "make one: twin evaluate")
    return Path(finished.report.artefacts[0]).parent


def blind_test(workspace: Workspace, seed: int = 0) -> "list[BlindItem]":
    """Pairs of a held-out passage and what the twin wrote for the same request in the last evaluation."""
    from llm_twin.evaluation.blind import blind_items
    from llm_twin.evaluation.measure import Notes, written

    documents, _ = clean_documents(workspace)
    found = material(workspace, documents)
    twin = [p.text for p in written(found, Notes(latest(workspace))).wrote["twin"]]
    return blind_items(found.test, twin, seed, trained_twin(workspace).name)


def to_label(workspace: Workspace) -> "Sequence[LabelItem]":
    """The answers of the last evaluation's section "answers", one dimension at a time."""
    import json

    from llm_twin.evaluation.labels import label_items
    from llm_twin.types import Answer

    path = latest(workspace) / "asked-twin-write.json"
    if not path.exists():
        raise InputError("the last evaluation asked no questions", 'add "answers" to [evaluate] sections')
    return label_items([Answer.model_validate(a) for a in json.loads(path.read_text(encoding="utf-8"))])
