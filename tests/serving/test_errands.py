"""What a job does, without the routes: whose answers it has, and what its webhook is sent."""

import base64
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from llm_twin.adapters.standins import ScriptedChat
from llm_twin.errors import TwinError, Unreachable
from llm_twin.inference.batch import Answered, read_answers
from llm_twin.serving.errands import TOGETHER, Errands
from llm_twin.serving.keys import keys_of
from llm_twin.serving.orders import Order, answered_at
from llm_twin.serving.speech import Speech
from llm_twin.types import Job
from llm_twin.workspace import Workspace

WORDS = ("salt", "grease", "air", "rain", "dust", "rust")
QUESTIONS = [f"What does {word} do to a bearing in the watchroom clock?" for word in WORDS]
SECRET = "whsec_" + base64.b64encode(bytes(24)).decode()


def silent(done: int, total: int, note: str = "") -> None:
    """A step that goes on."""


def job(webhook: str = "") -> Job:
    order = Order(model="wren-marlow", webhook=webhook, secret=SECRET if webhook else "")
    now = datetime.now(UTC)
    return Job(id="ab", created=now, ended=now, order=order.model_dump_json(), owner="", total=len(QUESTIONS))


def answers_of(workspace: Workspace) -> list[Answered]:
    return read_answers(answered_at(workspace.home / "jobs", "ab"))


@pytest.fixture
def posted() -> list[Any]:
    return []


@pytest.fixture
def errands(workspace: Workspace, stand_in: Callable[[Any], None], posted: list[Any]) -> Iterator[Errands]:
    stand_in(ScriptedChat(lambda messages: "Salt gets into every bearing. I grease them twice a year."))
    with closing(Speech(workspace, "write")) as speech:
        made = Errands(speech, keys_of(workspace.home), lambda *given: posted.append(given))
        made.keep("ab", QUESTIONS)
        yield made


class Stop(Exception):
    """Raised by a step, as a queue that closes does."""


def test_a_job_whose_twin_changed_meanwhile_begins_anew(errands: Errands, workspace: Workspace) -> None:
    def one_group(done: int, total: int, note: str = "") -> None:
        if done:
            raise Stop

    with pytest.raises(Stop):
        errands.do(job(), one_group)
    (first,) = {answer.made_with for answer in answers_of(workspace)}
    assert len(answers_of(workspace)) == TOGETHER
    ask = workspace.settings.ask.model_copy(update={"max_tokens": 77})
    workspace.settings = workspace.settings.model_copy(update={"ask": ask})
    errands.do(job(), silent)
    answers = answers_of(workspace)
    assert [answer.question for answer in answers] == QUESTIONS
    (second,) = {answer.made_with for answer in answers}
    assert first != second


def test_where_the_models_server_is_stays_in_the_log(
    workspace: Workspace, stand_in: Callable[[Any], None], caplog: pytest.LogCaptureFixture
) -> None:
    def away(messages: Any) -> str:
        raise Unreachable("nobody answers at http://10.0.0.7:8000/v1", "correct endpoint.url")

    stand_in(ScriptedChat(away))
    with closing(Speech(workspace, "write")) as speech:
        made = Errands(speech, keys_of(workspace.home), lambda *_: None)
        made.keep("ab", QUESTIONS)
        with pytest.raises(TwinError) as failed:
            made.do(job(), silent)
    assert "10.0.0.7" not in str(failed.value) + failed.value.way_out
    assert "10.0.0.7" in caplog.text


def test_a_job_without_a_webhook_tells_nobody(errands: Errands, posted: list[Any]) -> None:
    errands.tell(job())
    assert posted == []


def test_a_webhook_that_fails_is_an_error_and_a_message_keeps_its_id(workspace: Workspace) -> None:
    ids = []

    def down(url: str, body: bytes, headers: Any) -> None:
        ids.append(headers["webhook-id"])
        raise TwinError("nobody there")

    class Of:
        author = workspace.author

    Of.workspace = workspace  # type: ignore[attr-defined]
    made = Errands(Of(), keys_of(workspace.home), down)  # type: ignore[arg-type]
    ended = job("https://hooks.example.org/")
    for _ in range(2):
        with pytest.raises(TwinError, match="nobody there"):
            made.tell(ended)
    assert ids[0] == ids[1]


def test_both_files_go_when_it_is_forgotten(errands: Errands, workspace: Workspace) -> None:
    errands.do(job(), silent)
    assert len(list((workspace.home / "jobs").glob("ab.*"))) == 2
    errands.forget("ab")
    errands.forget("ab")
    assert answers_of(workspace) == []
    assert list((workspace.home / "jobs").glob("ab.*")) == []
