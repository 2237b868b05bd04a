"""What sections measure on is had when first asked for."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llm_twin import bench as benches
from llm_twin.adapters.standins import ScriptedChat
from llm_twin.bench import Bench
from llm_twin.evaluation.unanswerable import Kept
from llm_twin.questions import AboutOthers
from llm_twin.settings import EvaluateSettings, Settings
from llm_twin.types import Sample
from llm_twin.workspace import Workspace


def request(n: int, writer: str = "m") -> Sample:
    return Sample(
        id=f"s{n}", document_id=f"d{n % 6}", author="A", instruction=f"What of {n}?", response="r", start=0, end=1,
        split="test", written_by=writer,
    )  # fmt: skip


class Subject:
    """A model that is opened, and how often."""

    def __init__(self) -> None:
        self.opened: list[ScriptedChat] = []

    def open(self, workspace: Workspace) -> ScriptedChat:
        self.opened.append(ScriptedChat(lambda _: "x"))
        return self.opened[-1]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    samples = [*(request(n) for n in range(20)), *(request(n, "template") for n in range(20, 30))]
    monkeypatch.setattr(benches, "read_samples", lambda workspace: samples)
    text = "I was pruning roses, and the old pear tree with them."
    own = SimpleNamespace(document=SimpleNamespace(title="Roses"), text=text)
    monkeypatch.setattr(benches, "own_documents", lambda workspace, documents: [own])
    workspace = Workspace(tmp_path, Settings(author="A", evaluate=EvaluateSettings(answered=6)))
    given: dict[str, Any] = dict.fromkeys(
        ("material", "documents", "embedder", "ask", "sampling", "notes", "progress")
    )
    return Bench(workspace=workspace, subjects=(Subject(), Subject()), **given)  # type: ignore[arg-type]


def test_a_model_is_opened_once_and_closed_where_it_was_opened(bench: Bench) -> None:
    base: Any = bench.subjects[0]
    assert bench.base is bench.base and len(base.opened) == 1
    bench.close()
    assert base.opened[0]._closed and not bench.subjects[1].opened  # type: ignore[attr-defined]
    assert bench.base is not base.opened[0], "it is opened anew"


def test_requests_of_the_template_are_no_questions(bench: Bench) -> None:
    assert {s.written_by for s in bench.questions} == {"m"}
    assert len({s.document_id for s in bench.asked}) == len(bench.asked) == 6


def test_what_the_author_wrote_about_is_not_asked_as_unanswerable(bench: Bench) -> None:
    assert len(bench.unanswerable.questions) == 12
    assert "How do you prune an old pear tree?" in [s.what for s in bench.unanswerable.left_out]


def test_the_base_model_writes_the_questions_about_others(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        benches,
        "about_others",
        lambda w, d, model, *rest: AboutOthers(Kept(("Who?",) if model is bench.base else (), ()), ""),
    )
    assert replace(bench).about_others.kept.questions == ()
    assert bench.about_others.kept.questions == ("Who?",)
