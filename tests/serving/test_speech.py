"""Which model answers, with which prompt and sampling, and what is opened for it."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest

from llm_twin import wiring
from llm_twin.adapters.standins import ScriptedChat
from llm_twin.errors import InputError, TwinError
from llm_twin.serving.protocol import ChatRequest
from llm_twin.serving.refusals import Refusal
from llm_twin.serving.speech import Ending, Speech
from llm_twin.types import Completion, Message, Sampling, StageReport
from llm_twin.workspace import Workspace

SALT = "What does salt do to a bearing in the watchroom clock?"


class Noting(ScriptedChat):
    """Notes what it is asked."""

    def __init__(self) -> None:
        super().__init__(lambda messages: "Salt gets into every bearing.")
        self.asked: list[tuple[Sequence[Message], Sampling]] = []

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Generator[str, None, Completion]:
        self.asked.append((messages, sampling))
        return super().stream(messages, sampling)


@pytest.fixture
def model() -> Noting:
    return Noting()


@pytest.fixture
def speech(workspace: Workspace, stand_in: Callable[[Any], None], model: Noting) -> Iterator[Speech]:
    stand_in(model)
    opened = Speech(workspace)
    yield opened
    opened.close()


def request(text: str = SALT, **more: Any) -> ChatRequest:
    return ChatRequest.model_validate({"messages": [{"role": "user", "content": text}], **more})


def test_the_twin_is_asked_with_passages_and_plain_without(speech: Speech, model: Noting) -> None:
    *_, twin = speech.say(request(), "wren-marlow")
    *_, plain = speech.say(request(), "wren-marlow:plain")
    (with_passages, _), (without, _) = model.asked
    assert isinstance(twin, Ending) and isinstance(plain, Ending)
    assert twin.twin.hits[0].text in with_passages[-1].content
    assert [m.role for m in without] == ["system", "user"] and without[-1].content == SALT
    assert "Wren Marlow" in without[0].content


def test_the_base_model_is_asked_as_it_is(speech: Speech, model: Noting) -> None:
    base = speech.models(None)[-1].id
    list(speech.say(request(), base))
    ((messages, _),) = model.asked
    assert [m.role for m in messages] == ["user"]


def test_sampling_is_what_was_asked_and_else_what_twin_toml_says(speech: Speech, model: Noting) -> None:
    list(speech.say(request(temperature=0, top_p=0.5, seed=7, max_tokens=9), "wren-marlow:plain"))
    list(speech.say(request(), "wren-marlow:plain"))
    asked, default = (sampling for _, sampling in model.asked)
    assert (asked.temperature, asked.top_p, asked.seed, asked.max_tokens) == (0, 0.5, 7, 9)
    ask = speech.settings
    said = (default.temperature, default.top_p, default.max_tokens)
    assert said == (ask.temperature, ask.top_p, ask.max_tokens)


def test_nothing_relevant_is_said_without_a_model(speech: Speech, model: Noting) -> None:
    *_, ending = speech.say(request("zzzz qqqq?"), "wren-marlow")
    assert isinstance(ending, Ending) and not ending.twin.found
    assert model.asked == []


def test_in_mode_quote_no_model_is_opened(workspace: Workspace, stand_in: Callable[[Any], None]) -> None:
    stand_in(None)
    speech = Speech(workspace, "quote")
    assert [each.id for each in speech.models(None)] == ["wren-marlow", "wren-marlow:quote"]
    *_, ending = speech.say(request(), "wren-marlow")
    assert isinstance(ending, Ending) and ending.twin.mode == "quote"
    assert ending.usage.completion_tokens > 0
    instructed = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": SALT})
    for more in ({"stop": "a"}, {"messages": instructed}):
        with pytest.raises(Refusal, match="sentences that are quoted"):
            speech.check(request(**more), "wren-marlow")
    speech.close()


def test_closing_an_answer_closes_the_model(speech: Speech, model: Noting) -> None:
    closed = []

    def stream(messages: Sequence[Message], sampling: Sampling) -> Iterator[str]:
        try:
            yield from ["one two three four five six seven. ", "eight nine ten. ", "more. "]
        finally:
            closed.append(True)

    model.stream = stream  # type: ignore[method-assign]
    for name in ("wren-marlow", "wren-marlow:plain"):
        said = speech.say(request(), name)
        next(said)
        said.close()  # type: ignore[attr-defined]
    assert closed == [True, True]


def test_a_twin_that_cannot_be_opened_is_told_at_once(
    workspace: Workspace, stand_in: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise InputError("the model is damaged")

    stand_in(None)
    monkeypatch.setattr(wiring, "open_chat", broken)
    with pytest.raises(InputError, match="damaged"):
        Speech(workspace)
    Speech(workspace, "quote").close()


def test_a_base_model_that_cannot_be_opened_is_no_fault_of_the_callers(
    workspace: Workspace, stand_in: Callable[[Any], None], model: Noting, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(model)
    trained = str(workspace.home / "models" / "a-twin")  # before the first twin, both are one
    workspace.finish("train", "f", StageReport(stage="train", counts={}, artefacts=(trained,), seconds=0.0))

    def broken(*arguments: object) -> None:
        raise InputError("the model is damaged")

    monkeypatch.setattr(wiring, "pull_model", broken)
    with closing(Speech(workspace)) as speech, pytest.raises(TwinError) as told:
        list(speech.say(request(), speech.models(None)[-1].id))
    assert not isinstance(told.value, InputError)
