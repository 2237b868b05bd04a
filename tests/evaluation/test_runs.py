import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from llm_twin.errors import InputError
from llm_twin.evaluation.fluency import Perplexity
from llm_twin.evaluation.intervals import Estimate
from llm_twin.evaluation.measure import Measured, Memorisation
from llm_twin.evaluation.report import Report
from llm_twin.evaluation.retrieval import Retrieval
from llm_twin.evaluation.runs import Diff, diff, find, listed, schema, write_schema
from llm_twin.evaluation.scores import Scores

SCHEMA = Path(__file__).parents[2] / "docs" / "report.schema.json"


def about(value: float, spread: float = 0.05) -> Estimate:
    return Estimate(value=value, low=value - spread, high=value + spread)


def of(value: float) -> Scores:
    names = ("style", "relevance", "fluency", "variety", "sense", "twin")
    return Scores(**{name: about(value) for name in names}, raw={"style": value / 2})


def report(twin: float = 0.5, day: int = 1, **changed: Any) -> Report:
    measured = Measured(
        author="Ann",
        documents=6,
        passages=24,
        auc=0.9,
        auc_others=None,
        auc_machine=0.95,
        refused="",
        base=of(0.1),
        twin=of(twin),
        difference=about(twin - 0.1),
        style_floor=0.1,
        style_ceiling=0.7,
        perplexity=Perplexity(base=about(30, 2), twin=about(20, 2), change=about(-0.3)),
        memorisation=Memorisation(twin=0.01, base=0, author=0.01),
        examples=(),
    )
    return Report(**{
        "created": datetime(2026, 11, day, tzinfo=UTC),
        "author": "Ann",
        "base_model": "small",
        "twin_model": "ann-1",
        "dataset": {"samples": 120, "seed": 0},
        "measured": measured,
        **changed,
    })  # fmt: skip


def write(folder: Path, run: str, text: str | None) -> None:
    (folder / run).mkdir(parents=True)
    if text is not None:
        (folder / run / "report.json").write_text(text, encoding="utf-8")


@pytest.fixture
def evaluations(tmp_path: Path) -> Path:
    folder = tmp_path / "evaluations"
    write(folder, "abc123", report(0.5, day=2).model_dump_json())
    write(folder, "abd456", report(0.8, day=9, twin_model="ann-2").model_dump_json())
    write(folder, "broken", '{"schema_version": 1, ')
    write(folder, "listed", "[1, 2]")
    write(folder, "oldest", json.dumps({**report().model_dump(mode="json"), "schema_version": 0}))
    write(folder, "others", json.dumps({**report().model_dump(mode="json"), "mood": "good"}))
    write(folder, "running", None)
    (folder / "notes.txt").write_text("no run")
    return folder


def test_runs_are_listed_newest_first_and_the_unreadable_with_the_reason(evaluations: Path) -> None:
    rows = listed(evaluations)
    assert [row.id for row in rows] == ["abd456", "abc123", "broken", "listed", "oldest", "others", "running"]
    newest = rows[0]
    assert (newest.author, newest.base, newest.twin, newest.reason) == ("Ann", "small", "ann-2", "")
    assert newest.created == datetime(2026, 11, 9, tzinfo=UTC)
    assert newest.figures == report(0.8).headline()
    reasons = {row.id: row.reason for row in rows[2:]}
    assert "damaged" in reasons["broken"]
    assert "has schema None" in reasons["listed"]
    assert "has schema 0, and this version reads 2" in reasons["oldest"]
    assert "another version: mood: Extra inputs" in reasons["others"]
    assert "not finished" in reasons["running"]


def test_no_folder_is_no_runs(tmp_path: Path) -> None:
    assert listed(tmp_path / "evaluations") == []


def test_a_run_is_found_by_the_beginning_of_its_id(evaluations: Path) -> None:
    assert find(evaluations, "abd") == ("abd456", report(0.8, day=9, twin_model="ann-2"))
    write(evaluations, "abc", report(0.3).model_dump_json())
    assert find(evaluations, "abc")[1] == report(0.3)


@pytest.mark.parametrize(
    ("given", "message", "way_out"),
    [
        ("ab", "several evaluations begin with ab: abc123, abd456", "say more"),
        ("abd465", "there is no evaluation abd465", "abd456"),
        ("", "there is no evaluation", "there are: abc123"),
        ("oldest", "cannot be compared: report.json has schema 0", "twin evaluate"),
        ("running", "not finished", "twin evaluate"),
    ],
)
def test_what_is_not_found_is_an_input_error_with_a_way_out(
    evaluations: Path, given: str, message: str, way_out: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        find(evaluations, given)
    assert way_out in caught.value.way_out


def test_a_path_is_no_id(evaluations: Path) -> None:
    with pytest.raises(InputError, match="there is no evaluation"):
        find(evaluations, "../evaluations/abc123")


def test_with_no_run_at_all_the_way_out_is_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        find(tmp_path, "abc")
    assert caught.value.way_out == "run one: twin evaluate"


def test_the_difference_of_two_runs_by_hand() -> None:
    first = report(0.5)
    second = report(
        0.8,
        base_model="large",
        dataset={"samples": 130, "seed": 0, "authors": 2},
        retrieval=Retrieval(questions=9, recall_at_5=about(0.9), mrr_at_10=about(0.7), ndcg_at_10=about(0.8)),
    )
    found = diff(("one", first), ("two", second))
    rows = {row.figure: row for row in found.rows}
    style = rows["twin style"]
    assert (style.a, style.b, style.overlap) == (about(0.5), about(0.8), False)
    assert style.change == pytest.approx(0.3)
    assert (rows["base style"].change, rows["base style"].overlap) == (0, True)
    assert (rows["passages"].a, rows["passages"].change, rows["passages"].overlap) == (24, 0, None)
    assert rows["twin raw style"].change == pytest.approx(0.15)
    assert (rows["retrieval recall at 5"].a, rows["retrieval recall at 5"].change) == (None, None)
    assert {"perplexity change", "memorisation twin", "auc machine", "difference"} <= set(rows)
    assert "auc others" not in rows
    assert [(d.name, d.a, d.b) for d in found.differences] == [
        ("base_model", "small", "large"),
        ("dataset.samples", "120", "130"),
        ("dataset.authors", "", "2"),
    ]
    assert Diff.model_validate_json(found.model_dump_json()) == found


def test_a_run_differs_from_itself_in_nothing() -> None:
    found = diff(("one", report()), ("one", report()))
    assert found.differences == ()
    assert {row.change for row in found.rows} == {0}


def test_touching_intervals_overlap() -> None:
    found = diff(("one", report(0.5)), ("two", report(0.5 + 0.1 - 1e-9)))
    assert next(row for row in found.rows if row.figure == "twin style").overlap is True


def test_the_schema_in_the_documents_is_current() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == schema(), "write it anew: poe schema"


def test_a_report_of_today_has_what_the_schema_asks(tmp_path: Path) -> None:
    write_schema(str(tmp_path / "s.json"))
    described = json.loads((tmp_path / "s.json").read_text())
    written = json.loads(report().model_dump_json())
    assert set(described["required"]) < set(described["properties"]) == set(written)
    assert described["properties"]["schema_version"]["const"] == written["schema_version"]
