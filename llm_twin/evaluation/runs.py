"""Evaluations that were run: listed, found by the beginning of their id, and held against each other.

A run is a folder with a report.json; its name is the run's id. `diff` shows what changed and whether two
intervals overlap; intervals that overlap do not show that two models are equal, the gate compares in pairs.
Not covered: reading reports of other versions, which are listed with the reason.
"""

import difflib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, Field, ValidationError

from llm_twin.errors import InputError
from llm_twin.evaluation.intervals import Estimate
from llm_twin.evaluation.report import Report
from llm_twin.files import write_text
from llm_twin.types import Value

REPORT = "report.json"
_SCHEMA = Report.model_fields["schema_version"].default
_MADE_FROM = ("author", "base_model", "twin_model", "base_sha256", "twin_sha256", "dataset", "settings")
_LEFT_OUT = ("schema_version", "created", "minutes", "losses", "answers", "examples", "per_document", "rows")


class RunRow(Value):
    """One run in the list. Without a readable report only `id` and `reason` say something."""

    id: str
    created: AwareDatetime | None = None
    author: str = ""
    base: str = ""
    twin: str = ""
    figures: dict[str, int | float | str] = Field({})
    """The report's headline."""
    reason: str = ""
    """Why it cannot be read; empty where it can."""


class Change(Value):
    """One figure of two runs. None: that run does not have it."""

    figure: str
    """Where it stands in the report, in words: "twin style"."""
    a: Estimate | float | None
    b: Estimate | float | None
    change: float | None
    """b less a."""
    overlap: bool | None
    """Whether the two intervals overlap; None where there are not two."""


class Difference(Value):
    """Something that the two runs were made from, and that is not the same."""

    name: str
    a: str
    b: str


class Diff(Value):
    """Two runs side by side."""

    a: str
    b: str
    rows: tuple[Change, ...]
    differences: tuple[Difference, ...]
    """Models, dataset and settings that differ: what may explain the rows."""


def listed(folder: Path) -> list[RunRow]:
    """Every run below `folder`, newest first, then those that cannot be read, by id."""
    found = [_row(run) for run in _runs(folder)]
    readable = [row for row in found if row.created]
    readable.sort(key=lambda row: (row.created, row.id), reverse=True)
    return [*readable, *(row for row in found if not row.created)]


def find(folder: Path, beginning: str) -> tuple[str, Report]:
    """The id and the report of the run whose id begins so.

    Raises InputError for none (naming near ones), for several, and for a report that cannot be read.
    """
    ids = [run.name for run in _runs(folder)]
    matching = [beginning] if beginning in ids else [i for i in ids if beginning and i.startswith(beginning)]
    if len(matching) > 1:
        raise InputError(
            f"several evaluations begin with {beginning}: {', '.join(matching)}", "say more of it"
        )
    if not matching:
        near = difflib.get_close_matches(beginning, ids, n=3, cutoff=0.4) or ids[:3]
        way_out = f"there are: {', '.join(near)}" if near else "run one: twin evaluate"
        raise InputError(f"there is no evaluation {beginning or 'without a name'}", way_out)
    found = _read(folder / matching[0])
    if isinstance(found, str):
        raise InputError(
            f"the evaluation {matching[0]} cannot be compared: {found}", "run it again: twin evaluate"
        )
    return matching[0], found


def diff(a: tuple[str, Report], b: tuple[str, Report]) -> Diff:
    """Every figure that either run has, in the report's order, and what the runs were made from where it differs."""
    plain = [report.model_dump(mode="json") for _, report in (a, b)]
    old, new = (dict(_figures(values)) for values in plain)
    before, after = (dict(_made_from(values)) for values in plain)
    names = [name for name in dict.fromkeys([*before, *after]) if before.get(name) != after.get(name)]
    return Diff(
        a=a[0],
        b=b[0],
        rows=tuple(_change(name, old.get(name), new.get(name)) for name in dict.fromkeys([*old, *new])),
        differences=tuple(
            Difference(name=name, a=before.get(name, ""), b=after.get(name, "")) for name in names
        ),
    )


def schema() -> str:
    """The JSON schema of report.json."""
    return json.dumps(Report.model_json_schema(), indent=1) + "\n"


def write_schema(path: str) -> None:
    """Write it to `path`: `poe schema` keeps docs/report.schema.json current."""
    write_text(Path(path), schema())


def _runs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _row(run: Path) -> RunRow:
    report = _read(run)
    if isinstance(report, str):
        return RunRow(id=run.name, reason=report)
    return RunRow(
        id=run.name,
        created=report.created,
        author=report.author,
        base=report.base_model,
        twin=report.twin_model,
        figures=report.headline(),
    )


def _read(run: Path) -> Report | str:
    """The report, or why it cannot be read."""
    path = run / REPORT
    if not path.exists():
        return "it is not finished: there is no report.json yet"
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return f"report.json is damaged: {error}"
    version = plain.get("schema_version") if isinstance(plain, dict) else None
    if version != _SCHEMA:
        return f"report.json has schema {version}, and this version reads {_SCHEMA}"
    try:
        return Report.model_validate(plain)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        return f"report.json was written by another version: {where}: {first['msg']}"


# --- a report as figures -----------------------------------------------------------------------------------------


def _figures(plain: dict[str, Any]) -> Iterator[tuple[str, Estimate | float]]:
    for key, value in plain.items():
        if key not in (*_MADE_FROM, *_LEFT_OUT):
            yield from _numbers(value, () if key == "measured" else (key,))


def _numbers(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Estimate | float]]:
    """Estimates and plain numbers below `value`, named by their path; texts and lists are no figures."""
    if isinstance(value, dict) and value.keys() == Estimate.model_fields.keys():
        yield _named(path), Estimate.model_validate(value)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key not in _LEFT_OUT:
                yield from _numbers(inner, (*path, key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield _named(path), float(value)


def _named(path: tuple[str, ...]) -> str:
    return " ".join(path).replace("_", " ")


def _change(figure: str, a: Estimate | float | None, b: Estimate | float | None) -> Change:
    change = None if a is None or b is None else _value(b) - _value(a)
    overlap = None
    if isinstance(a, Estimate) and isinstance(b, Estimate):
        overlap = a.low <= b.high and b.low <= a.high
    return Change(figure=figure, a=a, b=b, change=change, overlap=overlap)


def _value(figure: Estimate | float) -> float:
    return figure.value if isinstance(figure, Estimate) else figure


def _made_from(plain: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Models, dataset and settings, flat: ("dataset.samples", "120")."""
    for key in _MADE_FROM:
        value = plain.get(key, {})
        if isinstance(value, dict):
            yield from ((f"{key}.{inner}", _shown(each)) for inner, each in value.items())
        else:
            yield key, _shown(value)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
