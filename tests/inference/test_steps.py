"""The search step by step: each does its part and no more, says so in the trace, and is off unless asked for."""

import json
from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llm_twin.adapters.standins import HashEmbedder, ScriptedChat
from llm_twin.inference.answer import Answering, prepare
from llm_twin.inference.diversify import diversify
from llm_twin.inference.expand import Expansion, search_expanded
from llm_twin.inference.rerank import rerank
from llm_twin.inference.retrieve import question_vector, search
from llm_twin.inference.selfquery import Known
from llm_twin.inference.steps import Searched, Steps, find, side_by_side, with_neighbours
from llm_twin.inference.tracing import Tracing
from llm_twin.ports import VectorStore
from llm_twin.types import Hit, Message, Sampling, Where

QUESTION = "What do barn owls hunt over wet meadows?"
ADA = Where(author="Ada")
TURNS = [Message(role="user", content="What do barn owls hunt?"), Message(role="assistant", content="Voles.")]


@pytest.fixture
def within(store: VectorStore, embedder: HashEmbedder) -> Searched:
    return Searched(store, embedder, ADA, 6)


def names(tracing: Tracing) -> dict[str, str]:
    return {step.name: step.said for step in tracing.trace("", "", "", "").steps}


def replying(**fields: Any) -> ScriptedChat:
    return ScriptedChat(lambda messages: json.dumps(fields))


def test_without_further_steps_it_is_the_search(within: Searched) -> None:
    tracing = Tracing()
    found = find(QUESTION, [], within, tracing=tracing)
    assert found == search(QUESTION, within.store, within.embedder, ADA, 6)
    assert list(names(tracing)) == ["embedding", "search"]
    assert f"{len(found.hits)} passages" in names(tracing)["search"]


def test_a_follow_up_is_searched_for_both_ways_or_rewritten(within: Searched) -> None:
    both, rewritten = Tracing(), Tracing()
    found = find("What of the pendulum?", TURNS, within, tracing=both)
    alone = find("What of the pendulum?", [], within)
    leaning = find("What do barn owls hunt?\nWhat of the pendulum?", [], within)
    assert {hit.chunk.id for hit in found.hits} == {hit.chunk.id for hit in (*alone.hits, *leaning.hits)}
    assert {hit.chunk.title for hit in found.hits} == {"Owls", "Clocks"}, "the old subject and the new one"
    assert found.nearest == max(alone.nearest, leaning.nearest)
    assert "as it is and with" in names(both)["follow-up"]
    model = replying(question="Why does a pendulum run slow?")
    other = find("And when?", TURNS, within, Steps(by=model, follow_ups=True), rewritten)
    assert other == find("Why does a pendulum run slow?", [], within)
    assert names(rewritten)["follow-up"] == "Why does a pendulum run slow?"


def test_a_first_question_is_not_rewritten(within: Searched) -> None:
    tracing = Tracing()
    find(QUESTION, [], within, Steps(by=replying(question="Other?"), follow_ups=True), tracing)
    assert "follow-up" not in names(tracing)


def test_filters_narrow_the_search_and_never_widen_it(within: Searched) -> None:
    known = Known(["Ada", "Bob"], [], date(2024, 5, 1))
    tracing = Tracing()
    found = find(
        "What do Bob's articles about owls say?", [], within, Steps(filters="rules", known=known), tracing
    )
    assert {hit.chunk.author for hit in found.hits} == {"Ada"}, (
        "whose writing is searched stays as it was fixed"
    )
    assert "kind article" in names(tracing)["self-query"]
    model = replying(author=None, kind="post", platform=None, published_from=None, published_to=None)
    asked = find("Which posts are there on owls?", [], within, Steps(by=model, filters="model", known=known))
    assert asked.hits == (), "there are no posts"


def test_expansion_searches_for_the_models_wordings_too(within: Searched) -> None:
    tracing = Tracing()
    steps = Steps(by=replying(questions=["Why does a pendulum run slow?"]), reformulations=1)
    found = find(QUESTION, [], within, steps, tracing)
    expansion = Expansion(QUESTION, ("Why does a pendulum run slow?",))
    assert found == search_expanded(expansion, within.store, within.embedder, ADA, 6)
    assert names(tracing)["expansion"] == "Why does a pendulum run slow?"
    guess = ScriptedChat(lambda messages: "Pendulums of brass run slow.")
    found = find(QUESTION, [], within, Steps(by=guess, hypothetical=True))
    expansion = Expansion(QUESTION, hypothetical="Pendulums of brass run slow.")
    assert found == search_expanded(expansion, within.store, within.embedder, ADA, 6)


class Backwards:
    """A Reranker that likes late passages."""

    name = "backwards"

    def scores(
        self, questions: Sequence[str], found: Sequence[Sequence[Hit]], progress: object = None
    ) -> list[NDArray[np.float64]]:
        return [np.array([hit.chunk.start for hit in hits], np.float64) for hits in found]


def test_reranking_and_diversity_choose_among_more_than_are_wanted(within: Searched) -> None:
    tracing = Tracing()
    few = Searched(within.store, within.embedder, ADA, 1)
    both = "Do barn owls hunt voles, and did the church clock lose minutes from thickened oil?"
    found = find(both, [], few, Steps(reranker=Backwards()), tracing)
    assert len(found.hits) == 1 and names(tracing)["rerank"] == "backwards"
    deep = search(both, within.store, within.embedder, ADA, 20).hits
    assert len(deep) > 1
    assert list(found.hits) == rerank([both], [deep], Backwards())[0][:1]
    diverse = find(both, [], few, Steps(diversity=True)).hits
    assert list(diverse) == diversify(deep, within.embedder.embed, 1)


def test_neighbours_are_the_chunks_beside_a_passage_within_the_filter(
    store: VectorStore, embedder: HashEmbedder
) -> None:
    vector = question_vector(QUESTION, embedder)
    everything = store.search_dense(vector, 100, Where(author="Ada"), exact=True)
    row = sorted((h for h in everything if h.chunk.title == "Clocks"), key=lambda hit: hit.chunk.start)
    assert len(row) >= 2
    within = Searched(store, embedder, ADA, 6)
    wide = with_neighbours(row[:1], within, 1, vector)
    assert [hit.chunk.id for hit in wide] == [row[0].chunk.id, row[1].chunk.id]
    assert with_neighbours(row[:1], within, 0, vector) == row[:1]
    assert len(with_neighbours(row, within, 3, vector)) == len(row), "none twice"
    assert side_by_side([row[1], row[0]]) == row[:2]
    bob = Searched(store, embedder, Where(author="Bob"), 6)
    assert with_neighbours(row[:1], bob, 1, vector) == row[:1]


def test_the_model_reads_neighbours_where_the_budget_allows(
    store: VectorStore, embedder: HashEmbedder
) -> None:
    model = ScriptedChat(lambda messages: "Well.")
    alone = Answering("Ada", store, embedder, model, sampling=Sampling(max_tokens=20), passages=1, least=0.0)
    question = "Why had the oil of the church clock thickened?"
    wide = Answering(**{**vars(alone), "steps": Steps(neighbours=1)})
    one, more = prepare(question, alone), prepare(question, wide)
    assert len(one.hits) == 1 < len(more.hits)
    assert set(one.hits) <= {hit.model_copy(update={"score": one.hits[0].score}) for hit in more.hits}
    tight = Answering(**{**vars(wide), "budget": model.count_tokens(one.messages) + 1})
    assert len(prepare(question, tight).hits) <= len(more.hits)
