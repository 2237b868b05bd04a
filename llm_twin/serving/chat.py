"""/v1/chat/completions and /v1/models: OpenAI's protocol, with `twin` for where an answer comes from."""

import json
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Body, Request
from fastapi.responses import StreamingResponse

from llm_twin.errors import TwinError
from llm_twin.serving.metrics import Metrics
from llm_twin.serving.protocol import (
    ChatRequest,
    ChatResponse,
    Choice,
    LogProbs,
    Model,
    ModelList,
    Reply,
    TokenShown,
)
from llm_twin.serving.refusals import ErrorBody, ErrorDetail, Refusal, as_refusal, declared, error_type
from llm_twin.serving.room import Gone, Room
from llm_twin.serving.speech import Ending, Said
from llm_twin.serving.visitor import Authors, Owner, Seen
from llm_twin.types import Token

_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "The answer"}
}


class Voice(Protocol):
    """Who answers: the twin with its passages (`Speech`), or a model alone (`Engine`)."""

    def models(self, authors: Authors) -> list[Model]:
        """The models that may be asked by who may see `authors`; the first is the default."""
        ...

    def known(self, model: str, authors: Authors) -> str:
        """The id of the model asked for; raises Refusal (404)."""
        ...

    def check(self, asked: ChatRequest, model: str) -> None:
        """Raise Refusal for what this model cannot do, before it is started."""
        ...

    def say(self, asked: ChatRequest, model: str, owner: str | None = None) -> Iterator[Said]:
        """Pieces of the answer, then its Ending. Closing it stops the model."""
        ...


def chat_routes(speech: Voice, room: Room, metrics: Metrics) -> APIRouter:
    """The routes over `speech`, whose models run in `room`."""
    router = APIRouter()

    @router.get("/v1/models", responses=declared(), tags=["chat"])
    async def models(seen: Seen) -> ModelList:
        """The models that may be asked; the first is the default."""
        return ModelList(data=tuple(speech.models(seen)))

    @router.get("/v1/models/{model_id:path}", responses=declared(404), tags=["chat"])
    async def one(model_id: str, seen: Seen) -> Model:
        """One of them."""
        found = next((each for each in speech.models(seen) if each.id == model_id), None)
        if found is None:
            raise Refusal(404, f"there is no model {model_id!r}", "model_not_found", "model_id")
        return found

    @router.post(
        "/v1/chat/completions",
        response_model=ChatResponse,
        responses={**declared(400, 404, 413, 429, 503), **_STREAM},
        tags=["chat"],
    )
    async def chat(asked: Annotated[ChatRequest, Body()], request: Request, seen: Seen, owner: Owner) -> Any:
        """An answer, whole or streamed as server-sent events."""
        model = speech.known(asked.model, seen)
        speech.check(asked, model)
        said = metrics.timed(room.pieces(lambda: metrics.heard(speech.say(asked, model, owner)), request))
        first = await anext(said)  # what is refused is refused before a stream begins
        if not asked.stream:
            return await _whole(model, first, said, told=bool(asked.logprobs))
        usage = bool(asked.stream_options and asked.stream_options.include_usage)
        chunks = _chunks(model, first, said, usage, metrics.failed)
        return StreamingResponse(chunks, media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    return router


async def _whole(model: str, first: Said, said: AsyncGenerator[Said, None], told: bool) -> ChatResponse:
    text = ""
    tokens: list[TokenShown] = []
    async with aclosing(said):
        async for piece in _chained(first, said):
            if isinstance(piece, Ending):
                choice = Choice(
                    message=Reply(content=text, twin=piece.twin),
                    finish_reason=piece.finish,
                    logprobs=LogProbs(content=tuple(tokens)) if told else None,
                )
                return ChatResponse(
                    id=_name(), created=int(time.time()), model=model, choices=(choice,), usage=piece.usage
                )
            if isinstance(piece, Token):
                tokens.append(TokenShown.of(piece))
            text += piece.text if isinstance(piece, Token) else piece
    raise Refusal(500, "the answer broke off", "failed")


async def _chunks(
    model: str, first: Said, said: AsyncGenerator[Said, None], usage: bool, failed: Callable[[str], None]
) -> AsyncIterator[str]:
    """Server-sent events: the role, the text, the end with where it comes from, the usage if asked, [DONE].

    A failure on the way is the last event, and `failed` is told its code: the status was sent long ago.
    """
    base = {"id": _name(), "object": "chat.completion.chunk", "created": int(time.time()), "model": model}
    rest = {"usage": None} if usage else {}
    try:
        async with aclosing(said):
            yield _event({**base, "choices": [_delta({"role": "assistant", "content": ""})], **rest})
            async for piece in _chained(first, said):
                if isinstance(piece, Token):
                    told = LogProbs(content=(TokenShown.of(piece),))
                    yield _event({**base, "choices": [_delta({"content": piece.text}, told=told)], **rest})
                    continue
                if isinstance(piece, str):
                    yield _event({**base, "choices": [_delta({"content": piece})], **rest})
                    continue
                twin = piece.twin.model_dump(mode="json")
                yield _event({**base, "choices": [_delta({}, piece.finish)], "twin": twin, **rest})
                if usage:
                    yield _event({**base, "choices": [], "usage": piece.usage.model_dump()})
            yield "data: [DONE]\n\n"
    except Gone:
        return
    except (TwinError, Refusal) as error:
        refusal = error if isinstance(error, Refusal) else as_refusal(error)
        failed(refusal.code)
        detail = ErrorDetail(message=str(refusal), type=error_type(refusal.status), code=refusal.code)
        yield _event(ErrorBody(error=detail).model_dump())


async def _chained(first: Said, rest: AsyncGenerator[Said, None]) -> AsyncIterator[Said]:
    yield first
    async for piece in rest:
        yield piece


def _delta(delta: dict[str, Any], finish: str | None = None, told: LogProbs | None = None) -> dict[str, Any]:
    logprobs = told.model_dump(mode="json") if told else None
    return {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def _name() -> str:
    return f"chatcmpl-{secrets.token_hex(12)}"
