import pytest

from llm_twin.evaluation.statements import abstains, plain, read_answer
from llm_twin.types import Answer, Chunk, Citation, Hit


def chunk(name: str, text: str = "The bearing failed twice in winter.") -> Chunk:
    return Chunk(
        id=name, document_id=f"d-{name}", author="A", kind="article", title="T", text=text,
        start=0, end=len(text), tokens=9,
    )  # fmt: skip


def answer(text: str, found: bool = True, chunks: tuple[str, ...] = ("a", "b")) -> Answer:
    citations = tuple(
        Citation(number=n, chunk_id=c, document_id=f"d-{c}", title="T", url=None, start=0, end=9)
        for n, c in enumerate(chunks, 1)
    )
    hits = tuple(Hit(chunk=chunk(c), score=1.0) for c in chunks)
    return Answer(question="Q?", text=text, mode="write", found=found, citations=citations, hits=hits)


def cited(text: str) -> list[tuple[str, list[str | None]]]:
    return [(s.text, [c.id if c else None for c in s.cited]) for s in read_answer(answer(text))]


def test_a_citation_belongs_to_the_sentence_before_it() -> None:
    assert cited("The bearing failed. [1] I oiled it. Then it ran. [2] [1]") == [
        ("The bearing failed.", ["a"]),
        ("I oiled it.", []),
        ("Then it ran.", ["b", "a"]),
    ]
    assert cited("The bearing failed [2]. I oiled it.") == [
        ("The bearing failed.", ["b"]),
        ("I oiled it.", []),
    ]


def test_across_paragraphs_and_lists() -> None:
    text = "First thing said. [1]\n\nSecond thing said. [2]\n\n- an item of iron [1]\n- another item"
    found = cited(text)
    assert found[:2] == [("First thing said.", ["a"]), ("Second thing said.", ["b"])]
    assert ["a"] in [marks for _, marks in found[2:]]


def test_a_number_that_stands_for_nothing_is_kept_as_that() -> None:
    assert cited("The bearing failed. [7]") == [("The bearing failed.", [None])]


def test_code_and_links_hold_no_citations_and_no_sentences() -> None:
    assert cited("Use `x[1]` for the row.") == [("Use `x[1]` for the row.", [])]
    assert cited("See [1](https://a.example) for the row.")[0][1] == []
    assert cited("```\nrows[1]\n```") == []
    text = "Install the pump first. [1]\n\n    !make pump [2]\n    !make oil [2]\n\nThen it ran. [2]"
    assert cited(text) == [("Install the pump first.", ["a"]), ("Then it ran.", ["b"])]


def test_marks_without_words_are_no_sentence() -> None:
    assert cited("It models **our problems.**** [2]\n\nThen it ran. [1]")[-1] == ("Then it ran.", ["a"])
    assert [marks for _, marks in cited("It models **our problems.**** [2]")] == [["b"]]


def test_statements_are_what_needs_a_source() -> None:
    texts = {
        "The bearing failed twice in winter.": True,
        "What made the bearing fail in winter?": False,
        "Sure!": False,
        "It was that.": False,
    }
    found = {s.text: s.states for s in read_answer(answer(" ".join(texts)))}
    assert found == texts


def test_the_plain_text_has_no_citations() -> None:
    assert plain(answer("It failed. [1] So I wept. [2]")) == "It failed. So I wept."


@pytest.mark.parametrize(
    ("text", "declines"),
    [
        ("I haven't written about that.", True),
        ("I haven’t written anything about opera.", True),
        ("I don't know.", True),
        ("The passages do not mention pears.", True),
        ("The bearing failed twice. I don't know why.", False),
        ("I don't know of a better bearing. [1]", False),
        ("I prune it in March.", False),
    ],
)
def test_keeping_quiet_in_words(text: str, declines: bool) -> None:
    assert abstains(answer(text)) is declines


def test_nothing_found_is_keeping_quiet() -> None:
    assert abstains(answer("Whatever it says.", found=False))
