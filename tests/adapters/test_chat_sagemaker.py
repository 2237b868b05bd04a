"""A model behind a SageMaker endpoint: asked at once or through S3, counted here, its failures told."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from llm_twin.adapters import chat_sagemaker
from llm_twin.adapters.chat_sagemaker import SageMakerChat
from llm_twin.errors import InputError, MissingPart, TwinError, Unreachable
from llm_twin.types import Message, Sampling

ASKED = [Message(role="user", content="Why grease it?")]
REPLY = {
    "choices": [{"message": {"content": " Salt. "}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2},
}


class Runtime:
    """Answers as the runtime does; notes what it was asked."""

    def __init__(self, reply: Any = REPLY) -> None:
        self.asked: list[Any] = []
        self.reply = reply

    def invoke_endpoint(self, **given: Any) -> dict[str, Any]:
        self.asked.append(json.loads(given["Body"]))
        if isinstance(self.reply, Exception):
            raise self.reply
        return {"Body": io.BytesIO(json.dumps(self.reply).encode())}

    def invoke_endpoint_async(self, **given: Any) -> dict[str, Any]:
        self.asked.append(given["InputLocation"])
        return {"OutputLocation": "s3://twins/out/1", "FailureLocation": "s3://twins/failed/1"}


class Bucket:
    """An S3 in which an object appears after it was looked for `late` times."""

    def __init__(self, key: str, body: bytes, late: int = 2) -> None:
        self.objects: dict[str, bytes] = {}
        self.key, self.body, self.late = key, body, late
        self.put: list[bytes] = []

    def put_object(self, Bucket: str, Key: str, Body: bytes) -> None:
        self.objects[Key] = Body
        self.put.append(Body)

    def delete_object(self, Bucket: str, Key: str) -> None:
        del self.objects[Key]

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        self.late -= Key == self.key
        if Key != self.key or self.late >= 0:
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": "none"}}, "GetObject")
        return {"Body": io.BytesIO(self.body)}


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., SageMakerChat]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):  # else they are looked for on the network
        monkeypatch.setenv(name, "none")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(chat_sagemaker, "read_card", lambda folder: SimpleNamespace(context=200))
    folder, tokenizer = tmp_path, Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    turns = "{% for m in messages %}{{ m.role }}: {{ m.content }} {% endfor %}"
    (folder / "chat_template.jinja").write_text(turns)

    def opened(runtime: Any, bucket: Any = None, **more: Any) -> SageMakerChat:
        chat = SageMakerChat(folder, "a-twin", bucket="twins", sleep=lambda seconds: None, **more)
        chat._runtime, chat._s3 = runtime, bucket
        return chat

    return opened


def test_a_completion_is_asked_for_in_openais_form(make: Callable[..., SageMakerChat]) -> None:
    runtime = Runtime()
    chat = make(runtime)
    (first, second) = chat.generate([ASKED, ASKED], Sampling(max_tokens=7, temperature=0, seed=3))
    assert (first.text, first.prompt_tokens, first.completion_tokens, first.finish) == ("Salt.", 9, 2, "stop")
    assert second == first
    assert [body["seed"] for body in runtime.asked] == [3, 4]
    assert runtime.asked[0]["messages"] == [{"role": "user", "content": "Why grease it?"}]
    assert runtime.asked[0]["max_tokens"] == 7
    stream = chat.stream(ASKED, Sampling(max_tokens=7))
    assert next(stream) == "Salt."
    with pytest.raises(StopIteration) as end:
        next(stream)
    assert end.value.value == first
    schema = Sampling(max_tokens=7, json_schema='{"type": "object"}')
    chat.generate([ASKED], schema)
    assert runtime.asked[-1]["response_format"]["json_schema"]["schema"] == {"type": "object"}


def test_tokens_are_counted_here(make: Callable[..., SageMakerChat]) -> None:
    chat = make(Runtime())
    assert chat.count_tokens(ASKED) == len(["user", ":", "Why", "grease", "it", "?"])
    with pytest.raises(InputError, match="do not fit"):
        chat.generate([ASKED], Sampling(max_tokens=chat.context))


def test_through_s3_the_answer_is_waited_for_and_the_request_removed(
    make: Callable[..., SageMakerChat],
) -> None:
    bucket = Bucket("out/1", json.dumps(REPLY).encode())
    chat = make(Runtime(), bucket, asynchronous=True)
    assert chat.generate([ASKED], Sampling(max_tokens=7))[0].text == "Salt."
    assert json.loads(bucket.put[0])["max_tokens"] == 7 and bucket.objects == {}
    broken = make(Runtime(), Bucket("failed/1", b"out of memory"), asynchronous=True)
    with pytest.raises(TwinError, match="out of memory"):
        broken.generate([ASKED], Sampling(max_tokens=7))
    never = make(Runtime(), Bucket("out/1", b"", late=10**9), asynchronous=True, timeout_s=0.05)
    with pytest.raises(TwinError, match="no answer within"):
        never.generate([ASKED], Sampling(max_tokens=7))


def test_an_answer_is_not_lost_where_the_request_cannot_be_removed(
    make: Callable[..., SageMakerChat], caplog: pytest.LogCaptureFixture
) -> None:
    class ReadOnly(Bucket):
        def delete_object(self, Bucket: str, Key: str) -> None:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DeleteObject")

    chat = make(Runtime(), ReadOnly("out/1", json.dumps(REPLY).encode()), asynchronous=True)
    assert chat.generate([ASKED], Sampling(max_tokens=7))[0].text == "Salt."
    assert "is left behind" in caplog.text and "AccessDenied" in caplog.text


def test_failures_are_told(make: Callable[..., SageMakerChat]) -> None:
    away = ClientError({"Error": {"Code": "ValidationError", "Message": "no endpoint"}}, "InvokeEndpoint")
    with pytest.raises(Unreachable, match="no endpoint"):
        make(Runtime(away)).generate([ASKED], Sampling(max_tokens=7))
    for reply in ({}, {"choices": []}, "text"):
        with pytest.raises(TwinError, match="no chat completion"):
            make(Runtime(reply)).generate([ASKED], Sampling(max_tokens=7))
    chat = make(Runtime())
    with pytest.raises(MissingPart):
        chat.score([ASKED], ["Salt."])
    chat.close()
    with pytest.raises(TwinError, match="was closed"):
        chat.generate([ASKED], Sampling(max_tokens=7))
