"""Notes of what is up to date, remembered sources, and the lock."""

import subprocess
import sys
from pathlib import Path

import pytest

from llm_twin.errors import InputError, TwinError
from llm_twin.settings import Settings
from llm_twin.types import StageReport
from llm_twin.workspace import Workspace


def workspace(home: Path) -> Workspace:
    return Workspace(home, Settings(author="Wren Marlow", sources=({"location": "./a"},)))  # type: ignore[arg-type]


def test_opening_a_workspace_creates_nothing(tmp_path: Path) -> None:
    workspace(tmp_path / "w").finished("index")
    assert not (tmp_path / "w").exists()


def test_a_note_comes_back_as_it_was_written(tmp_path: Path) -> None:
    there = workspace(tmp_path)
    report = StageReport(stage="index", counts={"chunks": 3}, seconds=1.5)
    there.finish("index", "abc", report)
    note = there.finished("index")
    assert note is not None
    assert (note.fingerprint, note.report) == ("abc", report)


def test_a_moved_workspace_keeps_its_results(tmp_path: Path) -> None:
    there = workspace(tmp_path / "a")
    result = tmp_path / "a" / "models" / "twin"
    result.mkdir(parents=True)
    there.finish("train", "abc", StageReport(stage="train", artefacts=(str(result),)))
    (tmp_path / "a").rename(tmp_path / "b")
    note = workspace(tmp_path / "b").finished("train")
    assert note is not None
    assert note.report.artefacts == (str(tmp_path / "b" / "models" / "twin"),)


def test_a_damaged_note_says_which_file(tmp_path: Path) -> None:
    there = workspace(tmp_path)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "index.json").write_text("{")
    with pytest.raises(InputError, match=r"index\.json"):
        there.finished("index")


def test_sources_are_the_settings_then_the_remembered_each_once(tmp_path: Path) -> None:
    there = workspace(tmp_path)
    there.remember([("./b", "Someone"), ("./a", None)])
    there.remember([("./b", "Someone")])
    assert there.sources() == [("./a", None), ("./b", "Someone")]


def test_without_an_author_the_way_out_is_init(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        _ = Workspace(tmp_path, Settings()).author
    assert "twin init" in caught.value.way_out


def test_a_second_process_is_told_to_wait(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from llm_twin.settings import Settings;"
        "from llm_twin.workspace import Workspace\n"
        "with Workspace(Path(sys.argv[1]), Settings()).locked(): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(TwinError, match="another twin command"), workspace(tmp_path).locked():
            pass
    finally:
        holder.communicate("")
    with workspace(tmp_path).locked():
        pass
