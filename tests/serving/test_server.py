"""The real server and OpenAI's own client: whole, streamed, broken off, and full."""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import openai
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from llm_twin.adapters.standins import ScriptedChat
from llm_twin.local_app import listening
from llm_twin.serving.app import create_app
from llm_twin.serving.shell import Options
from llm_twin.types import Completion, Message, Sampling
from llm_twin.workspace import Workspace

few = hypothesis.settings(
    max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
pytestmark = pytest.mark.slow
FUZZ_EACH = 20
"""Made-up requests a route, unless `poe fuzz` asks for more."""
QUESTION = [{"role": "user", "content": "What does salt do to a bearing in the watchroom clock?"}]
Serve = Callable[..., Any]


class Slow(ScriptedChat):
    """Writes words for half a minute; tells when it begins and when it is stopped."""

    def __init__(self) -> None:
        super().__init__(lambda messages: "word", context=100_000)
        self.begun, self.stopped = threading.Event(), threading.Event()

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Generator[str, None, Completion]:
        self.begun.set()
        try:
            for number in range(3000):
                yield f"word{number} "
                time.sleep(0.01)
            raise AssertionError("nobody stopped it")
        finally:
            self.stopped.set()


@pytest.fixture
def serving(workspace: Workspace, stand_in: Callable[[Any], None]) -> Serve:
    """A maker of running servers: their address, while the context is open."""

    @contextmanager
    def run(chat: Any, **options: Any) -> Iterator[str]:
        stand_in(chat)
        app = create_app(workspace, Options(**options), page=Path("none"))
        with listening("127.0.0.1", 0) as socket:
            server = uvicorn.Server(uvicorn.Config(app, http="h11", ws="none", log_config=None))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
            thread.start()
            try:
                yield f"http://127.0.0.1:{socket.getsockname()[1]}"
            finally:
                server.should_exit = True
                thread.join()

    return run


def said(messages: Sequence[Message]) -> str:
    return "Salt gets into every bearing. I grease them twice a year, and I note it."


def test_openais_client_understands_it(serving: Serve) -> None:
    with serving(ScriptedChat(said)) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        model = client.models.list().data[0].id
        whole = client.chat.completions.create(model=model, messages=QUESTION)
        assert whole.choices[0].finish_reason == "stop"
        assert whole.choices[0].message.model_extra["twin"]["hits"]
        options = {"include_usage": True}
        with client.chat.completions.create(
            model=model, messages=QUESTION, stream=True, stream_options=options
        ) as chunks:
            found = list(chunks)
        text = "".join(c.choices[0].delta.content or "" for c in found if c.choices)
        assert text == whole.choices[0].message.content
        assert found[-1].usage == whole.usage
        assert found[-2].model_extra["twin"]["found"]
        told: list[Any] = [{"role": "developer", "content": "Be brief."}, *QUESTION]
        followed = client.chat.completions.create(model=model, messages=told)
        assert followed.choices[0].message.model_extra["twin"]["hits"]
        assert followed.usage.prompt_tokens == whole.usage.prompt_tokens + 2, "the words of the message"
        vector = client.embeddings.create(model="hash-64", input="salt").data[0].embedding
        assert len(vector) == 64
        plain = client.chat.completions.create(model="wren-marlow:plain", messages=QUESTION, logprobs=True)  # type: ignore[arg-type]
        probable = plain.choices[0].logprobs
        assert probable and probable.content
        assert "".join(token.token for token in probable.content) == plain.choices[0].message.content
        with pytest.raises(openai.UnprocessableEntityError) as refused:
            client.chat.completions.create(model=model, messages=QUESTION, n=2)
        assert refused.value.param == "n"
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="nobody", messages=QUESTION)


def test_openais_client_may_send_what_it_usually_sends(serving: Serve) -> None:
    with serving(ScriptedChat(said)) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        names = [each.id for each in client.models.list().data]
        assert [client.models.retrieve(name).id for name in names] == names
        neutral: dict[str, Any] = {
            "frequency_penalty": 0,
            "presence_penalty": 0,
            "logit_bias": {},
            "tools": [],
            "tool_choice": "none",
            "parallel_tool_calls": False,
            "n": 1,
            "stream": None,
            "user": "someone",
            "metadata": {"a": "b"},
            "store": False,
            "max_completion_tokens": 50,
        }
        first = client.chat.completions.create(model=names[0], messages=QUESTION, **neutral)
        turns: Any = [*QUESTION, first.choices[0].message.model_dump(), {**QUESTION[0], "name": "ada"}]
        assert client.chat.completions.create(model=names[0], messages=turns).choices[0].message.content
        form: Any = {"type": "json_object"}
        assert client.chat.completions.create(model=names[2], messages=QUESTION, response_format=form)
        many = client.embeddings.create(model="hash-64", input=["salt"] * 300, dimensions=64)
        assert len(many.data) == 300 and many.data[299].embedding == many.data[0].embedding


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_stops_the_model(serving: Serve, stream: bool) -> None:
    chat = Slow()
    body = {"model": "wren-marlow:plain", "messages": QUESTION, "stream": stream}
    with serving(chat) as url:
        if stream:
            with httpx.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
                lines = response.iter_lines()
                next(lines)
        else:
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{url}/v1/chat/completions", json=body, timeout=1)
        assert chat.begun.is_set()
        assert chat.stopped.wait(20)


def test_a_full_server_says_when_to_come_again(serving: Serve) -> None:
    chat = Slow()
    body = {"model": "wren-marlow:plain", "messages": QUESTION, "stream": True}
    with serving(chat, max_concurrent=1, queue=0) as url:
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
            lines = response.iter_lines()  # which closes the response when it is thrown away
            next(lines)
            full = httpx.post(f"{url}/v1/chat/completions", json=body)
            assert (full.status_code, full.json()["error"]["code"]) == (429, "busy")
            assert int(full.headers["retry-after"]) > 0
            assert "twin_chat_running 1.0" in httpx.get(f"{url}/metrics").text
        assert chat.stopped.wait(20)


def test_many_searches_at_once_find_what_one_finds(serving: Serve) -> None:
    words = ["salt", "clock", "tools", "stove", "bell", "lathe", "rain", "light"] * 8
    with serving(ScriptedChat(said), queue=100) as url, httpx.Client(timeout=60) as client:

        def find(word: str) -> Any:
            return client.post(f"{url}/search", json={"query": word}).json()["hits"]

        alone = [find(word) for word in words]
        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(find, words)) == alone


def test_requests_made_up_from_the_schema_get_declared_answers(serving: Serve) -> None:
    with serving(ScriptedChat(said), queue=100) as url:
        httpx.post(f"{url}/voice", json={"text": "salt"}, timeout=120)  # which fits the verifier, once
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
        checks = [not_a_server_error, status_code_conformance, response_schema_conformance]

        operations = [found.ok() for found in schema.get_all_operations()]
        each_of = max(FUZZ_EACH, int(os.environ.get("FUZZ_CASES", 0)) // len(operations) + 1)
        called: Counter[str] = Counter()
        for operation in operations:

            @hypothesis.given(case=operation.as_strategy())
            @hypothesis.settings(
                max_examples=each_of,
                deadline=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
            )
            def each(case: schemathesis.Case) -> None:
                called[case.operation.label] += 1
                case.call_and_validate(checks=checks)

            each()
        assert called.keys() == {operation.label for operation in operations}
        print(f"{called.total()} requests to {len(called)} routes")


def test_langchains_client_understands_it(serving: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    from langchain_openai import ChatOpenAI, OpenAIEmbeddings
    from pydantic import SecretStr

    class Letters:
        """In the place of a vocabulary that would have to be downloaded."""

        def encode(self, text: str, **more: Any) -> list[int]:
            return list(map(ord, text))

        def encode_ordinary(self, text: str) -> list[int]:
            return self.encode(text)

    for name in ("encoding_for_model", "get_encoding"):
        monkeypatch.setattr(f"langchain_openai.embeddings.base.tiktoken.{name}", lambda model: Letters())
    with serving(ScriptedChat(said)) as url:
        there: dict[str, Any] = {"base_url": f"{url}/v1", "api_key": SecretStr("none")}
        model = ChatOpenAI(model="wren-marlow", temperature=0, **there)
        answer = model.invoke(QUESTION[0]["content"])
        assert str(answer.content).startswith("Salt gets into every bearing. [1]")
        assert answer.usage_metadata and answer.usage_metadata["output_tokens"] > 0
        pieces = [str(piece.content) for piece in model.stream(QUESTION[0]["content"])]
        assert "".join(pieces) == answer.content
        turns = [("user", "Why?"), ("ai", ""), ("user", "Why?"), answer, ("user", "In winter?")]
        assert model.invoke(turns).content
        row = httpx.post(f"{url}/v1/embeddings", json={"input": "salt"}).json()
        embeddings = OpenAIEmbeddings(model=row["model"], check_embedding_ctx_length=False, **there)
        vectors = embeddings.embed_documents(["salt", "grease"] * 200)
        assert vectors[0] == pytest.approx(row["data"][0]["embedding"], abs=1e-6) and len(vectors) == 400
        # As it comes it sends token ids of OpenAI's vocabulary: it is told to send texts.
        unset = OpenAIEmbeddings(model=row["model"], **there)
        with pytest.raises(openai.UnprocessableEntityError, match="check_embedding_ctx_length=False"):
            unset.embed_query("salt")
