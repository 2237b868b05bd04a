"""Looking at a workspace without changing it: what is there, what is stale, what is installed, what is broken."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from llm_twin import freshness, reading, wiring
from llm_twin.errors import TwinError
from llm_twin.models import catalogue, damage, pulled
from llm_twin.models import verify as verify_model
from llm_twin.types import CleanDocument
from llm_twin.workspace import STAGES, Workspace

_PARTS = (
    ("torch", "training, and the first use of a new embedder: pip install 'llm-twin[train]'"),
    ("trl", "training: pip install 'llm-twin[train]'"),
    ("peft", "training: pip install 'llm-twin[train]'"),
    ("openvino_genai", "every answer of a model in this process"),
    ("qdrant_edge", "the index"),
    ("sentence_transformers", "poe bench embed: pip install 'llm-twin[bench]'"),
)


def status(workspace: Workspace) -> list[dict[str, Any]]:
    """Each stage: never run, up to date or stale, and where its results lie."""
    rows = []
    for stage in STAGES:
        done = workspace.finished(stage)
        state = (
            "never run" if done is None else "stale" if freshness.is_stale(workspace, stage) else "up to date"
        )
        rows.append(
            {
                "stage": stage,
                "state": state,
                "finished": f"{done.report.seconds:.0f} s" if done else "",
                "results": done.report.artefacts[0] if done and done.report.artefacts else "",
            }
        )
    return rows


def models(workspace: Workspace) -> list[dict[str, Any]]:
    """The catalogue, and which models are in the cache."""
    rows = catalogue(workspace.home / "models.toml")
    here = pulled(workspace.model_cache)
    return [
        {
            "name": row.name,
            "role": row.role,
            "size": f"{row.size / 1e6:.0f} MB",
            "licence": row.licence or "",
            "here": "yes" if row.name in here else "",
            "about": row.about,
        }
        for row in rows.values()
    ]


def doctor(workspace: Workspace) -> list[dict[str, Any]]:
    """Packages and models: there or missing, and what they are for."""
    rows = [
        {"part": name, "state": "installed" if find_spec(name) else "missing", "for": what}
        for name, what in _PARTS
    ]
    for role, name in (
        ("chat", workspace.settings.models.chat),
        ("embedder", workspace.settings.models.embedder),
    ):
        why = damage(workspace.model_cache / name)
        rows.append(
            {"part": name, "state": "missing" if why else "pulled", "for": f"{role}: twin models pull {name}"}
        )
    return rows


def verify(workspace: Workspace) -> list[str]:
    """Everything that is missing, doubled or damaged, in plain words; an empty list is a clean bill.

    Checks what finished stages promise: documents readable, the index equal to the documents, every sample
    a verbatim span on one side of the split, every step logged once, the model's files equal to their sha256.
    """
    checks = {"index": _index_problems, "dataset": _dataset_problems, "train": _training_problems}
    problems = list(_artefact_problems(workspace))
    try:
        with closing(wiring.open_documents(workspace)) as store:
            problems += [f"collect: {problem}" for problem in store.verify()]
        documents, _ = reading.clean_documents(workspace)
    except TwinError as error:
        return [*problems, f"collect: {error}"]
    problems += [
        f"collect: {n} documents have the id {i}" for i, n in _repeated(d.document.id for d in documents)
    ]
    for stage, check in checks.items():
        if workspace.finished(stage) and not freshness.is_stale(workspace, stage):
            try:
                problems += [f"{stage}: {problem}" for problem in check(workspace, documents)]
            except (TwinError, OSError, ValueError) as error:
                problems.append(f"{stage}: {error}")
    return problems


def _artefact_problems(workspace: Workspace) -> Iterator[str]:
    for stage in STAGES:
        done = workspace.finished(stage)
        for path in done.report.artefacts if done else ():
            if not Path(path).exists():
                yield f"{stage}: {path} is missing"
    for left in [p for p in workspace.home.rglob("*.tmp") if p.is_file()]:
        yield f"{left} was left behind by a killed command and may be deleted"


def _index_problems(workspace: Workspace, documents: list[CleanDocument]) -> Iterator[str]:
    from llm_twin.features.chunk import chunks

    embedder = wiring.open_embedder(workspace)
    wanted = [chunk.id for document in documents for chunk in chunks(document, embedder)]
    with closing(wiring.open_vectors(workspace, embedder.dimension)) as store:
        yield from store.verify()
        there = store.chunk_ids()
    if missing := set(wanted) - there:
        yield f"{len(missing)} chunks are missing"
    if spare := there - set(wanted):
        yield f"{len(spare)} chunks belong to no document"
    for chunk, n in _repeated(wanted):
        yield f"chunk {chunk} stands {n} times"


def _dataset_problems(workspace: Workspace, documents: list[CleanDocument]) -> Iterator[str]:
    samples = reading.read_samples(workspace)
    texts = {d.document.id: d.text for d in documents}
    sides: dict[str, set[str]] = {}
    for sample in samples:
        sides.setdefault(sample.document_id, set()).add(sample.split)
        if texts.get(sample.document_id, "")[sample.start : sample.end] != sample.response:
            yield f"sample {sample.id} is not a span of document {sample.document_id}"
    for document, split in sides.items():
        if len(split) > 1:
            yield f"document {document} stands on both sides of the split"
    for sample_id, n in _repeated(s.id for s in samples):
        yield f"sample {sample_id} stands {n} times"


def _training_problems(workspace: Workspace, documents: list[CleanDocument]) -> Iterator[str]:
    done = workspace.finished("train")
    if done is None:
        return
    folder, metrics = Path(done.report.artefacts[0]), Path(done.report.artefacts[1])
    steps = [json.loads(line)["step"] for line in metrics.read_text(encoding="utf-8").splitlines()]
    if steps != list(range(1, int(done.report.counts["steps"]) + 1)):
        yield f"{metrics} does not hold each step once"
    verify_model(folder, workspace.model_cache)


def _repeated(items: Any) -> list[tuple[str, int]]:
    return [(item, n) for item, n in Counter(items).items() if n > 1]
