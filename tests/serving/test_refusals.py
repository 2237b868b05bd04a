"""Every failure has one shape, and says whose move it is."""

from typing import Any, Literal

import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.testclient import TestClient

from llm_twin.errors import InputError, Refused, TwinError, Unavailable, Unreachable
from llm_twin.serving import refusals
from llm_twin.serving.refusals import Refusal, as_refusal, declared, error_type
from llm_twin.serving.written import Text


def test_whose_move_it_is() -> None:
    told = as_refusal(InputError("too long", "shorten it"))
    assert (told.status, str(told)) == (400, "too long - shorten it")
    assert as_refusal(TwinError("it broke")).status == 500
    assert error_type(429) == "rate_limit_error"
    assert error_type(418) == "invalid_request_error"
    assert error_type(503) == "server_error"


HIDDEN = ("http://10.0.0.5:8000/v1 refuses the key", "put one into TWIN_ENDPOINT__API_KEY")


@pytest.mark.parametrize(
    ("error", "status", "code", "wait"),
    [
        (Unreachable(*HIDDEN), 503, "model_unreachable", 2),
        (Unavailable(*HIDDEN), 503, "model_unavailable", 2),
        (Unavailable(*HIDDEN, seconds=7.2), 503, "model_unavailable", 8),
        (Refused(*HIDDEN), 503, "model_refuses", None),
        (Refused(*HIDDEN, told="the prompt is too long"), 400, "bad_request", None),
    ],
)
def test_a_server_behind_is_the_logs_affair_and_not_the_callers(
    caplog: pytest.LogCaptureFixture, error: TwinError, status: int, code: str, wait: int | None
) -> None:
    told = as_refusal(error)
    assert (told.status, told.code, told.retry_after) == (status, code, wait)
    assert not any(part in str(told) for part in ("10.0.0.5", "TWIN_ENDPOINT__API_KEY"))
    assert all(part in caplog.text for part in HIDDEN)
    assert ("too long" in str(told)) == bool(getattr(error, "told", ""))


def test_each_kind_of_failure_is_answered_and_counted() -> None:
    app, counted = FastAPI(), []
    refusals.install(app, counted.append)

    @app.get("/busy")
    def busy() -> None:
        raise Refusal(429, "full", "busy", retry_after=3)

    @app.get("/wrong")
    def wrong() -> None:
        raise InputError("no such thing")

    @app.get("/number/{number}")
    def number(number: int) -> None:
        return None

    client = TestClient(app)
    full = client.get("/busy")
    assert full.headers["retry-after"] == "3"
    detail = {"message": "full", "type": "rate_limit_error", "param": None, "code": "busy"}
    assert full.json() == {"error": detail}
    assert client.get("/wrong").status_code == 400
    assert client.get("/number/x").json()["error"]["param"] == "number"
    assert client.post("/busy").json()["error"]["code"] == "http_405"
    assert client.post("/busy").headers["allow"] == "GET"
    assert counted[:3] == ["busy", "bad_request", "invalid_request"]


class Part(BaseModel):
    kind: Literal["text"]


class Given(BaseModel):
    said: Text | tuple[Part, ...] = ""
    none: tuple[()] = ()


def test_a_mistake_is_told_where_it_was_made() -> None:
    app = FastAPI()
    refusals.install(app, lambda code: None)

    @app.post("/")
    def take(given: Given) -> None:
        return None

    def told(**given: Any) -> tuple[str, str]:
        error = TestClient(app).post("/", json=given).json()["error"]
        return error["param"], error["message"]

    assert told(said=[{"kind": "text"}, {"kind": "picture"}]) == (
        "said.1.kind",
        "said.1.kind: Input should be 'text'",
    )
    assert told(said=5) == ("said", "said: Input should be a valid string")
    assert told(none=[1]) == ("none", "none is not supported")


def test_declared_refusals_are_those_asked_for_and_those_of_the_door() -> None:
    assert {401, 403, 421, 429} <= declared(429).keys()
    assert 429 not in declared() and 408 not in declared()
    assert 408 in declared(413), "where there is a body"
