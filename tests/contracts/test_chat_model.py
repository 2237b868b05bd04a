"""What every ChatModel promises. A new adapter joins with one line in MODELS."""

import json
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from tokenizers import Tokenizer

from llm_twin import prompts
from llm_twin.adapters.chat_http import HttpChat
from llm_twin.adapters.standins import ScriptedChat
from llm_twin.errors import InputError, TwinError
from llm_twin.ports import ChatModel, TellingModel
from llm_twin.types import Completion, Message, Sampling


def brief(messages: list[Message]) -> str:
    """A script: three words of the question, and what a model that is asked for more would go on with."""
    return " ".join(["You", "asked:", *messages[-1].content.split()])


def openvino(smol_model: Path, apart: bool = False) -> ChatModel:
    from llm_twin.adapters.chat_openvino import OpenVinoChat

    return OpenVinoChat(smol_model, apart=apart)


class Served(HttpChat):
    """An HttpChat and the model behind its server, which closes with it."""

    def __init__(self, url: str, behind: ChatModel) -> None:
        super().__init__(url, concurrency=3)
        self.behind = behind

    def close(self) -> None:
        super().close()
        self.behind.close()


def served_script(request: pytest.FixtureRequest) -> ChatModel:
    behind = ScriptedChat(brief)
    return Served(request.getfixturevalue("openai_server")(behind).url, behind)


def served_model(request: pytest.FixtureRequest) -> ChatModel:
    folder = request.getfixturevalue("smol_model")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    template = (folder / "chat_template.jinja").read_text(encoding="utf-8")

    def layout(messages: list[dict[str, str]], reply: bool) -> list[int]:
        return prompts.chat_ids(tokenizer, template, [Message.model_validate(m) for m in messages], reply)

    behind = openvino(folder)
    server = request.getfixturevalue("openai_server")(
        behind, layout, lambda text: prompts.reply_ids(tokenizer, text, 0)[:-1]
    )
    return Served(server.url, behind)


MODELS: dict[str, Callable[[pytest.FixtureRequest], ChatModel]] = {
    "scripted": lambda _: ScriptedChat(brief),
    "openvino": lambda request: openvino(request.getfixturevalue("smol_model")),
    "openvino-apart": lambda request: openvino(request.getfixturevalue("smol_model"), apart=True),
    "openai": served_script,
    "openai-openvino": served_model,
    "openai-vllm": lambda request: HttpChat(request.getfixturevalue("vllm_server"), concurrency=3),
}
NEED_A_MODEL = {"openvino", "openvino-apart", "openai-openvino", "openai-vllm"}
"""These are models that read and sample; the others follow a script."""
MARKS = {"openai": [pytest.mark.enable_socket], **{n: [pytest.mark.slow] for n in NEED_A_MODEL}}

PARAMS = [pytest.param(n, marks=MARKS.get(n, [])) for n in MODELS]
REAL = [pytest.param(n, marks=pytest.mark.slow) for n in MODELS if n in NEED_A_MODEL]

GREEDY = Sampling(max_tokens=24, temperature=0)
WARM = Sampling(max_tokens=24, temperature=0.9, top_p=0.95, seed=3)
SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
)


def opened(name: str, request: pytest.FixtureRequest) -> ChatModel:
    return MODELS[name](request)


@pytest.fixture(scope="module", params=PARAMS)
def chat(request: pytest.FixtureRequest) -> Iterator[ChatModel]:
    model = opened(request.param, request)
    yield model
    model.close()


@pytest.fixture(scope="module", params=REAL)
def sampler(request: pytest.FixtureRequest) -> Iterator[ChatModel]:
    model = opened(request.param, request)
    yield model
    model.close()


@pytest.fixture(params=PARAMS)
def own(request: pytest.FixtureRequest) -> ChatModel:
    """A model of this test's own, which it may close."""
    return opened(request.param, request)


def ask(text: str) -> list[Message]:
    return [Message(role="system", content="Answer briefly."), Message(role="user", content=text)]


QUESTIONS = [
    ask("What is the capital of France?"),
    ask("Name a colour."),
    ask("How many legs has a spider? " * 6),
]


def test_completions_come_one_a_prompt_in_order(chat: ChatModel) -> None:
    together = chat.generate(QUESTIONS, GREEDY)
    alone = [chat.generate([q], GREEDY)[0] for q in QUESTIONS]
    assert [c.prompt_tokens for c in together] == [chat.count_tokens(q) for q in QUESTIONS]
    assert len({c.text for c in together}) == 3
    assert [c.text.split()[:3] for c in together] == [c.text.split()[:3] for c in alone]


def test_no_prompts_make_no_completions_and_no_scores(chat: ChatModel) -> None:
    assert chat.generate([], GREEDY) == []
    assert chat.score([], []) == []


def test_the_same_seed_gives_the_same_text(chat: ChatModel) -> None:
    for sampling in (GREEDY, WARM):
        assert chat.generate(QUESTIONS, sampling) == chat.generate(QUESTIONS, sampling)


def test_max_tokens_is_respected_and_the_finish_says_so(chat: ChatModel) -> None:
    for most in (1, 4):
        (done,) = chat.generate([ask("Tell me a long story about the sea.")], Sampling(max_tokens=most))
        assert (done.completion_tokens, done.finish) == (most, "length")
        assert done.text


def test_a_finished_answer_says_stop(chat: ChatModel) -> None:
    (done,) = chat.generate([ask("Say hello.")], Sampling(max_tokens=100, temperature=0))
    assert done.finish == "stop"
    assert 0 < done.completion_tokens < 100


def test_tokens_of_a_prompt_are_counted_as_generate_counts_them(chat: ChatModel) -> None:
    messages = [
        *ask("Hello — who are you?"),
        Message(role="assistant", content="An owl."),
        Message(role="user", content="Oh."),
    ]
    counts = [chat.count_tokens(messages[:n]) for n in (2, 3, 4)]
    assert counts[0] < counts[1] < counts[2]
    assert chat.generate([messages], GREEDY)[0].prompt_tokens == counts[2]


def test_a_stream_joins_to_what_generate_writes(chat: ChatModel) -> None:
    for question in QUESTIONS[:2]:
        pieces = list(chat.stream(question, GREEDY))
        assert len(pieces) > 1 and all(pieces)
        (whole,) = chat.generate([question], GREEDY)
        assert "".join(pieces).split() == whole.text.split()


def returned(pieces: Generator[Any, None, Completion]) -> Completion:
    """What a stream returns at its end."""
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            return cast(Completion, end.value)


def test_a_stream_returns_what_generate_returns(chat: ChatModel) -> None:
    """Text, both counts, and why it ended: of itself, or at the limit."""
    told = cast(TellingModel, chat)
    finishes = set()
    for question in (ask("Say hello."), QUESTIONS[0]):
        for most in (3, 100):
            sampling = Sampling(max_tokens=most, temperature=0)
            (done,) = chat.generate([question], sampling)
            assert returned(chat.stream(question, sampling)) == done
            assert returned(told.tokens(question, sampling)) == done
            finishes.add(done.finish)
    assert finishes == {"stop", "length"}


def test_tokens_join_to_a_stream_and_are_as_probable_as_their_score(chat: ChatModel) -> None:
    told = cast(TellingModel, chat)
    for question in QUESTIONS[:2]:
        tokens = list(told.tokens(question, GREEDY))
        text = "".join(token.text for token in tokens)
        assert text.strip() == "".join(chat.stream(question, GREEDY)).strip()
        found = np.array([token.log_probability for token in tokens])
        (scores,) = chat.score([question], [text])
        assert len(scores) == len(found) + 1, "the end of the turn is scored, and is no token of the text"
        off = np.abs(found - scores[:-1])
        assert off.max() < 0.5 and off.mean() < 0.1, "reading several tokens at once shifts the last bits"
    warm = list(told.tokens(QUESTIONS[0], WARM))
    assert all(np.isfinite(token.log_probability) and token.log_probability <= 0 for token in warm)


def test_a_stream_that_is_closed_early_leaves_the_model_usable(chat: ChatModel) -> None:
    expected = "".join(chat.stream(QUESTIONS[1], GREEDY))
    for pieces_read in (0, 1, 2):
        stream = chat.stream(ask("Tell me a story."), WARM)
        for _ in range(pieces_read):
            assert next(stream)
        stream.close()
        assert "".join(chat.stream(QUESTIONS[1], GREEDY)) == expected
    assert chat.generate(QUESTIONS[:1], GREEDY)[0].text


def test_a_stream_stops_at_max_tokens(chat: ChatModel) -> None:
    story = "".join(chat.stream(ask("Tell me a long story about the sea."), Sampling(max_tokens=5)))
    assert 0 < len(story.split()) <= 5


def test_progress_ends_at_all_of_them(chat: ChatModel) -> None:
    seen: list[tuple[int, int]] = []
    chat.generate(QUESTIONS, GREEDY, lambda done, total, _: seen.append((done, total)))
    assert seen[-1] == (3, 3)
    assert seen == sorted(seen)


def test_a_score_is_one_log_probability_a_token_and_one_for_the_end(chat: ChatModel) -> None:
    one, two = chat.score(QUESTIONS[:2], ["Paris.", "Blue"])
    for scores in (one, two):
        assert scores.ndim == 1
        assert scores.dtype == np.float64
        assert np.isfinite(scores).all() and (scores <= 0).all()
    (empty,) = chat.score(QUESTIONS[:1], [""])
    assert len(empty) == 1, "the end of the turn alone"
    assert len(one) > 1


def test_scores_stand_in_the_order_given(chat: ChatModel) -> None:
    replies = ["Paris.", "Blue, or green if it has to be.", "Eight legs"]
    together = chat.score(QUESTIONS, replies)
    for question, reply, scores in zip(QUESTIONS, replies, together, strict=True):
        (alone,) = chat.score([question], [reply])
        assert len(scores) == len(alone)
        assert scores.mean() == pytest.approx(alone.mean(), abs=0.05)


def test_a_prompt_that_does_not_fit_is_refused(chat: ChatModel) -> None:
    long = ask("owl " * chat.context)
    with pytest.raises(InputError, match=str(chat.context)):
        chat.generate([QUESTIONS[0], long], GREEDY)
    with pytest.raises(InputError, match=str(chat.context)):
        list(chat.stream(long, GREEDY))
    with pytest.raises(InputError):
        chat.generate(QUESTIONS[:1], Sampling(max_tokens=chat.context))
    assert chat.generate(QUESTIONS[:1], GREEDY)[0].text, "it goes on after a refusal"


def test_closing_twice_is_harmless_and_a_closed_model_says_so(own: ChatModel) -> None:
    own.close()
    own.close()
    with pytest.raises(TwinError, match="closed"):
        own.generate(QUESTIONS[:1], GREEDY)
    with pytest.raises(TwinError, match="closed"):
        list(own.stream(QUESTIONS[0], GREEDY))


# --- what only a model that samples can show -----------------------------------------------------------


def test_another_seed_gives_another_text(sampler: ChatModel) -> None:
    texts = {
        sampler.generate([ask("Tell me a story.")], WARM.model_copy(update={"seed": seed}))[0].text
        for seed in (1, 2, 3)
    }
    assert len(texts) > 1


def test_a_stream_follows_its_seed(sampler: ChatModel) -> None:
    other = WARM.model_copy(update={"seed": 4})
    first, again, another = ("".join(sampler.stream(ask("Tell me a story."), s)) for s in (WARM, WARM, other))
    assert first == again != another


def test_a_schema_is_obeyed(sampler: ChatModel) -> None:
    asked = [ask("Invent a person: name and age, as JSON."), ask("Describe Ada, who is 36, as JSON.")]
    sampling = WARM.model_copy(update={"max_tokens": 80, "json_schema": SCHEMA})
    for done in sampler.generate(asked, sampling):
        person = json.loads(done.text)
        assert set(person) == {"name", "age"}
        assert isinstance(person["name"], str) and isinstance(person["age"], int)
    assert set(json.loads("".join(sampler.stream(asked[0], sampling)))) == {"name", "age"}


def test_a_sensible_reply_scores_above_its_shuffled_words(sampler: ChatModel) -> None:
    sense = "The capital of France is Paris, a large city on the river Seine."
    shuffled = "river Paris, of large the the on a Seine. is France city capital The"
    scores = sampler.score([QUESTIONS[0]] * 2, [sense, shuffled])
    assert scores[0].mean() > scores[1].mean() + 1
