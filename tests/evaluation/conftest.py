"""Writers made up for tests of style: the same topics, other habits."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from llm_twin.evaluation.style import Passage

TOPICS = [
    ("tide", "harbour", "clock", "mooring"),
    ("bearing", "lathe", "motor", "spindle"),
    ("kernel", "compiler", "thread", "buffer"),
    ("garden", "seed", "frost", "orchard"),
]
_BRISK = [
    "It's the {a} that wears — always.",
    "I've seen it!",
    "Don't trust the {b}.",
    "You'd think a {a} can't fail… it does.",
    "I'm fond of the {b} — that's all.",
    "So what?",
    "We fixed the {a} in 3 days — 3!",
    "Why a {b}?",
]
_FORMAL = [
    "It is the {a} that wears, and one has often seen it wear out a {b}, whichever of them was the older.",
    "One should not, therefore, trust the {b}; it is older than the {a} and has been repaired less often.",
    "Although it is often said that a {a} cannot fail, there are several among them which do so every year.",
    "Of all the parts of which the {b} is made (and there are many), the {a} is that upon which it depends.",
    "It was for this reason that the {a} had been set beside the {b}, where it could be observed with care.",
]

Writer = Callable[..., list[Passage]]


@pytest.fixture(scope="session")
def writing() -> Writer:
    """A maker of passages: `writing("brisk", "a", seed)`; documents share topics, whoever writes them."""

    def make(habit: str, name: str, seed: int, documents: int = 8, passages: int = 4) -> list[Passage]:
        rng = random.Random(seed)
        return [
            Passage(f"{name}{d}", _passage(TOPICS[d % len(TOPICS)], habit, rng))
            for d in range(documents)
            for _ in range(passages)
        ]

    return make


def _passage(topic: Sequence[str], habit: str, rng: random.Random) -> str:
    pool, many = (_BRISK, 9) if habit == "brisk" else (_FORMAL, 4)
    said = []
    for _ in range(many):
        a, b = rng.sample(topic, 2)
        said.append(rng.choice(pool).format(a=a, b=b))
    return " ".join(said)


@pytest.fixture(scope="session")
def real_authors(shared_articles: Path) -> dict[str, tuple[list[Passage], list[Passage]]]:
    """Train and held-out passages of two real authors, split by document, near-duplicates gone."""
    from llm_twin.collect.crawl import Source, collect
    from llm_twin.datasets import curate
    from llm_twin.datasets.spans import spans
    from llm_twin.features.clean import clean
    from llm_twin.types import Document

    class NoNetwork:
        def fetch(self, url: str) -> Any:
            raise AssertionError(f"{url} was fetched")

    found = [d for d in collect([Source(str(shared_articles))], NoNetwork(), "x") if isinstance(d, Document)]
    sides: dict[str, tuple[list[Passage], list[Passage]]] = {}
    for author in ("Paul Iusztin", "Maxime Labonne"):
        cleaned = clean([d for d in found if d.author == author]).documents
        split = curate.split(cleaned, 0.3, seed=0)
        kept = curate.without_near_duplicates([s for d in cleaned for s in spans(d)], split, 0.5).spans
        train, test = (
            [Passage(span.document.document.id, span.text) for span, side in kept if side == which]
            for which in ("train", "test")
        )
        sides[author] = train, test
    return sides
