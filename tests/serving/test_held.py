"""The models of a server: opened once, twin and base apart once there are two, asked whether they answer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llm_twin import wiring
from llm_twin.adapters.standins import ScriptedChat, echo
from llm_twin.errors import InputError, Refused, TwinError, Unreachable
from llm_twin.ports import silent
from llm_twin.serving.held import Held
from llm_twin.types import StageReport
from llm_twin.workspace import Workspace


@pytest.fixture
def opened(
    workspace: Workspace, stand_in: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> list[Path]:
    """The folders that were opened, in order."""
    folders: list[Path] = []
    stand_in(None)

    def open_chat(workspace: Workspace, folder: Path, apart: bool) -> ScriptedChat:
        folders.append(folder)
        return ScriptedChat(echo, name=folder.name)

    monkeypatch.setattr(wiring, "open_chat", open_chat)
    return folders


def train(workspace: Workspace, name: str = "a-twin") -> None:
    artefacts = (str(workspace.home / "models" / name),)
    workspace.finish("train", name, StageReport(stage="train", counts={}, artefacts=artefacts, seconds=0.0))


def test_before_the_first_twin_both_are_one_and_afterwards_two(
    workspace: Workspace, opened: list[Path]
) -> None:
    held = Held(workspace, silent)
    assert held.model() is held.model(base=True) is held.model()
    train(workspace)
    assert held.model().name == "a-twin" != held.model(base=True).name
    train(workspace, "a-newer-twin")
    assert held.model().name == "a-newer-twin", "without a restart"
    assert len(opened) == 3


def test_closing_frees_all_of_them(workspace: Workspace, opened: list[Path]) -> None:
    held = Held(workspace, silent)
    train(workspace)
    models = [held.model(), held.model(base=True)]
    held.close()
    for model in models:
        with pytest.raises(TwinError, match="was closed"):
            model.generate([[]], None)  # type: ignore[arg-type]


def test_a_model_behind_a_server_is_asked_whether_it_answers(
    workspace: Workspace, opened: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(workspace, silent)
    held.check()

    def away() -> None:
        raise Unreachable("no connection")

    monkeypatch.setattr(held.model(), "reach", away, raising=False)
    with pytest.raises(Unreachable):
        held.check()


@pytest.mark.parametrize(
    ("error", "kept"),
    [(InputError("damaged"), False), (Unreachable("away"), True), (Refused("a wrong key"), True)],
)
def test_that_a_model_cannot_be_opened_is_no_fault_of_the_callers(
    workspace: Workspace, opened: list[Path], monkeypatch: pytest.MonkeyPatch, error: InputError, kept: bool
) -> None:
    def broken(*given: object) -> None:
        raise error

    monkeypatch.setattr(wiring, "open_chat", broken)
    with pytest.raises(TwinError) as told:
        Held(workspace, silent).model()
    assert isinstance(told.value, InputError) is kept
    with pytest.raises(type(error)):
        Held(workspace, silent).warm()
