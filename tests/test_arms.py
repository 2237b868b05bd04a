"""The ways of searching, all on one small index: each answers, and each is what its name says."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import numpy as np
import pytest

from llm_twin import arms as arms_module
from llm_twin.adapters.standins import HashEmbedder, ScriptedChat, echo
from llm_twin.adapters.vectors_qdrant_edge import QdrantEdgeVectors
from llm_twin.arms import ASKING, Arms, Ground, embedding_arms, measure_search, model_arms, quick_arms
from llm_twin.errors import InputError, MissingPart
from llm_twin.evaluation.ablation import Ablation, Together
from llm_twin.evaluation.retrieval import Question
from llm_twin.evaluation.significance import holm
from llm_twin.inference.rerank import LateInteraction
from llm_twin.inference.selfquery import Known
from llm_twin.ports import VectorStore
from llm_twin.types import Chunk, Hit, Where

EMBEDDER = HashEmbedder(dimension=512)
ADA = Where(author="Ada")
KNOWN = Known(("Ada", "Bob"), ("medium.com",), date(2026, 1, 1))
TEXTS = ["owls hunt voles", "owls hunt voles at night", "clocks run slow in the cold", "bread needs salt"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VectorStore]:
    opened = QdrantEdgeVectors(tmp_path_factory.mktemp("vectors"), EMBEDDER.dimension)
    chunks = [
        Chunk(
            id=f"{author}{i}", document_id=f"{author}-{i}", author=author, kind="article", title="T", text=text,
            start=0, end=len(text), tokens=9, published=date(2020 + i, 1, 1),
        )
        for author in ("Ada", "Bob") for i, text in enumerate(TEXTS)
    ]  # fmt: skip
    opened.upsert(chunks, EMBEDDER.embed([chunk.embedded_text for chunk in chunks]))
    yield opened
    opened.close()


@pytest.fixture
def ground(store: VectorStore) -> Ground:
    return Ground(store, EMBEDDER, ADA, KNOWN)


@pytest.fixture
def arms(ground: Ground) -> Arms:
    embedding, missing = embedding_arms(ground)
    assert not missing
    return quick_arms(ground) | embedding | model_arms(ground, ScriptedChat(echo))


def ask(arm: object, *questions: str, limit: int = 3) -> list[Sequence[Hit]]:
    if isinstance(arm, Together):
        return list(arm.search(questions, limit))
    assert callable(arm)
    return [arm(question, limit) for question in questions]


def test_every_arm_finds_the_author_s_passages_and_no_more_than_asked_for(arms: Arms) -> None:
    assert len(arms) == 10
    for name, arm in arms.items():
        owls, bread = ask(arm, "do owls hunt at night", "does bread need salt", limit=2)
        assert owls[0].chunk.id == "Ada1", name
        assert bread[0].chunk.id == "Ada3", name
        assert len(owls) <= 2 and {hit.chunk.author for hit in (*owls, *bread)} == {"Ada"}, name


def test_rules_filter_within_what_the_caller_fixed(arms: Arms) -> None:
    (hits,) = ask(arms["hybrid + self-query, rules"], "What did Bob write about owls since 2021?")
    assert [hit.chunk.id for hit in hits] == ["Ada1"]


class Upside(LateInteraction):
    """A reranker that turns the order round."""

    def scores(
        self, questions: Sequence[str], found: Sequence[Sequence[Hit]], progress: object = None
    ) -> Any:
        return [np.arange(len(hits), dtype=np.float64) for hits in found]


def test_hits_below_the_depth_of_a_slow_step_stay_behind_it(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where documents are judged more hits are asked for than a reranker looks at: the others keep their order."""
    monkeypatch.setattr(arms_module, "DEPTH", 2)
    monkeypatch.setattr(arms_module, "LateInteraction", Upside)
    question, everyone = (
        "owls hunt voles at night in the cold",
        Ground(ground.store, EMBEDDER, Where(), KNOWN),
    )
    found = [hit.chunk.id for hit in everyone.search(question, 8)]
    for arm in embedding_arms(everyone)[0].values():
        (hits,) = ask(arm, question, limit=8)
        ids = [hit.chunk.id for hit in hits]
        assert set(ids[:2]) == set(found[:2]) and ids[2:] == found[2:] and len(found) > 3


QUESTIONS = [Question(str(i), text, f"Ada-{i}", {f"Ada{i}": 1}) for i, text in enumerate(TEXTS)]
QUICK = ["hybrid", "dense", "BM25", "hybrid + self-query, rules"]
EMBEDDING = ["hybrid + diversity", "hybrid + late interaction"]
ASKED = [
    "hybrid + reformulations",
    "hybrid + HyDE",
    "hybrid + self-query, model",
    "hybrid + query likelihood",
]


def test_slow_steps_get_fewer_questions_in_tables_of_their_own(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arms_module, "EMBEDDING_QUESTIONS", 3)
    found = measure_search(QUESTIONS, ground, ScriptedChat(echo), 2)
    tables = [(table.questions, [arm.name for arm in table.arms]) for table in found.tables]
    assert tables == [(4, QUICK), (3, ["hybrid", *EMBEDDING]), (2, ["hybrid", *ASKED])]
    assert not found.left_out
    for table in found.tables:
        gains = [arm.against["nDCG@10"] for arm in table.arms[1:]]
        assert [gain.p_holm for gain in gains] == holm([gain.p for gain in gains]), "corrected table by table"
    assert Ablation.model_validate_json(found.model_dump_json()) == found


def test_steps_with_as_many_questions_share_a_table(ground: Ground) -> None:
    found = measure_search(QUESTIONS, ground, ScriptedChat(echo), 30)
    assert [arm.name for arm in found.arms] == [*QUICK, *EMBEDDING, *ASKED] and not found.more
    assert found.arm("dense").values["R@5"].value == 1


def test_what_is_left_out_is_said(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    found = measure_search(QUESTIONS, ground, "nobody asked for it")
    assert [arm.name for arm in found.arms] == [*QUICK, *EMBEDDING]
    assert found.left_out == {ASKING: "nobody asked for it"}
    monkeypatch.delattr(HashEmbedder, "token_vectors")
    assert (
        "no vectors of tokens"
        in measure_search(QUESTIONS, ground, "no").left_out["hybrid + late interaction"]
    )


class Mute(ScriptedChat):
    """A model that tells no probabilities."""

    def score(self, *given: object, **named: object) -> list[Any]:
        raise MissingPart("it does not tell how probable a text is", "ask another")


def test_a_step_or_a_table_that_cannot_be_made_costs_no_other(ground: Ground) -> None:
    found = measure_search(QUESTIONS, ground, Mute(echo), 2)
    assert [arm.name for arm in found.more[0].arms] == ["hybrid", *ASKED[:3]]
    assert "how probable" in found.left_out["hybrid + query likelihood"]
    alone = measure_search(QUESTIONS, ground, ScriptedChat(echo), 1)  # one question has no interval
    assert not alone.more and "too few" in alone.left_out[", ".join(ASKED)]
    with pytest.raises(InputError, match="no question"):
        measure_search([], ground, "no")


def test_slow_steps_tell_how_far_they_are(ground: Ground) -> None:
    told: list[str] = []
    measure_search(QUESTIONS, ground, "no", progress=lambda done, total, note="": told.append(note))
    assert any("late interaction" in note for note in told)
