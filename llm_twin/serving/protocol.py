"""The values of OpenAI's chat protocol, as far as they are honoured here; any other field is refused with 422.

A field that cannot be honoured is taken where it asks for nothing (a penalty of 0, no tools), because clients send
it so. `user`, `metadata` and a message's `name` are taken and not kept: they say nothing about the answer. Not
covered: tools, several choices, the tokens that were not chosen (`top_logprobs`), images and audio.
"""

import json
import secrets
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from llm_twin.serving.written import Text, whole
from llm_twin.types import Citation, Hit, Message, Role, Sampling, Token, Value

MOST_MESSAGES = 64
MOST_CHARACTERS = 200_000
"""Of all messages together."""
MOST_STOPS = 4
MOST_TOKENS = 1_000_000
_ANY_OBJECT = '{"type": "object", "additionalProperties": true}'
Nothing = tuple[()] | None
"""A list that has to be empty."""


class TextPart(Value):
    """A part of a message; only text is understood."""

    type: Literal["text"]
    text: Text


class ChatMessage(Value):
    """One turn. An assistant's may come back as it was sent out, `twin` and its empty fields included; none is used."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | tuple[TextPart, ...] | None
    """None is an assistant's that said nothing."""
    name: Text | None = None
    refusal: None = None
    audio: None = None
    function_call: None = None
    tool_calls: Nothing = None
    annotations: Nothing = None
    twin: Any = None

    @field_validator("content")
    @classmethod
    def _said(cls, content: Any, turn: ValidationInfo) -> Any:
        if content is None and turn.data.get("role") != "assistant":
            raise ValueError("only an assistant's message may say nothing")
        return content

    def plain(self) -> Message:
        """The turn as the models take it."""
        given = self.content or ""
        text = given if isinstance(given, str) else "".join(part.text for part in given)
        role: Role = "system" if self.role == "developer" else self.role
        return Message(role=role, content=text)


class StreamOptions(Value):
    """`include_usage` asks for a last chunk with the counts of tokens."""

    include_usage: bool = False
    include_obfuscation: Literal[False] | None = None


class JsonSchema(Value):
    """A schema that the answer has to follow."""

    name: Text = Field(max_length=64)
    schema_: dict[str, Any] = Field(alias="schema")
    description: Text | None = None
    strict: bool | None = None

    @field_validator("schema_")
    @classmethod
    def _written(cls, schema: dict[str, Any]) -> dict[str, Any]:
        whole(json.dumps(schema, ensure_ascii=False))
        return schema


class ResponseFormat(Value):
    """Free text, any JSON object, or JSON that follows a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _whole(self) -> "ResponseFormat":
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("json_schema belongs to the type json_schema, and only there")
        return self


class ChatRequest(Value):
    """The body of POST /v1/chat/completions. What is left out is as twin.toml's `[ask]` says, and the seed is drawn."""

    model: Text = Field("", max_length=200)
    """An id of GET /v1/models; empty is the twin."""
    messages: tuple[ChatMessage, ...] = Field(min_length=1, max_length=MOST_MESSAGES)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int | None = Field(None, ge=1, le=MOST_TOKENS)
    max_completion_tokens: int | None = Field(None, ge=1, le=MOST_TOKENS)
    seed: int | None = Field(None, ge=0, lt=2**32)
    stop: Text | tuple[Text, ...] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    n: Literal[1] | None = None
    logprobs: bool | None = None
    top_logprobs: Literal[0] | None = None
    frequency_penalty: float | None = Field(None, ge=0, le=0)
    presence_penalty: float | None = Field(None, ge=0, le=0)
    logit_bias: dict[str, float] | None = Field(None, max_length=0)
    tools: Nothing = None
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: bool | None = None
    user: Text | None = None
    metadata: dict[str, Any] | None = None
    store: Literal[False] | None = None

    @field_validator("stop")
    @classmethod
    def _few_stops(cls, stop: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        stops = (stop,) if isinstance(stop, str) else stop or ()
        if len(stops) > MOST_STOPS or not all(stops):
            raise ValueError(f"at most {MOST_STOPS} stop sequences, none of them empty")
        return stop

    @model_validator(mode="after")
    def _sound(self) -> "ChatRequest":
        turns = self.turns()
        if turns[-1].role != "user":
            raise ValueError("the last message must be the user's")
        if sum(len(turn.content) for turn in turns) > MOST_CHARACTERS:
            raise ValueError(f"the messages have more than {MOST_CHARACTERS} characters")
        if None not in (self.max_tokens, self.max_completion_tokens):
            raise ValueError("give max_tokens or max_completion_tokens, not both")
        if self.logprobs and self.stops():
            raise ValueError("give stop or logprobs, not both: a stop may end within a token")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options belong to a stream")
        return self

    def turns(self) -> list[Message]:
        """The messages as the models take them."""
        return [message.plain() for message in self.messages]

    def stops(self) -> tuple[str, ...]:
        """The texts at which the answer ends."""
        return (self.stop,) if isinstance(self.stop, str) else self.stop or ()

    def most_tokens(self, default: int) -> int:
        """The most tokens of the answer."""
        return self.max_completion_tokens or self.max_tokens or default

    def sampling(self, default: Sampling) -> Sampling:
        """How to generate: as asked, and as `default` says where nothing was asked for.

        Without a seed one is drawn, so that asking again gives another answer.
        """
        return Sampling(
            max_tokens=self.most_tokens(default.max_tokens),
            temperature=default.temperature if self.temperature is None else self.temperature,
            top_p=default.top_p if self.top_p is None else self.top_p,
            seed=secrets.randbelow(2**31) if self.seed is None else self.seed,
            json_schema=self.schema_text(),
        )

    def schema_text(self) -> str | None:
        """The JSON schema as a model takes it."""
        form = self.response_format
        if form is None or form.type == "text":
            return None
        return json.dumps(form.json_schema.schema_) if form.json_schema else _ANY_OBJECT


class Usage(Value):
    """Tokens as the model counts them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class HitShown(Value):
    """A passage as it is shown: `text == document.text[start:end]` of GET /documents/{document_id}."""

    chunk: str
    document_id: str
    title: str
    heading: tuple[str, ...]
    text: str
    start: int
    end: int
    url: str | None
    score: float

    @classmethod
    def of(cls, hit: Hit) -> "HitShown":
        """The passage of a hit."""
        chunk = hit.chunk
        return cls(
            chunk=chunk.id,
            document_id=chunk.document_id,
            title=chunk.title,
            heading=chunk.heading,
            text=chunk.text,
            start=chunk.start,
            end=chunk.end,
            url=chunk.url,
            score=hit.score,
        )


class TwinPart(Value):
    """What this server adds to an answer: where it comes from. `mode` is "write", "quote" or "plain".

    `turns_kept` is how many of the earlier turns the model read: the newest, where not all had room.
    """

    found: bool
    mode: Literal["write", "quote", "plain"]
    citations: tuple[Citation, ...] = ()
    hits: tuple[HitShown, ...] = ()
    turns_kept: int = 0


Finish = Literal["stop", "length", "content_filter"]


class Reply(Value):
    """The message of an answer that is not streamed."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None
    twin: TwinPart


class TokenShown(Value):
    """A token of an answer; `bytes` are its text's in UTF-8."""

    token: str
    logprob: float
    bytes: tuple[int, ...]
    top_logprobs: tuple[()] = ()

    @classmethod
    def of(cls, token: Token) -> "TokenShown":
        """The token as it is shown."""
        return cls(token=token.text, logprob=token.log_probability, bytes=tuple(token.text.encode()))


class LogProbs(Value):
    """How probable each token of an answer was to the model."""

    content: tuple[TokenShown, ...]
    refusal: None = None


class Choice(Value):
    """The only choice."""

    index: Literal[0] = 0
    message: Reply
    finish_reason: Finish
    logprobs: LogProbs | None = None


class ChatResponse(Value):
    """The answer of POST /v1/chat/completions that is not streamed."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: tuple[Choice, ...]
    usage: Usage


class Model(Value):
    """A model to ask; `about` says what it is, `max_model_len` how many tokens fit where that is told."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "llm-twin"
    about: str
    max_model_len: int | None = None


class ModelList(Value):
    """The answer of GET /v1/models; the first is the default."""

    object: Literal["list"] = "list"
    data: tuple[Model, ...]
