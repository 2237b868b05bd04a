import json
from collections.abc import Sequence

import numpy as np
import pytest

from llm_twin.adapters.standins import HashEmbedder
from llm_twin.errors import InputError
from llm_twin.evaluation.rag import Arm, Rag, RagScores, measure_rag, rag
from llm_twin.evaluation.support import Claim
from llm_twin.types import Answer, Chunk, Citation, Hit, Sample, Skipped

EMBEDDER = HashEmbedder(256)


def chunk(name: str) -> Chunk:
    text = f"Passage {name} tells of lathes."
    return Chunk(
        id=name, document_id=f"d-{name}", author="A", kind="article", title="T", text=text,
        start=0, end=len(text), tokens=9,
    )  # fmt: skip


def answer(text: str, found: bool = True, question: str = "Q?", hits: str = "ab") -> Answer:
    citations = tuple(
        Citation(number=n, chunk_id=c, document_id=f"d-{c}", title="T", url=None, start=0, end=9)
        for n, c in enumerate(hits, 1)
    )
    return Answer(
        question=question, text=text, mode="write", found=found, citations=citations if found else (),
        hits=tuple(Hit(chunk=chunk(c), score=1.0) for c in hits) if found else (),
    )  # fmt: skip


def sample(name: str, document: str, instruction: str = "Which lathe rusted?") -> Sample:
    return Sample(
        id=name, document_id=document, author="A", instruction=instruction, response="My lathe rusted.",
        start=0, end=16, split="test", written_by="m",
    )  # fmt: skip


def truly(claims: Sequence[Claim]) -> list[bool]:
    """A judge by code: "in Alpha" and "in Beta" are supported by passage a and b."""
    names = {"a": "in Alpha", "b": "in Beta"}
    return [names[passage.id] in sentence for sentence, passage in claims]


QUIET = answer("I haven't written about that.", found=False)
ANSWERED = [
    # right citation; wrong citation though b says it; no citation though a says it
    (sample("1", "one"), answer("Old lathes rust in Alpha. [1] New lathes shine in Beta. [1] Big ones hum in Alpha.")),
    # two citations, one right; nothing says it and none is cited; too short; a question
    (sample("2", "two"), answer("Old lathes rust in Beta. [1] [2] Fast cars drive nowhere. Yes. Why do lathes rust?")),
    (sample("3", "three"), QUIET),
]  # fmt: skip


def test_every_share_by_hand() -> None:
    knows = answer("Of course I know lathes.")
    found = rag(ANSWERED, [QUIET, QUIET, knows, QUIET], EMBEDDER, truly, [knows, QUIET])
    values = {name: e.value for name, e in found if hasattr(e, "value")}
    assert (found.questions, found.unanswerable, found.others) == (3, 4, 2)
    assert (found.statements, found.citations) == (5, 4)
    assert values["grounded"] == pytest.approx(4 / 5)
    assert values["cited"] == pytest.approx(3 / 5)
    assert values["citation_recall"] == pytest.approx(2 / 5)
    assert values["citation_precision"] == pytest.approx(2 / 4)
    assert values["wrong_abstentions"] == pytest.approx(1 / 3)
    assert values["abstentions"] == pytest.approx(3 / 4)
    assert values["abstentions_others"] == pytest.approx(1 / 2)
    assert found.not_measured == {}


def test_silence_on_every_question_has_the_exact_interval_and_not_one_of_no_width() -> None:
    found = rag(ANSWERED, [QUIET] * 24, EMBEDDER, truly).abstentions
    assert found is not None and (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(
        0.025 ** (1 / 24)
    )  # nobody answers: low is where 24 of 24 has a chance of 2.5%


def test_shares_that_are_always_1_keep_a_width() -> None:
    good = answer("Old lathes rust in Alpha. [1]")
    always = [(sample(f"{d}{i}", f"d{d}"), good) for d in range(8) for i in range(3)]
    found = rag(always, [], EMBEDDER, truly)
    for one in (found.grounded, found.cited, found.citation_recall, found.citation_precision):
        assert one is not None and (one.value, one.high) == (1, 1)
        assert one.low == pytest.approx(0.025 ** (1 / 8))
    silent = found.wrong_abstentions
    assert silent is not None and (silent.value, silent.low) == (0, 0) and silent.high > 0.3


def test_the_intervals_are_over_documents() -> None:
    good, bad = answer("Old lathes rust in Alpha. [1]"), answer("Old lathes rust nowhere. [1]")
    one_document_each = [
        (sample(f"{d}{i}", d), good if d == "one" else bad) for d in ("one", "two") for i in range(9)
    ]
    found = rag(one_document_each, [], EMBEDDER, truly).grounded
    assert found is not None and (found.value, found.low, found.high) == pytest.approx((0.5, 0, 1))


def test_relevance_is_the_cosine_of_question_and_answer_without_citations() -> None:
    asked = [
        (sample("1", "one", "lathe rust oil"), answer("lathe rust oil [1]")),
        (sample("2", "two", "hens barn feed"), answer("hens barn door [1]")),
    ]
    found = rag(asked, [], EMBEDDER, truly)
    vectors = EMBEDDER.embed(
        ["lathe rust oil", "hens barn feed", "lathe rust oil", "hens barn door", "My lathe rusted."]
    )
    assert found.relevance and found.relevance_floor and found.relevance_author
    assert found.relevance.value == pytest.approx(
        (vectors[0] @ vectors[2] + vectors[1] @ vectors[3]) / 2, abs=1e-6
    )
    assert found.relevance_floor.value == pytest.approx(
        (vectors[1] @ vectors[2] + vectors[0] @ vectors[3]) / 2, abs=1e-6
    )
    assert found.relevance_author.value == pytest.approx((vectors[0] + vectors[1]) @ vectors[4] / 2, abs=1e-6)


def test_what_is_not_there_is_not_measured_and_says_why() -> None:
    silent = [(sample("1", "one"), QUIET), (sample("2", "two"), QUIET)]
    found = rag(silent, [QUIET], EMBEDDER, truly)
    assert found.grounded is found.relevance is found.citation_precision is found.abstentions is None
    assert found.wrong_abstentions is not None and found.wrong_abstentions.value == 1
    assert set(found.not_measured) == {name for name, value in found if value is None}
    assert "unanswerable" in found.not_measured["abstentions"]
    assert "another author's document" in found.not_measured["abstentions_others"]


def test_why_there_are_no_questions_about_others_is_told() -> None:
    without = whole(without_others="no writing by other authors was collected").arms["base write"]
    assert without.not_measured["abstentions_others"] == "no writing by other authors was collected"


def test_one_document_is_too_few() -> None:
    with pytest.raises(InputError, match="about one document"):
        rag([(sample("1", "one"), QUIET), (sample("2", "one"), QUIET)], [], EMBEDDER, truly)


def test_a_citation_of_what_was_not_retrieved_supports_nothing() -> None:
    lost = answer("Old lathes rust in Alpha. [1]").model_copy(
        update={"hits": (Hit(chunk=chunk("b"), score=1.0),)}
    )
    found = rag([(sample("1", "one"), lost), (sample("2", "two"), lost)], [], EMBEDDER, truly)
    assert found.citation_precision is not None and found.citation_precision.value == 0


def test_the_rule_is_the_judge_unless_another_is_given() -> None:
    own = answer("Passage a tells of lathes. [1]")
    other = answer("Steam engines pulled heavy trains over mountains. [1]")
    found = rag([(sample("1", "one"), own), (sample("2", "two"), other)], [], EMBEDDER)
    assert found.grounded is not None and found.grounded.value == 0.5


def arms() -> dict[str, Arm]:
    worse = [(s, answer("Old lathes rust nowhere. [1]")) for s, _ in ANSWERED]
    return {"twin write": Arm(ANSWERED, [QUIET, QUIET]), "base write": Arm(worse, [])}


def whole(**options: object) -> Rag:
    return measure_rag(arms(), [chunk("a"), chunk("b")], EMBEDDER, truly, **options)  # type: ignore[arg-type]


def test_arms_are_compared_in_the_same_draws() -> None:
    found = whole()
    assert found.differences.keys() == {"twin write - base write"}
    difference = found.differences["twin write - base write"]["grounded"]
    assert difference.value == pytest.approx(4 / 5 - 0)
    same = measure_rag(
        {"twin write": arms()["twin write"], "base write": arms()["twin write"]}, [], EMBEDDER, truly
    )
    for name, estimate in same.differences["twin write - base write"].items():
        assert estimate.value == 0
        assert name.startswith("relevance") or estimate.low < -0.5  # three documents are few
        assert not name.startswith("relevance") or estimate.low == estimate.high == 0


def test_arms_that_answered_other_questions_are_refused() -> None:
    other = {"base write": Arm(ANSWERED[:2]), "twin write": Arm(ANSWERED)}
    with pytest.raises(InputError, match="twin write was not asked the same"):
        measure_rag(other, [], EMBEDDER, truly)


def test_examples_are_the_first_of_each_document_with_what_the_judge_said() -> None:
    found = whole().examples
    assert [example.question for example in found] == ["Which lathe rusted?"] * 3
    shown = found[0].answers["twin write"]  # document "one" comes first
    assert [(s.supported, s.grounded) for s in shown.sentences] == [
        (True, True),
        (False, True),
        (False, True),
    ]
    by_place = {e.answers["twin write"].text: e.answers["twin write"] for e in found}
    assert by_place[QUIET.text].abstains and by_place[QUIET.text].sentences == ()
    second = by_place[ANSWERED[1][1].text].sentences
    assert [(s.supported, s.grounded) for s in second] == [
        (True, True),
        (False, False),
        (None, None),
        (None, None),
    ]


def test_the_result_is_json_and_says_what_was_left_out() -> None:
    found = whole(left_out=[Skipped(what="How?", why="d1 holds all of: pear")])
    assert Rag.model_validate_json(found.model_dump_json()) == found
    json.loads(found.model_dump_json(), parse_constant=lambda name: pytest.fail(name))
    assert found.left_out[0].what == "How?"
    assert isinstance(found.arms["base write"], RagScores)
    assert np.isfinite([e.value for _, e in found.arms["twin write"] if hasattr(e, "value")]).all()


def test_the_judge_is_asked_once_an_arm() -> None:
    calls = []

    def counting(claims: Sequence[Claim]) -> list[bool]:
        calls.append(len(claims))
        return truly(claims)

    rag(ANSWERED, [], EMBEDDER, counting)
    assert calls == [10]  # five statements by two passages; "Yes." and the question cite nothing
