"""Offsets of blocks and sentences are true for any text, and words, headings and digests mean one thing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_twin.text import (
    blocks,
    code_lines,
    digest,
    folded,
    heading_text,
    line_starts,
    ngrams,
    sentences,
    slug,
    words,
)

PIECES = [
    "# A\n", "## B\n", "text", "\n", "\n\n", "- item\n", "  ", "    code\n", "```\n", "~~~", "> q\n",
    "|a|b|\n|-|-|\n|1|2|\n", "<div>\n", "---\n", "===\n", "[x]: http://e.x\n", "\t", "\r", "\r\n",
    "\u00a0", "\u2028", "\x0c", "1. one\n", "Is it? Yes! Dr. Who went. ", "“q” — 👩‍🚀\n", "\\", "\x00",
]  # fmt: skip
MARKDOWN = st.lists(st.sampled_from(PIECES), max_size=25).map("".join) | st.text(max_size=60)


@given(MARKDOWN)
def test_blocks_are_in_order_apart_and_never_blank(text: str) -> None:
    behind = 0
    for block in blocks(text):
        assert behind <= block.start < block.end <= len(text)
        assert text[block.start : block.end].strip()
        assert (block.kind == "heading") == (block.level > 0)
        behind = block.end


@given(MARKDOWN)
def test_sentences_hold_every_character_that_is_not_blank_once(text: str) -> None:
    found = list(sentences(text))
    inside = [i for start, end in found for i in range(start, end)]
    assert len(inside) == len(set(inside))
    assert all(text[i].isspace() for i in set(range(len(text))) - set(inside))
    assert all(text[a:b] == text[a:b].strip() != "" for a, b in found)


def test_each_kind_of_block_is_told_with_its_text_and_the_headings_above_it() -> None:
    text = (
        "Before.\n\n# One\n\n- a\n- b\n\n> said\n\n## Two *too*\n```py\nx = 1\n\n\ny = 2\n```\n"
        "|a|b|\n|-|-|\n|1|2|\n\n<div>\n</div>\n\n---\n\n    indented\n\nThree\n=====\nAfter\nall."
    )
    found = [(block.kind, text[block.start : block.end], block.path) for block in blocks(text)]
    assert found == [
        ("paragraph", "Before.", ()),
        ("heading", "# One", ()),
        ("list", "- a\n- b", ("One",)),
        ("quote", "> said", ("One",)),
        ("heading", "## Two *too*", ("One",)),
        ("code", "```py\nx = 1\n\n\ny = 2\n```", ("One", "Two too")),
        ("table", "|a|b|\n|-|-|\n|1|2|", ("One", "Two too")),
        ("html", "<div>\n</div>", ("One", "Two too")),
        ("rule", "---", ("One", "Two too")),
        ("code", "    indented", ("One", "Two too")),
        ("heading", "Three\n=====", ()),
        ("paragraph", "After\nall.", ("Three",)),
    ]


def test_a_heading_closes_those_of_its_level_and_deeper() -> None:
    text = "# A\n### B\n## C\n#### D\n## E\nend"
    assert [(b.level, b.path) for b in blocks(text)] == [
        (1, ()),
        (3, ("A",)),
        (2, ("A",)),
        (4, ("A", "C")),
        (2, ("A",)),
        (0, ("A", "E")),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_line_end_counts(end: str) -> None:
    text = f"one{end}{end}# Two{end}three{end}"
    assert [text[b.start : b.end] for b in blocks(text)] == ["one", "# Two", "three"]
    assert [text[a:b].strip() for a, b in zip(line_starts(text), line_starts(text)[1:], strict=False)] == [
        "one",
        "",
        "# Two",
        "three",
    ]


def test_lines_of_code_are_found_at_any_depth() -> None:
    lines = ["text", "", "- item", "", "  ```", "  # a comment", "  ```", "", "> ```", "> x", "> ```", "end"]
    assert code_lines("\n".join(lines)) == {4, 5, 6, 8, 9, 10}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("## **Why** \\#1", "Why #1"),
        ("# Learning C#", "Learning C#"),
        ("# Closed ##", "Closed"),
        ("### `my_var` and other_var", "my_var and other_var"),
        ("## \\*not\\* *it*", "*not* it"),
        ("# 2 * 3", "2 * 3"),
        ("Two\nlines\n---", "Two lines"),
        ("#", ""),
        ("plain", "plain"),
    ],
)
def test_a_heading_is_read_without_its_marks(line: str, expected: str) -> None:
    assert heading_text(line) == expected


def test_abbreviations_and_decimals_end_no_sentence() -> None:
    text = "They met Dr. Tain, paid 3.50 for it.  It wasn’t dear! “Was it?” she asked."
    assert [text[a:b] for a, b in sentences(text)] == [
        "They met Dr. Tain, paid 3.50 for it.",
        "It wasn’t dear!",
        "“Was it?” she asked.",
    ]


def test_words_keep_apostrophes_and_lose_case_and_punctuation() -> None:
    assert words("Don't — I’d say: ‘ROCK’ 'n' roll, snake_case, 41.3!") == [
        *("don't", "i’d", "say", "rock", "n", "roll", "snake", "case", "41", "3"),
    ]


def test_ngrams_are_consecutive_and_none_when_there_are_too_few() -> None:
    assert list(ngrams(["a", "b", "c"], 2)) == [("a", "b"), ("b", "c")]
    assert list(ngrams(["a"], 2)) == []


def test_lines_compare_without_case_marks_and_fancy_letters() -> None:
    assert folded("  **𝗛𝗲𝗿𝗲** they — are_ ↓ ") == folded("here they are") == "here they are"
    assert folded("Cafe\u0301") == folded("CAFÉ")
    assert folded("· — 👾") == ""


def test_a_digest_sees_where_one_part_ends() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("é") == "4a99557e4033c3539de2eb65472017cad5f9557f7a0625a09f1c3f6e2ba69c4c"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Wren O'Marlow", "wren-omarlow"), ("Zoë  Łuk", "zoe-łuk"), ("…", "unnamed"), ("李 娜", "李-娜")],
)
def test_a_slug_is_a_file_name(name: str, expected: str) -> None:
    assert slug(name) == expected
