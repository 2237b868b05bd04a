"""Samples with passages: asked as serving asks, one passage holds the reply, and what does not fit is left out."""

from collections.abc import Callable
from pathlib import Path

import pytest

from llm_twin import prompts
from llm_twin.inference import packing
from llm_twin.training import grounded as module
from llm_twin.training.grounded import conversation_with, fewer, grounded
from llm_twin.training.sft import SYSTEM_PROMPT, Encoder, _row, conversation
from llm_twin.types import Sample

MakeSamples = Callable[..., list[Sample]]


@pytest.fixture
def own(make_samples: MakeSamples) -> list[Sample]:
    """Twelve samples of four documents."""
    return [
        sample.model_copy(update={"document_id": f"d{i % 4}", "response": f"{sample.response} Number {i}."})
        for i, sample in enumerate(make_samples(12))
    ]


def test_serving_asks_with_the_same_prompts() -> None:
    assert (module.ANSWER_PROMPT, module.SYSTEM_PROMPT) == (packing.ANSWER_PROMPT, packing.SYSTEM_PROMPT)
    assert module.SYSTEM_PROMPT == SYSTEM_PROMPT


def test_one_passage_holds_the_reply_and_the_others_are_from_elsewhere(own: list[Sample]) -> None:
    found = grounded(own, 0.5)
    assert len(found) == 6
    by_id = {sample.id: sample for sample in own}
    for id, passages in found.items():
        sample = by_id[id]
        (holding,) = (passage for passage in passages if sample.response in passage)
        rest = [passage for passage in passages if passage != holding]
        elsewhere = {s.response for s in own if s.document_id != sample.document_id}
        assert len(rest) == 2 and set(rest) <= elsewhere
        told = conversation_with(sample, passages)
        assert all(passage in told[-1].content for passage in passages)
        assert told[-1].content == prompts.render("answer.v1", question=sample.instruction, passages=passages)
    assert len({tuple(p.index(h) for h in p if by_id[i].response in h) for i, p in found.items()}) > 1, (
        "not one place"
    )


def test_the_seed_decides(own: list[Sample]) -> None:
    assert grounded(own, 0.5) == grounded(own, 0.5) != grounded(own, 0.5, seed=1)
    assert grounded(own, 0.0) == {}
    assert len(grounded(own, 1.0)) == len(own)
    assert grounded(own[:1], 1.0) == {own[0].id: [own[0].response]}


def test_passages_that_do_not_fit_are_left_out_and_the_one_with_the_reply_last(
    own: list[Sample], tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    encoder = Encoder.of(tiny_model(tmp_path / "base"))
    (sample,) = own[:1]
    passages = [own[1].response, sample.response, own[2].response]
    assert fewer(passages, sample) == passages[:2]
    assert fewer(fewer(passages, sample), sample) == [sample.response]
    assert fewer([sample.response], sample) == []
    whole = encoder.encode(conversation_with(sample, passages), sample.response)
    one = encoder.encode(conversation_with(sample, [sample.response]), sample.response)
    bare = encoder.encode(conversation(sample), sample.response)
    assert _row(sample, passages, encoder, 10_000) == whole
    assert _row(sample, passages, encoder, len(one["input_ids"])) == one
    assert _row(sample, passages, encoder, len(one["input_ids"]) - 1) == bare
