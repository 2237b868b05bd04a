"""A person labels in a terminal: each answer is kept at once, and a stopped round goes on."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from llm_twin.evaluation.labels import ASKED, LabelItem, unlabelled
from llm_twin.evaluation.people import Dimension, Label
from llm_twin.journal import Journal
from llm_twin.label import PROMPT, label_in_terminal


def item(number: int, dimension: Dimension = "answer relevance", answer: str = "Because.") -> LabelItem:
    return LabelItem(
        id=f"i{number}",
        question=f"Why {number}?",
        passages=("A passage.",),
        answer=answer,
        dimension=dimension,
    )


def saying(*replies: str) -> Callable[[str], str]:
    left: Iterator[str] = iter(replies)

    def ask(prompt: str) -> str:
        assert prompt == PROMPT
        for reply in left:
            if reply == "^C":
                raise KeyboardInterrupt
            return reply
        raise EOFError

    return ask


@pytest.fixture
def store(tmp_path: Path) -> Journal[Label]:
    return Journal(tmp_path / "labels.jsonl", Label)


@pytest.fixture
def screen() -> Console:
    return Console(file=io.StringIO(), width=80, highlight=False)


def shown(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def test_good_bad_and_skip(store: Journal[Label], screen: Console) -> None:
    items = [item(n) for n in range(4)]
    assert label_in_terminal(items, saying("g", "what?", "", " Bad ", "s", "GOOD"), store, screen) == 3
    assert [(label.id, label.good) for label in store.read()] == [("i0", True), ("i1", False), ("i3", True)]
    assert unlabelled(items, store) == [items[2]]  # a skipped one comes again next time


@pytest.mark.parametrize("end", [["q"], ["^C"], []])
def test_what_was_said_is_kept_however_it_ends(
    store: Journal[Label], screen: Console, end: list[str]
) -> None:
    items = [item(n) for n in range(3)]
    assert label_in_terminal(items, saying("g", *end), store, screen) == 1
    assert label_in_terminal(items, saying("b", "b"), store, screen) == 2
    assert [(label.id, label.good) for label in store.read()] == [("i0", True), ("i1", False), ("i2", False)]


def test_a_label_holds_what_it_is_about(store: Journal[Label], screen: Console) -> None:
    label_in_terminal([item(1)], saying("g"), store, screen)
    (label,) = store.read()
    assert (label.question, label.passages, label.answer, label.dimension) == (
        "Why 1?",
        ("A passage.",),
        "Because.",
        "answer relevance",
    )


@pytest.mark.parametrize(
    ("dimension", "passages", "answer"),
    [
        ("context relevance", True, False),
        ("answer faithfulness", True, True),
        ("answer relevance", False, True),
    ],
)
def test_only_what_the_dimension_is_about_is_shown(
    store: Journal[Label], screen: Console, dimension: Dimension, passages: bool, answer: bool
) -> None:
    label_in_terminal([item(1, dimension)], saying("s"), store, screen)
    text = shown(screen)
    assert "Why 1?" in text and ASKED[dimension][0] in text and "1 of 1" in text
    assert ("A passage." in text, "Because." in text) == (passages, answer)


def test_a_model_cannot_drive_the_terminal(store: Journal[Label], screen: Console) -> None:
    hostile = "\x1b]0;owned\x07\x1b[2J[bold red]mark[/]\x9b31m\u202eabc\rx"
    label_in_terminal([item(1, answer=hostile)], saying("s"), store, screen)
    text = shown(screen)
    assert not set(text) & set("\x1b\x07\x9b\u202e\r")
    assert "[bold red]mark[/]" in text
