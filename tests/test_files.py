"""A file written here is the old one or the new one, never a part."""

import json
import os
from pathlib import Path

import pytest

from llm_twin.files import add_line, write_json, write_lines, write_text


def test_text_comes_back_as_written_in_folders_made_on_the_way(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "note.md"
    write_text(path, "It’s — “odd” 🦉\r\n")
    assert path.read_bytes().decode() == "It’s — “odd” 🦉\r\n"
    assert [each.name for each in path.parent.iterdir()] == ["note.md"]


def test_json_is_sorted_readable_and_the_same_for_the_same_value(tmp_path: Path) -> None:
    write_json(tmp_path / "1", {"b": [1, 2.5], "a": "ä"})
    write_json(tmp_path / "2", {"a": "ä", "b": [1, 2.5]})
    text = (tmp_path / "1").read_text(encoding="utf-8")
    assert text == (tmp_path / "2").read_text(encoding="utf-8")
    assert json.loads(text) == {"a": "ä", "b": [1, 2.5]}
    assert "ä" in text and text.index('"a"') < text.index('"b"') and text.endswith("}\n")


def test_lines_end_with_a_line_break_each(tmp_path: Path) -> None:
    write_lines(tmp_path / "l", (str(i) for i in range(3)))
    assert (tmp_path / "l").read_text() == "0\n1\n2\n"
    write_lines(tmp_path / "l", [])
    assert (tmp_path / "l").read_text() == ""


def test_lines_are_added_and_the_file_is_private_from_the_first(tmp_path: Path) -> None:
    path = tmp_path / "l"
    for line in ("a", "ä"):
        add_line(path, line, 0o600)
    assert path.read_bytes().decode() == "a\nä\n"
    write_lines(tmp_path / "whole", ["a"], 0o600)
    for each in tmp_path.iterdir():
        assert each.stat().st_mode & 0o777 == 0o600
    write_text(tmp_path / "open", "a")
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "open").stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failing_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "f"
    write_text(path, "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), full)
    with pytest.raises(OSError, match="No space"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["f"]


def test_values_that_cannot_be_written_leave_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new \ud800")
    with pytest.raises(TypeError):
        write_json(path, {"x": object()})
    with pytest.raises(ZeroDivisionError):
        write_lines(path, (str(1 // i) for i in (1, 0)))
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["f"]


def test_the_bytes_are_on_the_disk_before_the_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda d: (order.append("fsync"), fsync(d))[1])
    monkeypatch.setattr(Path, "replace", lambda a, b: (order.append("rename"), replace(a, b))[1])
    write_text(tmp_path / "f", "x")
    assert order == ["fsync", "rename", "fsync"]
