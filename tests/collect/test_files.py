"""Markdown and text files, and their front matter."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_twin.collect import files
from llm_twin.collect.reader import Piece, Tools
from llm_twin.errors import InputError
from llm_twin.types import Document

FULL = """---
# who and when
title: "Salt: a defence"
author: Ann Other
date: 2024-03-05 10:00:00 +0200
kind: post
url: https://Nell.example/salt?utm_source=x
language: no
platform: newsletter
tags: [salt, patience]
---

It’s a volume knob — turn it.

---

More.
"""


def read(text: str, piece_of: Callable[..., Piece], path: Path, tools: Tools, **about: str) -> Document:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    (document,) = files.read(piece_of(path, **about), tools)
    return document


def test_front_matter_is_read_and_is_no_text(
    piece_of: Callable[..., Piece], tmp_path: Path, tools: Tools
) -> None:
    found = read(FULL, piece_of, tmp_path / "salt.md", tools, author="Somebody Else")
    assert found.text == "It’s a volume knob — turn it.\n\n---\n\nMore."
    assert (found.title, found.author, found.kind) == ("Salt: a defence", "Ann Other", "post")
    assert (found.published, found.language, found.platform) == (date(2024, 3, 5), "no", "newsletter")
    assert found.url == found.source == "https://nell.example/salt"


def test_a_plain_file_speaks_for_itself(piece_of: Callable[..., Piece], tmp_path: Path, tools: Tools) -> None:
    path = tmp_path / "notes" / "2024-03-05-the-ninth-spoon.md"
    found = read("Nine spoons.\r\nOne  left.\n", piece_of, path, tools, author="Bea")
    assert found.text == "Nine spoons.\nOne  left."
    assert (found.title, found.author, found.kind) == ("The ninth spoon", "Bea", "article")
    assert (found.published, found.source, found.url) == (
        date(2024, 3, 5),
        "file:notes/2024-03-05-the-ninth-spoon.md",
        None,
    )


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# The *real* title #\n\nwords", "The *real* title"),
        ("Underlined\n==========\n\nwords", "Underlined"),
        ("```sh\n# a comment\n```\n\n# Title\n", "Title"),
        ("## Only a section\n", "X"),
    ],
)
def test_titles_from_headings(
    piece_of: Callable[..., Piece], tmp_path: Path, tools: Tools, text: str, title: str
) -> None:
    assert read(text, piece_of, tmp_path / "x.md", tools).title == title


def test_toml_front_matter_and_lists_of_authors() -> None:
    stated, body = files.front_matter('+++\ntitle = "A"\nauthors = ["Ann", "Bea"]\n+++\nwords', "x")
    assert (stated, body) == ({"title": "A", "authors": "Ann"}, "\nwords")
    stated, _ = files.front_matter("---\nauthor:\n  - name: Ann\n    url: x\n---\n", "x")
    assert stated == {"author": "Ann"}


def test_a_bad_date_is_no_date(piece_of: Callable[..., Piece], tmp_path: Path, tools: Tools) -> None:
    assert read("---\ndate: 2024-13-45\n---\nwords", piece_of, tmp_path / "x.md", tools).published is None


@pytest.mark.parametrize("text", ["---\n\nwords after a rule\n\n---\n", "---", "--- \nwords: 1", "-- -\n"])
def test_text_that_begins_with_a_rule_is_text(text: str) -> None:
    if text == "--- \nwords: 1":
        with pytest.raises(InputError, match="never closed"):
            files.front_matter(text, "x")
    else:
        assert files.front_matter(text, "x") == ({}, text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("---\ntitle: a\nwords", "x.md: its front matter is never closed"),
        ("---\ntitle: [a\n---\nwords", "x.md: its front matter is not valid YAML"),
        ("---\ntitle: a\n- b\n---\nwords", "x.md: its front matter is not valid YAML"),
        ("+++\ntitle = a\n+++\nwords", "x.md: its front matter is not valid TOML"),
        ("---\nkind: blogpost\n---\nwords", "kind `blogpost` is none of article, post, repository, message"),
        ("---\nkind: post\n---\n\n", "there is no text in it"),
        ("---\na: " + "[" * 5000 + "\n---\nwords", "not valid YAML"),
    ],
)
def test_broken_files_are_named(
    piece_of: Callable[..., Piece], tmp_path: Path, tools: Tools, text: str, why: str
) -> None:
    with pytest.raises(InputError) as caught:
        read(text, piece_of, tmp_path / "x.md", tools)
    assert why in str(caught.value)


def test_yaml_builds_no_objects() -> None:
    stated, _ = files.front_matter("---\ntitle: !!python/object/apply:os.getcwd []\n---\n", "x")
    assert stated == {}


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        stated, body = files.front_matter(text, "x")
    except InputError:
        return
    assert body in text.replace("\r\n", "\n")
    assert stated or body == text.replace("\r\n", "\n") or text.startswith(("---", "+++"))


def test_text_from_the_web_has_its_address_and_cannot_claim_another(piece_of: Callable[..., Piece]) -> None:
    text = "---\nurl: https://other.example/a\n---\n# Spoons\n\nwords"
    found = files.from_text(text, piece_of("https://nell.example/s.md"), "https://nell.example/s.md")
    assert found.source == found.url == "https://nell.example/s.md"
    assert found.platform == "nell.example"
