"""What every Reranker promises. A new one joins with one line in RERANKERS."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from llm_twin.adapters.standins import HashEmbedder, ScriptedChat, echo
from llm_twin.errors import TwinError
from llm_twin.inference.rerank import LateInteraction, QueryLikelihood
from llm_twin.ports import Reranker
from llm_twin.types import Chunk, Hit


def late_interaction(models: Path, folder: Path) -> Reranker:
    from llm_twin.adapters.embed_openvino import OpenVinoEmbedder
    from llm_twin.adapters.pull import pull

    return LateInteraction(OpenVinoEmbedder(pull("all-minilm-l6-v2", models)))


def likelihood(models: Path, folder: Path) -> Reranker:
    from llm_twin.adapters.chat_openvino import OpenVinoChat
    from llm_twin.adapters.pull import pull

    return QueryLikelihood(OpenVinoChat(pull("smollm2-135m", models)))


def cross_encoder(models: Path, folder: Path) -> Reranker:
    """The embedding model with a head of our own making, since no cross-encoder comes with the package: its score
    is meaningless, so it is held to everything but sense.
    """
    pytest.importorskip("sentence_transformers", reason="needs the extra `rerank`")
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed

    from llm_twin.adapters.pull import pull
    from llm_twin.adapters.rerank_cross_encoder import CrossEncoderReranker

    source, made = pull("all-minilm-l6-v2", models), folder / "untrained"
    set_seed(0)
    AutoModelForSequenceClassification.from_pretrained(source, num_labels=1).save_pretrained(made)
    AutoTokenizer.from_pretrained(source).save_pretrained(made)
    return CrossEncoderReranker(made)


RERANKERS: dict[str, Callable[[Path, Path], Reranker]] = {
    "late interaction, stand-in": lambda models, folder: LateInteraction(HashEmbedder(dimension=512)),
    "likelihood, stand-in": lambda models, folder: QueryLikelihood(ScriptedChat(echo)),
    "late interaction": late_interaction,
    "likelihood": likelihood,
    "cross-encoder": cross_encoder,
}
NEED_A_MODEL = {"late interaction", "likelihood", "cross-encoder"}
UNTRAINED = "cross-encoder, untrained"
PARAMS = [
    pytest.param(
        n, marks=[pytest.mark.slow, pytest.mark.filterwarnings("ignore")] if n in NEED_A_MODEL else []
    )
    for n in RERANKERS
]


@pytest.fixture(scope="module", params=PARAMS)
def reranker(
    request: pytest.FixtureRequest, models_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Reranker:
    return RERANKERS[request.param](models_cache, tmp_path_factory.mktemp("reranker"))


def hit(name: str, text: str) -> Hit:
    chunk = Chunk(
        id=name, document_id="d", author="Ada", kind="article", title="Notes", text=text,
        start=0, end=len(text), tokens=9,
    )  # fmt: skip
    return Hit(chunk=chunk, score=1.0)


OWL = hit("owl", "The barn owl hunts mice over the meadow at night.")
TAX = hit("tax", "Small firms pay the new tax in two parts, in May and in June.")
CLOCK = hit("clock", "Thick oil made the church clock lose four minutes every week.")
QUESTION = "what does the barn owl hunt at night"


def test_the_passage_that_answers_scores_highest(reranker: Reranker) -> None:
    if reranker.name == UNTRAINED:
        pytest.skip("an untrained head makes no sense")
    asked = [QUESTION, "when do small firms pay the tax in two parts"]
    owl, tax = reranker.scores(asked, [[TAX, OWL, CLOCK], [TAX, OWL, CLOCK]])
    assert int(np.argmax(owl)) == 1
    assert int(np.argmax(tax)) == 0


def test_one_array_a_question_one_finite_score_a_hit_in_order(reranker: Reranker) -> None:
    found = [[OWL, TAX], [], [CLOCK]]
    scores = reranker.scores([QUESTION, "and?", "why did the clock lose time"], found)
    assert [row.shape for row in scores] == [(2,), (0,), (1,)]
    assert all(row.dtype == np.float64 and np.isfinite(row).all() for row in scores)
    assert reranker.scores([], []) == []


def test_a_score_depends_on_its_own_question_and_hit_alone(reranker: Reranker) -> None:
    (together,) = reranker.scores([QUESTION], [[TAX, OWL, CLOCK]])
    (turned,) = reranker.scores([QUESTION], [[CLOCK, OWL, TAX]])
    (alone,) = reranker.scores([QUESTION], [[OWL]])
    assert together == pytest.approx(turned[::-1], abs=0.02)
    assert together[1] == pytest.approx(alone[0], abs=0.02)
    assert np.array_equal(reranker.scores([QUESTION], [[TAX, OWL, CLOCK]])[0], together)


@pytest.mark.parametrize("question", ["", "?!", "🦉", "owl " * 400])
def test_odd_questions_have_scores_too(reranker: Reranker, question: str) -> None:
    (scores,) = reranker.scores([question], [[OWL, TAX]])
    assert scores.shape == (2,) and np.isfinite(scores).all()


def test_progress_counts_up_to_all_pairs(reranker: Reranker) -> None:
    told: list[tuple[int, int]] = []
    reranker.scores(
        [QUESTION, QUESTION], [[OWL, TAX], [OWL]], lambda done, total, _: told.append((done, total))
    )
    assert told[-1] == (3, 3)
    assert told == sorted(told)


def test_it_has_a_name(reranker: Reranker) -> None:
    assert reranker.name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_cross_encoder_that_is_not_there_is_named(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers", reason="needs the extra `rerank`")
    from llm_twin.adapters.rerank_cross_encoder import CrossEncoderReranker

    with pytest.raises(TwinError, match="nowhere"):
        CrossEncoderReranker(tmp_path / "nowhere")
