"""What each stage was made from, as a fingerprint: when it changes, the stage is stale.

Settings that do not change a stage's result are left out, and so is the clock, but for looking at the web
again.
"""

import time
from collections.abc import Callable
from pathlib import Path

from llm_twin.errors import InputError
from llm_twin.reading import read_documents
from llm_twin.text import digest
from llm_twin.workspace import Workspace

FEATURES, DATASET, TRAINING, EVALUATION = 2, 2, 1, 3
"""Raised when a stage's code comes to give other results from the same inputs; old results are then stale."""


def _endpoint(workspace: Workspace) -> list[str]:
    """The model behind `[endpoint]`, where it is the one that writes."""
    endpoint = workspace.settings.endpoint
    served = workspace.settings.adapters.chat == "openai"
    return [f"endpoint {endpoint.url} {endpoint.model}"] if served else []


def collect_inputs(workspace: Workspace) -> str:
    """Changes when a source is added, a local file changes, or the web is due for another look."""
    period = workspace.settings.fetch.refresh_hours * 3600
    parts = [workspace.author]
    for location, author in workspace.sources():
        path = Path(location).expanduser()
        if "://" in location:
            parts.append(f"{location} {author} {int(time.time() // period) if period else time.time()}")
        else:
            parts.append(f"{location} {author} {_listing(path)}")
    return digest(*parts)


def _listing(path: Path) -> str:
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    stats = ((f, f.stat()) for f in files if f.is_file())
    return digest(*(f"{f} {s.st_size} {s.st_mtime_ns}" for f, s in stats))


def documents_fingerprint(workspace: Workspace) -> str:
    """Changes when any document does."""
    return digest(*(f"{d.id} {d.digest}" for d in read_documents(workspace)))


def index_inputs(workspace: Workspace) -> str:
    """Changes with the documents, the embedder and the store."""
    models, adapters = workspace.settings.models, workspace.settings.adapters
    return digest(
        str(FEATURES), documents_fingerprint(workspace), models.embedder, adapters.embedder, adapters.vectors
    )


def dataset_inputs(workspace: Workspace) -> str:
    """Changes with the documents, the author, the settings of `[dataset]` and the models that write and compare."""
    settings = workspace.settings
    chat = settings.models.chat if settings.dataset.instructions == "model" else ""
    return digest(
        str(DATASET),
        str(FEATURES),
        documents_fingerprint(workspace),
        workspace.author,
        settings.dataset.model_dump_json(),
        settings.models.embedder,
        chat,
        *(_endpoint(workspace) if chat else []),
    )


def train_inputs(workspace: Workspace) -> str:
    """Changes with the samples, the base model, the recipe and the canaries that are planted."""
    plan = workspace.settings.privacy
    planted = [f"canaries {plan.seed} {plan.canaries} {plan.canary_times}"] if plan.canaries else []
    samples = (workspace.dataset / "samples.jsonl").read_text(encoding="utf-8")
    return digest(
        str(TRAINING),
        samples,
        workspace.settings.models.chat,
        workspace.settings.train.model_dump_json(),
        *planted,
    )


def evaluate_inputs(workspace: Workspace) -> str:
    """Changes with the index, the dataset, the twin, and the settings of measuring and of the answers measured."""
    settings = workspace.settings
    stages = [workspace.finished(stage) for stage in ("index", "dataset", "train")]
    return digest(
        str(EVALUATION),
        *(stage.fingerprint if stage else "" for stage in stages),
        *(
            part.model_dump_json()
            for part in (settings.evaluate, settings.privacy, settings.ask, settings.search)
        ),
        *_endpoint(workspace),
    )


INPUTS: dict[str, Callable[[Workspace], str]] = {
    "collect": collect_inputs,
    "index": index_inputs,
    "dataset": dataset_inputs,
    "train": train_inputs,
    "evaluate": evaluate_inputs,
}


def is_stale(workspace: Workspace, stage: str) -> bool:
    """Whether a stage never finished, finished on other inputs, or lost its results."""
    finished = workspace.finished(stage)
    if finished is None or not all(Path(path).exists() for path in finished.report.artefacts):
        return True
    try:
        return INPUTS[stage](workspace) != finished.fingerprint
    except (InputError, FileNotFoundError):
        return True
