"""The chat routes: OpenAI's shapes, whole and streamed, with where an answer comes from."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from starlette.testclient import TestClient

from llm_twin.adapters.standins import ScriptedChat
from llm_twin.errors import Refused, TwinError, Unavailable
from llm_twin.types import Completion, Message
from llm_twin.workspace import Workspace

QUESTION = "What does salt do to a bearing in the watchroom clock?"
Client = Callable[..., TestClient]
Ask = Callable[..., Any]


def events(client: TestClient, **more: Any) -> list[Any]:
    found = []
    with client.stream(
        "POST",
        "/v1/chat/completions",
        json={"messages": [{"role": "user", "content": QUESTION}], "stream": True, **more},
    ) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            if line:
                found.append(line.removeprefix("data: "))
    assert found[-1] == "[DONE]"
    return [json.loads(each) for each in found[:-1]]


def test_models_are_listed_default_first(client: Client) -> None:
    ids = [each["id"] for each in client().get("/v1/models").json()["data"]]
    assert ids[:3] == ["wren-marlow", "wren-marlow:quote", "wren-marlow:plain"]
    assert len(ids) == 4


def test_one_model_may_be_asked_for_by_its_name(client: Client) -> None:
    made = client()
    rows = made.get("/v1/models").json()["data"]
    assert [made.get(f"/v1/models/{row['id']}").json() for row in rows] == rows
    for name in ("nobody", "an/address", ""):
        refused = made.get(f"/v1/models/{name}", follow_redirects=False)
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found"), name


def test_a_model_with_a_slash_in_its_name_is_found(client: Client, workspace: Workspace) -> None:
    models = workspace.settings.models.model_copy(update={"chat": "someone/a-model"})
    workspace.settings = workspace.settings.model_copy(update={"models": models})
    made = client()
    assert made.get("/v1/models/someone/a-model").json()["id"] == "someone/a-model"
    assert made.get("/v1/models/someone%2Fa-model").json()["id"] == "someone/a-model"


def test_an_answer_names_its_passages(client: Client, ask: Ask) -> None:
    body = ask(client()).json()
    choice = body["choices"][0]
    assert body["object"] == "chat.completion"
    assert choice["finish_reason"] == "stop"
    assert "bearing" in choice["message"]["content"]
    twin = choice["message"]["twin"]
    assert twin["found"] and twin["mode"] == "write" and twin["hits"]
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0


def test_a_hit_is_a_span_of_its_document(client: Client, ask: Ask) -> None:
    made = client()
    for hit in ask(made).json()["choices"][0]["message"]["twin"]["hits"]:
        document = made.get(f"/documents/{hit['document_id']}").json()
        assert document["author"] == "Wren Marlow"
        assert document["text"][hit["start"] : hit["end"]] == hit["text"]


def test_a_stream_has_role_text_end_usage(client: Client) -> None:
    first, *middle, end, usage = events(client(), stream_options={"include_usage": True})
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert middle and all(event["choices"][0]["delta"]["content"] for event in middle)
    assert end["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    assert end["twin"]["hits"]
    assert usage["choices"] == [] and usage["usage"]["completion_tokens"] > 0


def test_a_stream_says_what_the_whole_answer_says(client: Client, ask: Ask) -> None:
    made = client()
    streamed = "".join(e["choices"][0]["delta"].get("content", "") for e in events(made))
    assert streamed == ask(made).json()["choices"][0]["message"]["content"]


def test_plain_has_no_passages(client: Client, ask: Ask) -> None:
    message = ask(client(), model="wren-marlow:plain").json()["choices"][0]["message"]
    assert message["twin"] == {"found": False, "mode": "plain", "citations": [], "hits": [], "turns_kept": 0}


def test_quote_is_word_for_word(client: Client, ask: Ask) -> None:
    message = ask(client(), model="wren-marlow:quote").json()["choices"][0]["message"]
    assert message["twin"]["mode"] == "quote"
    sentence = message["content"].partition(" [")[0]
    assert any(sentence in hit["text"] for hit in message["twin"]["hits"])


def test_max_tokens_and_stop_are_honoured(client: Client, ask: Ask) -> None:
    made = client()
    short = ask(made, model="wren-marlow:plain", max_tokens=3).json()
    assert short["choices"][0]["finish_reason"] == "length"
    assert short["usage"]["completion_tokens"] == 3
    stopped = ask(made, model="wren-marlow:plain", stop=["bearing"]).json()["choices"][0]
    assert stopped["message"]["content"] == "Salt gets into every "
    assert stopped["finish_reason"] == "stop"


def test_a_stop_leaves_the_twin_its_citations(client: Client, ask: Ask) -> None:
    choice = ask(client(), stop="I grease").json()["choices"][0]
    assert "grease" not in choice["message"]["content"]
    assert choice["message"]["twin"]["hits"]


def test_what_is_not_supported_is_refused(client: Client, ask: Ask) -> None:
    made = client()
    refused = [
        {"n": 2},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"top_logprobs": 3},
        {"logprobs": True, "stop": "a"},
        {"temperature": 9},
        {"stop": ["", "a"]},
    ]
    refused += [{"max_tokens": 0}, {"stream_options": {"include_usage": True}}, {"unheard_of": 1}]
    for more in refused:
        response = ask(made, **more)
        assert response.status_code == 422, more
        assert response.json()["error"].keys() == {"message", "type", "param", "code"}
        assert response.json()["error"]["param"] in {*more, "stop.0", None}, more
    assert ask(made, user="someone", metadata={"a": "b"}, store=False).status_code == 200


@pytest.mark.parametrize("number", [2, 3], ids=["plain", "base"])
def test_each_word_of_a_plain_answer_has_its_probability(client: Client, ask: Ask, number: int) -> None:
    made = client()
    model = made.get("/v1/models").json()["data"][number]["id"]
    whole = ask(made, model=model, logprobs=True).json()["choices"][0]
    told = whole["logprobs"]["content"]
    assert "".join(token["token"] for token in told) == whole["message"]["content"] != ""
    assert all(token["logprob"] < 0 and bytes(token["bytes"]).decode() == token["token"] for token in told)
    chunks = [event["choices"][0] for event in events(made, model=model, logprobs=True) if "choices" in event]
    assert [token for chunk in chunks if chunk["logprobs"] for token in chunk["logprobs"]["content"]] == told
    assert ask(made, model=model).json()["choices"][0]["logprobs"] is None


def test_cited_text_has_no_probabilities_and_a_model_that_tells_none_says_so(
    client: Client, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = client()
    for model in ("", "wren-marlow:quote"):
        refused = ask(made, model=model, logprobs=True)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "logprobs")
    monkeypatch.delattr(ScriptedChat, "tokens")
    refused = ask(made, model="wren-marlow:plain", logprobs=True)
    assert refused.status_code == 400
    assert "does not tell how probable" in refused.json()["error"]["message"]


class Noting(ScriptedChat):
    """Notes what it is asked."""

    def __init__(self) -> None:
        super().__init__(self.note)
        self.heard: list[list[Message]] = []

    def note(self, messages: Sequence[Message]) -> str:
        self.heard.append(list(messages))
        return "Salt gets into every bearing."


@pytest.mark.parametrize("role", ["system", "developer"])
def test_the_twin_follows_a_system_message_behind_its_own(client: Client, role: str) -> None:
    model = Noting()
    made = client(model)
    turns = [{"role": role, "content": "Be brief."}, {"role": "user", "content": QUESTION}]
    answer = made.post("/v1/chat/completions", json={"messages": turns})
    assert answer.status_code == 200 and answer.json()["choices"][0]["message"]["twin"]["hits"]
    ((system, asked),) = model.heard
    assert system.content == "You are Wren Marlow. Write the way Wren Marlow writes.\n\nBe brief."
    assert (system.role, asked.role) == ("system", "user")


def test_quoted_sentences_follow_no_system_message(client: Client) -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
    refused = client().post("/v1/chat/completions", json={"messages": turns, "model": "wren-marlow:quote"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "messages")


def test_the_twin_follows_no_schema(client: Client, ask: Ask) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    made = client()
    for form in (schema, {"type": "json_object"}):
        assert ask(made, response_format=form).json()["error"]["param"] == "response_format"


def test_how_many_earlier_turns_were_read_is_told(client: Client) -> None:
    made = client()

    def kept(words: int, model: str, turns: int = 3) -> int:
        earlier = [
            {"role": role, "content": "salt " * words} for _ in range(turns) for role in ("user", "assistant")
        ]
        messages = [
            {"role": "system", "content": "Be brief."},
            *earlier,
            {"role": "user", "content": QUESTION},
        ]
        answer = made.post("/v1/chat/completions", json={"messages": messages, "model": model})
        return int(answer.json()["choices"][0]["message"]["twin"]["turns_kept"])

    assert kept(3, "wren-marlow") == 6
    assert kept(60, "wren-marlow") == 4, "of 300 tokens, a third of the budget"
    assert kept(400, "wren-marlow") == 0
    assert kept(400, "wren-marlow:plain") == 6


@pytest.mark.parametrize(
    ("finish", "told"), [("content_filter", "content_filter"), ("length", "length"), ("stop", "stop")]
)
def test_why_a_model_ended_and_what_it_read_is_what_it_says(
    client: Client, ask: Ask, finish: str, told: str
) -> None:
    class Told(ScriptedChat):
        def stream(self, messages: Any, sampling: Any) -> Any:
            yield "Salt gets in."
            return Completion(text="Salt", prompt_tokens=70, completion_tokens=50, finish=finish)

    made = client(Told(lambda messages: ""))
    for model in ("wren-marlow", "wren-marlow:plain"):
        body = ask(made, model=model).json()
        assert body["choices"][0]["finish_reason"] == told
        assert body["usage"] == {"prompt_tokens": 70, "completion_tokens": 50, "total_tokens": 120}


HIDDEN = ("http://10.0.0.5:8000/v1 refuses the key", "put one into TWIN_ENDPOINT__API_KEY")


@pytest.mark.parametrize(
    ("error", "code", "waits"),
    [
        (Unavailable(*HIDDEN, seconds=9), "model_unavailable", "9"),
        (Refused(*HIDDEN), "model_refuses", None),
    ],
)
def test_a_models_server_that_is_busy_or_refuses_us_is_503_and_stays_unnamed(
    client: Client, ask: Ask, error: TwinError, code: str, waits: str | None
) -> None:
    class Behind(ScriptedChat):
        pieces: tuple[str, ...] = ()

        def stream(self, messages: Any, sampling: Any) -> Any:
            yield from self.pieces
            raise error

    model = Behind(lambda messages: "")
    made = client(model)
    refused = ask(made, model="wren-marlow:plain")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, code)
    assert refused.headers.get("retry-after") == waits
    assert not any(part in refused.text for part in ("10.0.0.5", "TWIN_ENDPOINT__API_KEY"))
    model.pieces = ("Salt ",)
    streamed = ask(made, model="wren-marlow:plain", stream=True)
    assert code in streamed.text and "10.0.0.5" not in streamed.text


def test_an_answer_that_breaks_off_in_a_stream_is_told_and_counted(
    client: Client, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = client()
    failure: Exception = TwinError("the engine died")

    def breaking(self: ScriptedChat, *given: Any) -> Iterator[str]:
        yield from ("Salt ", "gets ")
        raise failure

    monkeypatch.setattr(ScriptedChat, "stream", breaking)
    body = ask(made, model="wren-marlow:plain", stream=True)
    *_, last = [line.removeprefix("data: ") for line in body.text.splitlines() if line]
    assert (body.status_code, json.loads(last)["error"]["code"]) == (200, "failed")
    told = made.get("/metrics").text
    assert 'twin_errors_total{code="failed"} 1.0' in told
    assert 'twin_tokens_total{kind="broken_off"} 2.0' in told
    assert ask(made, model="wren-marlow:plain").status_code == 500
    assert 'twin_errors_total{code="failed"} 2.0' in made.get("/metrics").text
    failure = ZeroDivisionError("nobody foresaw this")
    ask(made, model="wren-marlow:plain", stream=True)
    assert 'twin_errors_total{code="unforeseen"} 1.0' in made.get("/metrics").text


def test_too_long_is_refused_whole(client: Client, ask: Ask) -> None:
    made = client()
    assert ask(made, model="wren-marlow:plain", max_tokens=100_000).status_code == 400
    assert ask(made, "word " * 50_000).status_code == 422
    many = [{"role": "user", "content": "a"}] * 65
    assert made.post("/v1/chat/completions", json={"messages": many}).status_code == 422


def test_an_unknown_model_is_404(client: Client, ask: Ask) -> None:
    response = ask(client(), model="someone-else")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")
