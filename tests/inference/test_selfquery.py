"""Self-query: which filters a question names, by rules and by a model's JSON."""

import json
from datetime import date
from pathlib import Path

import pytest

from llm_twin import prompts
from llm_twin.adapters.standins import ScriptedChat
from llm_twin.inference.selfquery import Known, SelfQuery, by_model, by_rules, narrowed
from llm_twin.types import Where

KNOWN = Known(
    ("Wren Marlow", "Ada O'Neil"), ("medium.com", "decodingml.substack.com", "github.com"), date(2026, 3, 15)
)
D = date


@pytest.mark.parametrize(
    ("question", "where"),
    [
        (
            "What did you write about bees in 2023?",
            Where(published_from=D(2023, 1, 1), published_to=D(2023, 12, 31)),
        ),
        ("What have you written on bees since May 2022?", Where(published_from=D(2022, 5, 1))),
        ("Which articles about bees came after 2022?", Where(kind="article", published_from=D(2023, 1, 1))),
        ("What did your posts before March 2024 say?", Where(kind="post", published_to=D(2024, 2, 29))),
        ("What was published until 2021?", Where(published_to=D(2021, 12, 31))),
        (
            "What did you write between February 2020 and February 2021 about owls?",
            Where(published_from=D(2020, 2, 1), published_to=D(2021, 2, 28)),
        ),
        ("What did you write between 2022 and 2020?", Where()),
        (
            "What did you publish last year?",
            Where(published_from=D(2025, 1, 1), published_to=D(2025, 12, 31)),
        ),
        ("What did you write last month?", Where(published_from=D(2026, 2, 1), published_to=D(2026, 2, 28))),
        (
            "What have you posted this month?",
            Where(published_from=D(2026, 3, 1), published_to=D(2026, 3, 31)),
        ),
        ("In your blog posts, how do bees winter?", Where(kind="article")),
        ("What is in the repository of the tide clock?", Where(kind="repository")),
        ("What did Wren Marlow write about owls?", Where(author="Wren Marlow")),
        ("Does ada o'neil keep bees?", Where(author="Ada O'Neil")),
        ("Did Wren Marlow agree with Ada O'Neil?", Where()),
        ("What did you publish on Medium?", Where(platform="medium.com")),
        ("What did you write on your Substack about RAG?", Where(platform="decodingml.substack.com")),
        ("What did you publish on Medium and on GitHub?", Where()),
    ],
)
def test_rules_find_what_is_named(question: str, where: Where) -> None:
    assert by_rules(question, KNOWN) == SelfQuery(question, where)


@pytest.mark.parametrize(
    "question",
    [
        "How do you keep bees through the winter?",
        "What changed in the law in 2023?",  # when it happened, not when it was written
        "How do I post a letter?",
        "How do you message a queue of 2000 items?",
        "Is a medium heat right for eggs?",
        "Do marlowesque wrens sing?",
        "",
    ],
)
def test_rules_leave_other_questions_alone(question: str) -> None:
    assert by_rules(question, KNOWN).where == Where()


def replying(**fields: object) -> ScriptedChat:
    empty = dict.fromkeys(("author", "kind", "platform", "published_from", "published_to"))
    return ScriptedChat(lambda messages: json.dumps(empty | fields))


ASKED = "What did Wren say in the posts on GitHub and Medium since 2023 or 2024?"


def test_a_model_s_reply_becomes_a_filter() -> None:
    model = replying(author="Wren Marlow", kind="post", published_from="2024-02-29", platform="github.com")
    (found,) = by_model([ASKED], model, KNOWN)
    where = Where(author="Wren Marlow", kind="post", published_from=D(2024, 2, 29), platform="github.com")
    assert found == SelfQuery(ASKED, where)
    assert by_model(["?", "!"], replying(), KNOWN) == [SelfQuery("?", Where()), SelfQuery("!", Where())]


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({"author": "Nobody"}, "author 'Nobody'"),
        ({"kind": "poem"}, "kind 'poem'"),
        ({"published_to": "2023-02-30"}, "published_to '2023-02-30'"),
        ({"published_from": 2023}, "published_from 2023"),
        ({"published_from": "2024-01-02", "published_to": "2024-01-01"}, "2024-01-02 to 2024-01-01"),
    ],
)
def test_what_is_no_filter_is_told_and_the_rest_stays(fields: dict[str, object], refused: str) -> None:
    (found,) = by_model([ASKED], replying(platform="medium.com", **fields), KNOWN)
    assert found == SelfQuery(ASKED, Where(platform="medium.com"), refused)


@pytest.mark.parametrize(
    ("question", "fields", "kept"),
    [
        ("How do bees winter?", {"kind": "post", "published_from": "2022-05-01"}, Where()),
        ("How do bees winter?", {"author": "Wren Marlow", "platform": "medium.com"}, Where()),
        ("Did the wrens of 2021 sing?", {"author": "Wren Marlow", "published_from": "2022-01-01"}, Where()),
        ("Articles of last year?", {"published_from": "2025-01-01"}, Where(published_from=D(2025, 1, 1))),
        ("Your newest essays on bees?", {"kind": "article", "platform": "github.com"}, Where(kind="article")),
        ("On decodingml, what is RAG?", {"platform": "decodingml.substack.com"}, Where()),
        (
            "On Substack, what is RAG?",
            {"platform": "decodingml.substack.com"},
            Where(platform="decodingml.substack.com"),
        ),
        ("What does Marlow think?", {"author": "Wren Marlow"}, Where(author="Wren Marlow")),
    ],
)
def test_a_filter_that_the_question_has_no_word_for_is_refused(
    question: str, fields: dict[str, object], kept: Where
) -> None:
    (found,) = by_model([question], replying(**fields), KNOWN)
    assert found.where == kept
    assert bool(found.refused) == (len(fields) > len(kept.model_dump(exclude_none=True)))


@pytest.mark.parametrize("reply", ['{"author": nu', "[]", "3", "null", "…"])
def test_a_broken_reply_filters_nothing_and_says_so(reply: str) -> None:
    (found,) = by_model(["?"], ScriptedChat(lambda messages: reply), KNOWN)
    assert found.where == Where()
    assert "no whole JSON" in found.refused


def test_the_schema_holds_the_model_to_what_is_known() -> None:
    seen = []

    class Watched(ScriptedChat):
        def generate(self, asks, sampling, progress=None):  # type: ignore[no-untyped-def]
            seen.append((asks, sampling))
            return super().generate(asks, sampling)

    by_model(["Who?"], Watched(lambda messages: "{}"), KNOWN)
    ((asks, sampling),) = seen
    properties = json.loads(sampling.json_schema)["properties"]
    assert properties["author"] == {"enum": ["Wren Marlow", "Ada O'Neil", None]}
    assert properties["kind"] == {"enum": ["article", "post", "repository", "message", None]}
    assert sampling.temperature == 0
    assert "Today is 2026-03-15" in asks[0][0].content
    assert asks[0][-1].content == "Who?"


def test_the_examples_of_the_prompt_are_what_the_schema_allows() -> None:
    turns = prompts.conversation("selfquery.v1", question="?", today="t", authors="a", platforms="p")
    examples = list(zip(turns[1:-1:2], turns[2:-1:2], strict=True))
    assert len(examples) == 3
    for asked, said in examples:
        (found,) = by_model([asked.content], ScriptedChat(lambda messages, said=said: said.content), KNOWN)
        assert found.refused == ""
        assert found.where.model_dump(mode="json", exclude={"document_id"}) == json.loads(said.content)


def test_what_the_caller_fixed_stays_fixed() -> None:
    found = Where(author="Ada O'Neil", kind="post", published_from=D(2024, 1, 1))
    assert narrowed(Where(author="Wren Marlow"), found) == found.model_copy(update={"author": "Wren Marlow"})
    assert narrowed(Where(), found) == found
    assert narrowed(Where(author="Wren Marlow"), Where()) == Where(author="Wren Marlow")


@pytest.mark.slow
def test_a_real_model_keeps_to_the_schema(smol_model: Path) -> None:
    from llm_twin.adapters.chat_openvino import OpenVinoChat

    model = OpenVinoChat(smol_model)
    found = by_model(["What did you post on Medium in 2023?", "How do bees winter?"], model, KNOWN)
    model.close()
    assert len(found) == 2
    assert all("JSON" not in each.refused for each in found)
