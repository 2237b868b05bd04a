"""Walking a folder."""

import os
from pathlib import Path

import pytest

from llm_twin.collect.folder import walk


def make(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("x")


def found(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in walk(root)]


def test_files_come_sorted_and_nobody_s_own_writing_is_passed_over(tmp_path: Path) -> None:
    make(
        tmp_path, "b.md", "a/z.md", "a/b.md", "C.md", ".hidden.md", ".git/config", "node_modules/x/README.md"
    )
    make(tmp_path, "a/vendor/v.py", "__pycache__/x.pyc", "pkg.egg-info/PKG-INFO", "dist.md", "Build/x.md")
    assert found(tmp_path) == ["C.md", "a/b.md", "a/z.md", "b.md", "dist.md"]


def test_links_and_pipes_are_not_followed(tmp_path: Path) -> None:
    make(tmp_path, "in/a.md", "secret/key.md")
    os.symlink(tmp_path / "secret" / "key.md", tmp_path / "in" / "link.md")
    os.symlink(tmp_path / "secret", tmp_path / "in" / "linked")
    os.symlink(tmp_path / "in", tmp_path / "in" / "loop")
    os.mkfifo(tmp_path / "in" / "pipe.md")
    assert found(tmp_path / "in") == ["a.md"]


def test_a_whole_folder_is_given_and_not_entered(tmp_path: Path) -> None:
    make(tmp_path, "a/one.md", "b/two.md")
    assert list(walk(tmp_path, lambda folder: folder.name == "b")) == [
        tmp_path / "a" / "one.md",
        tmp_path / "b",
    ]


def test_a_folder_that_may_not_be_read_is_given_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a/one.md", "b/two.md")
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("/a"))  # root may read all
    assert list(walk(tmp_path)) == [tmp_path / "a", tmp_path / "b" / "two.md"]
