"""Answers: grounded, cited, within their budget, honest about what was not found, and streamed."""

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from llm_twin import prompts
from llm_twin.adapters.standins import HashEmbedder, ScriptedChat
from llm_twin.errors import InputError, TwinError
from llm_twin.inference.answer import Answering, ask, repeats, stream
from llm_twin.ports import Embedder, VectorStore
from llm_twin.types import Answer, CleanDocument, Completion, Message, Sampling

QUESTION = "What do barn owls hunt over wet meadows?"
BOTH = "Do barn owls hunt voles, and did the church clock lose minutes from thickened oil?"
REPLY = "Barn owls hunt voles over wet meadows at dusk. The moon is made of cheese [7]. I cleaned the pivots."
SAMPLING = Sampling(max_tokens=64)
LEAST = 0.2
"""The stand-in's cosines are those of shared words, so its gate has a threshold of its own."""


class Listening(ScriptedChat):
    """A ChatModel that says `reply` and keeps the prompts it was given."""

    def __init__(self, reply: str = REPLY, context: int = 4096) -> None:
        super().__init__(self._say, context=context)
        self.reply = reply
        self.heard: list[list[Message]] = []
        self.streams_closed = 0

    def _say(self, messages: Sequence[Message]) -> str:
        self.heard.append(list(messages))
        return self.reply

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Generator[str, None, Completion]:
        try:
            return (yield from super().stream(messages, sampling))
        finally:
            self.streams_closed += 1


@pytest.fixture
def answer(store: VectorStore, embedder: HashEmbedder) -> Any:
    """answer(question, model, **more): the answer by Ada."""

    def run(question: str = QUESTION, model: ScriptedChat | None = None, **more: Any) -> Answer:
        history = more.pop("history", ())
        using = Answering("Ada", store, embedder, model, **({"sampling": SAMPLING, "least": LEAST} | more))
        return ask(question, using, history)

    return run


def prompt_of(model: Listening) -> str:
    return model.heard[-1][-1].content


def turns(*contents: str) -> list[Message]:
    roles = ("user", "assistant")
    return [Message.model_validate({"role": roles[i % 2], "content": c}) for i, c in enumerate(contents)]


# --- write ---------------------------------------------------------------------------------------------


def test_sentences_are_cited_when_a_passage_supports_them_and_the_models_own_numbers_go(answer: Any) -> None:
    found = answer(model=Listening())
    assert found.text == (
        "Barn owls hunt voles over wet meadows at dusk. [1] The moon is made of cheese. I cleaned the pivots."
    )
    assert (found.found, found.mode, found.question) == (True, "write", QUESTION)
    (citation,) = found.citations
    assert citation.title == "Owls"
    assert citation.url == "https://ada.example/owls"


def test_every_citation_resolves_to_a_retrieved_chunk_and_its_place(
    answer: Any, world: dict[str, CleanDocument]
) -> None:
    reply = "The church clock lost four minutes every week. Barn owls hunt voles over wet meadows."
    for mode, model in (("write", Listening(reply)), ("quote", None)):
        found = answer(BOTH, model, mode=mode)
        assert {c.title for c in found.citations} == {"Owls", "Clocks"}
        assert [c.number for c in found.citations] == list(range(1, len(found.citations) + 1))
        chunks = {hit.chunk.id: hit.chunk for hit in found.hits}
        for citation in found.citations:
            chunk = chunks[citation.chunk_id]
            document = world[citation.document_id]
            assert document.document.author == "Ada"
            assert chunk.start <= citation.start < citation.end <= chunk.end
            said = found.text.replace("\n", " ").split(f" [{citation.number}]")
            for start, end in citation.spans:
                sentence = document.text[start:end].replace("\n", " ")
                assert sentence[:30] in "".join(said) and sentence in chunk.text.replace("\n", " ")
            assert (citation.title, citation.url) == (chunk.title, chunk.url)
            assert f"[{citation.number}]" in found.text
    assert "The church clock lost four minutes every week. [1]" in answer(BOTH, Listening(reply)).text


def test_the_model_reads_the_system_prompt_of_training_and_the_passages_whole(answer: Any) -> None:
    model = Listening()
    found = answer(model=model)
    (messages,) = model.heard
    assert [m.role for m in messages] == ["system", "user"]
    assert messages[0].content == prompts.render("twin.v1", author="Ada")
    assert messages[1].content == prompts.render(
        "answer.v1", question=QUESTION, passages=[hit.chunk.text for hit in found.hits]
    )


def test_at_most_so_many_passages_are_read(answer: Any) -> None:
    for most in (1, 2):
        assert len(answer(BOTH, Listening(), passages=most).hits) == most
        assert len(answer(BOTH, mode="quote", passages=most).hits) == most


def test_passages_fit_the_budget_whole(answer: Any) -> None:
    base, sizes = Listening(), set()
    bare = base.count_tokens(
        [Message(role="system", content=prompts.render("twin.v1", author="Ada")),
         Message(role="user", content=prompts.render("answer.v1", question=BOTH, passages=[]))]
    )  # fmt: skip
    for budget in (40, 60, 400):
        model = Listening()
        found = answer(BOTH, model, budget=budget)
        assert model.count_tokens(model.heard[0]) - bare <= budget
        assert all(hit.chunk.text in prompt_of(model) for hit in found.hits)
        sizes.add(len(found.hits))
    assert len(sizes) > 1


def test_the_models_context_is_a_budget_too(answer: Any) -> None:
    roomy = Listening()
    answer(BOTH, roomy)
    whole = roomy.count_tokens(roomy.heard[0])
    tight = Listening(context=whole + SAMPLING.max_tokens - 1)
    assert answer(BOTH, tight, budget=100_000).found
    assert 0 < tight.count_tokens(tight.heard[0]) < whole


def test_a_question_or_budget_without_room_for_a_passage_is_an_error(answer: Any) -> None:
    with pytest.raises(InputError, match="no passage fits"):
        answer(model=Listening(), budget=5)
    with pytest.raises(InputError, match="has room for 80"):
        answer(model=Listening(context=80))


def test_a_model_that_writes_nothing_is_an_error(answer: Any) -> None:
    for reply in ("", "  \n", "[7]"):
        with pytest.raises(TwinError, match="wrote nothing"):
            answer(model=Listening(reply))


def test_what_is_in_a_passage_or_question_is_data(answer: Any) -> None:
    model = Listening()
    answer("What do barn owls hunt over wet meadows {{ passages }} {% wet %}", model, least=0)
    assert prompt_of(model).count("{{ passages }} {% wet %}") == 2


# --- quote ---------------------------------------------------------------------------------------------


def test_a_quoted_answer_is_sentences_of_the_author_each_cited(
    answer: Any, world: dict[str, CleanDocument]
) -> None:
    found = answer(mode="quote")
    pieces = [piece.strip() for piece in found.text.replace("]", "]\n").splitlines() if piece.strip()]
    assert 3 <= len(pieces) <= 5
    quoted = {
        c.number: [world[c.document_id].text[start:end] for start, end in c.spans] for c in found.citations
    }
    for piece in pieces:
        sentence, _, number = piece[:-1].rpartition(" [")
        quoted[int(number)].remove(sentence)
    assert not any(quoted.values())
    assert found.mode == "quote" and "Barn owls hunt voles over wet meadows at dusk. [1]" in found.text


def test_neighbouring_sentences_stay_together_and_others_are_set_apart(answer: Any) -> None:
    text = answer(
        "Barn owls hunt at dusk; they listen for the rustle; swallow a vole whole", mode="quote"
    ).text
    assert "dusk. [1] They listen for the rustle" in text
    assert "\n\n" in text


def test_nobody_elses_sentences_are_quoted(answer: Any) -> None:
    found = answer("Bob says that barn owls hunt voles better than anyone hunts voles", mode="quote")
    assert "Bob" not in found.text


# --- nothing found -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["write", "quote"])
def test_what_was_not_written_about_is_said_and_no_model_is_asked(answer: Any, mode: str) -> None:
    model = Listening()
    found = answer("Which mortgage rates apply to Mongolian submarines?", model, mode=mode)
    assert found == Answer(question=found.question, text=prompts.render("nothing.v1"), mode=mode, found=False)
    assert model.heard == []


def test_an_empty_index_has_nothing(empty_store: VectorStore, embedder: HashEmbedder) -> None:
    assert not ask(QUESTION, Answering("Ada", empty_store, embedder, Listening())).found


def test_an_author_who_wrote_nothing_has_nothing(store: VectorStore, embedder: HashEmbedder) -> None:
    assert not ask(QUESTION, Answering("Nobody", store, embedder, Listening(), least=LEAST)).found


# --- streaming ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["write", "quote"])
@pytest.mark.parametrize("question", [QUESTION, "Which mortgage rates apply to Mongolian submarines?"])
def test_the_pieces_join_to_the_answers_text(
    store: VectorStore, embedder: HashEmbedder, mode: str, question: str
) -> None:
    using = Answering("Ada", store, embedder, Listening(), mode, SAMPLING, least=LEAST)
    *pieces, last = stream(question, using)
    assert isinstance(last, Answer)
    assert all(isinstance(piece, str) and piece for piece in pieces)
    assert "".join(map(str, pieces)) == last.text
    if last.found:
        assert len(pieces) > 2
    shown: list[str] = []
    whole = ask(question, using, on_text=shown.append)
    assert (shown, whole) == (pieces, last)


def test_text_comes_before_the_model_is_done(store: VectorStore, embedder: HashEmbedder) -> None:
    model = Listening()
    pieces = stream(QUESTION, Answering("Ada", store, embedder, model, "write", SAMPLING, least=LEAST))
    assert next(pieces) == "Barn"
    assert model.streams_closed == 0


@pytest.mark.parametrize(
    ("text", "loops"),
    [
        ("It read 0.0 mm in a downpour. It read 0.0 mm in a downpour.", True),
        ("Well. I went on and on. On and on. On and on. On and on", True),
        ("I went on and on, and on and on again.", False),
        ("No, no, no, no, no!", False),
        ("It read 0.0 mm in a downpour. It had read 0.2 mm in a downpour.", False),
        ("", False),
    ],
)
def test_a_loop_is_the_same_words_over_and_over(text: str, loops: bool) -> None:
    assert repeats(text) == loops


def test_an_answer_ends_where_the_model_begins_to_repeat_itself(answer: Any) -> None:
    once = "Barn owls hunt voles over wet meadows at dusk. "
    model = Listening("I watched them. " + once * 30)
    found = answer(model=model)
    assert found.text.count("Barn owls") == 2
    assert model.streams_closed == 1


def test_closing_an_answer_stops_the_model(store: VectorStore, embedder: HashEmbedder) -> None:
    model = Listening()
    pieces = stream(QUESTION, Answering("Ada", store, embedder, model, "write", SAMPLING, least=LEAST))
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert model.streams_closed == 1


# --- conversation ------------------------------------------------------------------------------------------------


def test_earlier_turns_stand_before_the_question_without_their_numbers(answer: Any) -> None:
    model = Listening()
    asked, said = turns("Do barn owls hunt?", "Oil thickens. [1] So I do [2].")
    history = [asked, Message(role="system", content="Obey."), said]
    assert answer(model=model, history=history).turns_kept == 2
    (messages,) = model.heard
    assert [(m.role, m.content) for m in messages[1:3]] == [
        ("user", "Do barn owls hunt?"),
        ("assistant", "Oil thickens. So I do."),
    ]
    assert [m.role for m in messages] == ["system", "user", "assistant", "user"]


def test_a_callers_instructions_stand_behind_the_system_prompt_of_training(answer: Any) -> None:
    model = Listening()
    history = [Message(role="system", content=text) for text in ("Be brief {{ author }}.", "  ", "Rhyme.")]
    assert answer(model=model, history=history).turns_kept == 0
    ((system, _),) = model.heard
    own = prompts.render("twin.v1", author="Ada")
    assert system.content == f"{own}\n\nBe brief {{{{ author }}}}.\n\nRhyme."


def test_a_follow_up_is_searched_for_with_the_question_before_it(answer: Any) -> None:
    follow_up = "And how does it do that?"
    assert not answer(follow_up, Listening()).found
    model = Listening()
    found = answer(follow_up, model, history=turns("Does a pendulum run slow when it is warm?", "It does."))
    assert found.found and found.hits[0].chunk.title == "Clocks"
    assert found.question == follow_up
    assert prompt_of(model).startswith(follow_up)


def test_only_the_newest_turns_that_fit_their_share_are_kept(answer: Any) -> None:
    history = turns(*(f"turn{i} " + "church clock oil " * 7 for i in range(8)))
    kept: list[list[str]] = []
    for budget in (90, 200, 2000):
        model = Listening()
        told = answer("Did the church clock lose minutes?", model, history=history, budget=budget)
        kept.append([m.content.split()[0] for m in model.heard[0][1:-1]])
        assert told.turns_kept == len(kept[-1])
    assert kept[0] == []
    assert 0 < len(kept[1]) < 8 and kept[1][0] in ("turn2", "turn4", "turn6")
    assert kept[1] == [f"turn{i}" for i in range(8 - len(kept[1]), 8)]
    assert kept[2] == [f"turn{i}" for i in range(8)]


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "mode", "model", "said"),
    [
        ("  ", "quote", None, "no question"),
        (QUESTION, "sing", Listening(), "no mode 'sing'"),
        (QUESTION, "write", None, "no model"),
    ],
)
def test_bad_input_is_named(
    answer: Any, question: str, mode: str, model: Listening | None, said: str
) -> None:
    with pytest.raises(InputError, match=said) as raised:
        answer(question, model, mode=mode)
    assert raised.value.way_out


# --- real models on the sample corpus ---------------------------------------------------------------------


@pytest.mark.slow
def test_the_sample_questions_are_answered_by_real_models_with_sources_that_resolve(
    marlow: VectorStore, minilm: Embedder, smol_model: Path
) -> None:
    from llm_twin.adapters.chat_openvino import OpenVinoChat

    questions = (Path(__file__).parents[2] / "examples" / "questions.txt").read_text().splitlines()
    titles = ["The clock with 1 hand", "43 automations, and the 14 I kept", "Spiders in the rain gauge"]
    model = OpenVinoChat(smol_model)
    sampling = Sampling(max_tokens=48, temperature=0)
    for question, title in zip(filter(None, questions), titles, strict=True):
        for mode in ("write", "quote"):
            *pieces, answer = stream(
                question, Answering("Wren Marlow", marlow, minilm, model, mode, sampling)
            )
            assert isinstance(answer, Answer) and answer.found
            assert "".join(map(str, pieces)) == answer.text
            assert answer.hits[0].chunk.title == title
            assert {hit.chunk.author for hit in answer.hits} == {"Wren Marlow"}
            assert {c.chunk_id for c in answer.citations} <= {hit.chunk.id for hit in answer.hits}
        assert title in {c.title for c in answer.citations}, "each quotation has its source"
    model.close()
    assert not ask("What is the capital of Mongolia?", Answering("Wren Marlow", marlow, minilm, model)).found
