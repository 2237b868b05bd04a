"""The ways of searching, all on one small index: each answers, and each is what its name says."""

from collections.abc import Iterator, Sequence
from datetime import date

import pytest

from llm_twin.adapters.standins import HashEmbedder, ScriptedChat, echo
from llm_twin.adapters.vectors_qdrant_edge import QdrantEdgeVectors
from llm_twin.arms import HYBRID, Arms, expanded_arms, filtered_arms, plain_arms, reranked_arms
from llm_twin.evaluation.ablation import Together, ablate
from llm_twin.evaluation.retrieval import Question
from llm_twin.inference.rerank import LateInteraction, QueryLikelihood
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
def arms(store: VectorStore) -> Arms:
    model = ScriptedChat(echo)
    rerankers = {"late": LateInteraction(EMBEDDER), "likelihood": QueryLikelihood(model)}
    return {
        **plain_arms(store, EMBEDDER, ADA),
        **reranked_arms(store, EMBEDDER, ADA, rerankers),
        **filtered_arms(store, EMBEDDER, ADA, KNOWN, model),
        **expanded_arms(store, EMBEDDER, ADA, model),
    }


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


def test_all_of_them_can_be_compared(arms: Arms) -> None:
    questions = [Question(str(i), text, f"Ada-{i}", {f"Ada{i}": 1}) for i, text in enumerate(TEXTS)]
    found = ablate(questions, arms, HYBRID)
    assert [arm.name for arm in found.arms] == list(arms)
    assert found.arm("dense").values["R@5"].value == 1


def test_rules_filter_within_what_the_caller_fixed(arms: Arms, store: VectorStore) -> None:
    (hits,) = ask(arms["hybrid + self-query, rules"], "What did Bob write about owls since 2021?")
    assert [hit.chunk.id for hit in hits] == ["Ada1"]
    assert "hybrid + self-query, model" not in filtered_arms(store, EMBEDDER, ADA, KNOWN)
