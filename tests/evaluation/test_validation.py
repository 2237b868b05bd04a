from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_twin.evaluation import style
from llm_twin.evaluation.style import Passage
from llm_twin.evaluation.validation import Validation, shuffled_sentences, validate

Writer = Callable[..., list[Passage]]


def validated(writing: Writer, paraphrase: str | None = None) -> tuple[Validation, style.Verifier]:
    train = writing("brisk", "a", 0), writing("formal", "o", 1), writing("formal", "a", 2)
    test, others, floor = (
        writing("brisk", "t", 3, 6),
        writing("formal", "p", 4, 4),
        writing("formal", "t", 5, 6),
    )
    verifier = style.fit(*train, held_out=(test, others, floor))
    texts = [p.text for p in writing(paraphrase, "t", 6, 6)] if paraphrase else None
    return validate(*train, test, others, floor, verifier, texts), verifier


def test_known_answers_are_what_they_must_be(writing: Writer) -> None:
    found, verifier = validated(writing, "formal")
    known = {k.name: k for k in found.known}
    assert list(known) == ["author", "others", "machine", "shuffled", "paraphrased"]
    assert found.refused == "" and found.not_measured == {}
    assert known["author"].auc is None and known["author"].mean > 0.8
    for name in ("others", "machine", "paraphrased"):
        auc = known[name].auc
        assert auc is not None and auc.value > 0.95 and known[name].mean < 0.2, name
    assert known["others"].auc and known["others"].auc.value == pytest.approx(verifier.auc_others)
    assert known["machine"].auc and known["machine"].auc.value == pytest.approx(verifier.auc_machine)
    assert known["shuffled"].auc and known["shuffled"].auc.value == pytest.approx(0.5, abs=0.15)
    assert (known["author"].texts, known["author"].documents) == (24, 6)
    assert known["author"].interval and known["author"].interval.value == pytest.approx(known["author"].mean)


def test_labels_dealt_by_chance_tell_nothing_while_the_real_ones_do(writing: Writer) -> None:
    found, verifier = validated(writing)
    assert found.chance is not None and verifier.auc > 0.95
    assert found.chance.value == pytest.approx(0.5, abs=0.15)
    assert found.chance.low < found.chance.value < found.chance.high
    assert found.not_measured == {"paraphrased": "no paraphrases were made"}


def test_calibration_and_power_are_those_of_the_verifier(writing: Writer) -> None:
    found, _ = validated(writing)
    assert found.calibration and found.calibration.brier.value < 0.05
    assert sum(b.texts for b in found.calibration.bins) == 24 + 16 + 24
    assert found.power and found.power.enough == 20 and found.power.points[0].others


def test_copies_are_seen_as_copies_and_empty_paraphrases_are_left_out(writing: Writer) -> None:
    train, test = writing("brisk", "a", 0), writing("brisk", "t", 3, 6)
    others, others_test = writing("formal", "o", 1), writing("formal", "p", 4, 4)
    verifier = style.fit(train, others, [], held_out=(test, others_test, []))
    texts = [p.text for p in test[:-3]] + ["", " ", ""]
    found = validate(train, others, [], test, others_test, [], verifier, texts)
    known = {k.name: k for k in found.known}
    assert known["paraphrased"].texts == len(test) - 3 and found.wording_kept == 1
    assert found.not_measured == {"machine": "there are no such texts"}
    empty = validate(train, others, [], test, others_test, [], verifier, [""] * len(test))
    assert "paraphrased" in empty.not_measured and "paraphrased" not in {k.name for k in empty.known}


def test_too_little_is_refused_with_a_reason(writing: Writer) -> None:
    train, others = writing("brisk", "a", 0), writing("formal", "o", 1)
    test, others_test = writing("brisk", "t", 3, 1), writing("formal", "p", 4, 4)
    verifier = style.fit(train, others, [], held_out=(test, others_test, []))
    assert "1 documents" in validate(train, others, [], test, others_test, [], verifier).refused
    found = validate(train, others, [], train, [], [], verifier)
    assert "background" in found.refused and found.known == () and found.power is None


def test_one_background_document_has_no_interval_and_few_documents_are_not_dealt(writing: Writer) -> None:
    train, test = writing("brisk", "a", 0, 3), writing("brisk", "t", 3, 3)
    others, others_test = writing("formal", "o", 1, 3), writing("formal", "p", 4, 1)
    verifier = style.fit(train, others, [], held_out=(test, others_test, []))
    found = validate(train, others, [], test, others_test, [], verifier)
    assert next(k for k in found.known if k.name == "others").interval is None
    two = validate(train[:8], others[:8], [], test, others_test, [], verifier)
    assert two.chance is None and "too few" in two.not_measured["chance"]


def test_what_came_out_is_plain_json(writing: Writer) -> None:
    found, _ = validated(writing, "formal")
    assert Validation.model_validate_json(found.model_dump_json()) == found


def test_shuffled_sentences_by_hand() -> None:
    text = "First one. Second!\n\n- Third?  Fourth."
    made = {shuffled_sentences(text, seed) for seed in range(40)}
    assert len(made) > 10
    for other in made:
        assert sorted(other.split()) == sorted(text.split())
        assert other.count("\n\n") == 1 and other.index("\n\n") > 0
    assert shuffled_sentences(text, 1) == shuffled_sentences(text, 1)


@given(st.text(), st.integers(0, 5))
def test_shuffling_sentences_keeps_every_character(text: str, seed: int) -> None:
    assert sorted(shuffled_sentences(text, seed)) == sorted(text)


@pytest.mark.slow
def test_known_answers_for_two_real_authors(
    real_authors: dict[str, tuple[list[Passage], list[Passage]]],
) -> None:
    for author, (train, test) in real_authors.items():
        others, others_test = next(sides for name, sides in real_authors.items() if name != author)
        verifier = style.fit(train, others, [], held_out=(test, others_test, []))
        found = validate(train, others, [], test, others_test, [], verifier)
        known = {k.name: k for k in found.known}
        assert known["others"].auc and known["others"].auc.low > 0.85
        assert known["shuffled"].auc and 0.4 < known["shuffled"].auc.value < 0.6
        assert found.chance and found.chance.high < 0.7
        assert found.calibration and found.calibration.brier.value < 0.15
        assert found.power and found.power.enough and found.power.enough <= 80
        aucs = [p.auc for p in found.power.points]
        assert aucs == sorted(aucs) or aucs[-1] >= aucs[0]
