import pytest

from llm_twin.evaluation.ragas_scores import RagSample, rag_samples, ragas_scores
from llm_twin.types import Answer, Chunk, Hit, Sample


def rag_sample(document: str) -> RagSample:
    return RagSample(
        document_id=document, question="Q?", answer="A.", reference="R.",
        retrieved_contexts=("x",), reference_contexts=("x",),
    )  # fmt: skip


SAMPLES = [rag_sample(d) for d in "aabbccddeeff"]


def test_means_are_over_samples_and_a_few_failures_are_told() -> None:
    values = {"m": [None, *[0.5] * 5, *[1.0] * 6]}
    found = ragas_scores(SAMPLES, values, {}, judge="j")
    assert found.metrics["m"].value == pytest.approx((5 * 0.5 + 6) / 11)
    assert (found.failed, found.not_measured, found.samples) == ({"m": 1}, {}, 12)


def test_a_judge_that_fails_too_often_is_not_averaged() -> None:
    found = ragas_scores(SAMPLES, {"m": [None, None, *[1.0] * 10]}, {"n": "no library"}, judge="j")
    assert found.metrics == {}
    assert found.not_measured == {
        "m": "it failed on 2 of 12 samples: j does not keep to the format",
        "n": "no library",
    }


def test_one_document_has_no_interval() -> None:
    found = ragas_scores(SAMPLES[:2], {"m": [1.0, 1.0]}, {})
    assert "two documents" in found.not_measured["m"]
    assert ragas_scores([], {"m": []}, {}).metrics == {}


def test_samples_have_the_passages_that_hold_the_authors_answer() -> None:
    def chunk(name: str, start: int) -> Chunk:
        return Chunk(
            id=name, document_id="d", author="A", kind="article", title="T", text=f"text of {name}",
            start=start, end=start + 100, tokens=9,
        )  # fmt: skip

    def answer(text: str, found: bool = True) -> Answer:
        hits = (Hit(chunk=chunk("b", 100), score=1.0),) if found else ()
        return Answer(question="Q?", text=text, mode="write", found=found, hits=hits)

    sample = Sample(
        id="s", document_id="d", author="A", instruction="Why?", response="Because.", start=0, end=90,
        split="test", written_by="m",
    )  # fmt: skip
    passages = [chunk("a", 0), chunk("b", 100)]
    elsewhere = sample.model_copy(update={"document_id": "e"})
    asked = [
        (sample, answer("It failed. [1]")),
        (sample, answer("I haven't written about that.", found=False)),
        (elsewhere, answer("It failed. [1]")),
    ]
    (found,) = rag_samples(asked, passages)
    assert found.reference_contexts == ("text of a",)
    assert found.retrieved_contexts == ("text of b",)
    assert (found.question, found.reference) == ("Why?", "Because.")
