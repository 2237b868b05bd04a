"""Do the scores say what they are meant to? Experiments whose outcome is known, on two real authors.

Real held-out writing must stand clear of the base model and of other authors; labels without meaning must be
refused; a copier must score high on style and be caught as a copier; what is more like the author
than the author must be called over-imitation.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llm_twin.evaluation import answers, style
from llm_twin.evaluation.appraise import LONG_RUN
from llm_twin.evaluation.copied import Spans
from llm_twin.evaluation.intervals import Estimate, draw, estimate
from llm_twin.evaluation.measure import Memorisation
from llm_twin.evaluation.scores import Bracketed, scores
from llm_twin.evaluation.separation import Judged, separation
from llm_twin.evaluation.style import LEAST_AUC, Passage, Verifier
from llm_twin.material import spread
from llm_twin.text import words
from llm_twin.types import CleanDocument, Sample, Sampling

pytestmark = pytest.mark.slow
AUTHORS = ("Paul Iusztin", "Maxime Labonne")
HELD_OUT, MACHINE = 36, 48
SHUFFLES = 5
TRAINED = 96
SAMPLING = Sampling(max_tokens=96, temperature=0.7)


@dataclass(frozen=True)
class Author:
    """One author's samples and whole documents by side ("train", "test")."""

    samples: dict[str, list[Sample]]
    texts: dict[str, dict[str, str]]

    def passages(self, side: str) -> list[Passage]:
        return [Passage(s.document_id, s.response) for s in self.samples[side]]


@dataclass(frozen=True)
class Experiment:
    """An author, the others, and what the base model wrote: `floor` and `base` are two answers to each request."""

    own: Author
    others: Author
    asked: list[Sample]
    floor: list[Passage]
    base: list[Passage]
    machine: list[Passage]
    verifier: Verifier

    def real(self) -> list[Passage]:
        return [Passage(s.document_id, s.response) for s in self.asked]

    def probability(self, passages: Sequence[Passage]) -> np.ndarray:
        return self.verifier.probability([p.text for p in passages])

    def style(self, passages: Sequence[Passage]) -> Estimate:
        """Mean P(author), with an interval over documents."""
        documents = [p.document_id for p in passages]
        draws = draw(documents)
        return estimate(draws.mean(self.probability(passages), documents), draws)

    def copied(self, passages: Sequence[Passage]) -> Memorisation:
        """What an evaluation says of copying, had `passages` been the twin's."""
        seen = answers.memory(list(self.own.texts["train"].values()))
        texts = {"twin": [p.text for p in passages], "base": [p.text for p in self.base]}
        texts["author"] = list(self.own.texts["test"].values())
        return Memorisation(**{who: float(answers.memorised(t, seen).mean()) for who, t in texts.items()})

    def longest(self, passages: Sequence[Passage]) -> list[int]:
        known = Spans(self.own.texts["train"])
        return [known.longest(p.text).words for p in passages]


@pytest.fixture(scope="module")
def authors(shared_articles: Path) -> dict[str, Author]:
    from llm_twin.collect.crawl import Source, collect
    from llm_twin.features.clean import clean
    from llm_twin.types import Document

    class NoNetwork:
        def fetch(self, url: str) -> Any:
            raise AssertionError(f"{url} was fetched")

    found = [d for d in collect([Source(str(shared_articles))], NoNetwork(), "x") if isinstance(d, Document)]
    cleaned = clean(found).documents
    return {name: of_author([d for d in cleaned if d.document.author == name]) for name in AUTHORS}


def of_author(documents: Sequence[CleanDocument]) -> Author:
    """Samples with the template's requests, split by document, near-duplicates gone."""
    from llm_twin.datasets import curate
    from llm_twin.datasets.instruct import section_request, telling_words
    from llm_twin.datasets.spans import spans

    sides = curate.split(documents, 0.3, seed=0)
    kept = curate.without_near_duplicates([s for d in documents for s in spans(d)], sides, 0.5).spans
    samples: dict[str, list[Sample]] = {"train": [], "test": []}
    for (span, side), about in zip(kept, telling_words([span for span, _ in kept]), strict=True):
        told = span.document.document
        samples[side].append(
            Sample(
                id=f"{told.id}-{span.start:06}",
                document_id=told.id,
                author=told.author,
                instruction=section_request(span, about[:2]),
                response=span.text,
                start=span.start,
                end=span.end,
                split=side,
                written_by="template",
            )
        )
    texts = {
        which: {d.document.id: d.text for d in documents if sides[d.document.id] == which}
        for which in samples
    }
    return Author(samples, texts)


def wrote(folder: Path, *asked: tuple[Sequence[Sample], int]) -> Iterator[list[Passage]]:
    """What the model of `folder` writes for each of `asked`: samples, and the seed to begin with."""
    from llm_twin.adapters.chat_openvino import OpenVinoChat
    from llm_twin.training.sft import conversation

    chat = OpenVinoChat(folder)
    for samples, seed in asked:
        found = chat.generate([conversation(s) for s in samples], SAMPLING.model_copy(update={"seed": seed}))
        yield [Passage(s.document_id, c.text) for s, c in zip(samples, found, strict=True)]
    chat.close()


@pytest.fixture(scope="module", params=AUTHORS)
def experiment(request: pytest.FixtureRequest, authors: dict[str, Author], smol_model: Path) -> Experiment:
    own = authors[request.param]
    (others,) = (author for name, author in authors.items() if name != request.param)
    asked = spread(own.samples["test"], HELD_OUT)
    prompted = spread(own.samples["train"], MACHINE)
    floor, base, machine = wrote(smol_model, (asked, 100_000), (asked, 200_000), (prompted, 300_000))
    held_out = [Passage(s.document_id, s.response) for s in asked], others.passages("test"), floor
    verifier = style.fit(own.passages("train"), others.passages("train"), machine, held_out)
    return Experiment(own, others, asked, floor, base, machine, verifier)


def copier(experiment: Experiment) -> list[Passage]:
    """Answers each request with a passage that the author wrote about something else, and it was trained on."""
    known = spread(experiment.own.samples["train"], len(experiment.asked))
    return [Passage(s.document_id, k.response) for s, k in zip(experiment.asked, known, strict=True)]


def test_real_writing_stands_clear_of_the_base_model_and_of_other_authors(experiment: Experiment) -> None:
    real = experiment.style(experiment.real())
    assert experiment.verifier.can_tell
    assert experiment.verifier.auc >= LEAST_AUC
    assert real.low > experiment.style(experiment.base).high
    assert real.low > experiment.style(experiment.others.passages("test")).high


def relabelled(experiment: Experiment, side: str, seed: int) -> tuple[list[Passage], list[Passage]]:
    """All passages of a side, with as many documents as the author has called the author's, whosever they are."""
    own, others = experiment.own.passages(side), experiment.others.passages(side)
    documents = sorted({p.document_id for p in own + others})
    named = set(random.Random(f"{side}{seed}").sample(documents, len({p.document_id for p in own})))
    both = own + others
    return [p for p in both if p.document_id in named], [p for p in both if p.document_id not in named]


def test_labels_without_meaning_are_refused(experiment: Experiment) -> None:
    chance = []
    for seed in range(SHUFFLES):
        own, others = relabelled(experiment, "train", seed)
        own_test, others_test = relabelled(experiment, "test", seed)
        shuffled = style.fit(own, others, [], (own_test, others_test, []))
        assert not shuffled.can_tell, f"shuffle {seed} reached an AUC of {shuffled.auc:.2f}"
        sides = (
            Judged(shuffled.probability([p.text for p in side]), tuple(p.document_id for p in side))
            for side in (own_test, others_test)
        )
        auc = separation(*sides)
        chance.append(auc.low <= 0.5 <= auc.high)
    assert sum(chance) >= SHUFFLES - 1  # an interval of 95% may miss


def test_a_copier_scores_as_the_author_and_is_caught(experiment: Experiment) -> None:
    copies = copier(experiment)
    assert experiment.style(copies).value >= experiment.style(experiment.real()).value
    assert experiment.copied(copies).veto
    assert experiment.longest(copies) == [len(words(p.text)) for p in copies]


def test_real_writing_is_not_taken_for_a_copy(experiment: Experiment) -> None:
    assert not experiment.copied(experiment.real()).veto
    assert np.median(experiment.longest(experiment.real())) < LONG_RUN


def test_more_like_the_author_than_the_author_is_called_over_imitation(experiment: Experiment) -> None:
    """The passages that it was fitted on are surer to the verifier than any held-out text: no better than 1."""
    likely = experiment.probability(copier(experiment))
    floor, ceiling = experiment.probability(experiment.floor), experiment.probability(experiment.real())
    values = {"overdone": np.full_like(likely, likely.max()), "real": ceiling}
    even = Bracketed(np.zeros_like(floor), np.ones_like(floor), dict.fromkeys(values, np.ones_like(floor)))
    quantities = {"style": Bracketed(floor, ceiling, values)} | dict.fromkeys(
        ("relevance", "fluency", "variety"), even
    )
    documents = [s.document_id for s in experiment.asked]
    found = {name: scores(name, quantities, documents, draw(documents)) for name in values}
    assert found["overdone"].over_imitates and found["overdone"].twin.value <= 1
    assert not found["real"].over_imitates


@pytest.fixture(scope="module")
def twin(experiment: Experiment, smol_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Passage]:
    """What the model writes for the same requests after twenty steps on the author's writing."""
    from llm_twin.adapters.track_files import FileTracker
    from llm_twin.training.export import export
    from llm_twin.training.sft import sft
    from llm_twin.types import Recipe

    run, model = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("models") / "twin"
    learnt = spread(experiment.own.samples["train"], TRAINED)
    sft(learnt, smol_model, run, Recipe(epochs=1, learning_rate=1e-3), FileTracker(run))
    export(smol_model, run / "adapter", model, model.name)
    (texts,) = wrote(model, (experiment.asked, 400_000))
    return texts


def test_a_twin_after_a_short_training_stands_clear_of_its_base_and_of_other_authors(
    experiment: Experiment, twin: list[Passage]
) -> None:
    documents = [p.document_id for p in twin]
    draws = draw(documents)
    nearer = experiment.probability(twin) - experiment.probability(experiment.base)
    gain = estimate(draws.mean(nearer, documents), draws)
    assert gain.low > 0, gain
    assert experiment.style(twin).low > experiment.style(experiment.others.passages("test")).high
    assert not experiment.copied(twin).veto
