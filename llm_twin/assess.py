"""Measuring beside the road: any texts, a search benchmark, two evaluations, and what people say."""

import json
import shlex
from collections.abc import Sequence
from contextlib import ExitStack, closing
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from llm_twin import freshness, wiring
from llm_twin.asker import open_model, trained_twin
from llm_twin.errors import InputError
from llm_twin.material import material, passages_of, spread
from llm_twin.ports import Progress, silent
from llm_twin.reading import clean_documents, read_samples
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
_NO_MODEL = "--model-arms 30 asks them 30 questions, 8 to 15 seconds each on a CPU"


def texts(workspace: Workspace, place: Path, author: str = "") -> "tuple[Appraisal, list[Skipped]]":
    """Appraise every Markdown or text file of a folder, or one file, as writing by `author` (default: the twin's).

    Raises InputError with the commands to run where nobody is named, where the author or anybody to tell them from
    was not collected, and where there are no texts.
    """
    from llm_twin.evaluation.appraise import appraise

    found, skipped = _read(place)
    author = author or _named(workspace)
    documents = _collected(workspace, author)
    train, held_out = sides(workspace, documents, author)
    if not all(side.others or side.machine for side in (train, held_out)):
        raise InputError(
            f"{workspace.home} holds too little writing by others to tell {author}'s from it",
            f"collect somebody else's, a few pieces of each: {_collect(workspace, 'Somebody Else')}",
        )
    known = [d.text for d in documents if d.document.author == author]
    return appraise(author, found, train, held_out, known), skipped


def _named(workspace: Workspace) -> str:
    if not workspace.settings.author:
        raise InputError(
            f"{workspace.home} does not say whose writing the texts are held against",
            f'name them with --author "Their Name", or first run {_twin("init", "Your Name", workspace)}',
        )
    return workspace.settings.author


def _collected(workspace: Workspace, author: str) -> list[CleanDocument]:
    """What was collected, of everybody; InputError where nothing is by `author`."""
    if not workspace.documents.exists():
        first = "" if workspace.settings.author else f"{_twin('init', author, workspace)}, then "
        raise InputError(
            f"{workspace.home} holds no writing to hold texts against",
            f"run {first}{_collect(workspace, author)}, and the same for somebody else's writing",
        )
    documents, _ = clean_documents(workspace)
    there = sorted({d.document.author for d in documents})
    if author not in there:
        raise InputError(
            f"nothing by {author} was collected",
            f"run {_collect(workspace, author)}, or name one of: {', '.join(there)}",
        )
    return documents


def _collect(workspace: Workspace, author: str) -> str:
    return _twin("collect", "FOLDER", "--author", author, workspace)


def _twin(*words: "str | Workspace") -> str:
    """A command line to show; a workspace is the `--home` of it."""
    spoken = [["--home", str(w.home)] if isinstance(w, Workspace) else [w] for w in words]
    return f"`{shlex.join(['twin', *(each for some in spoken for each in some)])}`"


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


def _read(place: Path) -> tuple[list[tuple[str, str]], list[Skipped]]:
    """The texts of a folder, named by their paths in it, or one text; and what was passed over."""
    if not place.exists():
        raise InputError(f"{place} does not exist", "name a file or a folder of .md and .txt files")
    found, skipped = [], []
    for path in sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else [place]:
        if path.suffix.lower() not in _TEXTS:
            skipped.append(Skipped(what=str(path), why=f"not one of {', '.join(_TEXTS)}"))
            continue
        try:
            name = str(path.relative_to(place)) if place.is_dir() else path.name
            found.append((name, path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            skipped.append(Skipped(what=str(path), why="not UTF-8 text"))
    if not found:
        why = f": {skipped[0].why}" if skipped and not place.is_dir() else ""
        raise InputError(
            f"{place} holds no texts{why}", "name a .md or .txt file in UTF-8, or a folder of them"
        )
    return found, skipped


def benchmark(
    workspace: Workspace, folder: Path, model_questions: int = 0, progress: Progress = silent
) -> "Ablation":
    """Every way of searching on a BEIR-format folder, in an index of its own that is thrown away.

    Steps that ask the chat model (the twin, or before the first twin the base model) get `model_questions`.
    """
    from llm_twin.arms import Ground, measure_search
    from llm_twin.evaluation.beir import AUTHOR, read_beir
    from llm_twin.features.index import index
    from llm_twin.inference.selfquery import Known

    found = read_beir(folder)
    embedder = wiring.open_embedder(workspace, progress)
    with TemporaryDirectory(prefix="twin-beir-") as place, ExitStack() as opened:
        model = opened.enter_context(closing(open_model(workspace))) if model_questions else _NO_MODEL
        elsewhere = Workspace(Path(place), workspace.settings)
        store = opened.enter_context(closing(wiring.open_vectors(elsewhere, embedder.dimension)))
        index(found.documents, store, embedder, progress)
        ground = Ground(store, embedder, Where(), Known([AUTHOR], [], date.today()))
        return measure_search(found.questions, ground, model, model_questions, "document", progress=progress)


def rankings(folder: Path, runs: Sequence[Path]) -> "Ablation":
    """The rankings of TREC run files under the judgements of `folder`, the first one the baseline.

    Queries that a run leaves out count as 0, and `left_out` says how many. Raises InputError for a file that
    is broken, for two of one name, and for a run of other queries.
    """
    from llm_twin.evaluation.ablation import compare
    from llm_twin.evaluation.beir import qrels_file, read_qrels, read_run

    questions = read_qrels(qrels_file(folder))
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        raise InputError(f"two runs are called {max(names, key=names.count)}", "rename one of the files")
    found, missing = {}, {}
    for run in runs:
        ranked = found[run.name] = read_run(run)
        without = sum(q.id not in ranked.ids for q in questions)
        if without == len(questions):
            raise InputError(
                f"{run} ranks none of the queries that {folder} judges", "is it of this benchmark?"
            )
        if without:
            missing[run.name] = f"{without} of {len(questions)} queries, which count as 0"
    compared = compare(questions, found, names[0], judged="document")
    return compared.model_copy(update={"left_out": missing})


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
        measured.rows.model_copy(update={"parts": measured.rows.parts | report.beside()}),
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
    """Pairs of a held-out passage and what the twin wrote for the same request in the last evaluation.

    Raises InputError where that evaluation is not of the twin, its samples and its settings as they are now.
    """
    from llm_twin.evaluation.blind import blind_items
    from llm_twin.evaluation.runs import find

    folder, twin = latest(workspace), trained_twin(workspace).name
    _, report = find(folder.parent, folder.name)
    path = folder / "answers-twin.json"
    if freshness.is_stale(workspace, "evaluate") or report.twin_model != twin or not path.exists():
        raise InputError(
            f"the last evaluation, of {report.twin_model}, is not of the twin, samples and settings there are now",
            "evaluate first: twin evaluate",
        )
    test = [s for s in read_samples(workspace) if s.split == "test"]
    wrote = json.loads(path.read_text(encoding="utf-8"))
    return blind_items(spread(test, workspace.settings.evaluate.passages), wrote, seed, report.twin_model)


def to_label(workspace: Workspace) -> "Sequence[LabelItem]":
    """The answers of the last evaluation's section "answers", one dimension at a time."""
    from llm_twin.evaluation.labels import label_items
    from llm_twin.types import Answer

    path = latest(workspace) / "asked-twin-write.json"
    if not path.exists():
        raise InputError("the last evaluation asked no questions", 'add "answers" to [evaluate] sections')
    return label_items([Answer.model_validate(a) for a in json.loads(path.read_text(encoding="utf-8"))])
