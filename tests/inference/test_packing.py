"""A prompt never has more tokens than it may, holds as much as it can, and is counted few times."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_twin.adapters.standins import ScriptedChat
from llm_twin.errors import InputError
from llm_twin.inference.packing import Packing
from llm_twin.types import Hit, Message

QUESTION = "What do owls hunt?"
MakeHit = Callable[..., Hit]


class Counting(ScriptedChat):
    """Counts words, and `extra` more wherever two passages meet; notes what it was asked to count."""

    def __init__(self, context: int = 4096, extra: int = 0) -> None:
        super().__init__(lambda messages: "", context=context)
        self.extra, self.counted = extra, []

    def count_tokens(self, messages: Sequence[Message]) -> int:
        text = messages[-1].content
        self.counted.append(text)
        return super().count_tokens(messages) + self.extra * max(0, text.count("zq ") - 1)


def hits_of(hit: MakeHit, sizes: Sequence[int]) -> list[Hit]:
    """Passages of so many words, no two alike."""
    return [
        hit(f"h{i}", " ".join(["zq", *(f"w{i}x{n}" for n in range(size - 1))]))
        for i, size in enumerate(sizes)
    ]


def turns_of(sizes: Sequence[int]) -> list[Message]:
    roles = ("user", "assistant")
    return [
        Message.model_validate({"role": roles[i % 2], "content": "said " * size})
        for i, size in enumerate(sizes)
    ]


def packing(model: ScriptedChat, budget: int = 900, reply: int = 10) -> Packing:
    return Packing(QUESTION, "Ada", model, reply, budget)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    earlier=st.lists(st.integers(1, 20), max_size=8),
    budget=st.integers(1, 200),
    context=st.integers(70, 300),
    extra=st.integers(0, 3),
    together=st.booleans(),
)
def test_a_prompt_never_has_more_than_budget_and_context_allow(
    hit: MakeHit,
    sizes: list[int],
    earlier: list[int],
    budget: int,
    context: int,
    extra: int,
    together: bool,
) -> None:
    model = Counting(context, extra)
    try:
        filled = packing(model, budget).fill(hits_of(hit, sizes), 5, turns_of(earlier), together)
    except InputError:
        return
    messages, read, kept = filled
    whole = model.count_tokens(messages)
    assert whole + 10 <= context
    bare = model.count_tokens([messages[0], Message(role="user", content=bare_question())])
    assert whole - bare <= budget
    assert 1 <= len(read) <= 5
    assert kept == len(messages) - 2 and [m.content for m in messages[1:-1]] == [
        turn.content for turn in turns_of(earlier)[len(earlier) - kept :]
    ]


def bare_question() -> str:
    from llm_twin import prompts

    return prompts.render("answer.v1", question=QUESTION, passages=[])


@pytest.mark.parametrize("budget", [20, 50, 80, 130, 200, 900])
def test_passages_and_turns_are_those_that_counting_every_choice_would_keep(
    hit: MakeHit, budget: int
) -> None:
    model, turns, hits = Counting(), turns_of([9, 6, 12, 5, 3, 8]), hits_of(hit, [30, 12, 25, 4, 40, 6])
    _, read, kept = packing(model, budget).fill(hits, 5, turns)
    starts = [i for i in (0, 2, 4) if sum(1 + n for n in [9, 6, 12, 5, 3, 8][i:]) <= budget / 3]
    assert kept == (6 - starts[0] if starts else 0)
    left, fitting = budget - sum(1 + n for n in [9, 6, 12, 5, 3, 8][6 - kept :]), []
    for each, size in zip(hits, [30, 12, 25, 4, 40, 6], strict=True):
        if size <= left:
            fitting.append(each)
            left -= size
    assert read == fitting[:5]


def test_each_passage_is_counted_alone_and_whole_prompts_few_times(hit: MakeHit) -> None:
    model, hits = Counting(), hits_of(hit, [20] * 10)
    packing(model).fill(hits, 5, [])
    whole = [text for text in model.counted if QUESTION in text]
    assert len(whole) == 3, "without passages, with one, and as it is used"
    assert sorted(set(model.counted) - set(whole) - {""}) == sorted(each.chunk.text for each in hits)
    model.counted.clear()
    packing(model).fill(hits, 5, turns_of([2] * 32))
    assert sum(QUESTION in text for text in model.counted) <= 3 + 5, (
        "of sixteen places to begin, four or five are tried"
    )


def test_what_passages_count_together_beyond_what_they_do_alone_is_taken_off(hit: MakeHit) -> None:
    alone, together = Counting(), Counting(extra=15)
    hits = hits_of(hit, [20] * 5)
    assert len(packing(alone, 100).fill(hits, 5, [])[1]) == 5
    messages, read, _ = packing(together, 100).fill(hits, 5, [])
    assert len(read) == 3 and together.count_tokens(messages) <= alone.count_tokens(messages) + 30


def test_no_room_is_an_error_that_says_what_takes_it(hit: MakeHit) -> None:
    with pytest.raises(InputError, match="has room for 30"):
        packing(Counting(context=30))
    with pytest.raises(InputError, match="has room for 80"):
        Packing(QUESTION, "Ada", Counting(context=80), 10, 900, ["obey " * 60])
    for hits in ([], hits_of(hit, [30])):
        with pytest.raises(InputError, match="no passage fits the 20 tokens"):
            packing(Counting(), 20).fill(hits, 5, [])
