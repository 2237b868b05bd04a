"""Token ids in, token ids out, on a real model; what a chat makes of them is in test_chat_openvino.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_twin.adapters.openvino_engine import Engine, Setup
from llm_twin.errors import TwinError
from llm_twin.models import read_card
from llm_twin.types import Sampling

PROMPT = list(range(300, 330))


@pytest.fixture(scope="module")
def setup(smol_model: Path) -> Setup:
    card = read_card(smol_model)
    return Setup(name="smol", weights=smol_model / str(card.serving), stop_ids=card.eos_token_ids)


@pytest.fixture(scope="module")
def engine(setup: Setup) -> Iterator[Engine]:
    made = Engine(setup)
    yield made
    made.close()


@pytest.mark.slow
def test_a_reply_that_ends_by_itself_says_so_and_one_at_the_limit_does_not(engine: Engine) -> None:
    (cut,) = engine.write([PROMPT], Sampling(max_tokens=3, temperature=0))
    assert len(cut.ids) == 3 and not cut.stopped
    ended = engine._setup.model_copy(update={"stop_ids": (cut.ids[1],)})
    other = Engine(ended)
    (whole,) = other.write([PROMPT], Sampling(max_tokens=3, temperature=0))
    other.close()
    assert whole.stopped and whole.ids == cut.ids[:2]


@pytest.mark.slow
def test_a_stream_writes_what_a_batch_does_and_its_tokens_are_as_probable_as_their_scores(
    engine: Engine,
) -> None:
    sampling = Sampling(max_tokens=6, temperature=0)
    (reply,) = engine.write([PROMPT], sampling)
    told = list(engine.stream(PROMPT, sampling, told=True))
    assert [i for ids, _ in told for i in ids] == reply.ids
    scores = [score for _, found in told for score in found]
    (again,) = engine.score([(PROMPT, reply.ids)])
    assert scores == pytest.approx(again, abs=0.1)


@pytest.mark.slow
def test_a_closed_engine_says_so(setup: Setup) -> None:
    engine = Engine(setup)
    engine.close()
    for ask in (lambda: engine.write([PROMPT], Sampling()), lambda: list(engine.stream(PROMPT, Sampling()))):
        with pytest.raises(TwinError, match="smol was closed"):
            ask()
