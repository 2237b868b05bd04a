"""Measuring beside the road: texts are read or passed over with a reason; what is not there is named."""

from pathlib import Path

import pytest

from llm_twin import assess, pipeline
from llm_twin.errors import InputError
from llm_twin.settings import Settings
from llm_twin.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "home", Settings(author="Wren Marlow"))


def test_texts_by_someone_who_was_not_collected_name_who_was(workspace: Workspace, tmp_path: Path) -> None:
    essay = tmp_path / "essay.md"
    essay.write_text("# Lathe\n\nI oil the lathe on Sundays, and on Mondays I turn brass for the clock.\n")
    pipeline.collect(workspace, [(str(essay), None)])
    with pytest.raises(InputError, match="nothing by Someone was collected"):
        assess.texts(workspace, essay, "Someone")


def test_a_folder_without_texts_is_named(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "data.bin").write_bytes(b"\x00")
    with pytest.raises(InputError, match="holds no texts"):
        assess.texts(workspace, tmp_path / "empty", "Wren Marlow")


def test_before_an_evaluation_there_is_nothing_to_label_or_compare(workspace: Workspace) -> None:
    with pytest.raises(InputError, match="no evaluation yet"):
        assess.to_label(workspace)
    with pytest.raises(InputError, match="abc"):
        assess.compare(workspace, "abc", "def")
