from collections.abc import Callable
from typing import Any

import pytest

from llm_twin.evaluation.measure import Example
from llm_twin.evaluation.samples import linked, samples, titles, web_address
from llm_twin.types import Answer, Chunk, Citation, Hit

Sections = Callable[..., dict[str, Any]]


def citation(number: int, chunk: str = "c1", title: str = "38 hooks") -> Citation:
    return Citation(
        number=number, chunk_id=chunk, document_id=f"of-{chunk}", title=title, url=None, start=0, end=9
    )


def answer(question: str, text: str = "A ghost [1].", chunk: str = "c1") -> Answer:
    passage = Chunk(
        id=chunk, document_id="d", author="A", kind="post", title="T", text=f"Text of {chunk}.", start=0, end=9,
        tokens=3,
    )  # fmt: skip
    return Answer(
        question=question, text=text, mode="write", found=True, citations=(citation(1, chunk),),
        hits=(Hit(chunk=passage, score=0.9),),
    )  # fmt: skip


def example(instruction: str) -> Example:
    return Example(instruction=instruction, author="a", base="b", twin="t")


def test_a_question_stands_with_the_authors_passage_and_the_twins_answer(sections: Sections) -> None:
    beside, further, alone = samples(sections()["rag"], (), ())
    assert (further, alone) == ((), ())
    first, second = beside
    assert (first.question, first.author) == ("Question 1? Plain words.", "Passage 1. Plain words.")
    assert first.answer is not None and second.answer is not None
    assert (first.answer.who, first.answer.silent, second.answer.silent) == ("twin", False, True)
    assert [(s.citation.title, s.passage) for s in first.answer.sources] == [("Plain words.", "")]
    assert [other.name for other in first.others] == ["Base", "Quotes"]


def test_statements_that_need_a_source_are_counted_with_those_that_have_one(sections: Sections) -> None:
    first, second = samples(sections("And cats purr all night long.")["rag"], (), ())[0]
    assert first.answer is not None and second.answer is not None
    assert (first.answer.supported, first.answer.statements) == (1, 2)
    assert (second.answer.supported, second.answer.statements) == (0, 0)


def test_what_is_said_of_one_question_is_folded_together(sections: Sections) -> None:
    same = "Question 1? Plain words."
    beside, further, alone = samples(
        sections()["rag"], (answer(same), answer("New?", chunk="c2")), (example(same), example("Alone?"))
    )
    assert [s.alone and s.alone.twin for s in beside] == ["t", None]
    assert beside[0].answer is not None
    assert beside[0].answer.sources[0].passage == "Text of c1."
    assert [(s.question, s.author) for s in further] == [("New?", "")]
    assert [e.instruction for e in alone] == ["Alone?"]


def test_without_answers_from_passages_the_rest_stays() -> None:
    beside, further, alone = samples(None, (answer("Why?"),), (example("Alone?"),))
    assert (beside, len(further), len(alone)) == ((), 1, 1)
    assert further[0].answer is not None
    assert further[0].answer.pieces == (("A ghost ", None), ("[1]", 1), (".", None))
    assert further[0].answer.statements is None


def test_an_answer_is_cut_at_its_citations_and_loses_nothing() -> None:
    text = "[1][2] a [x] [3] [1]"
    pieces = linked(text, (citation(1), citation(2)))
    assert "".join(piece for piece, _ in pieces) == text
    assert [number for _, number in pieces if number] == [1, 2, 1]


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "javascript:alert(1)",
        " https://a.example",
        "data:text/html,x",
        "//a.example",
        "file:///etc/passwd",
    ],
)
def test_only_web_addresses_may_be_followed(url: str | None) -> None:
    assert web_address(url) is None
    assert web_address("HTTPS://a.example/1") == "HTTPS://a.example/1"


def test_titles_are_those_that_answers_cite(sections: Sections) -> None:
    found = titles(sections("Rust.")["rag"], (answer("Q?", chunk="c9"),))
    assert found == {"d1": "Rust.", "of-c9": "38 hooks"}
    assert titles(None, ()) == {}
