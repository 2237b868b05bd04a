"""Measuring beside the road: texts are read or passed over with a reason; what is not there is named."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ir_measures
import pytest

from llm_twin import asker, assess, models, pipeline, wiring
from llm_twin.adapters.standins import HashEmbedder, ScriptedChat, echo
from llm_twin.errors import InputError
from llm_twin.evaluation import gate
from llm_twin.evaluation.forgetting import Forgetting, TaskRun, TaskRuns, forgetting
from llm_twin.evaluation.intervals import Estimate
from llm_twin.evaluation.report import Report
from llm_twin.evaluation.retrieval import Retrieval
from llm_twin.evaluation.rows import PerDocument, part
from llm_twin.settings import Settings
from llm_twin.types import GateRule, StageReport
from llm_twin.workspace import Workspace

HALF = Estimate(value=0.5, low=0.4, high=0.6)
EXAMPLES = Path(__file__).parents[1] / "examples"
ESSAY = "# Lathe\n\nI oil the lathe on Sundays, and on Mondays I turn brass for the clock.\n"
SENTENCE = "Lathes should be maintained regularly, because moving parts wear out in everyday use. "


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "home", Settings(author="Wren Marlow"))


@pytest.fixture
def essay(tmp_path: Path) -> Path:
    (tmp_path / "essay.md").write_text(ESSAY)
    return tmp_path / "essay.md"


# --- texts ---------------------------------------------------------------------------------------------------------


def test_texts_by_someone_who_was_not_collected_name_who_was(workspace: Workspace, essay: Path) -> None:
    pipeline.collect(workspace, [(str(essay), None)])
    with pytest.raises(InputError, match="nothing by Ann Lee was collected") as caught:
        assess.texts(workspace, essay, "Ann Lee")
    assert f"twin collect FOLDER --author 'Ann Lee' --home {workspace.home}" in caught.value.way_out
    assert "Wren Marlow" in caught.value.way_out


def test_an_empty_workspace_names_every_command_to_run(tmp_path: Path, essay: Path) -> None:
    nowhere = Workspace(tmp_path / "a home", Settings())
    with pytest.raises(InputError, match="holds no writing") as caught:
        assess.texts(nowhere, essay, "Ann Lee")
    assert "twin init 'Ann Lee' --home '" in caught.value.way_out
    assert "twin collect FOLDER --author 'Ann Lee' --home '" in caught.value.way_out
    assert "somebody else's" in caught.value.way_out
    with pytest.raises(InputError, match="whose writing") as caught:
        assess.texts(nowhere, essay)
    assert "--author" in caught.value.way_out and "twin init" in caught.value.way_out
    assert not nowhere.home.exists()


def test_without_anybody_else_s_writing_the_command_that_collects_some_is_named(
    workspace: Workspace, essay: Path
) -> None:
    pipeline.collect(workspace, [(str(EXAMPLES / "marlow" / "articles"), None)])
    with pytest.raises(InputError, match="too little writing by others") as caught:
        assess.texts(workspace, essay)
    assert f"twin collect FOLDER --author 'Somebody Else' --home {workspace.home}" in caught.value.way_out
    # One piece each by two others is background to learn from, and none to measure on.
    pieces = [EXAMPLES / "background" / who for who in ("hale", "okoro")]
    pipeline.collect(workspace, [(str(sorted(piece.glob("*.md"))[0]), None) for piece in pieces])
    with pytest.raises(InputError, match="too little writing by others"):
        assess.texts(workspace, essay)


def test_a_file_or_a_folder_is_appraised(
    workspace: Workspace, essay: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    sources = [str(EXAMPLES / where) for where in ("marlow/articles", "background/hale")]
    pipeline.collect(workspace, [(source, None) for source in sources])
    monkeypatch.setattr("llm_twin.evaluation.appraise.appraise", lambda *given: asked.append(given))
    _, skipped = assess.texts(workspace, essay)
    assert asked[0][:2] == ("Wren Marlow", [("essay.md", ESSAY)]) and not skipped
    folder = essay.parent / "drafts"
    (folder / "old").mkdir(parents=True)
    for name in ("a.TXT", "old/a.txt"):
        (folder / name).write_text("mine")
    (folder / "data.bin").write_bytes(b"\x00")
    (folder / "bad.md").write_bytes(b"\xff")
    _, skipped = assess.texts(workspace, folder, "Edmund Hale")
    assert asked[1][:2] == ("Edmund Hale", [("a.TXT", "mine"), ("old/a.txt", "mine")])
    assert {Path(s.what).name: s.why for s in skipped} == {
        "bad.md": "not UTF-8 text",
        "data.bin": "not one of .md, .markdown, .txt",
    }


def test_a_folder_or_a_file_without_text_is_named(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "data.bin").write_bytes(b"\x00")
    with pytest.raises(InputError, match="empty holds no texts"):
        assess.texts(workspace, tmp_path / "empty")
    with pytest.raises(InputError, match=r"data\.bin holds no texts: not one of \.md"):
        assess.texts(workspace, tmp_path / "empty" / "data.bin")
    with pytest.raises(InputError, match="nowhere does not exist"):
        assess.texts(workspace, tmp_path / "nowhere")


# --- a search benchmark --------------------------------------------------------------------------------------------


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    texts = {"d1": "owls hunt voles at night", "d2": "bread needs salt", "d3": "clocks run slow in the cold"}
    queries = {"q1": "do owls hunt at night", "q2": "does bread need salt", "q3": "why do clocks run slow"}
    (tmp_path / "owls" / "qrels").mkdir(parents=True)
    for name, rows in (("corpus", texts), ("queries", queries)):
        lines = [json.dumps({"_id": key, "text": text}) for key, text in rows.items()]
        (tmp_path / "owls" / f"{name}.jsonl").write_text("\n".join(lines))
    (tmp_path / "owls" / "qrels" / "test.txt").write_text("q1 0 d1 1\nq2 0 d2 2\nq3 0 d3 1\n")
    return tmp_path / "owls"


def test_every_way_of_searching_is_measured_on_a_benchmark(
    workspace: Workspace, benchmark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[ScriptedChat] = []

    def open_chat(workspace: Workspace, folder: Path, apart: bool = False) -> ScriptedChat:
        opened.append(ScriptedChat(echo))
        return opened[-1]

    monkeypatch.setattr(wiring, "open_embedder", lambda workspace, progress=None: HashEmbedder(512))
    monkeypatch.setattr(wiring, "pull_model", lambda workspace, name, progress=None: benchmark)
    monkeypatch.setattr(wiring, "open_chat", open_chat)
    found = assess.benchmark(workspace, benchmark)
    assert [arm.name for arm in found.arms] == [
        "hybrid", "dense", "BM25", "hybrid + self-query, rules", "hybrid + diversity", "hybrid + late interaction",
    ]  # fmt: skip
    assert all(arm.values["RR@10"].value == 1 for arm in found.arms)
    ((left_out, why),) = found.left_out.items()
    assert "query likelihood" in left_out and "--model-arms" in why and not opened
    asked = assess.benchmark(workspace, benchmark, model_questions=2)
    assert len(asked.more[0].arms) == 5 and asked.more[0].questions == 2 and not asked.left_out
    assert len(opened) == 1
    assert not workspace.home.exists(), "a benchmark needs no workspace and leaves none"


RUN = "q1 Q0 d1 1 9 x\nq1 Q0 d2 2 5 x\nq2 Q0 d1 1 3.5 x\nq2 Q0 d2 2 3 x\n"


def test_runs_are_measured_as_ir_measures_measures_them(benchmark: Path) -> None:
    run, better = benchmark / "run.txt", benchmark / "better.txt"
    run.write_text(RUN)
    better.write_text("".join(f"q{i} Q0 d{i} 1 1 y\n" for i in (1, 2, 3)))
    found = assess.rankings(benchmark, [run, better])
    assert (found.baseline, found.judged, found.questions) == ("run.txt", "document", 3)
    measures = [ir_measures.parse_measure(name) for name in found.measures]
    reference = ir_measures.calc_aggregate(
        measures,
        list(ir_measures.read_trec_qrels(str(benchmark / "qrels" / "test.txt"))),
        list(ir_measures.read_trec_run(str(run))),
    )
    values = {name: value.value for name, value in found.arms[0].values.items()}
    assert values == pytest.approx({str(measure): value for measure, value in reference.items()})
    assert found.arm("better.txt").against["RR@10"].difference.value == pytest.approx((0 + 0.5 + 1) / 3)
    assert found.left_out == {"run.txt": "1 of 3 queries, which count as 0"}


def test_a_run_of_another_benchmark_or_two_of_one_name_are_refused(benchmark: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("z1 Q0 d1 1 9 x\n")
    with pytest.raises(InputError, match="ranks none of the queries"):
        assess.rankings(benchmark, [tmp_path / "run"])
    with pytest.raises(InputError, match="two runs are called run"):
        assess.rankings(benchmark, [tmp_path / "run", benchmark / "run"])


# --- people --------------------------------------------------------------------------------------------------------


@pytest.fixture
def evaluated(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace whose twin, a stand-in called "twin", was evaluated without any section."""
    monkeypatch.setattr(wiring, "open_embedder", lambda workspace, progress=None: HashEmbedder())
    monkeypatch.setattr(wiring, "pull_model", lambda workspace, name, progress=None: tmp_path / name)
    monkeypatch.setattr(wiring, "open_chat", lambda workspace, folder: ScriptedChat(lambda _: SENTENCE * 5))
    monkeypatch.setattr(models, "read_card", lambda folder: SimpleNamespace(sha256="0"))
    for module in (asker, assess):
        monkeypatch.setattr(module, "trained_twin", lambda workspace: tmp_path / "twin")
    settings = Settings(author="Wren Marlow", dataset={"instructions": "template"}, evaluate={"sections": ()})  # type: ignore[arg-type]
    workspace = Workspace(workspace.home, settings)
    sources = [str(EXAMPLES / where) for where in ("marlow/articles", "background/hale")]
    pipeline.collect(workspace, [(source, None) for source in sources])
    for stage in (pipeline.index, pipeline.dataset, pipeline.evaluate):
        stage(workspace)
    return workspace


def test_a_blind_test_is_of_the_last_evaluation_and_its_model_or_there_is_none(
    evaluated: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = assess.blind_test(evaluated)
    assert items and {item.model for item in items} == {"twin"}
    assert all(SENTENCE[:40] in (item.second if item.real_first else item.first) for item in items)

    with monkeypatch.context() as patched:
        patched.setattr(assess, "trained_twin", lambda workspace: tmp_path / "newer")
        with pytest.raises(InputError, match="the last evaluation, of twin,") as caught:
            assess.blind_test(evaluated)
    assert caught.value.way_out == "evaluate first: twin evaluate"

    (assess.latest(evaluated) / "answers-twin.json").rename(tmp_path / "kept.json")
    with pytest.raises(InputError, match="the last evaluation"):
        assess.blind_test(evaluated)
    (tmp_path / "kept.json").rename(assess.latest(evaluated) / "answers-twin.json")
    assert assess.blind_test(evaluated) == items

    evaluated.finish("train", "another", StageReport(stage="train", artefacts=(str(tmp_path),)))
    with pytest.raises(InputError, match="the last evaluation"):
        assess.blind_test(evaluated)


def test_samples_that_changed_since_are_no_raw_error(evaluated: Workspace) -> None:
    """The dataset was made anew with fewer samples, and nothing was evaluated since."""
    samples = evaluated.dataset / "samples.jsonl"
    samples.write_text("\n".join(samples.read_text().splitlines()[:-1]))
    dataset = evaluated.finished("dataset")
    assert dataset
    evaluated.finish("dataset", "another", dataset.report)
    with pytest.raises(InputError, match="the last evaluation"):
        assess.blind_test(evaluated)


def test_before_an_evaluation_there_is_nothing_to_label_or_compare(workspace: Workspace) -> None:
    with pytest.raises(InputError, match="no evaluation yet"):
        assess.to_label(workspace)
    with pytest.raises(InputError, match="no evaluation yet"):
        assess.blind_test(workspace)
    with pytest.raises(InputError, match="abc"):
        assess.compare(workspace, "abc", "def")


def test_what_sections_measured_is_compared_beside_the_headline(tmp_path: Path) -> None:
    """A twin that searches and answers as before but forgot half of a general task is worse there, and there alone."""
    documents = [f"d{i % 6}" for i in range(24)]
    ids = [f"s{i:02}" for i in range(24)]
    rows = part(ids, documents, [0.1 * (i % 7) for i in range(24)])

    def task(values: Sequence[float]) -> Forgetting:
        runs = [
            TaskRuns(ran=(TaskRun(task="everyday", metric="acc", values=tuple(v)),))
            for v in ([1.0] * 24, values)
        ]
        return forgetting(*runs)

    def evaluated(name: str, values: Sequence[float]) -> Any:
        found = Retrieval(questions=24, recall_at_5=HALF, mrr_at_10=HALF, ndcg_at_10=HALF, rows=rows)
        return SimpleNamespace(
            twin_model=name,
            author="Ann",
            measured=SimpleNamespace(rows=PerDocument(verifier="v", parts={}), memorisation=None, refused=""),
            privacy=None,
            beside=lambda: Report.beside(
                SimpleNamespace(retrieval=found, rag=None, knowledge=None, forgetting=task(values))  # type: ignore[arg-type]
            ),
        )

    sides = [
        assess._evaluated(n, evaluated(n, v)) for n, v in (("old", [1.0] * 24), ("new", [1.0, 0.0] * 12))
    ]
    verdict = gate.compare(
        sides[0], sides[1], GateRule(better=(), not_worse=("retrieval", "task everyday"), veto=())
    )
    calls = {d.name: d.call for d in verdict.dimensions if d.call != "not measured"}
    assert calls == {"retrieval": "no difference", "task everyday": "worse"}
    assert [check.passed for check in verdict.checks] == [True, False]
