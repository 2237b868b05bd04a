"""From a workspace to answers: the right folder, the settings, and a clear word where something is missing."""

from contextlib import closing
from pathlib import Path

import pytest

from llm_twin import asker, pipeline, wiring
from llm_twin.adapters.standins import HashEmbedder, ScriptedChat
from llm_twin.errors import InputError
from llm_twin.inference.steps import Steps
from llm_twin.settings import Settings
from llm_twin.types import Answer, Sampling, StageReport
from llm_twin.workspace import Workspace

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setattr(wiring, "open_embedder", lambda workspace, progress=None: HashEmbedder())
    corpus = {"location": str(EXAMPLES / "marlow" / "articles")}
    return Workspace(tmp_path, Settings(author="Wren Marlow", sources=(corpus,)))  # type: ignore[arg-type]


def trained(workspace: Workspace) -> Path:
    folder = workspace.home / "models" / "a-twin"
    report = StageReport(stage="train", counts={}, artefacts=(str(folder),), seconds=0.0)
    workspace.finish("train", "f", report)
    return folder


def test_the_twin_is_asked_once_there_is_one_and_the_base_model_before(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = workspace.home / "base"
    monkeypatch.setattr(wiring, "pull_model", lambda *given: base)
    assert asker.twin_folder(workspace) is None
    assert asker.chat_folder(workspace) == base
    folder = trained(workspace)
    assert asker.chat_folder(workspace) == asker.twin_folder(workspace) == folder
    assert asker.chat_folder(workspace, base=True) == base


def test_a_twin_whose_folder_is_gone_is_told(workspace: Workspace) -> None:
    with pytest.raises(InputError, match="no twin of"):
        asker.trained_twin(workspace)
    folder = trained(workspace)
    with pytest.raises(InputError, match="no twin of"):
        asker.trained_twin(workspace)
    folder.mkdir(parents=True)
    assert asker.trained_twin(workspace) == folder


def test_without_an_index_nothing_is_opened(workspace: Workspace) -> None:
    with pytest.raises(InputError, match="no index"):
        asker.Asker(workspace, "quote")


def test_answers_follow_the_settings_and_a_callers_own_sampling(workspace: Workspace) -> None:
    pipeline.collect(workspace)
    pipeline.index(workspace)
    with closing(asker.Asker(workspace, "quote")) as opened:
        using = opened.using()
        assert opened.model is None and using.mode == "quote"
        assert using.sampling.max_tokens == workspace.settings.ask.max_tokens
        assert using.passages == workspace.settings.ask.passages
        own = Sampling(max_tokens=3)
        parts = (opened.workspace, opened.store, opened.embedder, None, "quote", own)
        assert asker.answering(*parts).sampling == own
        *_, last = opened.stream("What do you keep in the log book?")
        assert isinstance(last, Answer) and last.mode == "quote"


def searching(workspace: Workspace, **steps: object) -> Workspace:
    search = workspace.settings.search.model_copy(update=steps)
    return Workspace(workspace.home, workspace.settings.model_copy(update={"search": search}))


def test_the_steps_of_the_search_are_those_of_the_settings(workspace: Workspace) -> None:
    embedder, model = HashEmbedder(), ScriptedChat(lambda messages: "")
    assert asker.steps(workspace, embedder, None) == Steps()
    pipeline.collect(workspace)
    asked = searching(workspace, filters="rules", diversity=True, neighbours=1, rerank="late-interaction")
    found = asker.steps(asked, embedder, model)
    assert found.known and found.known.authors == ["Wren Marlow"]
    assert (found.by, found.diversity, found.neighbours) == (model, True, 1)
    assert found.reranker and "late interaction" in found.reranker.name
    likely = asker.steps(searching(workspace, rerank="query-likelihood"), embedder, model).reranker
    assert likely and "query likelihood" in likely.name


@pytest.mark.parametrize(
    "step",
    [{"filters": "model"}, {"reformulations": 2}, {"hypothetical": True}, {"rerank": "query-likelihood"}],
)
def test_a_step_that_needs_a_model_is_refused_where_there_is_none(
    workspace: Workspace, step: dict[str, object]
) -> None:
    (name,) = step
    with pytest.raises(InputError, match=f"search.{name} needs a chat model"):
        asker.steps(searching(workspace, **step), HashEmbedder(), None)
    (workspace.home / "vectors").mkdir(parents=True)
    with pytest.raises(InputError, match=f"search.{name} needs a chat model"):
        asker.Asker(searching(workspace, **step), "quote")


def test_an_embedder_without_token_vectors_cannot_rerank(workspace: Workspace) -> None:
    class Plain:
        name = "plain"

    with pytest.raises(InputError, match="plain gives no vectors of tokens"):
        asker.steps(searching(workspace, rerank="late-interaction"), Plain(), None)  # type: ignore[arg-type]


def test_what_answers_were_made_with_changes_with_the_twin_the_index_and_the_settings(
    workspace: Workspace,
) -> None:
    first = asker.made_with(workspace, "write")
    assert asker.made_with(workspace, "write") == first
    seen = {first, asker.made_with(workspace, "quote")}
    trained(workspace)
    seen.add(asker.made_with(workspace, "write"))
    assert asker.made_with(workspace, "write", base=True) == first
    workspace.finish("index", "another", StageReport(stage="index"))
    seen.add(asker.made_with(workspace, "write"))
    ask = workspace.settings.ask.model_copy(update={"temperature": 0.9})
    changed = Workspace(workspace.home, workspace.settings.model_copy(update={"ask": ask}))
    seen.add(asker.made_with(changed, "write"))
    assert len(seen) == 5
