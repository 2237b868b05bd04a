"""The road with stand-ins for the models: order, staleness, and what the first stages leave behind."""

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from llm_twin import asker, freshness, inspect, material, models, pipeline, reading, wiring
from llm_twin.adapters.standins import HashEmbedder, ScriptedChat
from llm_twin.errors import InputError, MissingPart
from llm_twin.evaluation.people import Dimension, Guess
from llm_twin.evaluation.report import Report
from llm_twin.journal import Journal
from llm_twin.settings import AskSettings, EndpointSettings, SearchSettings, Settings
from llm_twin.text import words
from llm_twin.training.rehearsal import Rehearsed
from llm_twin.types import Feedback, Sample, StageReport, Value
from llm_twin.workspace import Workspace

EXAMPLES = Path(__file__).parents[1] / "examples"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Eight of the sample author's essays, and three by someone else."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    chosen = [*sorted((EXAMPLES / "marlow" / "articles").glob("*.md"))[:8]]
    chosen += sorted((EXAMPLES / "background" / "hale").glob("*.md"))[:3]
    for path in chosen:
        (folder / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    return folder


@pytest.fixture
def workspace(tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setattr(wiring, "open_embedder", lambda workspace, progress=None: HashEmbedder())
    monkeypatch.setattr(wiring, "pull_model", lambda workspace, name, progress=None: tmp_path / name)
    monkeypatch.setattr(wiring, "open_chat", lambda workspace, folder, apart=False: ScriptedChat(_ask_about))
    settings = Settings(author="Wren Marlow", sources=({"location": str(corpus)},))  # type: ignore[arg-type]
    yield Workspace(tmp_path / "home", settings)


def _ask_about(messages: list[object]) -> str:
    telling = sorted(set(words(messages[-1].content)), key=lambda w: (-len(w), w))[:6]  # type: ignore[attr-defined]
    return '{"instruction": "What do you say of ' + " and ".join(telling) + '?"}'


def samples(workspace: Workspace) -> list[Sample]:
    return reading.read_samples(workspace)


def test_collect_index_dataset_leave_a_whole_workspace(workspace: Workspace) -> None:
    collected = pipeline.collect(workspace)
    indexed = pipeline.index(workspace)
    made = pipeline.dataset(workspace)
    assert collected.counts["new"] == 11
    assert indexed.counts["embedded"] == indexed.counts["chunks"] > 11
    assert indexed.counts["lines dropped"] > 0
    assert made.counts["train"] > made.counts["held out"] > 0
    assert inspect.verify(workspace) == []


def test_every_response_is_a_verbatim_span_of_one_document_on_one_side(workspace: Workspace) -> None:
    pipeline.collect(workspace)
    pipeline.dataset(workspace)
    texts = {d.document.id: d.text for d in reading.clean_documents(workspace)[0]}
    sides: dict[str, set[str]] = {}
    for sample in samples(workspace):
        assert texts[sample.document_id][sample.start : sample.end] == sample.response
        assert 40 <= len(words(sample.response)) <= 300
        sides.setdefault(sample.document_id, set()).add(sample.split)
    assert {len(split) for split in sides.values()} == {1}
    assert {s.author for s in samples(workspace)} == {"Wren Marlow"}


def test_requests_written_by_the_model_are_kept_over_a_rerun(workspace: Workspace) -> None:
    pipeline.collect(workspace)
    pipeline.dataset(workspace)
    before = (workspace.dataset / "samples.jsonl").read_bytes()
    assert any(s.written_by == "scripted" for s in samples(workspace))
    drafts = sorted(workspace.dataset.glob("drafts/*/*.json"))
    drafts[-1].unlink()  # as if killed before the last batch was written
    pipeline.dataset(workspace)
    assert (workspace.dataset / "samples.jsonl").read_bytes() == before


def test_only_what_changed_is_stale_and_done_again(workspace: Workspace, corpus: Path) -> None:
    for stage in ("collect", "index", "dataset"):
        assert freshness.is_stale(workspace, stage)
        pipeline.ROAD[stage](workspace, lambda done, total, note="": None)
        assert not freshness.is_stale(workspace, stage)
    changed = sorted(corpus.glob("*.md"))[0]
    changed.write_text(changed.read_text(encoding="utf-8") + "\n\nA new last paragraph of some words.\n")
    assert freshness.is_stale(workspace, "collect")
    assert not freshness.is_stale(workspace, "index")
    assert pipeline.collect(workspace).counts["changed"] == 1
    assert freshness.is_stale(workspace, "index")
    assert pipeline.index(workspace).counts["embedded"] <= 4


def test_lost_results_make_a_stage_stale(workspace: Workspace) -> None:
    pipeline.collect(workspace)
    pipeline.dataset(workspace)
    (workspace.dataset / "samples.jsonl").unlink()
    assert freshness.is_stale(workspace, "dataset")


def test_verify_names_a_sample_that_is_no_span(workspace: Workspace) -> None:
    pipeline.collect(workspace)
    pipeline.dataset(workspace)
    path = workspace.dataset / "samples.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('"response":"', '"response":"Invented. ', 1))
    assert any("is not a span" in problem for problem in inspect.verify(workspace))


def test_verify_names_a_missing_chunk(workspace: Workspace) -> None:
    pipeline.collect(workspace)
    pipeline.index(workspace)
    store = wiring.open_vectors(workspace, HashEmbedder().dimension)
    store.delete([min(store.chunk_ids())])
    store.close()
    assert "index: 1 chunks are missing" in inspect.verify(workspace)


def test_an_author_without_writing_is_told_whose_there_is(workspace: Workspace) -> None:
    pipeline.collect(workspace)
    other = Workspace(workspace.home, workspace.settings.model_copy(update={"author": "Nobody Here"}))
    with pytest.raises(InputError, match="Edmund Hale, Wren Marlow"):
        pipeline.dataset(other)


def test_nothing_to_collect_and_nothing_collected_say_what_to_do(tmp_path: Path) -> None:
    empty = Workspace(tmp_path, Settings(author="X"))
    for stage in (pipeline.collect, pipeline.index, pipeline.dataset):
        with pytest.raises(InputError) as caught:
            stage(empty)
        assert "twin collect" in caught.value.way_out


def test_spread_takes_turns_over_documents() -> None:
    made = [
        Sample(
            id=f"s_{d}{i}", document_id=d, author="A", instruction="?", response="r", start=0, end=1, split="test",
            written_by="m",
        )
        for d, n in (("a", 5), ("b", 1), ("c", 3))
        for i in range(n)
    ]  # fmt: skip
    chosen = material.spread(made, 5)
    assert sorted(s.document_id for s in chosen) == ["a", "a", "b", "c", "c"]
    assert chosen == [s for s in made if s in chosen]


def test_an_index_that_cannot_be_read_is_told_before_anything_is_measured(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.collect(workspace)
    pipeline.index(workspace)
    pipeline.dataset(workspace)
    monkeypatch.setattr(asker, "trained_twin", lambda workspace: tmp_path / "twin")
    for card in workspace.vectors.rglob("card.json"):
        card.write_text(json.dumps({"layout": 99, "dimension": 8}), encoding="utf-8")
    with pytest.raises(InputError, match="layout 99"):
        pipeline.evaluate(workspace, quick=True)
    assert not (workspace.home / "evaluations").exists()


# --- what people and a judge say, in the report ------------------------------------------------------------------


@pytest.fixture
def measurable(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace up to its dataset, whose twin is a stand-in called "twin"."""
    pipeline.collect(workspace)
    pipeline.index(workspace)
    pipeline.dataset(workspace)
    monkeypatch.setattr(asker, "trained_twin", lambda workspace: tmp_path / "twin")
    monkeypatch.setattr(models, "read_card", lambda folder: SimpleNamespace(sha256="0"))
    return workspace


def _say_something(workspace: Workspace) -> None:
    guesses: Journal[Guess] = Journal(workspace.home / "blind.jsonl", Guess)
    for i in range(20):
        guess = Guess(
            id=str(i), created=NOW, model="twin", kind="article", real_first=True, picked_first=i < 19
        )
        guesses.append(guess)
    said = Feedback(id="f", created=NOW, model="twin", question="q", answer="a b", thumb="up", edit="a c")
    Journal(workspace.home / "feedback.jsonl", Feedback).append(said)


def test_the_next_report_holds_what_people_said_and_what_a_judge_says(
    measurable: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        wiring, "open_endpoint", lambda workspace: ScriptedChat(lambda _: '{"verdict": "yes"}', name="judge")
    )
    before = _report(pipeline.evaluate(measurable, quick=True))
    assert before.blind is None and before.feedback == () and before.ares is None
    _say_something(measurable)
    after = _report(pipeline.evaluate(measurable, quick=True, judge=True))
    assert after.blind is not None and after.blind.verdict == "told apart"
    assert (after.feedback[0].up, after.feedback[0].edited) == (1, 1)
    assert after.ares is not None and after.ares.judge == "judge"
    assert [d.dimension for d in after.ares.dimensions] == list(get_args(Dimension))
    again = _report(pipeline.evaluate(measurable, quick=True))
    assert again.ares == after.ares, "what a judge said once is not lost when nobody asks it again"


def test_the_report_tells_the_minutes_of_its_own_evaluation(measurable: Workspace) -> None:
    measurable.finish("evaluate", "x", StageReport(stage="evaluate", seconds=6000))
    found = pipeline.evaluate(measurable, quick=True)
    assert _report(found).minutes["evaluate"] == round(found.seconds / 60, 2) < 50


class Mute(ScriptedChat):
    """What most endpoints are: it writes, and gives no probabilities of a given text."""

    def score(self, *given: object, **named: object) -> list[Any]:
        raise MissingPart("the server does not tell how probable a text is", "serve it with vLLM")


def test_the_model_of_an_endpoint_is_measured_as_far_as_it_can_be(
    measurable: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "open_endpoint", lambda workspace: Mute(_ask_about, name="far"))
    parts = {**pipeline.QUICK, "sections": ("knowledge", "forgetting"), "tasks": ("arc_easy",)}
    monkeypatch.setattr(pipeline, "QUICK", parts)
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    finished = pipeline.evaluate(measurable, quick=True, model="endpoint")
    found = _report(finished)
    assert (found.twin_model, found.twin_sha256) == ("far", "")
    assert found.measured.perplexity is None and "how probable" in found.measured.perplexity_missing
    assert "not measured: the server" in str(found.headline()["perplexity"])
    assert found.knowledge is not None and found.knowledge.answers is not None
    assert "forgetting" in found.not_measured
    assert measurable.finished("evaluate") is None, "the road measures the twin alone"
    other = measurable.settings.model_copy(update={"endpoint": EndpointSettings(url="http://elsewhere/v1")})
    elsewhere = pipeline.evaluate(Workspace(measurable.home, other), quick=True, model="endpoint")
    assert elsewhere.artefacts != finished.artefacts


def test_the_judge_is_held_against_the_newest_of_users_thumbs(
    measurable: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(wiring, "open_endpoint", lambda workspace: ScriptedChat(_ask_about, name="judge"))
    monkeypatch.setattr(
        "llm_twin.evaluation.judge.judge", lambda *given, thumbs, progress: asked.append(thumbs)
    )
    _say_something(measurable)
    pipeline.evaluate(measurable, quick=True, judge=True)
    assert [(t.question, t.answer, t.up) for t in asked[0]] == [("q", "a b", True)]


def test_an_evaluation_is_another_with_other_answers_or_other_weights(
    measurable: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_settings(**update: Any) -> Workspace:
        return Workspace(measurable.home, measurable.settings.model_copy(update=update))

    before = freshness.evaluate_inputs(measurable)
    for update in ({"ask": AskSettings(budget_tokens=700)}, {"search": SearchSettings(diversity=True)}):
        assert freshness.evaluate_inputs(with_settings(**update)) != before
    found = []
    for sha256 in ("0", "1"):
        monkeypatch.setattr(models, "read_card", lambda folder, sha256=sha256: SimpleNamespace(sha256=sha256))
        found.append(pipeline.evaluate(measurable, quick=True, model="some-model").artefacts[0])
    assert found[0] != found[1], "a folder may hold other weights than the last time"


def test_an_endpoint_that_writes_counts_for_what_it_wrote(measurable: Workspace) -> None:
    def at(adapter: str, url: str) -> tuple[str, str]:
        changed = {
            "adapters": measurable.settings.adapters.model_copy(update={"chat": adapter}),
            "endpoint": EndpointSettings(url=url),
        }
        there = Workspace(measurable.home, measurable.settings.model_copy(update=changed))
        return freshness.dataset_inputs(there), freshness.evaluate_inputs(there)

    here, there = "http://here/v1", "http://there/v1"
    assert at("openvino", here) == at("openvino", there)
    for before, after in zip(at("openai", here), at("openai", there), strict=True):
        assert before != after


def _report(finished: StageReport) -> Report:
    return Report.model_validate_json(Path(finished.artefacts[0]).read_text(encoding="utf-8"))


def test_a_damaged_journal_and_a_judge_that_is_not_there_are_told_before_anything_is_measured(
    measurable: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(workspace: Workspace) -> ScriptedChat:
        raise InputError("nobody answers there", "start it")

    monkeypatch.setattr(wiring, "open_endpoint", refuse)
    with pytest.raises(InputError, match="nobody answers"):
        pipeline.evaluate(measurable, quick=True, judge=True)
    (measurable.home / "blind.jsonl").write_text("no guess\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 1 is not a guess"):
        pipeline.evaluate(measurable, quick=True)
    assert not (measurable.home / "evaluations").exists()


def test_a_batch_answers_a_file_and_is_not_done_twice(workspace: Workspace, tmp_path: Path) -> None:
    pipeline.collect(workspace)
    pipeline.index(workspace)
    asked, out = tmp_path / "questions.jsonl", tmp_path / "answers.jsonl"
    asked.write_text('{"question": "What do you keep in the log book?"}\nnonsense\n{"question": "Zyx?"}\n')
    first = pipeline.batch(workspace, asked, out, "quote")
    assert (first.counts["answered"], [item.what for item in first.skipped]) == (2, ["line 2"])
    before = out.read_bytes()
    again = pipeline.batch(workspace, asked, out, "quote")
    assert (again.counts["answered"], again.counts["answered before"]) == (0, 2)
    assert out.read_bytes() == before
    workspace.finish("index", "made anew", StageReport(stage="index"))
    with pytest.raises(InputError, match="another model, index or setting"):
        pipeline.batch(workspace, asked, out, "quote")
    assert out.read_bytes() == before
    with pytest.raises(InputError, match="holds the questions"):
        pipeline.batch(workspace, asked, asked, "quote")


# --- canaries ----------------------------------------------------------------------------------------------------


def _with_canaries(workspace: Workspace, many: int) -> Workspace:
    privacy = workspace.settings.privacy.model_copy(update={"canaries": many, "canary_times": 3})
    return Workspace(workspace.home, workspace.settings.model_copy(update={"privacy": privacy}))


def test_a_share_of_the_training_is_rehearsed_and_stays_the_same_when_a_run_goes_on(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.collect(workspace)
    pipeline.dataset(workspace)
    seen: list[tuple[int, list[Rehearsed]]] = []

    def sft(samples: list[Sample], *rest: object) -> StageReport:
        seen.append((sum(s.split == "train" for s in samples), list(rest[-1])))  # type: ignore[call-overload]
        raise KeyboardInterrupt

    monkeypatch.setattr("llm_twin.training.sft.sft", sft)
    monkeypatch.setattr("llm_twin.training.export.gguf_obstacle", lambda base: "")
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            pipeline.train(workspace)
    (own, first), again = seen
    assert again == (own, first)
    share = workspace.settings.train.rehearsal
    assert len(first) / (own + len(first)) == pytest.approx(share, abs=0.05)
    (kept,) = workspace.home.glob("runs/*/rehearsal.jsonl")
    assert len(kept.read_text().splitlines()) == len(first)


def test_canaries_are_learnt_and_stand_in_no_dataset(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.collect(workspace)
    pipeline.dataset(workspace)
    learnt: list[Sample] = []

    class Trained(Value):
        loss: float = 1.0

    def sft(samples: list[Sample], *rest: object) -> Trained:
        learnt[:] = samples
        return Trained()

    monkeypatch.setattr("llm_twin.training.sft.sft", sft)
    monkeypatch.setattr("llm_twin.training.export.gguf_obstacle", lambda base: "")
    monkeypatch.setattr("llm_twin.training.export.export", lambda *rest: None)
    assert "canaries" not in pipeline.train(workspace).counts
    assert learnt == samples(workspace)
    salted = _with_canaries(workspace, 2)
    assert freshness.train_inputs(salted) != freshness.train_inputs(workspace), "it is another twin"
    assert pipeline.train(salted).counts["canaries"] == 2
    assert len(learnt) == len(samples(workspace)) + 6
    told = {s.response for s in learnt[-6:]}
    assert len(told) == 2 and told.isdisjoint(s.response for s in samples(workspace))
