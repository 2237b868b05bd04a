"""Every failure has one shape, and says whose move it is."""

from fastapi import FastAPI
from starlette.testclient import TestClient

from llm_twin.errors import InputError, TwinError
from llm_twin.serving import refusals
from llm_twin.serving.refusals import Refusal, as_refusal, declared, error_type


def test_whose_move_it_is() -> None:
    told = as_refusal(InputError("too long", "shorten it"))
    assert (told.status, str(told)) == (400, "too long - shorten it")
    assert as_refusal(TwinError("it broke")).status == 500
    assert error_type(429) == "rate_limit_error"
    assert error_type(418) == "invalid_request_error"
    assert error_type(503) == "server_error"


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


def test_declared_refusals_are_those_asked_for_and_those_of_the_door() -> None:
    assert {401, 403, 421, 429} <= declared(429).keys()
    assert 429 not in declared()
