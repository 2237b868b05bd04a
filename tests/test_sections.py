"""The sections of an evaluation: each fills a field of the report or says why it does not."""

import itertools
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llm_twin import sections, wiring
from llm_twin.adapters.standins import HashEmbedder, ScriptedChat, echo
from llm_twin.adapters.vectors_qdrant_edge import QdrantEdgeVectors
from llm_twin.asker import Subject
from llm_twin.errors import InputError, MissingPart
from llm_twin.evaluation.forgetting import TaskRun, TaskRuns
from llm_twin.evaluation.labels import label_items, label_of
from llm_twin.evaluation.measure import Notes
from llm_twin.evaluation.people import Guess, Label
from llm_twin.evaluation.ragas_scores import RagasScores, RagSample, ragas_scores
from llm_twin.evaluation.report import Report
from llm_twin.evaluation.unanswerable import Kept
from llm_twin.inference.selfquery import Known
from llm_twin.journal import Journal
from llm_twin.ports import silent
from llm_twin.questions import AboutOthers, held_out
from llm_twin.settings import SECTIONS, EvaluateSettings, Settings
from llm_twin.types import Answer, Chunk, Feedback, Sample, Skipped, StageReport
from llm_twin.workspace import Workspace


def test_the_sections_are_those_of_the_settings_and_fill_fields_of_the_report() -> None:
    assert tuple(sections.SECTIONS) == SECTIONS
    every = sections.SECTIONS | sections.OPTIONAL | sections.JUDGED
    filled = {field for field, _ in every.values()}
    assert filled <= set(Report.model_fields)


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


def test_a_judge_that_cannot_judge_costs_no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(bench: Any) -> Any:
        raise InputError("the twin answered none of the questions", "look at the section answers")

    judged = {"judged": ("judged", lambda b: 1), "ares": ("ares", refuse)}
    monkeypatch.setattr(sections, "SECTIONS", {"a": ("x", lambda b: 2)})
    monkeypatch.setattr(sections, "JUDGED", judged)
    found = sections.measured(None, ["a"], judge=True)  # type: ignore[arg-type]
    assert (found["x"], found["judged"]) == (2, 1) and "answered none" in found["not_measured"]["ares"]
    unasked = sections.measured(None, ["a"])  # type: ignore[arg-type]
    assert unasked == {"x": 2, "not_measured": {}}


# --- what a judge and what people say ------------------------------------------------------------------------------


def _sample(i: int) -> Sample:
    text = f"I keep owl number {i} in the shed. It eats mice. Nobody else feeds it."
    return Sample(
        id=f"s{i}",
        document_id=f"d{i}",
        author="Wren Marlow",
        instruction=f"What of owl {i}?",
        response=text,
        start=0,
        end=len(text),
        split="test",
        written_by="a model",
    )


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Thirty requests that were answered; the judge of `[endpoint]` says yes to everything."""
    asked = [_sample(i) for i in range(30)]
    answers = [
        Answer(question=s.instruction, text=s.response, mode="write", found=i > 0)
        for i, s in enumerate(asked)
    ]
    notes = Notes(tmp_path / "notes")
    notes.once("asked-twin-write", lambda: [a.model_dump(mode="json") for a in answers])
    monkeypatch.setattr(
        wiring, "open_endpoint", lambda workspace: ScriptedChat(lambda _: '{"verdict": "yes"}', name="judge")
    )
    workspace = Workspace(tmp_path, Settings(author="Wren Marlow"))
    return SimpleNamespace(
        workspace=workspace,
        asked=asked,
        questions=asked,
        unanswerable=Kept((), ()),
        about_others=AboutOthers(Kept((), ()), "no writing by other authors was collected"),
        twin=None,
        notes=notes,
        material=SimpleNamespace(test=asked),
        progress=silent,
    )


def test_ares_counts_a_judges_verdicts_as_far_as_labels_bear_them_out(bench: Any) -> None:
    answers = sections._twin_answers(bench)
    store: Journal[Label] = Journal(bench.workspace.home / "labels.jsonl", Label)
    items = [i for i in label_items(answers) if i.dimension == "answer faithfulness"]
    for number, item in enumerate(items[:20]):
        store.append(label_of(item, good=number % 2 == 0))
    found = {d.dimension: d for d in sections.ares(bench).dimensions}
    faithful = found["answer faithfulness"]
    assert (faithful.answers, faithful.labels) == (29, 20), "an answer that was given up is not judged"
    assert faithful.share is not None and faithful.share.value == pytest.approx(0.5), "not the judge's 100%"
    assert found["context relevance"].share is None and "labelled" in found["context relevance"].not_measured
    assert faithful.on_trials is not None and faithful.on_trials.accuracy.value == 0.5


def _answering(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Every question gets an answer that repeats it; the questions of each call."""
    calls: list[list[str]] = []

    def answers_to(
        workspace: Any, questions: list[str], embedder: Any, model: Any, mode: str, *_: Any
    ) -> list[Answer]:
        calls.append(list(questions))
        return [Answer(question=q, text=f"{mode}: {q}", mode=mode, found="zyx" not in q) for q in questions]  # type: ignore[arg-type]

    monkeypatch.setattr(sections, "answers_to", answers_to)
    return calls


def test_the_judge_reads_more_answers_than_people_label(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _answering(monkeypatch)
    bench.questions = [*bench.asked, *(_sample(i) for i in range(30, 90))]
    settings = bench.workspace.settings.model_copy(update={"evaluate": EvaluateSettings(judged=60)})
    bench.workspace = Workspace(bench.workspace.home, settings)
    bench.asked, bench.embedder = held_out(bench.questions, 30), None
    bench.notes = Notes(bench.notes.folder / "new")
    found = sections.ares(bench).dimensions[0]
    assert (found.answers, [len(asked) for asked in calls]) == (60, [30, 30])
    assert len({question for asked in calls for question in asked}) == 60
    assert {s.instruction for s in bench.asked} in [set(asked) for asked in calls]
    sections.ares(bench)
    assert len(calls) == 2, "they are noted"


def test_silence_is_asked_for_on_our_questions_and_on_other_authors_documents_apart(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = _answering(monkeypatch)
    bench.notes, bench.twin, bench.base, bench.chunks = Notes(bench.notes.folder / "new"), 1, 2, []
    bench.embedder = HashEmbedder()
    bench.asked = bench.asked[:4]
    bench.unanswerable = Kept(("What zyx?", "Why zyx?", "Where zyx?"), (Skipped(what="How?", why="d1"),))
    bench.about_others = AboutOthers(
        Kept(("Whose zyx?", "Whose owl?"), (Skipped(what="Who?", why="d2"),)), ""
    )
    found = sections.answers(bench)
    arm = found.arms["twin write"]
    assert (arm.questions, arm.unanswerable, arm.others) == (4, 3, 2)
    assert (arm.abstentions.value, arm.abstentions_others.value) == (1, 0.5)
    assert [s.what for s in found.left_out] == ["How?", "Who?"]
    assert [len(asked) for asked in calls] == [4, 5] * 3
    assert len(sections._twin_answers(bench)) == 4 == len(bench.notes.once("asked-twin-write", list))


def test_without_other_authors_that_is_told(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _answering(monkeypatch)
    bench.notes, bench.twin, bench.base, bench.chunks = Notes(bench.notes.folder / "new"), 1, 2, []
    bench.embedder = HashEmbedder()
    arm = sections.answers(bench).arms["quote"]
    assert arm.not_measured["abstentions_others"] == "no writing by other authors was collected"


def test_ares_needs_an_answer(bench: Any) -> None:
    bench.asked = bench.questions = bench.asked[:1]
    given_up = sections._twin_answers(bench)[0]
    bench.notes = Notes(bench.notes.folder / "new")
    bench.notes.once("asked-twin-write", lambda: [given_up.model_dump(mode="json")])
    with pytest.raises(InputError, match="answered none"):
        sections.ares(bench)


@pytest.mark.parametrize("judging", [False, True])
def test_ragas_scores_the_answers_once_and_with_a_judge_where_one_is_asked(
    bench: Any, judging: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, str]] = []

    def scores(samples: Any, embedder: Any, judge: Any, progress: Any) -> RagasScores:
        asked.append((len(samples), judge.name if judge else ""))
        return ragas_scores(samples, {"rouge_score": [0.5] * len(samples)}, {}, asked[-1][1])

    monkeypatch.setattr("llm_twin.adapters.ragas_metrics.ragas", scores)
    monkeypatch.setattr(
        "llm_twin.evaluation.ragas_scores.rag_samples", lambda answered, chunks: _ragged(answered)
    )
    bench.judging, bench.embedder, bench.chunks = judging, None, []
    found = sections.ragas(bench)
    assert found == sections.ragas(bench) and len(asked) == 1
    assert (found.samples, found.judge) == asked[0] == (29, "judge" if judging else "")
    assert found.metrics["rouge_score"].value == 0.5


def _ragged(answered: Any) -> list[RagSample]:
    return [
        RagSample(
            document_id=s.document_id,
            question=s.instruction,
            answer=a.text,
            reference=s.response,
            retrieved_contexts=("p",),
            reference_contexts=("p",),
        )
        for s, a in answered
        if a.found
    ]


def test_ragas_needs_an_answer(bench: Any) -> None:
    bench.judging, bench.embedder, bench.chunks = False, None, []
    with pytest.raises(InputError, match="answered none"):
        sections.ragas(bench)


def test_tasks_of_the_harness_stand_beside_the_everyday_one(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name is asked for as a name, a folder as a folder; one that is not run says why and the others go on."""
    asked: list[tuple[Any, ...]] = []

    def run_tasks(model: Any, names: Any, folder: Any, limit: int, progress: Any) -> TaskRuns:
        asked.append((names, folder, limit))
        if folder is None:
            raise MissingPart("lm-evaluation-harness needs lm_eval", "install it")
        return TaskRuns(ran=(TaskRun(task="own", metric="acc", values=(0.0, 1.0)),))

    monkeypatch.setattr("llm_twin.adapters.lm_eval_harness.run_tasks", run_tasks)
    evaluate = EvaluateSettings(tasks=("arc_easy", str(tmp_path)), task_items=7)
    settings = bench.workspace.settings.model_copy(update={"evaluate": evaluate})
    bench.workspace = Workspace(tmp_path, settings)
    bench.base = bench.twin = ScriptedChat(lambda _: "x")
    found = sections.forgetting(bench)
    assert [task.name for task in found.tasks] == ["everyday", "own"]
    assert "lm_eval" in found.not_run["arc_easy"]
    assert asked == [(("arc_easy",), None, 7), ((), tmp_path, 7)] * 2
    sections.forgetting(bench)
    assert asked[4:] == [(("arc_easy",), None, 7)] * 2, "what ran is noted, what did not is tried again"


def test_the_search_is_measured_with_the_steps_that_were_asked_for(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder, asked = HashEmbedder(512), bench.asked[:4]
    bench.chunks = [
        Chunk(
            id=s.id, document_id=s.document_id, author=s.author, kind="article", title="T", text=s.response,
            start=s.start, end=s.end, tokens=20,
        )
        for s in asked
    ]  # fmt: skip

    def open_vectors(workspace: Workspace, dimension: int) -> QdrantEdgeVectors:
        store = QdrantEdgeVectors(tmp_path / f"vectors-{next(count)}", dimension)
        store.upsert(bench.chunks, embedder.embed([chunk.embedded_text for chunk in bench.chunks]))
        return store

    count, opened = itertools.count(), ScriptedChat(echo)
    monkeypatch.setattr(wiring, "open_vectors", open_vectors)
    known = Known(["Wren Marlow"], [], date(2026, 1, 1))
    monkeypatch.setattr(sections, "filterable", lambda workspace: known)
    bench.embedder, bench.questions, bench.twin = embedder, asked, None
    found = sections.search(bench)
    assert len(found.arms) == 6 and not found.more
    ((left_out, why),) = found.left_out.items()
    assert "query likelihood" in left_out and "search_model_arms is 0" in why
    settings = bench.workspace.settings.model_copy(update={"evaluate": EvaluateSettings(search_model_arms=2)})
    bench.workspace, bench.twin = Workspace(tmp_path, settings), opened
    asking = sections.search(bench)
    assert [len(table.arms) for table in asking.tables] == [6, 5] and not asking.left_out
    monkeypatch.setattr(sections, "SECTIONS", {"search": ("search", lambda bench: found)})
    assert sections.measured(bench, ["search"])["not_measured"] == {f"search: {left_out}": why}


def test_what_people_said_is_that_of_this_twin_and_of_all_answers(tmp_path: Path) -> None:
    workspace, now = Workspace(tmp_path, Settings(author="Wren Marlow")), datetime(2026, 1, 1, tzinfo=UTC)
    assert sections.said(workspace, "twin-1") == {"blind": None, "feedback": ()}
    guesses: Journal[Guess] = Journal(tmp_path / "blind.jsonl", Guess)
    for i in range(24):
        model = "twin-1" if i < 20 else "twin-0"
        guess = Guess(
            id=str(i), created=now, model=model, kind="article", real_first=True, picked_first=i % 2 == 0
        )
        guesses.append(guess)
    said = Feedback(id="f", created=now, model="twin-0", question="q", answer="a b", thumb="down", edit="a c")
    Journal(tmp_path / "feedback.jsonl", Feedback).append(said)
    found = sections.said(workspace, "twin-1")
    assert (found["blind"].total.guesses, found["blind"].verdict) == (20, "not told apart")
    pair = f"{7:016x}"
    for seed in ("aaaaaaaa", "bbbbbbbb"):  # one pair in two orders counts once
        again = Guess(
            id=pair + seed, created=now, model="twin-1", kind="x", real_first=True, picked_first=True
        )
        guesses.append(again)
    found = sections.said(workspace, "twin-1")
    assert (found["blind"].total.guesses, found["blind"].repeats) == (21, 1)
    assert (found["feedback"][0].down, found["feedback"][0].distance) == (1, (0.5, 0.5, 0.5))


@pytest.mark.parametrize(("measured", "many"), [("twin", 2), ("another", 0)])
def test_canaries_are_looked_for_in_the_twin_that_learnt_them_alone(
    measured: str, many: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: dict[str, Any] = {}
    monkeypatch.setattr("llm_twin.evaluation.privacy.measure", lambda *rest, **named: passed.update(named))
    monkeypatch.setattr(sections, "read_samples", lambda workspace: [])
    settings = Settings(author="Wren Marlow", privacy={"canaries": 2})  # type: ignore[arg-type]
    workspace = Workspace(tmp_path, settings)
    workspace.finish("train", "x", StageReport(stage="train", artefacts=(str(tmp_path / "twin"),)))
    bench = SimpleNamespace(
        workspace=workspace,
        subjects=(Subject("base", tmp_path / "base"), Subject(measured, tmp_path / measured)),
        documents=[],
        material=SimpleNamespace(train=[], test=[]),
        twin=None,
        ask=None,
        sampling=None,
        notes=SimpleNamespace(once=None),
        progress=silent,
    )
    sections.privacy(bench)  # type: ignore[arg-type]
    assert len(passed["canaries"]) == many
