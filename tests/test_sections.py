"""The sections of an evaluation: each fills a field of the report or says why it does not."""

from typing import Any

import pytest

from llm_twin import sections
from llm_twin.errors import InputError, MissingPart
from llm_twin.evaluation.report import Report
from llm_twin.settings import SECTIONS


def test_the_sections_are_those_of_the_settings_and_fill_fields_of_the_report() -> None:
    assert tuple(sections.SECTIONS) == SECTIONS
    assert {field for field, _ in sections.SECTIONS.values()} <= set(Report.model_fields)


def test_an_unknown_section_is_named() -> None:
    with pytest.raises(InputError, match="opinion"):
        sections.check(["opinion"])


def test_a_section_that_cannot_be_measured_says_why_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(bench: Any) -> Any:
        raise InputError("too little text", "collect more")

    def lack(bench: Any) -> Any:
        raise MissingPart("it needs ragas", "pip install ragas")

    monkeypatch.setattr(
        sections,
        "SECTIONS",
        {"a": ("x", refuse), "b": ("y", lambda b: 1), "c": ("z", lack), "d": ("w", refuse)},
    )
    found = sections.measured(None, ["a", "b", "c"])  # type: ignore[arg-type]
    assert found["y"] == 1 and set(found) == {"y", "not_measured"}
    assert set(found["not_measured"]) == {"a", "c", "d"}
    assert "too little text" in found["not_measured"]["a"]
    assert "left out" in found["not_measured"]["d"]
