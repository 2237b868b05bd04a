"""Writers made up for tests of style: the same topics, other habits. And every section of a report."""

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llm_twin.adapters.standins import HashEmbedder
from llm_twin.evaluation.ablation import Ablation, Ranked, compare
from llm_twin.evaluation.agreement import Agreement
from llm_twin.evaluation.calibration import calibration
from llm_twin.evaluation.canaries import Exposure, exposed
from llm_twin.evaluation.copied import Copied
from llm_twin.evaluation.fluency import Perplexity
from llm_twin.evaluation.forgetting import Forgetting, TaskComparison
from llm_twin.evaluation.general import DocumentPerplexity, GeneralFluency
from llm_twin.evaluation.intervals import Estimate
from llm_twin.evaluation.judge import Judged
from llm_twin.evaluation.judged import Consistency, Graded, Preference
from llm_twin.evaluation.knowledge import ChoiceAccuracy, Knowledge, OpenAnswers, Resembling
from llm_twin.evaluation.measure import Example, Measured, Memorisation
from llm_twin.evaluation.opinions import Correlation, Opinion, Opinions, Verdict
from llm_twin.evaluation.paired import Compared
from llm_twin.evaluation.power import Point, Power
from llm_twin.evaluation.privacy import Copying, Privacy
from llm_twin.evaluation.rag import Arm, Rag, measure_rag
from llm_twin.evaluation.report import Report
from llm_twin.evaluation.retrieval import Question
from llm_twin.evaluation.scores import Scores
from llm_twin.evaluation.separation import Judged as Texts
from llm_twin.evaluation.style import Passage
from llm_twin.evaluation.validation import Known, Validation
from llm_twin.types import Answer, Chunk, Citation, Hit, Sample

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


# --- sections of a report -----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def sections() -> Callable[..., dict[str, Any]]:
    """sections(words): fields of a Report, every section with figures, and `words` wherever a text stands."""

    def make(words: str = "Plain words.") -> dict[str, Any]:
        return {
            "opinions": _opinions(words),
            "validation": _validation(),
            "search": _search(words),
            "general": _general(words),
            "forgetting": Forgetting(tasks=(_task(words),), not_run={words: words}),
            "knowledge": _knowledge(),
            "rag": _rag(words),
            "privacy": _privacy(),
            "judged": _judged(words),
        }

    return make


@pytest.fixture(scope="session")
def whole(sections: Callable[..., dict[str, Any]]) -> Callable[..., Report]:
    """whole(words, **changed): a report with every section, and `words` wherever a text stands."""

    def make(words: str = "Plain words.", **changed: Any) -> Report:
        scores = Scores(
            style=_about(0.8), relevance=_about(0.7), fluency=_about(0.9), variety=_about(1.0), sense=_about(0.7),
            twin=_about(0.75), raw={"style": 0.5, "relevance": 0.6, "fluency": -3.2, "variety": 0.9},
        )  # fmt: skip
        measured = Measured(
            author="Wren Marlow", documents=6, passages=24, auc=0.97, auc_others=0.95, auc_machine=0.99, refused="",
            base=scores, twin=scores, difference=_about(0.0), style_floor=0.07, style_ceiling=0.71,
            perplexity=None, perplexity_missing=words,
            memorisation=Memorisation(twin=0.0, base=0.0, author=0.006),
            examples=(Example(instruction=words, author=words, base=words, twin=words),),
        )  # fmt: skip
        fields = {
            "created": datetime(2026, 11, 23, 19, 7, tzinfo=UTC), "author": "Wren Marlow", "base_model": words,
            "twin_model": words, "dataset": {words: words}, "measured": measured, **sections(words),
        }  # fmt: skip
        return Report(**fields | changed)

    return make


def _about(value: float, reach: float = 0.1) -> Estimate:
    return Estimate(value=value, low=value - reach, high=value + reach)


def _both(base: float, twin: float) -> Compared:
    return Compared(base=_about(base), twin=_about(twin), difference=_about(twin - base))


def _opinions(words: str) -> Opinions:
    def opinion(name: str, base: float, twin: float, refused: str = "") -> Opinion:
        placed = {} if refused else {"base": _about(base), "twin": _about(twin)}
        gain = {} if refused else {"twin": _about(twin - base)}
        return Opinion(
            name=name, looks_at=words, by_document=False, auc_others=_about(0.9), auc_machine=_about(0.9),
            refused=refused, floor=0.1, ceiling=0.9, placed=placed, gain=gain,
        )  # fmt: skip

    seconds = (opinion("delta", 0.02, 0.75), opinion("rhythm", 0.5, 0.5, refused=f"it cannot tell. {words}"))
    return Opinions(
        style=opinion("style", 0.01, 0.85),
        opinions=seconds,
        correlations=(Correlation(first="style", second="delta", tau=_about(0.64)),),
        ranked=24,
        verdicts={"twin": Verdict(nearer=("style", "delta"), further=(), undecided=(), over=())},
    )


def _validation() -> Validation:
    known = [
        Known(
            name=name, what="", texts=8, documents=4, mean=mean, interval=_about(mean),
            auc=None if name == "author" else _about(0.9),
        )
        for name, mean in (("author", 0.8), ("others", 0.2), ("machine", 0.1), ("paraphrased", 0.6))
    ]  # fmt: skip
    alone = Known(name="shuffled", what="", texts=2, documents=1, mean=0.77, interval=None, auc=_about(0.5))
    values = np.array([0.05, 0.4, 0.9, 0.95])
    own = Texts(values, ("a", "a", "b", "b"))
    return Validation(
        known=(*known, alone),
        calibration=calibration(own, [Texts(1 - values, ("c", "c", "d", "d"))]),
        power=Power(
            points=(
                Point(words=20, texts=9, others=_about(0.7, 0.05), machine=_about(0.75, 0.05)),
                Point(words=40, texts=5, others=None, machine=_about(0.85, 0.05)),
            ),
            enough=40,
            sure=None,
        ),
        chance=Estimate(value=0.52, low=0.43, high=0.61),
        wording_kept=0.636,
    )


def _search(words: str) -> Ablation:
    """Twelve questions whose first hit is right, one by one, under the baseline; never under the arm `words`."""
    asked = [Question(f"q{i}", "?", f"d{i}", {f"right{i}": 1}) for i in range(12)]
    right = {q.id: [f"right{i}"] for i, q in enumerate(asked)}
    wrong = {q.id: ["wrong"] for q in asked}
    arms = {"hybrid": Ranked(right, 0.01, "each"), words: Ranked(wrong), "dense": Ranked(right)}
    return compare(asked, arms, "hybrid")


def _general(words: str) -> GeneralFluency:
    read = Perplexity(base=_about(36.6, 6), twin=_about(41.1, 7), change=_about(0.12, 0.05))
    document = DocumentPerplexity(document=words, tokens=85, base=20.94, twin=23.92)
    return GeneralFluency(
        author=read,
        general=read,
        gap=_about(0.8),
        author_documents=(document.model_copy(update={"document": "d1"}),),
        general_documents=(document,),
    )


def _task(words: str) -> TaskComparison:
    found = _both(0.79, 0.57)
    return TaskComparison(
        name=words, metric=words, items=120, base=found.base, twin=found.twin, difference=found.difference
    )


def _knowledge() -> Knowledge:
    alike = Resembling(models=_both(0.13, 0.15), unrelated=_about(0.11))
    choices = ChoiceAccuracy(
        questions=24, documents=24, chance=0.25, topic_alone=_about(0.46), accuracy=_both(0.33, 0.17)
    )
    answers = OpenAnswers(answers=48, documents=10, rouge_l=alike, chrf=alike, similarity=alike)
    return Knowledge(choices=choices, answers=answers, not_measured={})


def _rag(words: str) -> Rag:
    """Two questions of two documents. The twin cites a passage for the first and leaves the second unanswered."""
    chunk = Chunk(
        id="c1", document_id="d1", author="A", kind="article", title=words, text="Lathes rust in wet weather.",
        start=0, end=27, tokens=9,
    )  # fmt: skip
    place = Citation(number=1, chunk_id="c1", document_id="d1", title=words, url=words, start=0, end=27)
    cited = Answer(
        question="?", text=f"Lathes rust in wet weather. [1] {words}", mode="write", found=True,
        citations=(place,), hits=(Hit(chunk=chunk, score=1.0),),
    )  # fmt: skip
    silent = Answer(question="?", text="I haven't written about that.", mode="write", found=False)
    asked = [
        Sample(
            id=f"s{i}", document_id=f"d{i}", author="A", instruction=f"Question {i}? {words}",
            response=f"Passage {i}. {words}", start=0, end=9, split="test", written_by="m",
        )
        for i in (1, 2)
    ]  # fmt: skip
    arms = {
        "twin write": Arm(list(zip(asked, [cited, silent], strict=True)), [silent, silent]),
        "base write": Arm(list(zip(asked, [cited, cited], strict=True)), [silent, cited]),
        "quote": Arm(list(zip(asked, [cited, cited], strict=True)), [silent, silent]),
    }
    pairs = (("twin write", "base write"), ("twin write", "quote"))
    embedder = HashEmbedder(64)
    return measure_rag(arms, [chunk], embedder, lambda claims: [True] * len(claims), pairs=pairs)


def _privacy(canaries: Exposure | None = None) -> Privacy:
    copying = Copying(texts=9, share=0.01, typical=4.0, longest=Copied(words=17, text="", document_id="d"))
    return Privacy(
        generations=9, generated=copying, author=copying, findings=(), prefix=None,
        canaries=canaries or exposed(["a", "b", "c"], [200.0, 90.0, 127.0], 255), not_measured={},
    )  # fmt: skip


def _judged(words: str) -> Judged:
    grades = {"twin": _about(2.6), "base": _about(1.2), "difference": _about(1.4)}
    return Judged(
        judge=words, cases=48, documents=10, unusable="", valid={"accuracy": 1.0, "style": 0.98, "pair": 0.96},
        consistency=Consistency(pairs=46, agree=0.74, chance=0.41, p_value=0.0005, first_place=0.61, flipped=12),
        self_agreement={"style": Agreement(items=48, equal=0.9, kappa=0.71)},
        accuracy=None, style=Graded(**grades, author=_about(2.8)),
        preference=Preference(share=_about(0.62, 0.05), wins=20, losses=10, ties=16), users=None, examples=(),
    )  # fmt: skip
