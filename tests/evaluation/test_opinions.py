from collections.abc import Callable

import numpy as np
import pytest

from llm_twin.errors import InputError
from llm_twin.evaluation import style, verifiers
from llm_twin.evaluation.intervals import Estimate
from llm_twin.evaluation.opinions import Opinion, Opinions, opinions
from llm_twin.evaluation.style import Passage

Writer = Callable[..., list[Passage]]


def measured(writing: Writer, seed: int = 0, **wrote: list[Passage]) -> Opinions:
    """The author is brisk, the base formal; what models wrote stands for the author's held-out documents."""
    train = writing("brisk", "a", seed), writing("formal", "o", seed + 1), writing("formal", "a", seed + 2)
    test, others = writing("brisk", "t", seed + 3, 6), writing("formal", "p", seed + 4, 4)
    floor = writing("formal", "t", seed + 5, 6)
    verifier = style.fit(*train, held_out=(test, others, floor))
    base = writing("formal", "t", seed + 6, 6)
    return opinions(*train, test, others, {"floor": floor, "base": base, **wrote}, verifier)


def test_a_model_that_writes_like_the_author_stands_at_the_ceiling_and_the_base_at_the_floor(
    writing: Writer,
) -> None:
    found = measured(writing, twin=writing("brisk", "t", 50, 6))
    assert [o.name for o in found.opinions] == ["delta", "function words", "punctuation", "rhythm", "letters"]
    for opinion in (found.style, *found.opinions):
        assert opinion.refused == "" and opinion.auc > 0.95 and opinion.ceiling > opinion.floor
        assert opinion.placed.keys() == {"base", "twin"} and opinion.gain.keys() == {"twin"}
        assert opinion.placed["base"].value == pytest.approx(0, abs=0.25), opinion.name
        assert opinion.placed["twin"].value == pytest.approx(1, abs=0.35), opinion.name
        gain = opinion.placed["twin"].value - opinion.placed["base"].value
        assert opinion.gain["twin"].value == pytest.approx(gain)
    assert found.verdicts["twin"].nearer == ("style", *(o.name for o in found.opinions))
    assert not found.verdicts["twin"].further and not found.verdicts["twin"].undecided


def test_the_place_is_the_value_between_the_means_by_hand(writing: Writer) -> None:
    twin = writing("brisk", "t", 50, 3) + writing("formal", "t", 51, 3)
    found = measured(writing, twin=twin)
    train = writing("brisk", "a", 0), writing("formal", "o", 1), writing("formal", "a", 2)
    for opinion, second in zip(found.opinions, verifiers.fit(*train), strict=True):
        own, floor = writing("brisk", "t", 3, 6), writing("formal", "t", 5, 6)
        ceiling, bottom, value = (second.judge(texts).values.mean() for texts in (own, floor, twin))
        assert (opinion.floor, opinion.ceiling) == pytest.approx((bottom, ceiling))
        assert opinion.placed["twin"].value == pytest.approx((value - bottom) / (ceiling - bottom))


def test_opinions_rank_documents_like_style_where_habits_differ(writing: Writer) -> None:
    found = measured(writing, twin=writing("brisk", "t", 50, 6))
    assert found.ranked == 6 + 4 + 6 + 6  # by the author, the others, the base and the twin
    assert [c.second for c in found.correlations] == [o.name for o in found.opinions]
    for correlation in found.correlations:
        assert correlation.tau.low > 0.1 and correlation.tau.value > 0.4, correlation
        assert correlation.tau.low <= correlation.tau.value <= correlation.tau.high


def test_a_model_that_is_no_nearer_than_the_base_is_not_called_nearer(writing: Writer) -> None:
    verdict = measured(writing, twin=writing("formal", "t", 50, 6)).verdicts["twin"]
    assert len(verdict.nearer) <= 1 and not verdict.agree
    assert len(verdict.nearer + verdict.further + verdict.undecided) == 6


def test_a_background_that_writes_like_the_author_is_refused_by_all(writing: Writer) -> None:
    train = writing("brisk", "a", 0), writing("brisk", "o", 1), writing("formal", "a", 2)
    test, others = writing("brisk", "t", 3, 6), writing("brisk", "p", 4, 6)
    floor = writing("formal", "t", 5, 6)
    verifier = style.fit(*train, held_out=(test, others, floor))
    found = opinions(*train, test, others, {"floor": floor, "base": floor}, verifier)
    for opinion in (found.style, *found.opinions):
        assert "other authors" in opinion.refused and "base model" not in opinion.refused, opinion.name
        assert opinion.placed == {} == opinion.gain


def test_without_other_authors_the_base_model_is_the_background(writing: Writer) -> None:
    train, test = writing("brisk", "a", 0), writing("brisk", "t", 1, 6)
    machine, floor = writing("formal", "a", 2), writing("formal", "t", 3, 6)
    verifier = style.fit(train, [], machine, held_out=(test, [], floor))
    found = opinions(train, [], machine, test, [], {"floor": floor}, verifier)
    assert all(o.auc_others is None and not o.refused and o.placed == {} for o in found.opinions)
    assert found.verdicts == {} and found.ranked == 12


def test_over_imitation_shows_as_more_than_the_author() -> None:
    def opinion(low: float) -> Opinion:
        at = Estimate(value=1.5, low=low, high=2)
        return Opinion(
            name="x", looks_at="", by_document=False, auc_others=None, auc_machine=at, refused="",
            floor=0, ceiling=1, placed={"twin": at}, gain={},
        )  # fmt: skip

    assert opinion(1.01).over_imitates("twin") and not opinion(1.0).over_imitates("twin")
    assert not opinion(1.01).over_imitates("dpo")


def test_what_came_out_is_plain_json(writing: Writer) -> None:
    found = measured(writing, twin=writing("brisk", "t", 50, 6))
    assert Opinions.model_validate_json(found.model_dump_json()) == found


def test_no_floor_and_answers_for_unknown_documents_are_said(writing: Writer) -> None:
    texts = writing("brisk", "t", 0)
    verifier = style.Verifier(None, None, 0.9, None, None)
    with pytest.raises(InputError, match="as a floor"):
        opinions(texts, texts, [], texts, [], {"base": texts}, verifier)
    with pytest.raises(InputError, match="z0"):
        opinions(texts, texts, [], texts, [], {"floor": writing("brisk", "z", 0)}, verifier)


@pytest.mark.slow
def test_a_real_author_stands_clearly_above_the_other_on_every_opinion(
    real_authors: dict[str, tuple[list[Passage], list[Passage]]],
) -> None:
    """The other author plays the base model; shuffled labels destroy it (the next test)."""
    for author, (train, test) in real_authors.items():
        others, others_test = next(sides for name, sides in real_authors.items() if name != author)
        names = sorted({p.document_id for p in test})
        place = {d: names[i % len(names)] for i, d in enumerate(sorted({p.document_id for p in others_test}))}
        floor = [Passage(place[p.document_id], p.text) for p in others_test]
        verifier = style.fit(train, others, [], held_out=(test, others_test, []))
        found = opinions(train, others, [], test, others_test, {"floor": floor, "base": floor}, verifier)
        told = [o for o in (found.style, *found.opinions) if not o.refused]
        assert len(told) >= 4, [o.refused for o in found.opinions]
        for opinion in told:
            assert opinion.auc_others is not None and opinion.auc_others.low > 0.6, (author, opinion)
            assert opinion.placed["base"].high < 0.5, (author, opinion)


@pytest.mark.slow
def test_shuffled_labels_destroy_every_opinion_on_real_authors(
    real_authors: dict[str, tuple[list[Passage], list[Passage]]],
) -> None:
    """Half of each author's documents are dealt to either of two "authors", in training and held out."""
    from llm_twin.evaluation.separation import separation

    aucs: dict[str, list[float]] = {}
    for seed in range(6):
        heaps = []
        for side in (0, 1):
            heaps.append(([], []))
            for sides in real_authors.values():
                names = sorted({p.document_id for p in sides[side]})
                first = set(np.random.default_rng(seed).permutation(names)[seed % 2 :: 2].tolist())
                for passage in sides[side]:
                    heaps[side][passage.document_id in first].append(passage)
        for second in verifiers.fit(*heaps[0], []):
            own, theirs = (second.judge(heap) for heap in heaps[1])
            aucs.setdefault(second.name, []).append(separation(own, theirs).value)
    for name, found in aucs.items():
        assert np.mean(found) == pytest.approx(0.5, abs=0.15), (name, found)
