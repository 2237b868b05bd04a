from collections.abc import Sequence

import pytest

from llm_twin.evaluation.support import Claim
from llm_twin.evaluation.trials import KINDS, made, trials
from llm_twin.types import Chunk


def chunk(name: str, document: str, text: str) -> Chunk:
    return Chunk(
        id=name, document_id=document, author="A", kind="article", title="T", text=text,
        start=0, end=len(text), tokens=9,
    )  # fmt: skip


LATHE = "I bought the old lathe from Hobb in 1999, and I cleaned it for a week."
HENS = "My neighbour keeps 12 hens near Stennick harbour all winter."
CLOCK = "Nobody mends the clock in Carrow any longer, and nobody climbs up there these days."
PASSAGES = [
    chunk("a", "one", f"{LATHE} It wasn't cheap for a rusty lathe like that one."),
    chunk("b", "two", f"{HENS} They were never cheap to feed in that old barn."),
    chunk("c", "three", CLOCK),
]


def test_the_cases_by_hand() -> None:
    found: dict[str, dict[str, str]] = {}
    for case in made(PASSAGES, 10):
        found.setdefault(case.kind, {})[case.sentence] = case.passage.id
    assert found.keys() == KINDS.keys()
    assert len(found["word for word"]) == 5
    assert "I bought the old lathe from Hobb in 1999." in found["first clause"]
    assert (
        "I wrote that I bought the old lathe from Hobb in 1999, and I cleaned it for a week, "
        "and that it was not cheap for a rusty lathe like that one." in found["retold"]
    )
    assert "My neighbour keeps 15 hens near Stennick harbour all winter." in found["number changed"]
    (stolen,) = [s for s in found["name changed"] if s.startswith("My neighbour")]
    assert stolen.replace("Hobb", "Carrow") == "My neighbour keeps 12 hens near Carrow harbour all winter."
    assert "They were cheap to feed in that old barn." in found["denied"]
    assert "It was cheap for a rusty lathe like that one." in found["denied"]
    assert "I never bought the old lathe from Hobb in 1999, and I cleaned it for a week." in found["denied"]
    assert (
        found["another document"]["It wasn't cheap for a rusty lathe like that one."] == "b"
    )  # it shares "cheap"


def test_a_changed_number_stands_nowhere_in_the_passage() -> None:
    passage = chunk("a", "one", "I mended 12 clocks of the 15 that came, then 19 more before winter.")
    (case,) = [case for case in made([passage], 5) if case.kind == "number changed"]
    assert case.sentence.startswith("I mended 23 clocks")


def test_a_judge_that_knows_is_never_wrong_and_a_yea_sayer_errs_on_one_side() -> None:
    truth = {(c.sentence, c.passage.id): KINDS[c.kind] for c in made(PASSAGES, 10)}

    def knows(claims: Sequence[Claim]) -> list[bool]:
        # The same sentence is put to its own passage and to another document's.
        return [truth[sentence, passage.id] for sentence, passage in claims]

    found = trials(PASSAGES, knows, most=10)
    assert found.missed is not None and found.let_through is not None
    assert (found.missed.value, found.let_through.value) == (0, 0)
    assert min(found.missed.high, found.let_through.high) > 0.5, (
        "three documents cannot show that it never errs"
    )
    assert [k.kind for k in found.kinds] == list(KINDS)

    yes = trials(PASSAGES, lambda claims: [True] * len(claims), most=10)
    assert yes.missed is not None and yes.let_through is not None
    assert (yes.missed.value, yes.let_through.value) == (0, 1)
    no = trials(PASSAGES, lambda claims: [False] * len(claims), most=10)
    assert no.missed is not None and no.missed.value == 1


def test_kinds_weigh_the_same_and_shares_are_counted() -> None:
    def by_length(claims: Sequence[Claim]) -> list[bool]:
        return [sentence.startswith("I wrote") for sentence, _ in claims]

    found = trials(PASSAGES, by_length, most=10)
    wrong = {k.kind: k.wrong.value for k in found.kinds if k.wrong is not None}
    assert wrong["word for word"] == wrong["first clause"] == 1
    assert wrong["retold"] == 0
    assert found.missed is not None and found.missed.value == pytest.approx(2 / 3)


def test_what_no_two_documents_allow_is_not_measured() -> None:
    found = trials(PASSAGES[2:], lambda claims: [True] * len(claims), most=10)
    assert {k.kind: k.cases for k in found.kinds}["number changed"] == 0
    assert [k.wrong for k in found.kinds] == [None] * len(KINDS)
    assert trials([], lambda claims: []).missed is None


def test_sentences_are_spread_over_documents_and_drawn_the_same_each_time() -> None:
    many = [chunk(f"a{i}", "long", f"The {i} old lathes of Hobb stood in the barn.") for i in range(20)]
    cases = [c for c in made([*many, *PASSAGES[1:]], 4) if c.kind == "word for word"]
    assert sorted(c.passage.document_id for c in cases) == ["long", "long", "three", "two"] or len(cases) == 4
    assert [c.passage.document_id for c in cases].count("long") <= 2
    assert list(made(many, 4)) == list(made(many, 4))
