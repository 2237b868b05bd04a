from collections.abc import Callable

import numpy as np
import pytest

from llm_twin.errors import InputError
from llm_twin.evaluation import style
from llm_twin.evaluation.appraise import Appraisal, Sides, _refusal, appraise, pieces, voice
from llm_twin.evaluation.intervals import Estimate, between, draw, estimate
from llm_twin.evaluation.power import count
from llm_twin.evaluation.style import Passage
from llm_twin.evaluation.validation import Known, Validation
from llm_twin.evaluation.verifiers import joined

Writer = Callable[..., list[Passage]]


def appraised(
    writing: Writer, *texts: tuple[str, str], others: str = "formal", machine: bool = True
) -> Appraisal:
    train, held_out = writing("brisk", "a", 0), writing("brisk", "t", 3, 6)
    return appraise(
        "Brisk",
        texts,
        Sides(train, writing(others, "o", 1), writing("formal", "a", 2) if machine else ()),
        Sides(held_out, writing(others, "p", 4, 6), writing("formal", "t", 5, 6) if machine else ()),
        [p.text for p in joined(train)],
    )


def documents(writing: Writer, habit: str, many: int, seed: int = 60) -> list[tuple[str, str]]:
    return [(p.document_id, p.text) for p in joined(writing(habit, habit, seed, many))]


@pytest.fixture(scope="module")
def found(writing: Writer) -> Appraisal:
    copy = ("copy", joined(writing("brisk", "a", 0))[0].text)
    short = ("short", "It's the lathe that wears — always.")
    return appraised(writing, *documents(writing, "brisk", 3), *documents(writing, "formal", 3), copy, short)


def test_the_authors_texts_stand_near_1_and_others_near_0(found: Appraisal) -> None:
    assert found.refused == "" and found.floor_is == "the base model" and found.opinions_refused == {}
    for text in found.texts[:3]:
        assert text.refused == "" and text.place and text.place.value == pytest.approx(1, abs=0.15)
        assert text.place.low <= text.place.value <= text.place.high
        assert len(text.opinions) == 5 and min(text.opinions.values()) > 0.5
    for text in found.texts[3:6]:
        assert text.place and text.place.value == pytest.approx(0, abs=0.15)
        assert max(text.opinions.values()) < 0.5 and text.probability is not None and text.probability < 0.2


def test_a_copy_of_known_writing_scores_high_and_is_flagged(found: Appraisal) -> None:
    copy = found.texts[6]
    assert copy.place and copy.place.value > 0.8
    assert copy.copied.share == 1 and copy.copied.longest > 50
    assert copy.copy_flag.startswith("100% of it stands in known writing")


def test_a_short_text_gets_the_reason_and_no_number(found: Appraisal) -> None:
    short = found.texts[7]
    assert short.refused == "it has 6 words, and it takes 20 to tell this author"
    assert short.place is None and short.probability is None and short.opinions == {}


def test_the_overall_place_is_over_texts_with_a_number_that_are_no_copies(found: Appraisal) -> None:
    told = [t for t in found.texts if t.place and not t.copy_flag]
    assert found.over == len(told) and found.texts[6] not in told
    assert found.place and found.place.value == pytest.approx(
        sum(t.place.value for t in told if t.place) / len(told)
    )
    assert found.place.low < found.place.value < found.place.high


def test_other_authors_are_the_floor_where_there_is_no_machine(writing: Writer) -> None:
    found = appraised(writing, *documents(writing, "brisk", 1), machine=False)
    assert found.floor_is == "other authors" and found.place is None and found.over == 1
    assert found.texts[0].place and found.texts[0].place.value > 0.8


def test_a_floor_of_few_documents_makes_every_interval_as_wide_as_they_ask(writing: Writer) -> None:
    """Twelve texts, eight documents by the author and three by others: three decide."""
    train = Sides(writing("brisk", "a", 0), writing("formal", "o", 1))
    own, texts = writing("brisk", "t", 3, 8), documents(writing, "brisk", 12)
    few, many = (appraise("B", texts, train, Sides(own, writing("formal", "p", 4, n)), [""]) for n in (3, 8))
    judge = style.fit(train.author, train.others, [], (own, few_floor := writing("formal", "p", 4, 3), []))
    assert few.place and many.place and few.over == 12
    probabilities = [t.probability for t in few.texts if t.probability is not None]
    names = [f"{i:06}" for i in range(12)]
    means = draw(names, seed=2).mean(np.array(probabilities), names)
    ends = [
        draw([p.document_id for p in side], seed=seed).mean(
            judge.probability([p.text for p in side]), [p.document_id for p in side]
        )
        for side, seed in ((few_floor, 1), (own, 0))
    ]
    placed, three = between(means, *ends), draw([p.document_id for p in few_floor], seed=1)
    by_hand = estimate(placed, three)
    assert (few.place.low, few.place.high) == pytest.approx((by_hand.low, by_hand.high))
    by_texts = estimate(placed, draw(names, seed=2))
    assert few.place.high - few.place.low > by_texts.high - by_texts.low
    text, alone = few.texts[0], between(np.full(len(means), probabilities[0]), *ends)
    assert text.place and text.place == estimate(alone, three)


def test_a_verifier_that_may_be_guessing_gives_no_text_a_number() -> None:
    verifier = style.Verifier(None, None, 0.85, 0.85, None)
    auc = Estimate(value=0.85, low=0.45, high=1)
    known = Known(name="others", what="", texts=4, documents=2, mean=0.2, interval=None, auc=auc)
    said = _refusal(verifier, Validation(known=(known,)))
    assert (
        said == "the verifier's AUC is 0.85 [0.45, 1.00] over other authors: under 0.5 it would be guessing"
    )
    sure = known.model_copy(update={"auc": Estimate(value=0.85, low=0.6, high=1)})
    assert "guessing" not in _refusal(verifier, Validation(known=(sure,)))


def test_no_text_gets_a_number_where_the_author_cannot_be_told(writing: Writer) -> None:
    found = appraised(writing, *documents(writing, "brisk", 2), others="brisk")
    assert "over other authors" in found.refused and found.place is None and found.over == 0
    assert all(t.refused == found.refused and t.probability is None for t in found.texts)
    assert all("other authors" in why for why in found.opinions_refused.values())


def test_what_came_out_is_plain_json(found: Appraisal) -> None:
    assert Appraisal.model_validate_json(found.model_dump_json()) == found


def test_nothing_to_appraise_is_said(writing: Writer) -> None:
    with pytest.raises(InputError, match="no texts"):
        appraised(writing)


def test_a_long_text_is_cut_to_equal_pieces_and_a_short_one_is_left_whole() -> None:
    text = " ".join(["word"] * 95)
    assert [count(p) for p in pieces(text, 30)] == [31, 31, 31]
    assert pieces("— so it is", 30) == ["— so it is"]
    assert pieces("", 30) == [""]


@pytest.mark.slow
def test_held_out_articles_of_two_real_authors_are_placed_and_a_copy_is_caught(
    real_authors: dict[str, tuple[list[Passage], list[Passage]]],
) -> None:
    for author, (train, test) in real_authors.items():
        others, others_test = next(sides for name, sides in real_authors.items() if name != author)
        names = sorted({p.document_id for p in test})
        kept = [p for p in test if p.document_id in names[::2]]
        asked = joined([p for p in test if p.document_id in names[1::2]])
        texts = [("own", p.text) for p in asked] + [("other", p.text) for p in joined(others_test)]
        texts += [("copy", joined(train)[0].text)]
        known = [p.text for p in joined(train)]
        found = appraise(author, texts, Sides(train, others), Sides(kept, others_test), known)
        places = {
            name: [t.place.value for t in found.texts if t.name == name and t.place] for name, _ in texts
        }
        assert len(places["own"]) >= 3 and sum(places["own"]) / len(places["own"]) > 0.7
        assert sum(places["other"]) / len(places["other"]) < 0.3
        assert found.texts[-1].copy_flag and found.texts[-1].copied.share == 1


def test_one_text_at_a_time_gets_the_probability_that_appraise_gives(writing: Writer) -> None:
    (name, text) = documents(writing, "brisk", 1)[0]
    whole = appraised(writing, (name, text), machine=False).texts[0]
    train = Sides(writing("brisk", "a", 0), writing("formal", "o", 1))
    held_out = Sides(writing("brisk", "t", 3, 6), writing("formal", "p", 4, 6))
    one = voice(train, held_out)
    assert one.of(text) == (whole.words, whole.probability, "")
    words, probability, refused = one.of("It's the lathe that wears — always.")
    assert (words, probability) == (6, None) and "it takes" in refused
    assert one.auc >= 0.8
    assert one.told_from == "other authors"
