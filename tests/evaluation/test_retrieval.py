from collections.abc import Sequence
from math import log2

import pytest

from llm_twin.evaluation.retrieval import measure, sources
from llm_twin.types import Chunk, Hit, Sample


def chunk(name: str, document: str, start: int, end: int) -> Chunk:
    text = "x" * (end - start)
    return Chunk(
        id=name,
        document_id=document,
        author="A",
        kind="article",
        title="T",
        text=text,
        start=start,
        end=end,
        tokens=9,
    )


def question(name: str, document: str, start: int, end: int) -> Sample:
    return Sample(
        id=name, document_id=document, author="A", instruction=name, response="x" * (end - start),
        start=start, end=end, split="test", written_by="m",
    )  # fmt: skip


CHUNKS = [
    chunk("c1", "d1", 0, 100), chunk("c2", "d1", 100, 200), chunk("c3", "d1", 200, 300),
    chunk("e1", "d2", 0, 100), chunk("e2", "d2", 100, 200),
]  # fmt: skip
FILLERS = [chunk(f"f{i}", "d9", 100 * i, 100 * i + 100) for i in range(12)]
BY_ID = {c.id: c for c in [*CHUNKS, *FILLERS]}


def found(questions: Sequence[Sample], answers: dict[str, list[str]]) -> tuple[float, float]:
    def search(text: str, limit: int) -> list[Hit]:
        ids = answers.get(text, [])[:limit]
        return [Hit(chunk=BY_ID[c], score=1.0) for c in ids]  # equal scores: the order given is the ranking

    result = measure(questions, CHUNKS, search)
    assert result is not None
    assert result.questions == len(questions)
    return result.recall_at_5.value, result.ndcg_at_10.value


def test_sources_hold_half_of_the_answer_or_lie_half_in_it() -> None:
    assert sources(question("q", "d1", 10, 90), CHUNKS) == {"c1"}
    assert sources(question("q", "d1", 60, 140), CHUNKS) == {"c1", "c2"}  # half and half
    assert sources(question("q", "d1", 80, 140), CHUNKS) == {"c2"}  # a third lies in c1
    assert sources(question("q", "d1", 40, 300), CHUNKS) == {"c1", "c2", "c3"}  # 60 of c1's 100
    assert sources(question("q", "d1", 60, 300), CHUNKS) == {"c2", "c3"}  # 40 of c1's 100
    assert sources(question("q", "d3", 0, 100), CHUNKS) == set()


def test_recall_and_ndcg_by_hand() -> None:
    first = question("first", "d1", 0, 100)  # relevant: c1
    two = question("two", "d1", 60, 140)  # relevant: c1, c2
    sixth = question("sixth", "d2", 0, 100)  # relevant: e1, at rank 6
    missing = question("missing", "d2", 100, 200)  # relevant: e2, not found
    ranked = {
        "first": ["c1", "c3"],
        "two": ["f0", "c2", "f1", "f2", "f3", "f4", "c1"],
        "sixth": ["f0", "f1", "f2", "f3", "f4", "e1"],
        "missing": [f"f{i}" for i in range(10)],
    }
    recall, ndcg = found([first, two, sixth, missing], ranked)
    ideal_of_two = 1 + 1 / log2(3)
    by_hand = [1.0, (1 / log2(3) + 1 / log2(8)) / ideal_of_two, 1 / log2(7), 0.0]
    assert recall == pytest.approx((1 + 0.5 + 0 + 0) / 4)
    assert ndcg == pytest.approx(sum(by_hand) / 4)


def test_a_question_without_any_hit_counts_as_nothing_found() -> None:
    questions = [question("first", "d1", 0, 100), question("nothing", "d2", 0, 100)]
    assert found(questions, {"first": ["c1"]}) == pytest.approx((0.5, 0.5))
    assert found(questions, {}) == (0, 0)


def test_the_search_is_asked_for_ten_and_what_comes_later_does_not_count() -> None:
    asked = []

    def search(text: str, limit: int) -> list[Hit]:
        asked.append((text, limit))
        return [Hit(chunk=BY_ID[c], score=1.0) for c in [*[f"f{i}" for i in range(10)], "c1", "e1"]]

    shown = []
    questions = [question("q", "d1", 0, 100), question("r", "d2", 0, 100)]
    result = measure(questions, CHUNKS, search, lambda *step: shown.append(step))
    assert result is not None
    assert (result.recall_at_5.value, result.ndcg_at_10.value) == (0, 0)
    assert asked == [("q", 10), ("r", 10)]
    assert shown == [(1, 2, "retrieval"), (2, 2, "retrieval")]


def test_questions_whose_source_is_unknown_are_not_asked() -> None:
    def search(text: str, limit: int) -> list[Hit]:
        raise AssertionError("asked")

    assert measure([question("q", "d3", 0, 100)], CHUNKS, search) is None
    assert measure([], CHUNKS, search) is None


def test_intervals_are_over_documents() -> None:
    questions = [question(f"{d}{i}", d, 100 * i, 100 * i + 100) for d in ("d1", "d2") for i in range(2)]
    result = measure(
        questions, CHUNKS, lambda text, _: [Hit(chunk=BY_ID["c1" if text == "d10" else "c2"], score=1.0)]
    )
    assert result is not None  # d1 is always found, d2 never
    assert (result.recall_at_5.value, result.recall_at_5.low, result.recall_at_5.high) == (0.5, 0, 1)


def test_mrr_by_hand() -> None:
    questions = [question("q", "d1", 0, 100), question("r", "d2", 0, 100), question("s", "d2", 100, 200)]
    ranked = {"q": ["c2", "c3", "c1"], "r": ["e1"], "s": []}
    result = measure(
        questions, CHUNKS, lambda text, _: [Hit(chunk=BY_ID[c], score=1.0) for c in ranked[text]]
    )
    assert result is not None
    assert result.mrr_at_10.value == pytest.approx((1 / 3 + 1 + 0) / 3)
