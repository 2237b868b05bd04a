"""Reading bytes and text, and whose writing a piece is."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_twin.collect import reader
from llm_twin.collect.reader import Piece
from llm_twin.errors import InputError


@pytest.mark.parametrize(
    ("own", "stated", "author"),
    [("Ann", "Bea", "Ann"), (None, "Bea", "Bea"), (" ", None, "Nell Harrow"), (None, None, "Nell Harrow")],
)
def test_a_file_says_itself_who_wrote_it(
    piece_of: Callable[..., Piece], own: str | None, stated: str | None, author: str
) -> None:
    assert reader.stated_author(piece_of("x", author=stated), own) == author


@pytest.mark.parametrize(
    ("byline", "stated", "author"),
    [
        ("Ann", "Bea", "Bea"),
        ("Ann", None, "Ann"),
        ("Ann; nell  harrow", None, "Nell Harrow"),
        ("Ann; Cal", None, "Ann"),
        ("", None, "Nell Harrow"),
    ],
)
def test_a_byline_comes_after_what_the_user_said(
    piece_of: Callable[..., Piece], byline: str, stated: str | None, author: str
) -> None:
    assert reader.byline_author(piece_of("x", author=stated), byline) == author


def test_only_regular_files_of_some_size_are_read(tmp_path: Path) -> None:
    file, pipe = tmp_path / "a.md", tmp_path / "pipe.md"
    file.write_bytes(b"words")
    os.mkfifo(pipe)
    assert reader.read_bytes(file) == b"words"
    with pytest.raises(InputError, match=r"a\.md: larger than"):
        reader.read_bytes(file, cap=4)
    with pytest.raises(InputError, match="not a regular file"):
        reader.read_bytes(pipe)
    with pytest.raises(InputError, match="cannot be read"):
        reader.read_bytes(tmp_path / "absent.md")
    file.write_bytes(b" \n")
    with pytest.raises(InputError, match="empty"):
        reader.read_bytes(file)


def test_encodings() -> None:
    assert reader.decode_text("\ufeffit’s".encode(), "x") == "it’s"
    assert reader.decode_text("it’s".encode("utf-16"), "x") == "it’s"
    with pytest.raises(InputError, match=r"x: binary"):
        reader.decode_text(b"\x89PNG\x00\x01", "x")
    with pytest.raises(InputError, match=r"x: not UTF-8 text \(byte 2\)"):
        reader.decode_text("it’s".encode("cp1252"), "x")
