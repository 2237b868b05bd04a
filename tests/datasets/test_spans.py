"""A span is the author's own text, whole sentences of it, under one heading and free of code."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_twin.datasets.spans import Span, is_prose, spans
from llm_twin.text import blocks, code_lines, line_starts, words
from llm_twin.types import CleanDocument

MakeClean = Callable[..., CleanDocument]

PIECES = [
    "# One\n", "## Two\n", "\n", "\n\n", "It hunts at night, as owls do. ", "Mice fear it! ", "Why? ",
    "- an item\n", "- it goes on\n  over a line.\n", "> said, by one\n", "> who knew.\n", "```\nx = 1\n```\n",
    "  ```\n  y\n  ```\n", "|a|b|\n|-|-|\n|1|2|\n", "[x]: http://e.x\n", "<div>\n", "---\n", "word " * 90 + ".\n",
]  # fmt: skip


def sentence(length: int, first: int = 0) -> str:
    """A sentence of so many different words."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    names = [f"w{letters[i // 26 % 26]}{letters[i % 26]}" for i in range(first, first + length)]
    return " ".join(names).capitalize() + "."


def check(document: CleanDocument, found: Sequence[Span], least: int, most: int) -> None:
    """What holds for the spans of any document."""
    text, behind = document.text, 0
    starts, code = line_starts(text), code_lines(text)
    every = blocks(text)
    others = [b for b in every if b.kind in ("heading", "code", "table", "html", "rule")]
    for span in found:
        assert span.text == text[span.start : span.end] == span.text.strip()
        assert behind <= span.start < span.end
        behind = span.end
        assert least <= len(words(span.text)) <= most
        assert not any(b.start < span.end and span.start < b.end for b in others)
        lines = [i for i, (a, b) in enumerate(pairwise(starts)) if a < span.end and b > span.start]
        assert not code & set(lines)
        (path,) = {b.path for b in every if b.start < span.end and span.start < b.end}
        assert path == span.path


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join), st.integers(1, 10), st.integers(0, 20))
def test_spans_of_any_markdown_are_verbatim_apart_and_of_one_section(
    cleaned: MakeClean, text: str, least: int, more: int
) -> None:
    document = cleaned(text)
    check(document, spans(document, least, least + more // 2, least + more), least, least + more)


def test_the_examples_give_enough_to_learn_from(examples: list[CleanDocument]) -> None:
    kept = total = 0
    for document in examples:
        found = spans(document)
        check(document, found, 40, 300)
        kept += sum(len(words(span.text)) for span in found)
        total += len(words(document.text))
    assert kept > 0.75 * total


def test_real_articles(articles: list[CleanDocument]) -> None:
    found = [span for document in articles for span in spans(document)]
    for document in articles:
        check(document, [span for span in found if span.document is document], 40, 300)
    assert len(found) > 800


def test_sentences_are_packed_to_the_target_and_never_cut(cleaned: MakeClean) -> None:
    text = " ".join(sentence(10, 10 * i) for i in range(12))
    found = spans(cleaned(text), least=20, target=40, most=60)
    assert [len(words(span.text)) for span in found] == [40, 40, 40]
    assert " ".join(span.text for span in found) == text


def test_a_span_ends_with_its_paragraph_where_that_ends_in_time(cleaned: MakeClean) -> None:
    text = f"{sentence(30)}\n\n{sentence(40, 50)}\n\n{sentence(35, 100)}"
    found = spans(cleaned(text), least=20, target=40, most=80)
    assert [span.text for span in found] == text.split("\n\n")


def test_a_section_too_short_is_left_out(cleaned: MakeClean) -> None:
    text = f"# One\n\n{sentence(39)}\n\n# Two\n\n{sentence(40)}"
    (only,) = spans(cleaned(text))
    assert only.path == ("Two",) and only.text == sentence(40)


def test_a_sentence_without_end_is_left_out(cleaned: MakeClean) -> None:
    text = f"{sentence(45)} {sentence(81, 100)} {sentence(45, 300)}"
    assert [span.text for span in spans(cleaned(text), target=60)] == [sentence(45), sentence(45, 300)]


def test_list_items_stay_with_their_marks_and_whole(cleaned: MakeClean) -> None:
    items = [f"- {sentence(20, 20 * i)[:-1]}\n  and so on, over a line" for i in range(4)]
    found = spans(cleaned("\n".join(items)), least=20, target=45, most=60)
    assert [span.text for span in found] == ["\n".join(items[:2]), "\n".join(items[2:])]


def test_a_quotations_sentences_run_on_over_its_lines(cleaned: MakeClean) -> None:
    quote = f"> {sentence(30)[:-1]}\n> and then on.\n> {sentence(30, 50)}"
    (first, second) = spans(cleaned(quote), least=20, target=30, most=60)
    assert first.text.endswith("and then on.") and second.text.startswith("> W")


@pytest.mark.parametrize(
    "between", ["```\nx\n```", "|a|b|\n|-|-|\n|1|2|", "## Two", "---", "<div>x</div>", "[x]: http://e.x"]
)
def test_nothing_but_prose_is_crossed(cleaned: MakeClean, between: str) -> None:
    text = f"{sentence(30)}\n\n{between}\n\n{sentence(30, 50)}"
    found = spans(cleaned(text), least=20, target=50, most=80)
    assert [span.text for span in found] == [sentence(30), sentence(30, 50)]


def test_a_list_with_code_in_it_is_no_prose(cleaned: MakeClean) -> None:
    text = f"{sentence(30)}\n\n- {sentence(30, 50)}\n\n  ```\n  x = 1\n  ```\n\n{sentence(30, 100)}"
    found = spans(cleaned(text), least=20, target=50, most=80)
    assert [span.text for span in found] == [sentence(30), sentence(30, 100)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It hunts at night — quietly, and it’s good at it (so they say).", True),
        ("2 of the 4 were wrong by 0.5 m, 1 by 2 m, and the last I'd lost.", True),
        ("owl owl owl owl owl owl owl owl owl owl owl mouse", False),
        ("{'a': 1, 'b': [2, 3]} == (x := 3) ** 2 / 4; y[0] += 1", False),
        ("See [here](https://e.x/a/very/long/address/indeed) and https://e.x/another/one too", False),
        ("It works.Then we go.On we went and PrettyMuch so.Until then", False),
    ],
)
def test_what_reads_as_prose(text: str, expected: bool) -> None:
    assert is_prose(text) is expected


def test_what_no_one_would_read_aloud_is_left_out(cleaned: MakeClean) -> None:
    links = " ".join(f"Page{i} on [it](https://e.x/long/address/{i})." for i in range(20))
    text = f"{sentence(45)}\n\n# Links\n\n{links}\n\n# End\n\n{sentence(45, 60)}"
    assert [span.text for span in spans(cleaned(text))] == [sentence(45), sentence(45, 60)]


def test_nothing_gives_no_spans(cleaned: MakeClean) -> None:
    assert spans(cleaned("")) == spans(cleaned("# Only\n\n```\ncode\n```")) == []
