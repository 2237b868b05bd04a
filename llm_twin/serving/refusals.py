"""Every way to say no, in the shape that OpenAI's clients read: {"error": {message, type, param, code}}.

Nothing is ever ignored or shortened in silence: what cannot be done as asked is refused, and says why.
"""

import logging
from collections.abc import Callable
from math import ceil
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from llm_twin.errors import InputError, Refused, TwinError, Unavailable, Unreachable
from llm_twin.types import Value


class ErrorDetail(Value):
    """What went wrong, and with which field."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(Value):
    """The body of every answer that is no success."""

    error: ErrorDetail


WORDS = {
    400: "The request cannot be served as asked",
    401: "A key is needed, or the one given is not known",
    403: "This key may not see that, or the request comes from another site",
    404: "There is no such thing",
    405: "The path does not take this method",
    408: "The body took too long to arrive",
    409: "It is in no state for that",
    413: "The body is too large",
    415: "The body is not application/json",
    421: "This host is not served here",
    422: "A field is missing, unknown or out of range",
    429: "All places are taken: try again after `Retry-After` seconds",
    500: "Something failed on this side",
    503: "Not ready, or the model's server does not answer, is busy or refuses us",
}
_LOG = logging.getLogger(__name__)
RETRY_AFTER = 2
"""Seconds that a client is asked to wait where something is full or away."""
_KINDS = ("function-", "tuple[", "constrained-")
"""How pydantic calls one of several types that a field may have, which is no part of the field's name."""
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class Refusal(Exception):
    """A request that is turned away with `status`; `code` is for programs, `message` for people."""

    def __init__(
        self, status: int, message: str, code: str, param: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.retry_after = status, code, param, retry_after


def declared(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route, for /openapi.json; a body that may be too large (413) may be too slow as well."""
    every = (401, 403, 405, 415, 421, 422, 500, *statuses, *((408,) if 413 in statuses else ()))
    return {status: {"model": ErrorBody, "description": WORDS[status]} for status in sorted(set(every))}


def error_type(status: int) -> str:
    """OpenAI's name for the kind of error behind `status`."""
    return _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")


def refuse(
    status: int, message: str, code: str, param: str | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    """The response of a refusal."""
    detail = ErrorDetail(message=message, type=error_type(status), param=param, code=code)
    return JSONResponse(ErrorBody(error=detail).model_dump(), status, headers)


def as_refusal(error: TwinError) -> Refusal:
    """What a TwinError is over HTTP: 503 where a server behind this one fails us, 400 where the caller can put it
    right, else 500.

    Where the server behind is, and what is to be set for it, is in the log alone: the caller may be a stranger.
    """
    told = " - ".join(part for part in (str(error), error.way_out) if part)
    if isinstance(error, Unreachable | Unavailable | Refused):
        _LOG.warning("%s", told)
        return _behind(error)
    if isinstance(error, InputError):
        return Refusal(400, told, "bad_request")
    return Refusal(500, told, "failed")


def _behind(error: Unreachable | Unavailable | Refused) -> Refusal:
    if isinstance(error, Unreachable):
        return Refusal(
            503, "the model's server does not answer", "model_unreachable", retry_after=RETRY_AFTER
        )
    if isinstance(error, Unavailable):
        said = "the model's server is busy, too slow or broke off; try again later"
        return Refusal(503, said, "model_unavailable", retry_after=max(RETRY_AFTER, ceil(error.seconds)))
    if error.told:
        return Refusal(400, f"the model's server refuses this: {error.told}", "bad_request")
    said = "the model's server refuses us; this server's log says what its operator has to put right"
    return Refusal(503, said, "model_refuses")


def install(app: FastAPI, count: Callable[[str], None]) -> None:
    """Answer every failure of `app` in this shape; `count` is told the code of each."""

    async def refused(request: Request, error: Exception) -> JSONResponse:
        known = as_refusal(error) if isinstance(error, TwinError) else error
        assert isinstance(known, Refusal)
        count(known.code)
        wait = {"retry-after": str(known.retry_after)} if known.retry_after else None
        return refuse(known.status, str(known), known.code, known.param, wait)

    async def malformed(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        count("invalid_request")
        message, param = _first(error)
        return refuse(422, message, "invalid_request", param)

    async def plain(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        count(f"http_{error.status_code}")
        headers = dict(error.headers) if error.headers else None
        return refuse(error.status_code, str(error.detail), f"http_{error.status_code}", headers=headers)

    app.add_exception_handler(Refusal, refused)
    app.add_exception_handler(TwinError, refused)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(HTTPException, plain)


def _first(error: RequestValidationError) -> tuple[str, str | None]:
    """The first mistake, and the field it is in. Where a field may have several types, the one that was meant fails
    farthest inside.
    """
    first = max(error.errors(), key=lambda mistake: len(mistake["loc"]))
    steps = [str(step) for step in first["loc"][1:]]
    place = ".".join(step for step in steps if not step.startswith(_KINDS))
    if first["type"] == "extra_forbidden" or first.get("ctx", {}).get("max_length") == 0:
        return f"{place} is not supported", place
    return (f"{place}: {first['msg']}" if place else str(first["msg"])), place or None
