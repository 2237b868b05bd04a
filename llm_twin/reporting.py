"""From what an evaluation measured to the report of it, with what the stages before it left.

Not covered: measuring (`sections`), and how the report looks (`evaluation.report`).
"""

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from llm_twin.asker import Subject, twin_folder
from llm_twin.errors import InputError
from llm_twin.evaluation.measure import Measured
from llm_twin.evaluation.report import Report
from llm_twin.evaluation.retrieval import Retrieval
from llm_twin.evaluation.runs import REPORT, find
from llm_twin.sections import JUDGED
from llm_twin.workspace import STAGES, Workspace


def evaluation_report(
    workspace: Workspace,
    subjects: tuple[Subject, Subject],
    measured: Measured,
    found: Retrieval | None,
    parts: dict[str, Any],
    seconds: float,
) -> Report:
    """The report of one evaluation: what was measured, of which two models, and what led to them."""
    reports = {stage: done.report for stage in STAGES if (done := workspace.finished(stage))}
    spent = {stage: report.seconds for stage, report in reports.items()} | {"evaluate": seconds}
    base, twin = subjects
    losses: tuple[tuple[int, float], ...] = ()
    if twin.folder and twin.folder == twin_folder(workspace):
        metrics = Path(reports["train"].artefacts[1]).read_text(encoding="utf-8").splitlines()
        losses = tuple((row["step"], row["loss"]) for row in map(json.loads, metrics))
    return Report(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        author=workspace.author,
        base_model=workspace.settings.models.chat,
        twin_model=twin.name,
        base_sha256=base.sha256,
        twin_sha256=twin.sha256,
        dataset=reports["dataset"].counts,
        measured=measured,
        retrieval=found,
        losses=losses,
        minutes={stage: round(each / 60, 2) for stage, each in spent.items()},
        settings={
            "evaluate": workspace.settings.evaluate.model_dump(mode="json"),
            "privacy": workspace.settings.privacy.model_dump(mode="json"),
        },
        **parts,
    )


def judged_before(folder: Path) -> dict[str, Any]:
    """What `--judge` once added to this very evaluation: it still holds, and is not asked again."""
    found: dict[str, Any] = {}
    if (folder / REPORT).exists():
        with suppress(InputError):  # a report of another version is made anew
            _, report = find(folder.parent, folder.name)
            found = {field: getattr(report, field) for field, _ in JUDGED.values()}
    return found
