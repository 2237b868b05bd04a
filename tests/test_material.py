"""What an evaluation is measured on: no passage stands on both sides, and what was left out is counted."""

from pathlib import Path

import pytest

from llm_twin import material as materials
from llm_twin.datasets.curate import split
from llm_twin.evaluation.style import Passage
from llm_twin.material import _others, passages_of
from llm_twin.settings import Settings
from llm_twin.text import digest
from llm_twin.types import CleanDocument, Document
from llm_twin.workspace import Workspace

LETTERS = "abcdefghijklmnop"
NOTICE = (
    f"Whoever reads as far as this may {' '.join(f'write{a}{b}' for a in LETTERS[:7] for b in LETTERS[:7])}."
)


def document(author: str, name: str, *paragraphs: str) -> CleanDocument:
    text = "\n\n# Part\n\n".join(paragraphs)
    made = Document(
        id=f"d_{author}_{name}", author=author, kind="article", title=name, text=text, source=f"{name}.md", url=None,
        digest=digest(text),
    )  # fmt: skip
    return CleanDocument(document=made, text=text, dropped=())


def essay(author: str, n: int) -> str:
    return f"There was {' '.join(told(author.lower(), n, 60))}."


def told(what: str, n: int, many: int) -> list[str]:
    """Words that nobody else has."""
    return [f"{what}{LETTERS[n]}{LETTERS[i // 16]}{LETTERS[i % 16]}" for i in range(many)]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, Settings(author="Ann"))


def sides(documents: list[CleanDocument], author: str) -> dict[str, str]:
    theirs = [d for d in documents if d.document.author == author]
    return dict(split(theirs, 0.25, 0, least=1))


def texts(passages: list[Passage]) -> list[str]:
    return [p.text for p in passages]


def test_a_text_that_two_documents_of_another_author_share_is_on_one_side(workspace: Workspace) -> None:
    """The notice under every essay would be learnt on one side and known again on the other."""
    documents = [document("Bob", f"{n}", essay("Bob", n), NOTICE) for n in range(8)]
    side = sides(documents, "Bob")
    assert set(side.values()) == {"train", "test"}
    found = _others(workspace, documents)
    assert len(found.train) + len(found.test) == 9, "eight essays, and the notice once"
    assert found.left_out == 7
    assert not set(texts(found.train)) & set(texts(found.test))
    assert NOTICE in texts(found.test), "between two twins the training one goes"
    held_out = {p.document_id for p in found.test}
    assert held_out == {d for d, which in side.items() if which == "test"}


def test_an_evaluation_is_told_how_many_were_left_out(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(materials, "read_samples", lambda workspace: [])
    documents = [document("Bob", f"{n}", essay("Bob", n), NOTICE) for n in range(8)]
    found = materials.material(workspace, documents)
    assert found.others_left_out == 7
    assert not set(texts(list(found.others_train))) & set(texts(list(found.others_test)))


def test_repetitions_are_found_over_all_other_authors(workspace: Workspace) -> None:
    documents = [document("Bob", f"{n}", essay("Bob", n)) for n in range(4)]
    documents += [document("Cas", f"{n}", essay("Bob", n)) for n in range(4)]
    found = _others(workspace, documents)
    assert found.left_out == 4 and len(found.train) + len(found.test) == 4


def test_passages_that_repeat_a_part_of_a_held_out_one_go_too(workspace: Workspace) -> None:
    shared = " ".join(told("shared", 0, 20))
    long = [f"Well {shared} {' '.join(told('own', n, 50))}." for n in range(8)]
    found = _others(workspace, [document("Bob", f"{n}", text) for n, text in enumerate(long)])
    assert len(found.test) == 2 and found.train == [] and found.left_out == 6


def test_what_repeats_nothing_is_left_as_it_is(workspace: Workspace) -> None:
    documents = [document("Bob", f"{n}", essay("Bob", n)) for n in range(8)]
    documents += [document("Cas", "only", essay("Cas", 1)), document("Ann", "own", essay("Ann", 1))]
    found = _others(workspace, documents)
    side = sides(documents, "Bob")
    assert found.left_out == 0
    assert {p.document_id for p in found.train} == {d for d, s in side.items() if s == "train"} | {
        "d_Cas_only"
    }
    assert {p.document_id for p in found.test} == {d for d, s in side.items() if s == "test"}


def test_texts_of_any_author_are_measured_on_passages_without_repetitions(workspace: Workspace) -> None:
    documents = [document("Bob", f"{n}", essay("Bob", n), NOTICE) for n in range(8)]
    documents += [document("Ann", f"{n}", essay("Ann", n), NOTICE) for n in range(4)]
    own, others = passages_of(workspace, documents, "Bob")
    assert sum(NOTICE in texts(own[side]) for side in ("train", "test")) == 1
    assert sum(NOTICE in texts(others[side]) for side in ("train", "test")) == 1
    assert len(own["train"]) + len(own["test"]) == 9 and len(others["train"]) + len(others["test"]) == 5
