from collections.abc import Callable

import numpy as np
import pytest

from llm_twin.adapters.standins import HashEmbedder
from llm_twin.errors import InputError
from llm_twin.inference.diversify import diversify, mmr
from llm_twin.types import Hit

MakeHit = Callable[..., Hit]
EMBEDDER = HashEmbedder(dimension=512)


def names(hits: list[Hit]) -> list[str]:
    return [hit.chunk.id for hit in hits]


def test_mmr_by_hand() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1], [0.6, 0.8]], np.float32)
    scores = np.array([1.0, 0.9, 0.5, 0.6])
    # After 0: 1 -> .7*.9-.3*1=.33, 2 -> .35, 3 -> .42-.18=.24. After 2: 1 -> .33, 3 -> .42-.24=.18.
    assert mmr(scores, vectors, 4, 0.7) == [0, 2, 1, 3]
    assert mmr(scores, vectors, 4, 1.0) == [0, 1, 3, 2]
    assert mmr(scores, vectors, 2, 0.0) == [0, 2]


def test_a_repeated_passage_makes_room_for_another(hit: MakeHit) -> None:
    hits = [
        hit("a", "Owls hunt voles at night.", 0.9),
        hit("b", "Owls hunt voles at night!", 0.8),
        hit("c", "Clocks run slow in the cold.", 0.7),
        hit("d", "Bread.", 0.1),
    ]
    assert names(diversify(hits, EMBEDDER.embed, 2, relevance=0.5)) == ["a", "c"]
    assert names(diversify(hits, EMBEDDER.embed, 3, relevance=1)) == ["a", "b", "c"]
    assert [h.score for h in diversify(hits, EMBEDDER.embed, 2, 0.5)] == [0.9, 0.7]


def test_equal_scores_no_hits_and_no_room(hit: MakeHit) -> None:
    hits = [hit("a", "Owls."), hit("b", "Owls."), hit("c", "Clocks.")]
    assert names(diversify(hits, EMBEDDER.embed, 2)) == ["a", "c"]
    assert len(diversify(hits, EMBEDDER.embed, 9)) == 3
    assert diversify([], EMBEDDER.embed, 3) == diversify(hits, EMBEDDER.embed, 0) == []


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_a_weight_outside_0_to_1_is_refused(hit: MakeHit, weight: float) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        diversify([hit("a")], EMBEDDER.embed, 3, weight)
