"""Reranking: MaxSim and query likelihood by hand, and what becomes of the order."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from llm_twin.adapters.standins import HashEmbedder, ScriptedChat, echo
from llm_twin.inference import rerank as reranking
from llm_twin.inference.rerank import LateInteraction, QueryLikelihood, max_sim, rerank
from llm_twin.ports import Progress, silent
from llm_twin.types import Hit

MakeHit = Callable[..., Hit]


class Fixed:
    """A Reranker that returns what it was given."""

    name = "fixed"

    def __init__(self, *rows: list[float]) -> None:
        self.rows = rows
        self.saw: list[list[str]] = []

    def scores(
        self, questions: Sequence[str], found: Sequence[Sequence[Hit]], progress: Progress = silent
    ) -> list[np.ndarray]:
        self.saw = [[hit.chunk.id for hit in hits] for hits in found]
        return [np.array(row) for row in self.rows]


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.chunk.id for hit in hits]


def test_alone_the_reranker_decides_and_ties_keep_the_order(hit: MakeHit) -> None:
    found = [[hit("a"), hit("b"), hit("c"), hit("d")]]
    (new,) = rerank(["?"], found, Fixed([1.0, 3.0, 1.0, 2.0]), fused=False)
    assert [(h.chunk.id, h.score) for h in new] == [("b", 3.0), ("d", 2.0), ("a", 1.0), ("c", 1.0)]


def test_fused_both_orders_count(hit: MakeHit) -> None:
    (new,) = rerank(["?"], [[hit("a"), hit("b"), hit("c")]], Fixed([0.1, 0.3, 0.2]))
    assert ids(new) == ["b", "a", "c"]
    assert new[0].score == pytest.approx(1 / 62 + 1 / 61)
    assert new[1].score == pytest.approx(1 / 61 + 1 / 63)


def test_only_the_first_hits_are_looked_at(hit: MakeHit) -> None:
    fixed = Fixed([1.0, 2.0], [])
    first, second = rerank(["?", "!"], [[hit("a"), hit("b"), hit("c")], []], fixed, depth=2)
    assert fixed.saw == [["a", "b"], []]
    assert (sorted(ids(first)), second) == (["a", "b"], [])


def test_max_sim_by_hand() -> None:
    question = np.array([[1, 0], [0, 1]], np.float32)
    passage = np.array([[0.6, 0.8], [-1, 0], [0.8, 0.6]], np.float32)
    assert max_sim(question, passage) == pytest.approx((0.8 + 0.8) / 2)
    assert max_sim(question, passage[1:2]) == pytest.approx((-1 + 0) / 2)
    assert max_sim(question[:0], passage) == max_sim(question, passage[:0]) == 0


def test_late_interaction_counts_the_question_words_that_the_passage_has(hit: MakeHit) -> None:
    late = LateInteraction(HashEmbedder(dimension=4096))
    hits = [hit("a", "Owls hunt."), hit("b", "Owls hunt at night."), hit("c", "Nothing.")]
    (scores,) = late.scores(["owls hunt at dusk"], [hits])
    assert scores == pytest.approx([2 / 4, 3 / 4, 0])


def test_a_chunk_is_embedded_once_however_many_questions_found_it(
    hit: MakeHit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reranking, "_CHUNKS_AT_ONCE", 2)
    embedder, calls = HashEmbedder(dimension=512), []
    plain = embedder.token_vectors
    monkeypatch.setattr(
        embedder, "token_vectors", lambda texts, *rest: calls.append(list(texts)) or plain(texts)
    )
    hits = [hit(str(i), f"Owl number {i}.") for i in range(5)]
    late = LateInteraction(embedder)
    rows = late.scores(["owl", "number 3", "two"], [hits, hits[::-1], hits[:2]])
    assert len(calls[0]) == 3 and [len(call) for call in calls[1:]] == [2, 2, 1]
    assert int(np.argmax(rows[1])) == 1  # hits[3], second in the reversed list
    assert rows[0] == pytest.approx(np.ones(5))


def test_query_likelihood_by_hand(hit: MakeHit) -> None:
    asked = []

    class Watched(ScriptedChat):
        def score(self, prompts, responses, progress=silent):  # type: ignore[no-untyped-def]
            asked.append((len(prompts), list(responses)))
            return super().score(prompts, responses, progress)

    model = QueryLikelihood(Watched(echo))
    found = [[hit("a", "owls hunt at dusk"), hit("b", "tax law")], [hit("c", "tax law")]]
    first, second = model.scores(["owls hunt", "tax and bread"], found)
    # A word of the prompt scores 1/2, another 1/8; the end of the turn is left out.
    assert first == pytest.approx([np.log(1 / 2), np.log(1 / 8)])
    assert second == pytest.approx([(np.log(1 / 2) + 2 * np.log(1 / 8)) / 3])
    assert asked == [(3, ["owls hunt", "owls hunt", "tax and bread"])]  # one batch
