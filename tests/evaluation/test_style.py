import random
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from llm_twin.errors import InputError
from llm_twin.evaluation import style
from llm_twin.evaluation.style import Passage, Verifier, auc, fit, mask
from llm_twin.text import words

TOPICS = [
    ("tide", "harbour", "clock"),
    ("bearing", "lathe", "motor"),
    ("kernel", "compiler", "thread"),
    ("garden", "seed", "frost"),
]
Held = tuple[Sequence[Passage], Sequence[Passage], Sequence[Passage]]


def passage(topic: tuple[str, ...], habit: str, rng: random.Random) -> str:
    """Three sentences on `topic`; only punctuation and contractions tell one habit from the other."""
    one, two, three = rng.sample(topic, 3)
    dashed = [
        f"It's the {one} that wears — and I've seen it wear out a {two}.",
        f"Don't trust the {three} — it's older than the {one}!",
        f"You'd think a {two} can't fail… they do, 3 times a year.",
        f"I'm fond of the {one} — that's all.",
    ]
    formal = [
        f"It is the {one} that wears, and I have seen it wear out a {two}.",
        f"One should not trust the {three}; it is older than the {one}.",
        f"You would think a {two} cannot fail, but they do, three times a year.",
        f"I am fond of the {one} (that is all).",
    ]
    return " ".join(rng.sample(dashed if habit == "dashed" else formal, 3))


def writing(habit: str, name: str, seed: int, documents: int = 8, passages: int = 4) -> list[Passage]:
    rng = random.Random(seed)
    return [
        Passage(f"{name}{d}", passage(TOPICS[d % len(TOPICS)], habit, rng))
        for d in range(documents)
        for _ in range(passages)
    ]


def split(passages: Sequence[Passage], held_out: int) -> tuple[list[Passage], list[Passage]]:
    names = sorted({p.document_id for p in passages})[-held_out:]
    return [p for p in passages if p.document_id not in names], [
        p for p in passages if p.document_id in names
    ]


# --- masking -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("The GPU ran 12 jobs!", "The XX x 00 x!"),
        ("Don’t trust Ishbel's clock — it's old…", "Don’t x Xx x — it's x…"),
        ("Why?\n\n- one\n- lathe", "Why?\n\n- one\n- x"),
        ("I'D SAY SO", "I'D SAY SO"),
        ("A B c I a", "A Xx x I a"),
        ("def run_all(x2): # TODO", "x x_all(x0): # XX"),
        ("see https://a.example/tides?id=31", "see x://a.x/x?x=00"),
        ("naïve Übermut, 東京 и мир", "x Xx, x x x"),
        ("𝗯𝗼𝗹𝗱 and 𝘵𝘩𝘦 ﬁre", "𝗑 and 𝗑 𝗑"),
        ("٣ and ½", "0 and 𝗑"),
        ("rock'n'roll o'clock the''end", "x x the''x"),
        ("🙂 (so-called) “end”", "🙂 (so-x) “x”"),
        ("", ""),
    ],
)
def test_masking_by_hand(text: str, masked: str) -> None:
    assert mask(text) == masked


LEFT = style.FUNCTION_WORDS | {"x", "xx", "𝗑"}
PROSE = st.lists(
    st.one_of(
        st.sampled_from(["the", "Don’t", "lathe", "Ishbel", "GPU", "—", "…", "\n\n", "12", "i'd"]), st.text()
    )
).map(" ".join)


@given(PROSE)
def test_no_content_word_survives_masking(text: str) -> None:
    for word in re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)*", mask(text)):
        assert word.lower().replace("’", "'") in LEFT, word
    assert not set("123456789") & set(mask(text))


@given(PROSE)
def test_masking_keeps_punctuation_space_and_function_words_in_place(text: str) -> None:
    def marks(of: str) -> Counter[str]:
        return Counter(c for c in of if not c.isalnum() and c not in "'’_" and not c.isnumeric())

    assert marks(mask(text)) == marks(text)
    kept = [w for w in words(mask(text)) if w in {"the", "don’t", "i'd"}]
    assert kept == [w for w in words(text) if w in {"the", "don’t", "i'd"}]


@given(PROSE)
def test_masking_twice_is_masking_once(text: str) -> None:
    assert mask(mask(text)) == mask(text)


# --- the verifier --------------------------------------------------------------------------------------------------


def test_the_auc_is_sklearns() -> None:
    rng = np.random.default_rng(0)
    for positives, negatives in [(30, 50), (1, 1), (7, 200)]:
        own, theirs = rng.normal(0.5, 1, positives).round(1), rng.normal(0, 1, negatives).round(1)
        labels = [1] * positives + [0] * negatives
        assert auc(own, theirs) == pytest.approx(roc_auc_score(labels, np.concatenate([own, theirs])))
    assert auc(np.array([1.0, 1.0]), np.array([1.0])) == 0.5


def fitted(seed: int = 0) -> Verifier:
    author, author_test = split(writing("dashed", "a", seed), 3)
    others, others_test = split(writing("formal", "o", seed + 1), 3)
    return fit(author, others, [], (author_test, others_test, []))


def test_punctuation_habits_on_the_same_topics_are_told_apart() -> None:
    verifier = fitted()
    assert verifier.auc >= 0.95
    assert verifier.auc_others == verifier.auc
    assert verifier.auc_machine is None
    assert verifier.can_tell
    dashed, formal = verifier.probability(
        [p.text for h in ("dashed", "formal") for p in writing(h, "n", 9)]
    ).reshape(2, -1)
    assert dashed.mean() > 0.8 > 0.2 > formal.mean()


def test_the_topic_counts_for_nothing() -> None:
    """The same habits on new topics are still the author's; the author's topic in other habits is not."""
    verifier, rng = fitted(), random.Random(5)
    new = [passage(("volcano", "magma", "crater"), "dashed", rng) for _ in range(10)]
    foreign = [passage(TOPICS[0], "formal", rng) for _ in range(10)]
    assert verifier.probability(new).min() > verifier.probability(foreign).max()
    swapped = passage(TOPICS[0], "dashed", random.Random(6)), passage(TOPICS[1], "dashed", random.Random(6))
    assert mask(swapped[0]) == mask(swapped[1])
    one, two = verifier.probability(swapped)
    assert one == two


def shuffled_halves(seed: int) -> tuple[list[Passage], list[Passage]]:
    """Writing in both habits, its documents dealt to two "authors" by chance."""
    both = writing("dashed", f"d{seed}", seed, 12, 1) + writing("formal", f"f{seed}", seed + 1, 12, 1)
    names = sorted({p.document_id for p in both})
    first = set(random.Random(seed).sample(names, 12))
    return [p for p in both if p.document_id in first], [p for p in both if p.document_id not in first]


def test_with_shuffled_labels_the_auc_is_near_a_half_and_there_is_no_score() -> None:
    found = []
    for seed in range(12):
        (author, others), (author_test, others_test) = shuffled_halves(seed), shuffled_halves(seed + 100)
        found.append(fit(author, others, [], (author_test, others_test, [])))
    assert np.mean([v.auc for v in found]) == pytest.approx(0.5, abs=0.1)
    assert sum(v.can_tell for v in found) <= 2


def test_each_kind_of_background_is_measured_and_both_must_be_told_apart() -> None:
    author, author_test = split(writing("dashed", "a", 0), 3)
    others, others_test = split(writing("formal", "o", 1), 3)
    same, same_test = split(writing("dashed", "a", 2), 3)  # a machine that writes just like the author
    verifier = fit(author, others, same, (author_test, others_test, same_test))
    assert verifier.auc_others is not None and verifier.auc_others > 0.9
    assert verifier.auc_machine is not None and 0.2 < verifier.auc_machine < 0.79
    assert verifier.auc == pytest.approx((verifier.auc_others + verifier.auc_machine) / 2)
    assert not verifier.can_tell


@pytest.mark.parametrize(
    ("others", "machine", "can_tell"),
    [(0.8, None, True), (0.79, None, False), (0.9, 0.79, False), (0.8, 0.8, True)],
)
def test_under_an_auc_of_08_on_either_background_it_cannot_tell(
    others: float, machine: float | None, can_tell: bool
) -> None:
    assert Verifier(None, None, 0.9, others, machine).can_tell is can_tell


def test_author_and_background_weigh_the_same_and_so_do_the_kinds_of_background() -> None:
    weights = style._weights(10, 40, 5)
    assert weights[:10].sum() == pytest.approx(weights[10:].sum())
    assert weights[10:50].sum() == pytest.approx(weights[50:].sum())
    assert weights.sum() == pytest.approx(55)
    alone = style._weights(10, 0, 5)
    assert alone[:10].sum() == pytest.approx(alone[10:].sum())


def test_no_document_stands_on_both_sides_of_a_fold() -> None:
    author = writing("dashed", "a", 0)
    machine = [Passage(p.document_id, "An answer about it.") for p in author]
    passages = [*author, *machine, *writing("formal", "o", 1)]
    labels = np.array([1] * len(author) + [0] * (len(passages) - len(author)))
    folds = style._folds(passages, labels)
    assert sorted(i for _, test in folds for i in test) == list(range(len(passages)))
    for train, test in folds:
        assert not {passages[i].document_id for i in train} & {passages[i].document_id for i in test}


def test_no_background_and_too_little_writing_are_said() -> None:
    author = writing("dashed", "a", 0)
    with pytest.raises(InputError, match="no background"):
        fit(author, [], [], (author, [], []))
    with pytest.raises(InputError, match="one side has 2"):
        fit(author, writing("formal", "o", 1, documents=2), [], (author, [], []))


def test_nothing_to_judge_is_no_error() -> None:
    assert fitted().probability([]).shape == (0,)


def real_passages(folder: Path, author: str) -> tuple[list[Passage], list[Passage]]:
    """Train and held-out passages of one author, split by document, near-duplicates gone."""
    from llm_twin.collect.crawl import Source, collect
    from llm_twin.datasets import curate
    from llm_twin.datasets.spans import spans
    from llm_twin.features.clean import clean
    from llm_twin.types import Document

    class NoNetwork:
        def fetch(self, url: str) -> Any:
            raise AssertionError(f"{url} was fetched")

    found = collect([Source(str(folder))], NoNetwork(), "nobody")
    documents = [d for d in found if isinstance(d, Document) and d.author == author]
    cleaned = clean(documents).documents
    sides = curate.split(cleaned, 0.3, seed=0)
    kept = curate.without_near_duplicates([s for d in cleaned for s in spans(d)], sides, 0.5).spans
    train, test = (
        [Passage(span.document.document.id, span.text) for span, side in kept if side == which]
        for which in ("train", "test")
    )
    return train, test


@pytest.mark.slow
def test_two_real_authors_are_told_apart_on_held_out_articles(shared_articles: Path) -> None:
    """Each against the other, on masked text: they write on the same subjects, in the same years."""
    one, one_test = real_passages(shared_articles, "Paul Iusztin")
    other, other_test = real_passages(shared_articles, "Maxime Labonne")
    assert min(len(side) for side in (one, one_test, other, other_test)) >= 50
    assert fit(one, other, [], (one_test, other_test, [])).auc >= 0.9
    assert fit(other, one, [], (other_test, one_test, [])).auc >= 0.9
