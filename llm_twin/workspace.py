"""The workspace: one folder that holds everything a twin is made of, and what is known to be up to date.

Deleting it resets the world; copying it moves the twin. A stage is up to date when the fingerprint of its
inputs equals the one noted when it last finished; notes are written last, so a killed stage is stale.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from llm_twin.errors import InputError, TwinError
from llm_twin.files import write_json
from llm_twin.settings import Settings
from llm_twin.text import slug
from llm_twin.types import StageReport, Value

STAGES = ("collect", "index", "dataset", "train", "evaluate")


class Finished(Value):
    """A stage that finished: on which inputs, with which report."""

    fingerprint: str
    report: StageReport


class Workspace:
    """Paths and notes of one workspace folder; opening it creates nothing."""

    def __init__(self, home: Path, settings: Settings) -> None:
        self.home = home
        self.settings = settings

    @property
    def author(self) -> str:
        """Whose twin this is; raises InputError when twin.toml does not say."""
        if not self.settings.author:
            raise InputError(
                f"{self.home} does not say whose twin it is", 'run `twin init "Your Name"` first'
            )
        return self.settings.author

    @property
    def documents(self) -> Path:
        """The document store."""
        return self.home / "documents.db"

    @property
    def vectors(self) -> Path:
        """The index."""
        return self.home / "vectors"

    @property
    def dataset(self) -> Path:
        """The samples of this author."""
        return self.home / "datasets" / slug(self.author)

    @property
    def model_cache(self) -> Path:
        """Where catalogue models lie, shared by all workspaces."""
        return self.settings.models.cache.expanduser()

    def run_folder(self, fingerprint: str) -> Path:
        """The folder of a training run."""
        return self.home / "runs" / f"sft-{fingerprint[:12]}"

    def model_folder(self, fingerprint: str) -> Path:
        """The folder of a trained twin."""
        return self.home / "models" / f"{slug(self.author)}-{fingerprint[:12]}"

    def finished(self, stage: str) -> Finished | None:
        """The note of a stage; None when it never finished."""
        path = self.home / "state" / f"{stage}.json"
        try:
            note = Finished.model_validate_json(path.read_text()) if path.exists() else None
        except ValidationError as error:
            raise InputError(
                f"{path} is damaged", "delete it: the stage runs again and finds its results"
            ) from error
        return note and note.model_copy(update={"report": _placed(note.report, lambda p: str(self.home / p))})

    def finish(self, stage: str, fingerprint: str, report: StageReport) -> StageReport:
        """Note that `stage` finished on the inputs of `fingerprint`; returns the report."""
        # Paths are noted as they lie in the workspace, so that a copy of it is a twin of its own.
        inside = _placed(report, lambda p: os.path.relpath(p, self.home))
        note = Finished(fingerprint=fingerprint, report=inside)
        write_json(self.home / "state" / f"{stage}.json", note.model_dump(mode="json"))
        return report

    def sources(self) -> list[tuple[str, str | None]]:
        """(location, author) of everything to collect: twin.toml's, then what `twin collect` was given."""
        listed = [(s.location, s.author) for s in self.settings.sources]
        path = self.home / "sources.json"
        given = [(str(a), b) for a, b in json.loads(path.read_text())] if path.exists() else []
        return list(dict.fromkeys([*listed, *given]))

    def remember(self, sources: list[tuple[str, str | None]]) -> None:
        """Add to what `twin run` collects."""
        listed = {(s.location, s.author) for s in self.settings.sources}
        write_json(
            self.home / "sources.json",
            [s for s in dict.fromkeys([*self.sources(), *sources]) if s not in listed],
        )

    @contextmanager
    def locked(self, wait_seconds: float = 0.0) -> Iterator[None]:
        """Hold the workspace for one process that writes; raises TwinError while another holds it."""
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "lock").open("w") as file:
            until = time.monotonic() + wait_seconds
            while not _flock(file.fileno()):
                if time.monotonic() >= until:
                    raise TwinError(f"another twin command is writing to {self.home}", "wait for it to end")
                time.sleep(0.1)
            yield


def _placed(report: StageReport, place: Callable[[str], str]) -> StageReport:
    return report.model_copy(update={"artefacts": tuple(place(path) for path in report.artefacts)})


def _flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
