"""Retrieval: the fusion's formula, the filter inside both searches, the gate, and packing."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from llm_twin.adapters.standins import HashEmbedder
from llm_twin.errors import InputError
from llm_twin.inference.retrieve import (
    RELEVANT,
    Found,
    distinct,
    pack,
    pieces_vectors,
    question_vector,
    relevant,
    retrieve,
    rrf,
    search,
)
from llm_twin.ports import Embedder, Vectors, VectorStore
from llm_twin.types import Chunk, Hit, Where

MakeHit = Callable[..., Hit]
ADA = Where(author="Ada")


class FixedStore:
    """A VectorStore that returns what it was given, and remembers what it was asked."""

    def __init__(self, dense: Sequence[Hit], wordy: Sequence[Hit]) -> None:
        self.dense, self.wordy = list(dense), list(wordy)
        self.asked: list[tuple[int, Where]] = []

    def search_dense(
        self, vector: Vectors, limit: int, where: Where = Where(), exact: bool = False
    ) -> list[Hit]:
        self.asked.append((limit, where))
        return self.dense[:limit]

    def search_words(self, query: str, limit: int, where: Where = Where()) -> list[Hit]:
        self.asked.append((limit, where))
        return self.wordy[:limit]

    def upsert(self, chunks: Sequence[Chunk], vectors: Vectors) -> None:
        raise AssertionError

    delete = chunk_ids = optimize = close = upsert  # type: ignore[assignment]


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.chunk.id for hit in hits]


def test_rrf_adds_one_over_k_plus_rank(hit: MakeHit) -> None:
    fused = rrf([[hit("a"), hit("b")], [hit("b"), hit("c")]], k=60)
    assert [(h.chunk.id, h.score) for h in fused] == [
        ("b", pytest.approx(1 / 62 + 1 / 61)),
        ("a", pytest.approx(1 / 61)),
        ("c", pytest.approx(1 / 62)),
    ]


def test_rrf_breaks_ties_by_chunk_id_and_fuses_nothing_to_nothing(hit: MakeHit) -> None:
    assert ids(rrf([[hit("z")], [hit("a")], [hit("m")]])) == ["a", "m", "z"]
    assert rrf([]) == rrf([[], []]) == []


def test_a_smaller_k_trusts_the_first_ranks_more(hit: MakeHit) -> None:
    first = [[hit("a"), hit("b"), hit("c")], [hit("x"), hit("b"), hit("y")]]
    assert ids(rrf(first, k=60))[0] == "b"
    assert ids(rrf(first, k=0))[0] == "a"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(rankings=[["d"], ["d", "b", "a"], ["a"], ["a", "b", "d"]])
@given(rankings=st.lists(st.lists(st.sampled_from("abcdef"), unique=True), max_size=4))
def test_rrf_does_not_depend_on_the_order_of_rankings_and_loses_no_chunk(
    hit: MakeHit, rankings: list[list[str]]
) -> None:
    fused = rrf([[hit(name) for name in ranking] for ranking in rankings])
    other = rrf([[hit(name) for name in ranking] for ranking in reversed(rankings)])
    assert {h.chunk.id for h in fused} == {name for ranking in rankings for name in ranking}
    assert ids(fused) == ids(other)
    assert [h.score for h in fused] == sorted((h.score for h in fused), reverse=True)


def test_the_filter_and_one_depth_go_into_both_searches(hit: MakeHit, embedder: HashEmbedder) -> None:
    fixed = FixedStore([hit("a")], [hit("b")])
    retrieve("owls", fixed, embedder, ADA, 3)
    retrieve("owls", fixed, embedder, Where(), 80)
    assert fixed.asked == [(20, ADA)] * 2 + [(80, Where())] * 2


def test_a_search_has_no_tail_of_weak_hits(hit: MakeHit, embedder: HashEmbedder) -> None:
    dense = [hit("a", score=0.5), hit("b", score=0.31), hit("c", score=0.29)]
    wordy = [hit("d", score=10), hit("c", score=5.9)]
    assert ids(retrieve("owls", FixedStore(dense, wordy), embedder)) == ["a", "d", "b"]


def test_hits_that_all_point_away_are_kept_in_order(hit: MakeHit, embedder: HashEmbedder) -> None:
    found = search("owls", FixedStore([hit("a", score=-0.1), hit("b", score=-0.12)], []), embedder)
    assert ids(found.hits) == ["a", "b"]
    assert found.nearest == -0.1
    assert not relevant(found)


def test_meaning_and_words_both_bring_hits(hit: MakeHit, embedder: HashEmbedder) -> None:
    found = search("owls", FixedStore([hit("a", score=0.7)], [hit("b", score=9)]), embedder)
    assert ids(found.hits) == ["a", "b"]
    assert found.nearest == 0.7


def test_only_the_author_asked_for_is_found_even_where_another_matches_better(
    store: VectorStore, embedder: HashEmbedder
) -> None:
    question = "Barn owls hunt voles better than anyone hunts voles"
    assert retrieve(question, store, embedder)[0].chunk.author == "Bob"
    own = retrieve(question, store, embedder, ADA)
    assert own and {h.chunk.author for h in own} == {"Ada"}
    assert own[0].chunk.title == "Owls"
    assert retrieve(question, store, embedder, Where(author="Nobody")) == []


def test_hits_come_best_first_and_no_more_than_the_limit(store: VectorStore, embedder: HashEmbedder) -> None:
    hits = retrieve("pendulum clock oil owls", store, embedder, ADA, 2)
    assert 0 < len(hits) <= 2
    assert hits[0].score >= hits[-1].score > 0


def test_an_empty_store_holds_nothing_relevant(empty_store: VectorStore, embedder: HashEmbedder) -> None:
    found = search("owls", empty_store, embedder, ADA)
    assert found == Found((), -1.0)
    assert not relevant(found)


@pytest.mark.parametrize("question", ["", "  \n", "?!…", "🦉"])
def test_a_question_without_words_is_refused(
    question: str, store: VectorStore, embedder: HashEmbedder
) -> None:
    with pytest.raises(InputError, match="no question"):
        search(question, store, embedder)


def test_the_gate_opens_at_its_threshold() -> None:
    assert relevant(Found((), RELEVANT))
    assert not relevant(Found((), RELEVANT - 0.001))
    assert relevant(Found((), 0.2), least=0.1)


def test_a_question_longer_than_the_window_is_asked_whole(embedder: HashEmbedder, store: VectorStore) -> None:
    long = "owls hunt voles " * 300 + "pendulum " * 300
    vector = question_vector(long, embedder)
    assert vector.dtype == np.float32 and vector.shape == (embedder.dimension,)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    for word in ("voles", "pendulum"):
        assert float(vector @ question_vector(word, embedder)) > 0.2, f"{word} was left out"
    assert search(long, store, embedder, ADA).hits


def test_vectors_of_texts_that_fit_are_the_embedders_own(embedder: HashEmbedder) -> None:
    texts = ["owls hunt", "voles " * 1000, "pendulum"]
    found = pieces_vectors(texts, embedder)
    assert found.shape == (3, embedder.dimension)
    assert np.allclose(found[[0, 2]], embedder.embed([texts[0], texts[2]]), atol=1e-6)
    assert np.allclose(found[1], embedder.embed(["voles"])[0], atol=1e-6)


# --- packing ---------------------------------------------------------------------------------------------


def length(hit: Hit) -> int:
    return len(hit.chunk.text.split())


def test_what_does_not_fit_makes_room_for_smaller_passages(hit: MakeHit) -> None:
    hits = [hit("a", "one two three"), hit("b", "four five six seven"), hit("c", "eight nine")]
    assert ids(pack(hits, 5, length)) == ["a", "c"]
    assert ids(pack(hits, 9, length)) == ["a", "b", "c"]
    assert pack(hits, 1, length) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(1, 12), max_size=8), budget=st.integers(0, 30))
def test_packing_keeps_order_and_budget_and_never_cuts(hit: MakeHit, sizes: list[int], budget: int) -> None:
    hits = [hit(f"{i}", " ".join(f"w{i}x{n}" for n in range(size))) for i, size in enumerate(sizes)]
    packed = pack(hits, budget, length)
    assert sum(length(h) for h in packed) <= budget
    assert [h for h in hits if h in packed] == packed
    left = budget - sum(length(h) for h in packed)
    assert all(length(h) > left for h in hits if h not in packed), "one more would have fitted"


def test_passages_that_say_nearly_the_same_are_given_once(hit: MakeHit) -> None:
    text = "The church clock lost four minutes every week because its oil had thickened in the cold."
    hits = [
        hit("a", text),
        hit("b", text.replace("every", "each")),
        hit(
            "c", text + " I cleaned the pivots and used a lighter oil, and it has kept time ever since then."
        ),
        hit("d", "Barn owls hunt voles over wet meadows at dusk."),
        hit("e", text.upper()),
    ]
    assert ids(distinct(hits)) == ["a", "d"]
    assert ids(pack(hits, 1000, length)) == ["a", "d"]


def test_short_and_wordless_passages_are_told_apart(hit: MakeHit) -> None:
    hits = [hit("a", "Yes."), hit("b", "No."), hit("c", "!!!"), hit("d", "???"), hit("e", "yes")]
    assert ids(distinct(hits)) == ["a", "b", "c", "d"]


# --- the real embedder on the sample corpus ---------------------------------------------------------------

ANSWERED = {
    "What is Gannet made of?": "10 years of Gannet",
    "What do you think about stainless steel by the sea?": "Salt gets in",
    "Which soldering iron should a beginner buy?": "Your first soldering iron",
    "What glue should I use?": "Glue",
    "What do you use to take notes?": "A pencil",
    "Why do you keep a bell in the porch?": "A bell for falling glass",
    "What do you do with the children on Tuesdays?": "The Tuesday bench",
    "What did your father write in his log books?": "31 log books",
    "What happened when you had a screw left over?": "A screw left over",
    "Why does everybody lose the 10 mm spanner?": "The 10 mm spanner",
    "Do you mind swallows in the workshop?": "Swallows",
    "What should a comment in a program say?": "Comments are for the night shift",
}
UNANSWERED = [
    "What is the capital of Mongolia?",
    "Who won the World Cup in 2014?",
    "How do I apply for a mortgage?",
    "What is the plot of Hamlet?",
    "How do I cook a risotto?",
    "How do vaccines work?",
    "What is change data capture?",
    "How do you fine-tune an LLM with QLoRA?",
    "How do I tune a guitar?",
    "What is the best 3D printer for a small workshop?",
    "How do I bake sourdough bread on a stove?",
    "What camera do you use to photograph birds?",
]


@pytest.mark.slow
def test_the_gate_tells_answered_questions_from_others_on_the_sample_corpus(
    marlow: VectorStore, minilm: Embedder
) -> None:
    where = Where(author="Wren Marlow")
    let_in = {q for q in [*ANSWERED, *UNANSWERED] if relevant(search(q, marlow, minilm, where))}
    assert len(let_in & ANSWERED.keys()) >= 11, f"refused: {ANSWERED.keys() - let_in}"
    assert len(let_in & set(UNANSWERED)) <= 1, f"let through: {let_in & set(UNANSWERED)}"


@pytest.mark.slow
def test_the_right_piece_comes_first_on_the_sample_corpus(marlow: VectorStore, minilm: Embedder) -> None:
    where = Where(author="Wren Marlow")
    first = {q: retrieve(q, marlow, minilm, where, 5)[0].chunk.title for q in ANSWERED}
    wrong = {q: found for q, found in first.items() if found != ANSWERED[q]}
    assert len(wrong) <= 1, wrong
