"""Expansion: what the model is asked, what is kept of its replies, and what the search makes of it."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from llm_twin.adapters.standins import HashEmbedder, ScriptedChat
from llm_twin.errors import InputError
from llm_twin.inference.expand import Expansion, hypothesise, reformulate, search_expanded
from llm_twin.inference.retrieve import question_vector, rankings, rrf, search
from llm_twin.ports import VectorStore
from llm_twin.types import Completion, Message, Sampling, Where

ADA = Where(author="Ada")


class Watched(ScriptedChat):
    """Remembers what it was asked."""

    def generate(self, prompts, sampling, progress=None):  # type: ignore[no-untyped-def]
        self.asked, self.sampling = prompts, sampling
        return super().generate(prompts, sampling)


def saying(*texts: str) -> Watched:
    return Watched(lambda messages: json.dumps({"questions": texts}))


def test_wordings_are_kept_once_and_without_the_question_itself() -> None:
    model = saying(
        "Why do owls hunt?", "WHY do owls hunt", "What drives owls?", "?!", "what drives  owls", "Owl prey"
    )
    (found,) = reformulate(["Why do owls hunt?"], model, most=5)
    assert found == Expansion("Why do owls hunt?", ("What drives owls?", "Owl prey"))
    assert len(reformulate(["Why?"], model, most=1)[0].reformulations) == 1


def test_all_questions_are_one_batch_that_a_schema_holds_to_the_number() -> None:
    model = saying("Other words")
    found = reformulate(["One?", "Two?"], model, most=2, seed=7)
    assert [e.question for e in found] == ["One?", "Two?"]
    assert [messages[-1].content for messages in model.asked] == ["One?", "Two?"]
    wordings = json.loads(model.sampling.json_schema)["properties"]["questions"]
    assert (wordings["minItems"], wordings["maxItems"], model.sampling.seed) == (2, 2, 7)


@pytest.mark.parametrize("reply", ['{"questions": ["cut', "[]", '{"question": []}', "", "null"])
def test_a_broken_reply_is_told_and_gives_no_wordings(reply: str) -> None:
    (found,) = reformulate(["Why?"], Watched(lambda messages: reply or "…"))
    assert found.reformulations == () and "no whole JSON" in found.refused
    (same,) = reformulate(["Why?"], saying("why", "?"))
    assert same.refused == "every wording repeats the question"


def test_a_passage_is_written_for_each_question() -> None:
    model = Watched(lambda messages: "Owls eat voles." if "owl" in messages[-1].content else "…")
    first, second = hypothesise(["What do owls eat?", "And clocks?"], model)
    assert first == Expansion("What do owls eat?", hypothetical="Owls eat voles.")
    assert second.hypothetical == "" and "wrote no passage" in second.refused


@pytest.mark.parametrize("question", ["", "?!"])
def test_a_question_without_words_is_refused_before_the_model_is_asked(question: str) -> None:
    def never(messages: Sequence[Message]) -> str:
        raise AssertionError

    for write in (reformulate, hypothesise):
        with pytest.raises(InputError, match="no question"):
            write(["Fine?", question], ScriptedChat(never))


def test_nothing_written_searches_as_without_expansion(store: VectorStore, embedder: HashEmbedder) -> None:
    question = "What do barn owls hunt?"
    assert search_expanded(Expansion(question), store, embedder, ADA, 5) == search(
        question, store, embedder, ADA, 5
    )


def test_wordings_find_what_the_question_does_not(store: VectorStore, embedder: HashEmbedder) -> None:
    question, wording = "Which birds feed after sunset?", "Why does a pendulum run slow when warm?"
    plain = search(question, store, embedder, ADA, 1).hits
    both = search_expanded(Expansion(question, (wording, wording + " Brass?")), store, embedder, ADA, 1)
    assert both.hits[0].chunk.title == "Clocks"
    assert plain[0].chunk.id != both.hits[0].chunk.id
    assert both.nearest == search(question, store, embedder, ADA).nearest
    assert {
        h.chunk.author for h in search_expanded(Expansion(question, (wording,)), store, embedder, ADA).hits
    } == {"Ada"}


def test_a_hypothetical_passage_joins_by_the_mean_of_the_two_vectors(
    store: VectorStore, embedder: HashEmbedder
) -> None:
    question, passage = "Which birds feed after sunset?", "A pendulum runs slow when it is warm. " * 40
    vector = question_vector(question, embedder) + question_vector(passage, embedder)
    vector = np.asarray(vector / np.linalg.norm(vector), np.float32)
    own = rankings(question, question_vector(question, embedder), store, ADA, 10)
    (near, _) = rankings(question, vector, store, ADA, 10)
    plain = search(question, store, embedder, ADA, 10)
    found = search_expanded(Expansion(question, hypothetical=passage), store, embedder, ADA, 10)
    assert found.hits == tuple(rrf([*own, near])[:10]) != plain.hits
    assert found.nearest == plain.nearest


def test_completions_are_read_in_order() -> None:
    class Turned(ScriptedChat):
        def generate(self, prompts, sampling: Sampling, progress=None):  # type: ignore[no-untyped-def]
            texts = [json.dumps({"questions": [f"about {p[-1].content}"]}) for p in prompts]
            return [Completion(text=t, prompt_tokens=1, completion_tokens=1, finish="stop") for t in texts]

    found = reformulate(["owls", "clocks"], Turned(lambda m: ""))
    assert [e.reformulations for e in found] == [("about owls",), ("about clocks",)]


@pytest.mark.slow
def test_a_real_model_keeps_to_the_schema(smol_model: Path) -> None:
    from llm_twin.adapters.chat_openvino import OpenVinoChat

    model = OpenVinoChat(smol_model)
    found = reformulate(["How do bees winter?", "What is a vector store?"], model)
    (passage,) = hypothesise(["How do bees winter?"], model)
    model.close()
    assert all(1 <= len(each.reformulations) <= 3 and not each.refused for each in found)
    assert len(passage.hypothetical.split()) > 5
