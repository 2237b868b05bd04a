import json
from collections import Counter

import pytest

from llm_twin.adapters.standins import HashEmbedder
from llm_twin.evaluation.choices import Choice
from llm_twin.evaluation.knowledge import (
    ChoiceAccuracy,
    OpenAnswers,
    choice_accuracy,
    chrf,
    knowledge,
    open_answers,
    rouge_l,
    similarity,
)
from llm_twin.types import Sample

EMBEDDER = HashEmbedder()
RIGHT = [0.0, 0.0, 9.0, 0.0]
WRONG = [9.0, 0.0, 0.0, 0.0]


def choice(i: int, document: str) -> Choice:
    return Choice(
        sample_id=f"s{i}", document_id=document, question="Q?", options=("a", "b", "c", "d"), right=2
    )


def held_out(i: int, document: str, response: str) -> Sample:
    return Sample(
        id=f"s{i}", document_id=document, author="A", instruction="Q?", response=response,
        start=0, end=len(response), split="test", written_by="m",
    )  # fmt: skip


SAMPLES = [
    held_out(0, "d0", "the cat sat on the mat"),
    held_out(1, "d0", "rain fell over every roof"),
    held_out(2, "d1", "bees sleep in the cold months"),
    held_out(3, "d2", "nobody oils a lathe twice"),
]
REFERENCES = [s.response for s in SAMPLES]


# --- choices ---------------------------------------------------------------------------------------------------


def test_accuracy_of_both_models_beside_chance_and_topic() -> None:
    choices = [choice(i, f"d{i % 4}") for i in range(8)]
    found = choice_accuracy(choices, [WRONG, RIGHT] * 4, [RIGHT] * 8, [[0.0] * 4] * 8)
    assert isinstance(found, ChoiceAccuracy)
    assert (found.questions, found.documents, found.chance) == (8, 4, 0.25)
    assert (found.accuracy.base.value, found.accuracy.twin.value, found.accuracy.difference.value) == (
        0.5,
        1,
        0.5,
    )
    assert found.topic_alone.value == 0.25, "four options that tie share the point"


def test_too_few_documents_are_a_reason_and_no_number() -> None:
    reason = choice_accuracy([choice(0, "d0"), choice(1, "d0")], [RIGHT] * 2, [RIGHT] * 2, [RIGHT] * 2)
    assert reason == (
        "2 multiple-choice questions could be made from 1 training documents, and intervals need two documents"
    )
    assert isinstance(choice_accuracy([], [], [], []), str)
    assert isinstance(open_answers(SAMPLES[:2], ["x", "y"], ["x", "y"], EMBEDDER), str)


# --- open answers ----------------------------------------------------------------------------------------------


def test_rouge_l_by_hand() -> None:
    given = ["the mat sat on the cat", "The CAT, sat on: the mat!", "", "dogs bark"]
    # "the sat on the" (or as long): 4 of 6 either way; the same words; no word; nothing shared
    assert rouge_l(given, [REFERENCES[0]] * 4) == pytest.approx([4 / 6, 1, 0, 0])
    # longest common subsequence of 2 words: precision 2/3, recall 2/5
    assert rouge_l(["rain over x"], ["rain fell over every roof"]) == pytest.approx(
        [2 * 2 / 3 * 0.4 / (2 / 3 + 0.4)]
    )


def test_rouge_l_reads_any_alphabet() -> None:
    assert rouge_l(["η γάτα κοιμάται"], ["Η γάτα κοιμάται εδώ"]) == pytest.approx([2 * 0.75 / 1.75])


def plain_chrf(answer: str, reference: str) -> float:
    """chrF2 as the paper has it: precisions and recalls averaged over orders 1 to 6, white space left out."""
    a, b = "".join(answer.split()), "".join(reference.split())
    scores = []
    for n in range(1, 7):
        one, two = (Counter(t[i : i + n] for i in range(len(t) - n + 1)) for t in (a, b))
        if one and two:
            shared = sum((one & two).values())
            scores.append((shared / sum(one.values()), shared / sum(two.values())))
    p, r = (sum(column) / len(scores) for column in zip(*scores, strict=True))
    return 5 * p * r / (4 * p + r) if p + r else 0.0


def test_chrf_agrees_with_the_formula() -> None:
    given = ["the cat sits on a mat", "rain fell over every roof", "bees sleep", "nobody at all here"]
    assert chrf(given, REFERENCES) == pytest.approx(
        [plain_chrf(g, r) for g, r in zip(given, REFERENCES, strict=True)]
    )
    assert chrf(["abc"], ["abd"]) == pytest.approx([plain_chrf("abc", "abd")])
    assert chrf(["", "same"], ["x", "same"]) == pytest.approx([0, 1])


def test_similarity_is_the_cosine_of_what_fits_the_window() -> None:
    short = HashEmbedder(window=6)
    assert similarity(["a b c d e f g h"], ["a b c d"], short) == pytest.approx([1], abs=1e-6)
    assert similarity(REFERENCES, REFERENCES, EMBEDDER) == pytest.approx([1] * 4, abs=1e-6)


def test_a_twin_that_answers_as_the_author_does_is_far_over_a_base_that_does_not() -> None:
    base = ["as a language model"] * 4
    found = open_answers(SAMPLES, base, REFERENCES, EMBEDDER)
    assert isinstance(found, OpenAnswers)
    for part in (found.rouge_l, found.chrf, found.similarity):
        assert part.models.twin.value == pytest.approx(1, abs=1e-6)
        assert part.models.difference.low > 0.3
        assert part.unrelated.value < 0.5
    assert (found.answers, found.documents) == (4, 3)


def test_unrelated_is_measured_on_passages_of_other_documents() -> None:
    found = open_answers(SAMPLES, REFERENCES, REFERENCES, EMBEDDER)
    assert isinstance(found, OpenAnswers)
    partners = [2, 2, 3, 0]  # the next sample of another document, going round
    expected = rouge_l([REFERENCES[i] for i in partners], REFERENCES).mean()
    assert found.rouge_l.unrelated.value == pytest.approx(expected)


def test_a_part_that_was_not_measured_is_named_with_its_reason() -> None:
    answers = open_answers(SAMPLES, REFERENCES, REFERENCES, EMBEDDER)
    found = knowledge("the endpoint gives no likelihoods", answers)
    assert (found.choices, found.not_measured) == (None, {"choices": "the endpoint gives no likelihoods"})
    assert found.answers == answers
    assert json.loads(json.dumps(found.model_dump(), allow_nan=False)) == found.model_dump(mode="json")
